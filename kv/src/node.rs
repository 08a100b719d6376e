//! One process of the cluster: a store, a router, and what keeps them healthy.
//!
//! ```text
//!   Node::start ─▶ identity: former life, bootstrap, or join ─▶ store ─▶ router ─▶ heartbeat, keeper, checker, disk
//!   Node::sender ─▶ the router
//!   Node::admin  ─▶ ranges, nodes, splits, lease transfers, status
//!
//!   join:  new node ── Join(address, locality) ─▶ any node ── Increment(node counter) ─▶ first range
//!                   ◀─ cluster, node ID, who is there ──┘
//!          new node ── Announce(descriptor) ─▶ every node, whose keepers look at once for ranges to copy to it
//! ```
//!
//! Nothing here waits for a tick to make progress: ticks only catch what an event missed.

mod admin;
mod checker;
mod departure;
mod explain;
mod fence;
mod founding;
mod handler;
mod heartbeat;
mod identity;
mod keeper;
mod learners;
pub mod message;
mod relief;
mod tend;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clock::{ClockFault, Hlc, Random, Tasks};
use parking_lot::Mutex;
use raft_groups::disk::Dir;
use raft_groups::wal::{Wal, WalError, WalOptions};
use raft_groups::{Class, GroupConfig, GroupError, GroupHost, NodeId, Transport};
use tokio::sync::{oneshot, watch};

pub use admin::{Admin, NodeInfo, RangeInfo, SettingError, StatusInfo};
pub use checker::{CheckCounts, CheckInfo};
pub use explain::DecisionInfo;

use crate::Settings;
use crate::api::Sender;
use crate::consistency::CheckLimits;
use crate::engine::{Engine, EngineError};
use crate::liveness::{Locality, NodeDescriptor, Registry};
use crate::router::{LocalRanges, Router};
use crate::store::{DiskGuard, Hints, Store, StoreError, StoreIdentity, StoreParts};

/// How long a stopping node tries to say so.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(500);

/// What a node is made of, and how it begins.
pub struct NodeConfig {
    /// Where the shared log is kept; nothing else may be in it.
    pub log_dir: Arc<dyn Dir>,
    /// A directory on the disk that data is kept on: its free room is watched, and the ballast put there.
    pub data_dir: Arc<dyn Dir>,
    /// Where data is kept.
    pub engine: Arc<dyn Engine>,
    /// The way to the other nodes.
    pub transport: Arc<dyn Transport>,
    /// The node's clock.
    pub hlc: Arc<Hlc>,
    /// Where requests are evaluated.
    pub tasks: Tasks,
    /// Where Raft and its log run.
    pub raft_tasks: Tasks,
    /// The node's stream of random numbers.
    pub random: Random,
    /// The numbers.
    pub settings: Settings,
    /// How the Raft groups behave.
    pub groups: GroupConfig,
    /// How the log is laid out.
    pub wal: WalOptions,
    /// Where the node stands.
    pub locality: Locality,
    /// Where its peers reach it.
    pub address: String,
    /// Where clients reach it.
    pub sql_address: String,
    /// The version of the program.
    pub version: String,
    /// What to do when the store is new. A store that belongs to a cluster goes on as what it was.
    pub begin: Begin,
    /// Told what the node waits for while it starts.
    pub waiting: Waiting,
}

/// What a node waits for before it serves, for those who ask meanwhile. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Waiting(Arc<Mutex<Option<String>>>);

impl Waiting {
    /// What it is; `None` while it waits for nothing in particular.
    pub fn told(&self) -> Option<String> {
        self.0.lock().clone()
    }

    fn tell(&self, words: impl FnOnce() -> String) {
        *self.0.lock() = Some(words());
    }

    fn end(&self) {
        *self.0.lock() = None;
    }
}

