//! One process of the cluster: a store, a router, and what keeps them healthy.
//!
//! ```text
//!   Node::start ─▶ identity: former life, bootstrap, or join ─▶ store ─▶ router ─▶ heartbeat, keeper, disk
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
mod handler;
mod heartbeat;
mod identity;
mod keeper;
pub mod message;
mod tend;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clock::{Hlc, Random, Tasks};
use parking_lot::Mutex;
use raft_groups::disk::Dir;
use raft_groups::wal::{Wal, WalError, WalOptions};
use raft_groups::{Class, GroupConfig, GroupError, GroupHost, NodeId, Transport};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub use admin::{Admin, NodeInfo, RangeInfo, StatusInfo};

use crate::Settings;
use crate::api::{KvError, Sender};
use crate::engine::{Engine, EngineError};
use crate::liveness::{Locality, NodeDescriptor, Registry};
use crate::router::{LocalRanges, Router};
use crate::store::{DiskGuard, Store, StoreError, StoreIdentity, StoreParts};

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
    /// The first requests of a new cluster failed.
    #[error("the new cluster does not answer")]
    Bootstrap(#[source] KvError),
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
}

/// A running node. Dropping it does not stop it: [`Node::shutdown`] does.
pub struct Node {
    shared: Arc<Shared>,
    loops: Mutex<Vec<JoinHandle<()>>>,
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
    tasks: Tasks,
    settings: Settings,
    keeper: keeper::Keeper,
    draining: AtomicBool,
}

impl Node {
    /// Starts a node. Returns once it answers requests: at once for a former member, after the first range has
    /// answered for a new one.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn start(mut config: NodeConfig) -> Result<Node, NodeError> {
        let registry = Arc::new(Registry::new(config.hlc.clone(), config.settings.clone()));
        let router = Arc::new(Router::new(
            config.transport.clone(),
            registry.clone(),
            config.hlc.clone(),
            config.settings.clone(),
        ));
        let begun = identity::establish(&mut config, &registry, &router).await?;
        let node_id = begun.identity.node_id;
        config.transport.set_identity(begun.identity.cluster_id(), NodeId(node_id));
        registry.set_own(node_id);
        let (log_dir, wal_options, raft_tasks) =
            (config.log_dir.clone(), config.wal.clone(), config.raft_tasks.clone());
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
        })
        .await?;
        let as_local: Arc<dyn LocalRanges> = store.clone();
        router.set_local(Arc::downgrade(&as_local));
        while !config.hlc.may_serve() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
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
            identity: begun.identity,
            descriptor,
            store,
            router,
            registry,
            transport: config.transport,
            wal,
            hlc: config.hlc,
            tasks: config.tasks,
            settings: config.settings,
            keeper: keeper::Keeper::default(),
            draining: AtomicBool::new(false),
        });
        shared.transport.register(Class::Kv, Arc::new(handler::KvHandler::new(&shared)));
        let node = Node { shared, loops: Mutex::default() };
        if begun.is_new_cluster {
            node.shared.found().await.map_err(NodeError::Bootstrap)?;
        }
        node.shared.announce().await;
        node.start_loops();
        Ok(node)
    }

    fn start_loops(&self) {
        let (shared, tasks) = (&self.shared, &self.shared.tasks);
        let loops = vec![
            tasks.spawn("heartbeat", heartbeat::run(shared.clone())),
            tasks.spawn("keeper", keeper::run(shared.clone())),
            tasks.spawn("disk", heartbeat::watch_disk(shared.clone())),
        ];
        self.loops.lock().extend(loops);
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

    /// The replicas.
    pub fn store(&self) -> &Arc<Store> {
        &self.shared.store
    }

    /// Stops in order: says so, hands its leases to others, and makes everything durable.
    ///
    /// # Errors
    /// When the engine cannot be synced; the log has everything all the same.
    pub async fn shutdown(&self) -> Result<(), NodeError> {
        self.shared.draining.store(true, Ordering::SeqCst);
        // Without a quorum neither gets through; then there is nothing to hand over either.
        let _ = tokio::time::timeout(GOODBYE_TIMEOUT, heartbeat::say(&self.shared)).await;
        let _ = tokio::time::timeout(2 * GOODBYE_TIMEOUT, self.shared.give_leases_away()).await;
        self.halt().await;
        self.shared.store.sync_engine().await?;
        self.shared.wal.close().await;
        Ok(())
    }

    /// Stops at once, as if the process ended: no goodbye, and nothing made durable.
    pub async fn halt(&self) {
        self.shared.draining.store(true, Ordering::SeqCst);
        for handle in std::mem::take(&mut *self.loops.lock()) {
            handle.abort();
        }
        self.shared.store.shutdown().await;
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("node_id", &self.node_id()).finish_non_exhaustive()
    }
}
