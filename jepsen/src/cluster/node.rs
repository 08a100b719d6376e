//! One node: what it is started as, what runs it, and what it is asked and told while it runs.
//!
//! ```text
//!   Node ─▶ Process      a process on this machine, maybe in a network namespace
//!        └▶ Container    the same binary in a container
//! ```
//!
//! Whoever breaks a node or works on it need not know which: both are started, killed, stopped and asked alike, keep their data across
//! that, and leave their log in the node's directory.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::container::{Container, ContainerSpec};
use super::namespaces::Namespace;
use super::process::Process;
use super::{Ports, Volume};

/// What can be done to what runs a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ends it at once: power loss, as far as the node can tell.
    Kill,
    /// Asks it to end.
    Terminate,
    /// Stops it in its tracks.
    Stop,
    /// Lets it go on.
    Continue,
}

/// Where a node runs, and how it is reached.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub place: Place,
    /// Where this program reaches it.
    pub ports: Ports,
    /// Where it listens, as seen from its place.
    pub listen: Ports,
    /// Where other nodes reach it: address and RPC port.
    pub address: (Ipv4Addr, u16),
}

/// Where a node runs.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// Beside this process, on loopback.
    Here,
    Namespace(Namespace),
    Container(Box<ContainerSpec>),
}

/// What a node is started as.
#[derive(Clone, Debug)]
pub(super) struct NodeSpec {
    pub binary: PathBuf,
    /// For its log, and its data unless that has a volume. Absolute.
    pub directory: PathBuf,
    pub site: Site,
    pub region: String,
    /// RPC addresses of all nodes.
    pub join: Vec<String>,
    /// More arguments.
    pub more: Vec<String>,
    /// More environment variables.
    pub environment: Vec<(String, String)>,
    /// Size of a disk of its own, in mebibytes.
    pub volume_mib: Option<u64>,
}

/// What is run.
pub(super) struct Launch {
    pub binary: PathBuf,
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    /// What it may write to.
    pub directory: PathBuf,
    /// Where its output goes, after what is there already.
    pub log: PathBuf,
}

/// What runs a node, running or not.
#[derive(Debug)]
enum Body {
    Process(Box<Process>),
    Container(Box<Container>),
}

/// A node, running or not.
#[derive(Debug)]
pub struct Node {
    spec: NodeSpec,
    // What runs it goes before its disk.
    body: Body,
    volume: Option<Volume>,
}

