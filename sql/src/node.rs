//! The SQL side of one node: what all its sessions share.

mod sequences;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};

use crate::apart::Apart;
use crate::catalog::{CatalogManager, TableLock};
use crate::error::SqlError;
use crate::memory::ClientMemory;
use crate::query::QueryPlanner;
use crate::select::Planner;
use crate::session::{RowIds, Session, SessionParams};
use sequences::NodeSequences;
pub(crate) use sequences::SessionSequences;

/// What SQL asks of the cluster beside data.
#[async_trait]
pub trait ClusterView: Send + Sync + 'static {
    /// The ranges that overlap `[start, end)`, in key order.
    ///
    /// # Errors
    /// When the directory does not answer.
    async fn ranges(&self, start: Bytes, end: Bytes) -> Result<Vec<RangeView>, SqlError>;

    /// What was decided lately about where a range's replicas and its lease should be, oldest first.
    ///
    /// # Errors
    /// 22023 when there is no such range; when the directory does not answer.
    async fn explain_range(&self, range_id: u64) -> Result<Vec<DecisionView>, SqlError>;

    /// The nodes of the cluster.
    fn nodes(&self) -> Vec<NodeView>;

    /// Splits at the key.
    ///
    /// # Errors
    /// As a write.
    async fn split_at(&self, key: Bytes) -> Result<(), SqlError>;

    /// Compares the replicas of the ranges that overlap `[start, end)`, in key order.
    ///
    /// # Errors
    /// When the directory does not answer.
    async fn check(&self, start: Bytes, end: Bytes) -> Result<Vec<CheckView>, SqlError>;

    /// The settings of the cluster.
    fn settings(&self) -> Vec<SettingView>;

    /// Changes a setting of the cluster; `None` for what it is when nobody says otherwise.
    ///
    /// # Errors
    /// 42704 for an unknown name, 22023 for a value that does not fit; as a write.
    async fn set_setting(&self, name: &str, value: Option<&str>) -> Result<(), SqlError>;
}

/// What the check of a range came to, as `CHECK REPLICAS` prints it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CheckView {
    /// Identity.
    pub range_id: u64,
    /// First key, inclusive.
    pub start: Bytes,
    /// End, exclusive; empty for the end of the keyspace.
    pub end: Bytes,
    /// In a word.
    pub status: &'static str,
    /// Which replicas hold what.
    pub detail: String,
}

/// One setting of the cluster, as `SHOW CLUSTER SETTINGS` prints it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SettingView {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// What it does.
    pub description: &'static str,
}

/// One range, as `SHOW RANGES` prints it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RangeView {
    /// Identity.
    pub range_id: u64,
    /// First key, inclusive.
    pub start: Bytes,
    /// End, exclusive; empty for the end of the keyspace.
    pub end: Bytes,
    /// The nodes that hold replicas.
    pub replicas: Vec<u64>,
    /// Those of them that vote.
    pub voters: Vec<u64>,
    /// Those of the voters that answer the range's leader, where it says so.
    pub live_voters: Option<Vec<u64>>,
    /// The node that holds the lease, where known.
    pub leaseholder: Option<u64>,
    /// Bytes of keys and values, where known.
    pub bytes: Option<u64>,
    /// Live keys, where known.
    pub keys: Option<u64>,
    /// Requests a second that its leaseholder serves, where known.
    pub requests: Option<f64>,
}

/// One decision about where a range's replicas or its lease should be, as `SHOW RANGE … WHY` prints it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DecisionView {
    /// The node that decided.
    pub node_id: u64,
    /// When, in microseconds since the Unix epoch; `None` for what it would do now.
    pub at: Option<i64>,
    /// What is done.
    pub action: String,
    /// Why.
    pub reason: String,
}

/// One node, as `SHOW NODES` prints it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeView {
    /// Identity.
    pub node_id: u64,
    /// Where it answers.
    pub address: String,
    /// Its locality, `region=…,zone=…`.
    pub locality: String,
    /// Whether it was heard of lately.
    pub live: bool,
    /// `active`, `decommissioning` or `decommissioned`.
    pub membership: &'static str,
    /// How many replicas it said it has, if it said so.
    pub replicas: Option<u64>,
    /// How many leases it said it has, if it said so.
    pub leases: Option<u64>,
    /// How many bytes of keys and values, if it said so.
    pub bytes: Option<u64>,
    /// How many requests a second it serves under its leases, if it said so.
    pub requests: Option<u64>,
}

