//! A cluster of real `meridian` processes on this machine.
//!
//! Every node is a process with a data directory, three ports, a locality and a log file of its own; where that is asked for, in
//! a network namespace or a container, and with a disk of limited size. A process is ended with the value that holds it, so that nothing
//! outlives a test, a panic or a Ctrl-C.
//!
//! Knows nothing of what runs on the cluster.

mod container;
mod containers;
mod ground;
mod links;
mod namespaces;
mod node;
mod ports;
mod process;
mod tied;
mod volume;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio_postgres::{Client, NoTls};

pub use ground::Confinement;
pub use namespaces::Namespaces;
pub use node::{Node, Signal};
pub use ports::{Ports, free_port_run, free_ports};
pub use tied::tied_command;
pub use volume::Volume;

use ground::Ground;
use links::Links;
use node::NodeSpec;

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
    /// More environment variables for single nodes, by index.
    pub environment: Vec<(usize, String, String)>,
    /// What each node is confined to.
    pub confinement: Confinement,
    /// Each node has a disk of so many mebibytes.
    pub volume_mib: Option<u64>,
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
            environment: Vec::new(),
            confinement: Confinement::None,
            volume_mib: None,
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
    // Nodes go before the network they are in.
    nodes: Vec<Node>,
    /// The IDs the nodes were given when they joined.
    node_ids: Vec<u64>,
    links: Links,
}

/// How long a cluster may take until every node answers.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

impl Cluster {
    /// Starts all nodes, makes them a cluster, and waits until each answers a query and each range has its copies.
    ///
    /// # Errors
    /// When a process does not start, or a node does not answer in time; its log's end is in the message.
    pub async fn start(config: ClusterConfig) -> Result<Self> {
        let cluster = Cluster::found(config).await?;
        cluster.wait_until_replicated(READY_TIMEOUT).await?;
        Ok(cluster)
    }

    /// Starts all nodes, makes them a cluster, and waits until each answers a query: by then most ranges have one copy.
    ///
    /// # Errors
    /// As [`Cluster::start`].
    pub async fn found(config: ClusterConfig) -> Result<Self> {
        let ground = Ground::prepare(&config).await?;
        let sites: Vec<_> = (0..config.nodes).map(|index| ground.site(index)).collect();
        let join: Vec<String> = sites.iter().map(|site| format!("{}:{}", site.address.0, site.address.1)).collect();
        let directory = std::path::absolute(&config.directory)?;
        let mut arguments = config.arguments.clone();
        if config.fault_hooks {
            arguments.push("--fault-hooks".to_owned());
        }
        let mut nodes = Vec::new();
        for (index, site) in sites.into_iter().enumerate() {
            let environment = config.environment.iter().filter(|(node, ..)| *node == index);
            nodes.push(Node::new(NodeSpec {
                binary: config.binary.clone(),
                directory: directory.join(format!("n{}", index + 1)),
                site,
                region: format!("r{}", index % config.regions.max(1) + 1),
                join: join.clone(),
                more: arguments.clone(),
                environment: environment.map(|(_, name, value)| (name.clone(), value.clone())).collect(),
                volume_mib: config.volume_mib,
            })?);
        }
        let links = Links::new(ground, config.nodes);
        let mut cluster = Cluster { config, nodes, node_ids: Vec::new(), links };
        for node in &mut cluster.nodes {
            node.start().await?;
        }
        cluster.init().await?;
        cluster.wait_until_ready().await?;
        for node in &cluster.nodes {
            cluster.node_ids.push(node.node_id().await?);
        }
        for index in 0..cluster.len() {
            cluster.set_hooks(index).await?;
        }
        Ok(cluster)
    }

