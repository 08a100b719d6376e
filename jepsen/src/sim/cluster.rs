//! The simulated nodes, and what can be done to them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use clock::{Hlc, Random, SimulatedTime, Tasks};
use kv::engine::MemoryEngine;
use kv::node::{Admin, Begin, Node, NodeConfig};
use parking_lot::Mutex;
use raft_groups::disk::{CeilingCell, Dir, DurableCell, SimDir};
use raft_groups::{GroupConfig, NodeId, SimNetwork, WalOptions};
use sql::{ClusterView, NodeView, RangeView, SqlError, SqlNode, SqlNodeConfig, SqlSettings};

use super::Trace;
use super::session::SimDatabase;

/// How a simulated cluster is made.
#[derive(Clone, Debug)]
pub struct SimSettings {
    /// How many nodes.
    pub nodes: usize,
    /// The bound on clock errors; nodes' clocks are skewed within it.
    pub clock_error: Duration,
    /// The numbers of the layers below SQL.
    pub kv: kv::Settings,
}

impl Default for SimSettings {
    fn default() -> Self {
        SimSettings { nodes: 3, clock_error: Duration::from_millis(2), kv: kv::Settings::default() }
    }
}

/// Memory of a node's queries.
const QUERY_MEMORY_BYTES: usize = 64 << 20;

/// When every run begins: 2023-11-14, so that timestamps look like timestamps.
const START_NS: u64 = 1_700_000_000_000_000_000;

/// A cluster of simulated nodes.
pub struct SimCluster {
    settings: SimSettings,
    random: Random,
    tasks: Tasks,
    time: SimulatedTime,
    network: SimNetwork,
    nodes: Vec<SimNode>,
    database: SimDatabase,
}

struct SimNode {
    time: SimulatedTime,
    disk: SimDir,
    log: SimDir,
    engine: Arc<MemoryEngine>,
    node: Option<Node>,
    /// How often it has started.
    lives: u64,
}

fn address(index: usize) -> String {
    format!("node-{}", index + 1)
}

impl SimCluster {
    /// Starts all nodes of a new cluster; the first founds it, the others join.
    ///
    /// # Errors
    /// When a node does not start.
    pub async fn start(seed: u64, settings: SimSettings, trace: Trace) -> Result<SimCluster> {
        let random = Random::from_seed(seed);
        let tasks = Tasks::deterministic(tokio::runtime::Handle::current());
        let network = SimNetwork::new(random.fork("network"), tasks.clone());
        let time = SimulatedTime::starting_at(START_NS, settings.clock_error);
        let skew_ns_max = settings.clock_error.as_nanos() as u64;
        let nodes = (0..settings.nodes)
            .map(|index| {
                let skew_ns = random.range(0, 2 * skew_ns_max + 1) as i64 - skew_ns_max as i64;
                SimNode {
                    time: time.another(skew_ns),
                    disk: SimDir::new(random.fork(&format!("disk {index}"))),
                    log: SimDir::new(random.fork(&format!("log disk {index}"))),
                    engine: Arc::new(MemoryEngine::new()),
                    node: None,
                    lives: 0,
                }
            })
            .collect();
        let sessions = Arc::new(Mutex::new(vec![None; settings.nodes]));
        let database = SimDatabase { nodes: sessions, trace };
        let mut cluster = SimCluster { settings, random, tasks, time, network, nodes, database };
        for index in 0..cluster.nodes.len() {
            cluster.start_node(index).await?;
        }
        Ok(cluster)
    }

