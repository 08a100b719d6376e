//! A cluster of real `meridian` processes on this machine's loopback.
//!
//! Every node is a process with a data directory, three ports, a locality and a log file of its own. A process
//! is ended with the value that holds it, so that nothing outlives a test or a Ctrl-C.
//!
//! Knows nothing of what runs on the cluster.

mod ports;
mod process;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio_postgres::{Client, NoTls};

pub use ports::{Ports, free_port_run, free_ports};
pub use process::{NodeProcess, Signal};

/// What kind of cluster to start.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// How many nodes.
    pub nodes: usize,
    /// Over how many regions they are spread.
    pub regions: usize,
    /// Round trip between two regions.
    pub latency: Duration,
    /// Where data and logs go.
    pub directory: PathBuf,
    /// The `meridian` binary.
    pub binary: PathBuf,
    /// SQL port of the first node, if it matters; free ports are found otherwise.
    pub first_sql_port: Option<u16>,
    /// Let links be slowed down and cut. Latency needs it.
    pub fault_hooks: bool,
    /// More arguments for every node.
    pub arguments: Vec<String>,
}

impl ClusterConfig {
    /// Three nodes in three regions without latency, in the given directory, running the binary beside this one.
    ///
    /// # Errors
    /// When no `meridian` binary lies beside the running program.
    pub fn in_directory(directory: impl Into<PathBuf>) -> Result<Self> {
        Ok(ClusterConfig {
            nodes: 3,
            regions: 3,
            latency: Duration::ZERO,
            directory: directory.into(),
            binary: find_binary()?,
            first_sql_port: None,
            fault_hooks: true,
            arguments: Vec::new(),
        })
    }
}

/// The `meridian` binary that was built with the running program.
///
/// # Errors
/// When there is none: `cargo build --bin meridian` makes one.
pub fn find_binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("MERIDIAN_BINARY") {
        return Ok(path.into());
    }
    let program = std::env::current_exe().context("this program has a path")?;
    for folder in program.ancestors().skip(1).take(2) {
        let candidate = folder.join("meridian");
        if candidate.is_file() {
            return Ok(candidate);
        }
    }
    bail!("no meridian binary lies beside {}: run `cargo build --bin meridian` first", program.display())
}

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    config: ClusterConfig,
    nodes: Vec<NodeProcess>,
    /// The IDs the nodes were given when they joined.
    node_ids: Vec<u64>,
}

/// How long a cluster may take until every node answers.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

impl Cluster {
    /// Starts all nodes, makes them a cluster, and waits until each answers a query.
    ///
    /// # Errors
    /// When a process does not start, or a node does not answer in time; its log's end is in the message.
    pub async fn start(config: ClusterConfig) -> Result<Self> {
        let ports = ports::assign(config.nodes, config.first_sql_port)?;
        let join: Vec<String> = ports.iter().map(|ports| format!("127.0.0.1:{}", ports.rpc)).collect();
        let mut arguments = config.arguments.clone();
        if config.fault_hooks {
            arguments.push("--fault-hooks".to_owned());
        }
        let mut nodes = Vec::new();
        for (index, ports) in ports.iter().enumerate() {
            let region = format!("r{}", index % config.regions.max(1) + 1);
            let directory = config.directory.join(format!("n{}", index + 1));
            let node = NodeProcess::new(&config.binary, directory, *ports, &region, &join, &arguments)?;
            nodes.push(node);
        }
        let mut cluster = Cluster { config, nodes, node_ids: Vec::new() };
        for node in &mut cluster.nodes {
            node.start()?;
        }
        cluster.init(&join[0]).await?;
        cluster.wait_until_ready().await?;
        for node in &cluster.nodes {
            cluster.node_ids.push(node.node_id().await?);
        }
        cluster.set_latency().await?;
        Ok(cluster)
    }

    async fn init(&self, address: &str) -> Result<()> {
        let mut last = String::new();
        for _ in 0..100 {
            let output = tokio::process::Command::new(&self.config.binary)
                .args(["init", "--host", address, "--log", "warn"])
                .output()
                .await
                .context("meridian init did not start")?;
            if output.status.success() {
                return Ok(());
            }
            last = String::from_utf8_lossy(&output.stderr).into_owned();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("meridian init failed: {last}\n{}", self.nodes[0].log_tail())
    }

    /// Waits until every node answers a query.
    ///
    /// # Errors
    /// When one does not in time.
    pub async fn wait_until_ready(&self) -> Result<()> {
        for index in 0..self.nodes.len() {
            self.wait_until_node_ready(index).await?;
        }
        Ok(())
    }

    /// Waits until a node answers a query.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn wait_until_node_ready(&self, index: usize) -> Result<()> {
        let probe = async {
            loop {
                if let Ok(client) = self.connect(index).await
                    && client.simple_query("SELECT 1").await.is_ok()
                {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        match tokio::time::timeout(READY_TIMEOUT, probe).await {
            Ok(()) => Ok(()),
            Err(_) => bail!("node {} does not answer:\n{}", index + 1, self.nodes[index].log_tail()),
        }
    }

    /// Delays every link between two regions by half the configured round trip, each way.
    async fn set_latency(&self) -> Result<()> {
        if self.config.latency.is_zero() {
            return Ok(());
        }
        for from in 0..self.nodes.len() {
            for to in 0..self.nodes.len() {
                self.set_one_way(from, to, false).await?;
            }
        }
        Ok(())
    }

    /// Cuts (or heals) all links between two groups of nodes, both ways.
    ///
    /// # Errors
    /// When a node does not take the order.
    pub async fn set_partition(&self, left: &[usize], right: &[usize], cut: bool) -> Result<()> {
        for (one, other) in left.iter().flat_map(|l| right.iter().map(move |r| (*l, *r))) {
            self.set_one_way(one, other, cut).await?;
            self.set_one_way(other, one, cut).await?;
        }
        Ok(())
    }

    /// Sets one direction of a link to what the regions of its ends say, or cuts it.
    async fn set_one_way(&self, from: usize, to: usize, cut: bool) -> Result<()> {
        let apart = self.nodes[from].region() != self.nodes[to].region();
        let delay = if apart { self.config.latency / 2 } else { Duration::ZERO };
        if from == to || self.node_ids.is_empty() {
            return Ok(());
        }
        self.nodes[from].set_link(self.node_ids[to], delay, cut).await
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are no nodes.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// A node, counted from 0.
    pub fn node(&self, index: usize) -> &NodeProcess {
        &self.nodes[index]
    }

    /// A node, counted from 0, to do something to.
    pub fn node_mut(&mut self, index: usize) -> &mut NodeProcess {
        &mut self.nodes[index]
    }

    /// What it was started as.
    pub fn config(&self) -> &ClusterConfig {
        &self.config
    }

    /// A connection to a node's SQL port. It ends with its client.
    ///
    /// # Errors
    /// When the node does not accept it.
    pub async fn connect(&self, index: usize) -> Result<Client> {
        connect(self.nodes[index].ports().sql).await
    }
}

/// A connection to a SQL port on loopback, as user postgres.
///
/// # Errors
/// When nobody accepts it.
pub async fn connect(port: u16) -> Result<Client> {
    let config = format!("host=127.0.0.1 port={port} user=postgres dbname=postgres connect_timeout=5");
    let (client, connection) = tokio_postgres::connect(&config, NoTls).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection broke");
        }
    });
    Ok(client)
}

/// The last lines of a log file.
fn tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