/// What a [`SqlNode`] is made of.
pub struct SqlNodeConfig {
    /// Where transactions begin.
    pub database: txn::Database,
    /// The cluster.
    pub cluster: Arc<dyn ClusterView>,
    /// This node.
    pub node_id: u64,
    /// Where tasks run.
    pub tasks: clock::Tasks,
    /// Where queries are planned and run, apart from what serves clients.
    pub query_tasks: clock::Tasks,
    /// Randomness.
    pub random: clock::Random,
    /// Numbers.
    pub settings: SqlSettings,
}

/// Bytes that a node's statements and sessions may hold together, unless it is told otherwise.
pub const DEFAULT_QUERY_MEMORY_BYTES: usize = 256 << 20;

/// The numbers of the SQL layer.
#[derive(Clone, Debug)]
pub struct SqlSettings {
    /// How long a node's lease on the catalog lasts.
    pub catalog_lease_ms: u64,
    /// How often a node looks for a newer catalog.
    pub catalog_poll_ms: u64,
    /// How long a statement waits for a table that is being altered, and ALTER for the statements that use it.
    pub ddl_wait_ms: u64,
    /// Bytes that statements and sessions may hold together, beyond what each may anyway.
    pub query_memory_bytes: usize,
    /// Values of a sequence a node takes at a time.
    pub sequence_cache: i64,
}

impl Default for SqlSettings {
    fn default() -> Self {
        SqlSettings {
            catalog_lease_ms: 6_000,
            catalog_poll_ms: 200,
            ddl_wait_ms: 10_000,
            query_memory_bytes: DEFAULT_QUERY_MEMORY_BYTES,
            sequence_cache: 32,
        }
    }
}

/// What all sessions of a node share.
pub(crate) struct Shared {
    pub database: txn::Database,
    pub cluster: Arc<dyn ClusterView>,
    pub manager: Arc<CatalogManager>,
    pub tasks: clock::Tasks,
    pub random: clock::Random,
    pub row_ids: Arc<RowIds>,
    pub sequences: Arc<NodeSequences>,
    pub planner: Arc<dyn QueryPlanner>,
    pub apart: Apart,
    pub memory: Arc<dyn MemoryPool>,
    next_session: AtomicU64,
    next_lock: AtomicU64,
}

impl Shared {
    /// What a lock on a table is going to be known by: no other lock has the same.
    pub fn new_lock(&self) -> TableLock {
        let (node, incarnation) = self.manager.holder();
        TableLock { node, incarnation, number: self.next_lock.fetch_add(1, Ordering::Relaxed) }
    }
}

/// The SQL side of one node. Cheap to clone.
#[derive(Clone)]
pub struct SqlNode {
    shared: Arc<Shared>,
}

impl SqlNode {
    /// Starts the SQL side: reads the catalog, creating it in a new cluster, and keeps it current.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn start(config: SqlNodeConfig) -> Result<SqlNode, SqlError> {
        let SqlNodeConfig { database, cluster, node_id, tasks, query_tasks, random, settings } = config;
        let manager = CatalogManager::start(database.clone(), node_id, &tasks, settings.clone()).await?;
        let row_ids = Arc::new(RowIds::new(node_id, database.now()?.wall_ns));
        let apart = Apart::new(query_tasks);
        let memory: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(settings.query_memory_bytes));
        let planner: Arc<dyn QueryPlanner> = Arc::new(Planner::new(memory.clone(), apart.clone())?);
        let shared = Shared {
            sequences: Arc::new(NodeSequences::new(database.clone(), settings.sequence_cache)),
            database,
            cluster,
            manager,
            tasks,
            random,
            row_ids,
            planner,
            apart,
            memory,
            next_session: AtomicU64::new(1),
            next_lock: AtomicU64::new(1),
        };
        Ok(SqlNode { shared: Arc::new(shared) })
    }

    /// What a client of the node holds beside its session: what its connection has in hand.
    pub fn client_memory(&self) -> ClientMemory {
        ClientMemory::new(&self.shared.memory)
    }

    /// Bytes that all statements and sessions hold together, beyond what each may anyway.
    pub fn held_bytes(&self) -> usize {
        self.shared.memory.reserved()
    }

    /// Opens a session.
    ///
    /// # Errors
    /// 28000 when the role does not exist, 3D000 when the database does not; 22023 for a setting that does not fit.
    pub async fn open_session(&self, params: SessionParams) -> Result<Session, SqlError> {
        let id = self.shared.next_session.fetch_add(1, Ordering::Relaxed);
        Session::open(self.shared.clone(), id, params).await
    }
}

impl std::fmt::Debug for SqlNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqlNode").finish_non_exhaustive()
    }
}