impl Node {
    pub(super) fn new(spec: NodeSpec) -> Result<Self> {
        let directory = &spec.directory;
        let make =
            |path: &Path| std::fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()));
        make(directory)?;
        let volume = match spec.volume_mib {
            Some(mebibytes) => {
                let path = directory.join("volume");
                make(&path)?;
                Some(Volume::mount(&path, mebibytes)?)
            }
            None => None,
        };
        let body = match &spec.site.place {
            Place::Here => Body::Process(Box::new(Process::new(None))),
            Place::Namespace(namespace) => Body::Process(Box::new(Process::new(Some(namespace.clone())))),
            Place::Container(spec) => Body::Container(Box::new(Container::new(spec.as_ref().clone()))),
        };
        Ok(Node { spec, body, volume })
    }

    /// Where its data lies.
    fn data(&self) -> PathBuf {
        self.volume.as_ref().map_or(self.spec.directory.as_path(), Volume::path).join("data")
    }

    fn arguments(&self) -> Vec<String> {
        let NodeSpec { site, join, region, more, .. } = &self.spec;
        let listen = |port: u16| format!("{}:{port}", site.listen.host);
        let mut arguments: Vec<String> = [
            "start",
            "--data",
            &self.data().to_string_lossy(),
            "--sql-addr",
            &listen(site.listen.sql),
            "--rpc-addr",
            &listen(site.listen.rpc),
            "--advertise-addr",
            &format!("{}:{}", site.address.0, site.address.1),
            "--http-addr",
            &listen(site.listen.http),
            "--join",
            &join.join(","),
            "--locality",
            &format!("region={region}"),
            "--insecure",
        ]
        .map(str::to_owned)
        .into();
        arguments.extend_from_slice(more);
        if !more.iter().any(|argument| argument.starts_with("--clock-error")) {
            // All nodes read one clock.
            arguments.extend(["--clock-error".to_owned(), "0".to_owned()]);
        }
        arguments
    }

    /// Starts it. Does nothing when it runs.
    ///
    /// # Errors
    /// When the binary cannot be run.
    pub async fn start(&mut self) -> Result<()> {
        let launch = Launch {
            binary: self.spec.binary.clone(),
            arguments: self.arguments(),
            environment: self.spec.environment.clone(),
            directory: self.spec.directory.clone(),
            log: self.log_path(),
        };
        match &mut self.body {
            Body::Process(process) => process.start(&launch),
            Body::Container(container) => container.start(&launch).await,
        }
    }

    /// Sends a signal. `Kill` and `Terminate` wait until the node has ended.
    ///
    /// # Errors
    /// When the node does not run.
    pub async fn signal(&mut self, signal: Signal) -> Result<()> {
        let sent = match &mut self.body {
            Body::Process(process) => process.signal(signal).await,
            Body::Container(container) => container.signal(signal).await,
        };
        sent.with_context(|| format!("the node on port {}", self.spec.site.ports.sql))
    }

    /// Where it is reached.
    pub fn ports(&self) -> Ports {
        self.spec.site.ports
    }

    /// Its region.
    pub fn region(&self) -> &str {
        &self.spec.region
    }

    /// The process's ID, while it runs as a process of ours.
    pub fn id(&self) -> Option<u32> {
        match &self.body {
            Body::Process(process) => process.id(),
            Body::Container(_) => None,
        }
    }

    /// Removes its data, as if its disk had been replaced. REQUIRES: it was killed, or never started.
    ///
    /// # Errors
    /// The disk's.
    pub fn wipe(&self) -> Result<()> {
        let has_ended = match &self.body {
            Body::Process(process) => process.has_ended(),
            Body::Container(container) => container.has_ended(),
        };
        assert!(has_ended, "a running node keeps its data");
        std::fs::remove_dir_all(self.data()).context("the node's data was not removed")
    }

    /// Its disk, if that is limited.
    pub fn volume(&self) -> Option<&Volume> {
        self.volume.as_ref()
    }

    /// Whether it runs, as far as is known: one that ended by itself does not.
    pub async fn is_running(&mut self) -> bool {
        match &mut self.body {
            Body::Process(process) => process.is_running(),
            Body::Container(container) => container.is_running().await,
        }
    }

    fn log_path(&self) -> PathBuf {
        self.spec.directory.join("log")
    }

    /// Whether a line of its log contains this.
    pub fn log_contains(&self, text: &str) -> bool {
        std::fs::read_to_string(self.log_path()).unwrap_or_default().contains(text)
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        super::tail(&self.log_path(), 30)
    }

    /// Resident memory in bytes, while it runs as a process of ours.
    pub fn resident_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()?)).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
    }

    /// Bytes in the files of a part of its data (`log`, `engine`).
    ///
    /// # Errors
    /// When there is no such part.
    pub fn data_bytes(&self, part: &str) -> Result<u64> {
        let path = self.data().join(part);
        let entries = std::fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))?;
        // One that was removed meanwhile takes nothing.
        Ok(entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum())
    }

    /// The ID the node was given when it joined.
    ///
    /// # Errors
    /// When the node does not say.
    pub async fn node_id(&self) -> Result<u64> {
        let health: serde_json::Value = serde_json::from_str(&self.http("GET", "/health").await?)?;
        health["node_id"].as_u64().context("/health names no node")
    }

    /// Sets the delay of the link from this node to another (by node ID), or cuts it.
    ///
    /// # Errors
    /// When the node does not take the order.
    pub async fn set_link(&self, node_id: u64, delay: Duration, cut: bool) -> Result<()> {
        let target = format!("/faults/link?node={node_id}&delay_us={}&cut={cut}", delay.as_micros());
        self.http("POST", &target).await.map(|_| ())
    }

    /// Sets by how much its clock reads more than it should, in microseconds.
    ///
    /// # Errors
    /// When the node does not take the order.
    pub async fn set_clock_offset(&self, offset_us: i64) -> Result<()> {
        self.http("POST", &format!("/faults/clock?offset_us={offset_us}")).await.map(|_| ())
    }

    /// Sets by how much each sync of its log takes longer.
    ///
    /// # Errors
    /// When the node does not take the order.
    pub async fn set_sync_delay(&self, delay: Duration) -> Result<()> {
        self.http("POST", &format!("/faults/disk?sync_delay_us={}", delay.as_micros())).await.map(|_| ())
    }

    /// Asks the node's HTTP port; returns the body of a 200.
    ///
    /// # Errors
    /// When it answers something else, or not at all.
    pub async fn http(&self, method: &str, target: &str) -> Result<String> {
        let ask = async {
            let mut socket =
                tokio::net::TcpStream::connect((self.spec.site.ports.host, self.spec.site.ports.http)).await?;
            let request = format!(
                "{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            socket.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            socket.read_to_string(&mut answer).await?;
            anyhow::Ok(answer)
        };
        let answer = tokio::time::timeout(Duration::from_secs(5), ask).await.context("no answer within 5 s")??;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        if !head.starts_with("HTTP/1.1 200") {
            bail!("{method} {target}: {}: {}", head.lines().next().unwrap_or_default(), body.trim());
        }
        Ok(body.to_owned())
    }
}