    /// Starts a node, for the first time or again.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start_node(&mut self, index: usize) -> Result<()> {
        let life = &mut self.nodes[index];
        if life.node.is_some() {
            return Ok(());
        }
        life.lives += 1;
        let random = self.random.fork(&format!("node {index} life {}", life.lives));
        let dir: Arc<dyn Dir> = Arc::new(life.disk.clone());
        let ceiling = CeilingCell::new(DurableCell::new(Arc::clone(&dir), "ceiling"));
        let former = ceiling.read()?;
        let hlc = Hlc::new(Arc::new(life.time.clone()), self.settings.clock_error, Arc::new(ceiling), former);
        let hlc = Arc::new(hlc);
        let transport = self.network.connect(NodeId(0), &address(index), Arc::clone(&hlc));
        let begin = if index == 0 { Begin::Bootstrap } else { Begin::Join(vec![address(0)]) };
        let config = NodeConfig {
            log_dir: Arc::new(life.log.clone()),
            data_dir: dir,
            engine: life.engine.clone(),
            transport,
            hlc: Arc::clone(&hlc),
            tasks: self.tasks.clone(),
            raft_tasks: self.tasks.clone(),
            random: random.clone(),
            settings: self.settings.kv.clone(),
            groups: GroupConfig::default(),
            wal: WalOptions::small(),
            locality: format!("region=r{}", index + 1).parse().context("a region has a name")?,
            address: address(index),
            sql_address: address(index),
            version: "simulated".to_owned(),
            begin,
        };
        let node = Node::start(config).await.with_context(|| format!("node {} did not start", index + 1))?;
        let transactions = random.fork("transactions");
        let settings = txn::Settings::default();
        let database =
            txn::Database::new(node.sender(), hlc, self.tasks.clone(), transactions, node.node_id(), settings);
        let sql = SqlNode::start(SqlNodeConfig {
            database,
            cluster: Arc::new(View(node.admin())),
            node_id: node.node_id(),
            tasks: self.tasks.clone(),
            random: random.fork("sql"),
            settings: SqlSettings { query_memory_bytes: QUERY_MEMORY_BYTES, ..SqlSettings::default() },
        });
        let sql =
            sql.await.map_err(|error| anyhow::anyhow!("the catalog of node {} cannot be read: {error}", index + 1))?;
        self.nodes[index].node = Some(node);
        self.database.nodes.lock()[index] = Some(sql);
        Ok(())
    }

    /// Takes a node down as power loss does: what it had not synced is lost, or torn.
    pub async fn crash(&mut self, index: usize) {
        let life = &mut self.nodes[index];
        let Some(node) = life.node.take() else { return };
        self.database.nodes.lock()[index] = None;
        self.network.disconnect(NodeId(node.node_id()));
        let unsynced = life.engine.unsynced_batches() as u64;
        let surviving = self.random.range(0, unsynced + 1) as usize;
        life.log = life.log.crash();
        life.disk = life.disk.crash();
        life.engine = Arc::new(life.engine.crash(surviving));
        node.halt().await;
    }

    /// Whether a node runs.
    pub fn is_running(&self, index: usize) -> bool {
        self.nodes[index].node.is_some()
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are no nodes.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// A node's ID, while it runs.
    pub fn node_id(&self, index: usize) -> Option<NodeId> {
        self.nodes[index].node.as_ref().map(|node| NodeId(node.node_id()))
    }

    /// The network between the nodes.
    pub fn network(&self) -> &SimNetwork {
        &self.network
    }

    /// True time since the start.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.time.true_ns() - START_NS)
    }

    /// The cluster as a database.
    pub fn database(&self) -> Box<dyn crate::client::Database> {
        Box::new(self.database.clone())
    }
}

struct View(Arc<dyn Admin>);

#[async_trait::async_trait]
impl ClusterView for View {
    async fn ranges(&self, start: Bytes, end: Bytes) -> Result<Vec<RangeView>, SqlError> {
        let span = kv::api::Span { start, end };
        let ranges = self.0.ranges(span).await.map_err(|error| SqlError::from(txn::Error::from(error)))?;
        let view = |range: kv::node::RangeInfo| RangeView {
            range_id: range.descriptor.range_id,
            start: range.descriptor.start,
            end: range.descriptor.end,
            ..RangeView::default()
        };
        Ok(ranges.into_iter().map(view).collect())
    }

    fn nodes(&self) -> Vec<NodeView> {
        Vec::new()
    }

    async fn split_at(&self, key: Bytes) -> Result<(), SqlError> {
        self.0.split_at(key).await.map(|_| ()).map_err(|error| SqlError::from(txn::Error::from(error)))
    }
}