/// How a node with a new store becomes part of a cluster.
pub enum Begin {
    /// It founds a new cluster.
    Bootstrap,
    /// It joins the cluster that one of these addresses belongs to, as soon as one answers.
    Join(Vec<String>),
    /// It joins like that, unless it is told first to found a new cluster.
    JoinOrBootstrap {
        /// Addresses of other nodes.
        join: Vec<String>,
        /// Fires when this node shall found the cluster.
        bootstrap: oneshot::Receiver<()>,
    },
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The engine failed, or its store is of another format.
    #[error("the storage engine failed")]
    Engine(#[from] EngineError),
    /// The log failed, or is damaged.
    #[error("the write-ahead log failed")]
    Wal(#[from] WalError),
    /// A Raft group did not start.
    #[error("a raft group did not start")]
    Group(#[from] GroupError),
    /// The store did not start.
    #[error("the store did not start")]
    Store(#[from] StoreError),
    /// The node's clock error bound is not the cluster's.
    #[error(
        "the cluster was founded with a clock error of {cluster_ms} ms, this node was started with {own_ms} ms: start it with the cluster's"
    )]
    ClockError {
        /// The cluster's bound.
        cluster_ms: u64,
        /// This node's.
        own_ms: u64,
    },
    /// The clock refuses to go on.
    #[error("the clock failed")]
    Clock(#[from] clock::HlcError),
    /// The clock must not be relied on.
    #[error("the clock must not be relied on")]
    ClockFault(#[source] ClockFault),
}

/// A running node. Dropping it does not stop it: [`Node::shutdown`] does.
pub struct Node {
    shared: Arc<Shared>,
}

/// What the node's parts share.
pub(crate) struct Shared {
    identity: StoreIdentity,
    descriptor: NodeDescriptor,
    store: Arc<Store>,
    router: Arc<Router>,
    registry: Arc<Registry>,
    transport: Arc<dyn Transport>,
    wal: Wal,
    hlc: Arc<Hlc>,
    /// Everything the node runs, so that it can end all of it.
    tasks: Tasks,
    raft_tasks: Tasks,
    settings: Settings,
    keeper: keeper::Keeper,
    checker: checker::Checker,
    /// Addresses that other nodes may be found at.
    join: Vec<String>,
    /// What is kept for the next life, as it is kept. Locked last.
    /// Held over the engine's write, so that none is overwritten by an older one.
    hints: tokio::sync::Mutex<Hints>,
    draining: AtomicBool,
    /// Whether it was asked to drain, and go on without clients.
    drain_asked: watch::Sender<bool>,
    /// Why the node's clock is fenced, once it is.
    fenced: watch::Sender<Option<ClockFault>>,
}

impl Node {
    /// Starts a node. Returns once it answers requests; whether a range does is for its quorum to say.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn start(mut config: NodeConfig) -> Result<Node, NodeError> {
        config.tasks = config.tasks.scope();
        config.raft_tasks = config.raft_tasks.scope();
        // Every frame bears a timestamp, Raft's too: before true time has reached the former life's ceiling, peers would refuse
        // them all (`timestamp_bound`).
        until_clock_serves(&config.hlc).await?;
        let registry = Arc::new(Registry::new(config.hlc.clone(), config.settings.clone()));
        let router = Arc::new(Router::new(
            config.transport.clone(),
            registry.clone(),
            config.hlc.clone(),
            config.settings.clone(),
        ));
        let join = match &config.begin {
            Begin::Bootstrap => Vec::new(),
            Begin::Join(join) | Begin::JoinOrBootstrap { join, .. } => join.clone(),
        };
        let identity = identity::establish(&mut config, &registry, &router).await?;
        let node_id = identity.node_id;
        config.transport.set_identity(identity.cluster_id(), NodeId(node_id));
        registry.set_own(node_id);
        fence::until_clocks_agree(&config, &registry, node_id).await?;
        let (wal, store) = open_store(&config, node_id, &registry, &router).await?;
        let as_local: Arc<dyn LocalRanges> = store.clone();
        router.set_local(Arc::downgrade(&as_local));
        config.hlc.keep_ceiling(&config.tasks);
        let descriptor = NodeDescriptor {
            node_id,
            address: config.address,
            sql_address: config.sql_address,
            locality: config.locality,
            started: config.hlc.now()?,
            version: config.version,
        };
        registry.learn(&descriptor);
        let shared = Arc::new(Shared {
            identity,
            descriptor,
            store,
            router,
            registry,
            transport: config.transport,
            wal,
            hlc: config.hlc,
            tasks: config.tasks,
            raft_tasks: config.raft_tasks,
            settings: config.settings,
            keeper: keeper::Keeper::default(),
            checker: checker::Checker::new(config.random.fork(&format!("checker {node_id}"))),
            join,
            hints: tokio::sync::Mutex::default(),
            draining: AtomicBool::new(false),
            drain_asked: watch::Sender::new(false),
            fenced: watch::Sender::new(None),
        });
        let node = Node { shared };
        node.shared.transport.register(Class::Kv, Arc::new(handler::KvHandler::new(&node.shared)));
        node.shared.announce().await;
        node.start_loops();
        Ok(node)
    }

    fn start_loops(&self) {
        let (shared, tasks) = (&self.shared, &self.shared.tasks);
        drop(tasks.spawn("heartbeat", heartbeat::run(shared.clone())));
        drop(tasks.spawn("keeper", keeper::run(shared.clone())));
        drop(tasks.spawn("checker", checker::run(shared.clone())));
        drop(tasks.spawn("disk", heartbeat::watch_disk(shared.clone())));
        drop(tasks.spawn("fence", fence::run(shared.clone())));
    }

    /// This node's ID.
    pub fn node_id(&self) -> u64 {
        self.shared.identity.node_id
    }

    /// The cluster's ID.
    pub fn cluster_id(&self) -> u128 {
        self.shared.identity.cluster_id()
    }

    /// The way to all ranges.
    pub fn sender(&self) -> Arc<dyn Sender> {
        self.shared.router.clone()
    }

    /// What is asked beside data.
    pub fn admin(&self) -> Arc<dyn Admin> {
        self.shared.clone()
    }

    /// The log, for its figures; and for [`Wal::halted`], after which the node must stop.
    pub fn wal(&self) -> &Wal {
        &self.shared.wal
    }

    /// Returns once the node has stopped serving because its clock must not be relied on, with the reason: its process must
    /// end.
    pub async fn fenced(&self) -> ClockFault {
        let mut fenced = self.shared.fenced.subscribe();
        loop {
            if let Some(fault) = fenced.borrow_and_update().clone() {
                return fault;
            }
            if fenced.changed().await.is_err() {
                // Its sender is gone, and so is the node: there is nothing left to fence.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Returns once the node was asked to drain: its clients are to leave it.
    pub async fn drain_asked(&self) {
        // Its sender is gone with the node, and then nobody is left to drain.
        if self.shared.drain_asked.subscribe().wait_for(|asked| *asked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Returns once the node cannot go on, with the reason: its engine failed, or a replica's group ended. Its process must end, at
    /// once: whatever it still says may be wrong.
    pub async fn failed(&self) -> String {
        self.shared.store.failed().await
    }

    /// The clock.
    pub fn hlc(&self) -> &Arc<Hlc> {
        &self.shared.hlc
    }

    /// The replicas.
    pub fn store(&self) -> &Arc<Store> {
        &self.shared.store
    }

    /// Stops in order: says so, hands its leases to others, and makes everything durable. On return nothing of the node
    /// runs any more; once those who hold it, its sender or its admin let go of them, engine and log can be opened anew.
    ///
    /// # Errors
    /// When the engine cannot be synced; the log has everything all the same.
    pub async fn shutdown(&self) -> Result<(), NodeError> {
        let shared = &self.shared;
        shared.draining.store(true, Ordering::SeqCst);
        // Without a quorum it does not get through, and then there is nothing to hand over either.
        let said = tokio::time::timeout(GOODBYE_TIMEOUT, heartbeat::say(shared)).await;
        if matches!(said, Ok(Ok(()))) {
            let _ = tokio::time::timeout(2 * GOODBYE_TIMEOUT, shared.give_leases_away()).await;
        }
        shared.store.shutdown().await;
        let synced = shared.store.sync_engine().await;
        shared.wal.close().await;
        self.end_tasks().await;
        Ok(synced?)
    }

    /// Stops at once, as if the process ended: no goodbye, and nothing made durable.
    pub async fn halt(&self) {
        self.shared.draining.store(true, Ordering::SeqCst);
        self.shared.store.shutdown().await;
        self.end_tasks().await;
    }

    async fn end_tasks(&self) {
        self.shared.tasks.stop().await;
        self.shared.raft_tasks.stop().await;
    }
}

/// Opens the log and the store, and starts the replicas.
async fn open_store(
    config: &NodeConfig,
    node_id: u64,
    registry: &Registry,
    router: &Arc<Router>,
) -> Result<(Wal, Arc<Store>), NodeError> {
    let (log_dir, wal_options, raft_tasks) = (config.log_dir.clone(), config.wal.clone(), config.raft_tasks.clone());
    let wal = config.raft_tasks.blocking(move || Wal::open(log_dir, wal_options, raft_tasks)).await?;
    let host = GroupHost::new(
        NodeId(node_id),
        wal.clone(),
        config.transport.clone(),
        config.raft_tasks.clone(),
        config.random.fork(&format!("raft {node_id}")),
        config.groups.clone(),
    )?;
    let disk = Arc::new(DiskGuard::new(config.data_dir.clone(), &config.settings));
    let store = Store::start(StoreParts {
        node_id,
        engine: config.engine.clone(),
        host,
        router: router.clone(),
        hlc: config.hlc.clone(),
        tasks: config.tasks.clone(),
        random: config.random.fork(&format!("store {node_id}")),
        settings: config.settings.clone(),
        disk,
        limits: Arc::new(CheckLimits::new(registry.cluster().clone())),
    })
    .await?;
    Ok((wal, store))
}

/// Waits until the timestamps of the node's former life lie in the past.
async fn until_clock_serves(hlc: &Hlc) -> Result<(), NodeError> {
    while !hlc.may_serve() {
        if let Some(fault) = hlc.fault() {
            return Err(NodeError::ClockFault(fault));
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("node_id", &self.node_id()).finish_non_exhaustive()
    }
}