    async fn init(&self) -> Result<()> {
        let ports = self.nodes[0].ports();
        let address = format!("{}:{}", ports.host, ports.rpc);
        let mut last = String::new();
        for _ in 0..100 {
            let output = tied_command(&self.config.binary)
                .args(["init", "--host", &address, "--log", "warn"])
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

    /// Starts a node again, and tells it what is wrong with its links once it answers. Does nothing when it runs.
    ///
    /// # Errors
    /// When it does not start, or does not answer in time.
    pub async fn restart(&mut self, index: usize) -> Result<()> {
        self.nodes[index].start().await?;
        self.wait_until_node_ready(index).await?;
        self.set_hooks(index).await
    }

    /// Starts a node anew, without its data: the cluster takes it for another one, on the same addresses.
    ///
    /// # Errors
    /// When it does not start, or does not answer in time.
    pub async fn replace(&mut self, index: usize) -> Result<()> {
        if self.nodes[index].is_running().await {
            self.nodes[index].signal(Signal::Kill).await?;
        }
        self.nodes[index].wipe()?;
        self.nodes[index].start().await?;
        self.wait_until_node_ready(index).await?;
        self.node_ids[index] = self.nodes[index].node_id().await?;
        for other in 0..self.len() {
            self.set_hooks(other).await?;
        }
        Ok(())
    }

    /// The index of the node that holds the lease of a table's first range.
    ///
    /// # Errors
    /// When nobody knows it, or another node than these holds it.
    pub async fn leaseholder(&self, table: &str) -> Result<usize> {
        let client = self.connect(0).await?;
        // A first access brings an idle range its lease.
        client.query(&format!("SELECT * FROM {table} LIMIT 1"), &[]).await?;
        let ranges = client.query(&format!("SHOW RANGES FROM TABLE {table}"), &[]).await?;
        let range = ranges.first().with_context(|| format!("{table} is in no range"))?;
        let holder: Option<i64> = range.get("leaseholder");
        let holder = holder.with_context(|| format!("nobody holds the lease of {table}"))?;
        let index = self.node_ids.iter().position(|id| i64::try_from(*id) == Ok(holder));
        index.with_context(|| format!("the lease of {table} is on node {holder}, which is none of ours"))
    }

    /// Whether every range has as many copies as it should, all of them on nodes of this cluster as it is now.
    ///
    /// # Errors
    /// When the cluster does not say.
    pub async fn is_fully_replicated(&self) -> Result<bool> {
        let factor = self.config.arguments.iter().skip_while(|argument| *argument != "--replication-factor").nth(1);
        let copies: usize = factor.and_then(|copies| copies.parse().ok()).unwrap_or(3);
        let ranges = self.connect(0).await?.query("SHOW RANGES", &[]).await?;
        let is_whole = |range: &tokio_postgres::Row| {
            // The first range, by which all others are found, has more.
            let most = if range.get::<_, i64>("range_id") == 1 { copies.max(5) } else { copies };
            // An even number of voters is never aimed at.
            let wanted = [9, 7, 5, 3, 1].into_iter().find(|odd| *odd <= most.min(self.len())).unwrap_or(1);
            let voters: String = range.get("voting_replicas");
            let nodes: Vec<u64> = voters.trim_matches(['{', '}']).split(',').filter_map(|id| id.parse().ok()).collect();
            nodes.len() == wanted && nodes.iter().all(|id| self.node_ids.contains(id))
        };
        Ok(!ranges.is_empty() && ranges.iter().all(is_whole))
    }

    /// Waits until every range has all its copies on nodes that are there: before that, whoever is alone may rightly serve alone.
    ///
    /// # Errors
    /// When it takes longer.
    pub async fn wait_until_replicated(&self, timeout: Duration) -> Result<()> {
        let wait = async {
            while !self.is_fully_replicated().await.unwrap_or(false) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        match tokio::time::timeout(timeout, wait).await {
            Ok(()) => Ok(()),
            Err(_) => bail!("ranges still lack copies after {} s", timeout.as_secs()),
        }
    }

    /// Prints the last lines of every node's log.
    pub fn print_logs(&self) {
        for (index, node) in self.nodes.iter().enumerate() {
            println!("--- log of node {}\n{}", index + 1, node.log_tail());
        }
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
    pub fn node(&self, index: usize) -> &Node {
        &self.nodes[index]
    }

    /// A node, counted from 0, to do something to.
    pub fn node_mut(&mut self, index: usize) -> &mut Node {
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
        connect_to(self.sql_address(index)).await
    }

    /// A node's SQL address.
    pub fn sql_address(&self, index: usize) -> SocketAddr {
        let ports = self.nodes[index].ports();
        SocketAddr::from((ports.host, ports.sql))
    }
}

/// A connection to a SQL port on loopback, as user postgres.
///
/// # Errors
/// When nobody accepts it.
pub async fn connect(port: u16) -> Result<Client> {
    connect_to(SocketAddr::from(([127, 0, 0, 1], port))).await
}

/// A connection to a SQL address, as user postgres.
///
/// # Errors
/// When nobody accepts it.
pub async fn connect_to(address: SocketAddr) -> Result<Client> {
    let (host, port) = (address.ip(), address.port());
    let config = format!("host={host} port={port} user=postgres dbname=postgres connect_timeout=5");
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
