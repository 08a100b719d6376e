//! One life of a simulated node: everything from SQL down to the log, put together as in production.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use async_trait::async_trait;
use clock::{Hlc, Random, SimulatedTime, Tasks};
use kv::api::{BatchRequest, BatchResponse, KvError, Request, RequestKind, Sender};
use kv::engine::MemoryEngine;
use kv::node::{Begin, Node, NodeConfig};
use pgwire_server::node::cluster_view;
use raft_groups::disk::{CeilingCell, Dir, DurableCell, SimDir};
use raft_groups::{NodeId, SimNetwork, WalOptions};
use sql::{SqlNode, SqlNodeConfig, SqlSettings};

use super::cluster::SimSettings;

/// Memory of a node's queries.
const QUERY_MEMORY_BYTES: usize = 64 << 20;

/// How long a node that starts waits before it tries again to read the catalog.
const CATALOG_PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

/// Nodes that a node which joins may ask.
const FOUNDERS: usize = 3;

/// What a life is made of.
pub(super) struct Parts {
    pub index: usize,
    pub life: u64,
    /// Whether it began the cluster.
    pub is_founder: bool,
    pub time: SimulatedTime,
    pub disk: SimDir,
    pub log: SimDir,
    pub engine: Arc<MemoryEngine>,
    pub tasks: Tasks,
    pub random: Random,
    pub network: SimNetwork,
    pub settings: SimSettings,
    /// Whether no heartbeats of transactions are sent.
    pub is_starved: Arc<AtomicBool>,
}

/// Sends what a node's coordinators send, but for heartbeats while these are starved.
struct Coordinators {
    sender: Arc<dyn Sender>,
    is_starved: Arc<AtomicBool>,
}

#[async_trait]
impl Sender for Coordinators {
    async fn send(&self, batch: BatchRequest) -> Result<BatchResponse, KvError> {
        let is_heartbeat = |request: &Request| matches!(request.kind, Some(RequestKind::HeartbeatTxn(_)));
        if self.is_starved.load(Ordering::Relaxed) && batch.requests.iter().all(is_heartbeat) {
            // The coordinator gives it up after a while.
            return std::future::pending().await;
        }
        self.sender.send(batch).await
    }
}

pub(super) fn address(index: usize) -> String {
    format!("node-{}", index + 1)
}

/// Starts everything below SQL.
pub(super) async fn start(parts: &Parts) -> Result<Node> {
    let index = parts.index;
    let dir: Arc<dyn Dir> = Arc::new(parts.disk.clone());
    let ceiling = CeilingCell::new(DurableCell::new(Arc::clone(&dir), "ceiling"));
    let former = ceiling.read()?;
    let hlc = Hlc::new(Arc::new(parts.time.clone()), parts.settings.clock_error, Arc::new(ceiling), former);
    let hlc = Arc::new(hlc);
    let transport = parts.network.connect(NodeId(0), &address(index), Arc::clone(&hlc));
    let others = (0..FOUNDERS).filter(|other| *other != index).map(address).collect();
    let begin = if parts.is_founder { Begin::Bootstrap } else { Begin::Join(others) };
    let config = NodeConfig {
        log_dir: Arc::new(parts.log.clone()),
        data_dir: dir,
        engine: parts.engine.clone(),
        transport,
        hlc,
        tasks: parts.tasks.clone(),
        raft_tasks: parts.tasks.clone(),
        random: parts.random.clone(),
        settings: parts.settings.kv.clone(),
        groups: parts.settings.groups.clone(),
        wal: WalOptions::small(),
        locality: format!("region=r{}", index + 1).parse().context("a region has a name")?,
        address: address(index),
        sql_address: address(index),
        version: "simulated".to_owned(),
        begin,
        waiting: kv::node::Waiting::default(),
    };
    Node::start(config).await.with_context(|| format!("node {} did not start", index + 1))
}

/// Starts the SQL side, as soon as the catalog answers.
pub(super) async fn start_sql(parts: &Parts, node: &Arc<Node>) -> Result<SqlNode> {
    let transactions = parts.random.fork("transactions");
    let hlc = node.hlc().clone();
    let (tasks, settings) = (parts.tasks.clone(), parts.settings.transactions.clone());
    let sender = Arc::new(Coordinators { sender: node.sender(), is_starved: parts.is_starved.clone() });
    let database = txn::Database::new(sender, hlc, tasks, transactions, node.node_id(), settings);
    loop {
        let sql = SqlNode::start(SqlNodeConfig {
            database: database.clone(),
            cluster: cluster_view::of(&node.admin()),
            node_id: node.node_id(),
            tasks: parts.tasks.clone(),
            query_tasks: parts.tasks.clone(),
            random: parts.random.fork("sql"),
            settings: SqlSettings { query_memory_bytes: QUERY_MEMORY_BYTES, ..SqlSettings::default() },
        });
        match sql.await {
            Ok(sql) => return Ok(sql),
            Err(error) => {
                tracing::debug!(node = parts.index + 1, %error, "the catalog cannot be read yet");
                tokio::time::sleep(CATALOG_PAUSE).await;
            }
        }
    }
}
