//! One `meridian` process.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;

use super::namespaces::Namespace;
use super::{Ports, Volume, tied_command};

/// What can be sent to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Ends it at once: power loss, as far as the process can tell.
    Kill,
    /// Asks it to end.
    Terminate,
    /// Stops it in its tracks.
    Stop,
    /// Lets it go on.
    Continue,
}

/// What a node is started as.
#[derive(Clone, Debug)]
pub(super) struct NodeSpec {
    pub binary: PathBuf,
    /// For its log, and its data unless that has a volume.
    pub directory: PathBuf,
    pub ports: Ports,
    pub region: String,
    /// RPC addresses of all nodes.
    pub join: Vec<String>,
    /// More arguments.
    pub more: Vec<String>,
    /// More environment variables.
    pub environment: Vec<(String, String)>,
    /// Where its network is.
    pub namespace: Option<Namespace>,
    /// Size of a disk of its own, in mebibytes.
    pub volume_mib: Option<u64>,
}

/// A node's process, running or not.
#[derive(Debug)]
pub struct NodeProcess {
    spec: NodeSpec,
    // The process goes before its disk.
    child: Option<Child>,
    volume: Option<Volume>,
}

impl NodeProcess {
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
        Ok(NodeProcess { spec, child: None, volume })
    }

    /// Where its data lies.
    fn data(&self) -> PathBuf {
        self.volume.as_ref().map_or(self.spec.directory.as_path(), Volume::path).join("data")
    }

    fn arguments(&self) -> Vec<String> {
        let NodeSpec { ports, join, region, more, .. } = &self.spec;
        let address = |port: u16| format!("{}:{port}", ports.host);
        let mut arguments: Vec<String> = [
            "start",
            "--data",
            &self.data().to_string_lossy(),
            "--sql-addr",
            &address(ports.sql),
            "--rpc-addr",
            &address(ports.rpc),
            "--http-addr",
            &address(ports.http),
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

    /// Starts the process. Does nothing when it runs.
    ///
    /// # Errors
    /// When the binary cannot be run.
    pub fn start(&mut self) -> Result<()> {
        if self.child.is_some() {
            return Ok(());
        }
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log_path())?;
        let mut command = tied_command(&self.spec.binary);
        command.args(self.arguments()).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.envs(self.spec.environment.iter().map(|(name, value)| (name, value)));
        if let Some(namespace) = &self.spec.namespace {
            namespace.place(&mut command);
        }
        let child = command.spawn().with_context(|| format!("cannot run {}", self.spec.binary.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Sends a signal. `Kill` and `Terminate` wait until the process has ended.
    ///
    /// # Errors
    /// When the process does not run.
    pub async fn signal(&mut self, signal: Signal) -> Result<()> {
        let Some(child) = &mut self.child else { bail!("the process on port {} does not run", self.spec.ports.sql) };
        let id = child.id().context("the process has ended by itself")? as i32;
        let number = match signal {
            Signal::Kill => libc::SIGKILL,
            Signal::Terminate => libc::SIGTERM,
            Signal::Stop => libc::SIGSTOP,
            Signal::Continue => libc::SIGCONT,
        };
        // SAFETY: kill(2) takes no pointers; the process is our own child and not yet waited for, so its ID is its own.
        if unsafe { libc::kill(id, number) } != 0 {
            return Err(std::io::Error::last_os_error()).context("the signal was not delivered");
        }
        if matches!(signal, Signal::Kill | Signal::Terminate) {
            tokio::time::timeout(Duration::from_secs(20), child.wait())
                .await
                .context("the process did not end within 20 s")??;
            self.child = None;
        }
        Ok(())
    }

    /// Where it listens.
    pub fn ports(&self) -> Ports {
        self.spec.ports
    }

    /// Its region.
    pub fn region(&self) -> &str {
        &self.spec.region
    }

    /// The process's ID, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Removes its data, as if its disk had been replaced. REQUIRES: the process does not run.
    ///
    /// # Errors
    /// The disk's.
    pub fn wipe(&self) -> Result<()> {
        assert!(self.child.is_none(), "a running node keeps its data");
        std::fs::remove_dir_all(self.data()).context("the node's data was not removed")
    }

    /// Its disk, if that is limited.
    pub fn volume(&self) -> Option<&Volume> {
        self.volume.as_ref()
    }

    /// Whether the process runs, as far as is known: one that ended by itself does not.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
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

    /// Resident memory of the process in bytes, while it runs.
    pub fn resident_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()?)).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
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
            let mut socket = tokio::net::TcpStream::connect((self.spec.ports.host, self.spec.ports.http)).await?;
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
            bail!("{method} {target}: {}", head.lines().next().unwrap_or_default());
        }
        Ok(body.to_owned())
    }
}
