//! One node, assembled from all the crates.
//!
//! ```text
//!   storage ─┐                       ┌─▶ SQL port: a connection each
//!   clock ───┼▶ kv node ─▶ txn ─▶ sql ┤
//!   network ─┘                       └─▶ HTTP port
//! ```
//!
//! Three [runtimes](Runtimes): one for Raft, its log and the network between nodes, one for everything that serves clients, one for
//! queries.

pub mod cluster_view;
mod runtimes;
mod sql_port;
mod storage;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use bytes::Bytes;
use clock::{ClockFault, Random, Tasks, TimeSource};
use kv::liveness::Locality;
use kv::node::message::{NodeAnswer, NodeAnswerKind, NodeRequest, NodeRequestKind, Pong};
use kv::node::{Begin, Node, NodeConfig, Waiting};
use parking_lot::Mutex;
use prost::Message;
use raft_groups::disk::Dir;
use raft_groups::network::{GrpcConfig, GrpcTransport};
use raft_groups::{Class, GroupConfig, Handler, NodeId, Transport, WalOptions};
use sql::{SqlNode, SqlNodeConfig, SqlSettings};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::cancel::CancelRegistry;
use crate::connection::{Farewell, Shared};
use crate::faults::{FaultyDir, FaultyTime, FaultyTransport, Hooks};
use crate::http::{self, HttpState};
use crate::metrics::Metrics;
pub use runtimes::Runtimes;
use storage::Storage;

/// How long a node that cannot go on may take to end: an engine that failed may never let go of a thread.
const ABANDON_TIMEOUT: Duration = Duration::from_secs(3);

/// How a node begins.
pub enum Beginning {
    /// As the first of a new cluster.
    Bootstrap,
    /// By joining the cluster of one of these addresses, unless `meridian init` tells it to found one.
    Join(Vec<String>),
}

/// What a node is started with.
pub struct NodeOptions {
    /// Where its data is.
    pub data: PathBuf,
    /// Where clients connect.
    pub sql_addr: SocketAddr,
    /// Where other nodes connect.
    pub rpc_addr: SocketAddr,
    /// Where other nodes are told to connect; `rpc_addr` as bound when not given.
    pub advertise_addr: Option<String>,
    /// Where health and metrics are asked for.
    pub http_addr: SocketAddr,
    /// Where it stands.
    pub locality: Locality,
    /// Its clock.
    pub time: Arc<dyn TimeSource>,
    /// The bound on every node's clock error.
    pub max_clock_error: Duration,
    /// The numbers of the layers below SQL.
    pub settings: kv::Settings,
    /// What its statements and sessions may hold together.
    pub sql_memory_bytes: usize,
    /// Its links can be slowed down and cut.
    pub faulty: bool,
    /// Faults can be set through the HTTP port.
    pub fault_hooks: bool,
    /// How it begins, when its data directory is new.
    pub beginning: Beginning,
}

/// A node that serves.
pub struct RunningNode {
    kv: Arc<Node>,
    transport: GrpcTransport,
    faults: Option<Arc<FaultyTransport>>,
    sql_addr: SocketAddr,
    rpc_address: String,
    http_addr: SocketAddr,
    /// What their connections share.
    clients: Arc<Shared>,
    /// The ports, and whoever is connected.
    connections: Tasks,
    /// What else runs for clients.
    client_tasks: Tasks,
    /// Queries.
    query_tasks: Tasks,
    /// Everything that serves other nodes.
    raft_tasks: Tasks,
    /// Given back when everything else has stopped.
    _lock: raft_groups::disk::DirLock,
}

/// How far a node is before it serves: it listens, and knows where.
pub struct StartingNode {
    options: NodeOptions,
    storage: Storage,
    transport: GrpcTransport,
    faults: Option<Arc<FaultyTransport>>,
    hooks: Option<Hooks>,
    rpc_address: String,
    raft: Tasks,
    clients: Tasks,
    queries: Tasks,
    random: Random,
}

impl StartingNode {
    /// Opens the data directory and listens for other nodes.
    ///
    /// # Errors
    /// When the directory cannot be used, or the address is taken.
    pub async fn open(options: NodeOptions, runtimes: &Runtimes) -> Result<StartingNode> {
        let scope = |runtime: &Runtime| Tasks::on(runtime.handle().clone()).scope();
        let (raft, clients, queries) = (scope(&runtimes.raft), scope(&runtimes.clients), scope(&runtimes.queries));
        let clock = options.fault_hooks.then(|| FaultyTime::new(Arc::clone(&options.time)));
        let time = clock.clone().map_or_else(|| Arc::clone(&options.time), |clock| clock as Arc<dyn TimeSource>);
        let (path, error) = (options.data.clone(), options.max_clock_error);
        let mut storage = raft.blocking(move || Storage::open(&path, time, error)).await?;
        let transport = GrpcTransport::new(NodeId(0), 0, Arc::clone(&storage.hlc), raft.clone(), GrpcConfig::default());
        let bound = transport.serve(options.rpc_addr).await;
        let bound = bound.with_context(|| format!("cannot listen for other nodes on {}", options.rpc_addr))?;
        let rpc_address = options.advertise_addr.clone().unwrap_or_else(|| bound.to_string());
        let faulty = options.faulty || options.fault_hooks;
        let faults = faulty.then(|| FaultyTransport::new(Arc::new(transport.clone())));
        let hooks = clock.zip(faults.clone()).map(|(clock, links)| {
            let disk = FaultyDir::new(Arc::clone(&storage.log_dir));
            storage.log_dir = Arc::clone(&disk) as Arc<dyn Dir>;
            Hooks { links, clock, disk }
        });
        let random = Random::from_entropy();
        Ok(StartingNode { options, storage, transport, faults, hooks, rpc_address, raft, clients, queries, random })
    }

    /// Where other nodes reach this one.
    pub fn rpc_address(&self) -> &str {
        &self.rpc_address
    }

    /// The network as the layers above see it: with faults, where it can have any.
    fn seen_transport(&self) -> Arc<dyn Transport> {
        match &self.faults {
            Some(faulty) => Arc::clone(faulty) as Arc<dyn Transport>,
            None => Arc::new(self.transport.clone()),
        }
    }

    /// Becomes part of a cluster, and serves clients.
    ///
    /// # Errors
    /// When the cluster refuses it, or a port is taken.
    pub async fn serve(self) -> Result<RunningNode> {
        let sql_listener = sql_port::bind(self.options.sql_addr).await?;
        let sql_addr = sql_listener.local_addr()?;
        let http_listener = http::bind(self.options.http_addr).await;
        let http_listener = http_listener.with_context(|| format!("cannot listen on {}", self.options.http_addr))?;
        let http_addr = http_listener.local_addr()?;
        let transport = self.seen_transport();
        let begin = begin(self.options.beginning, &*transport);
        // From here on those who watch the node hear what it waits for.
        let (metrics, waiting, admin) = (Metrics::new(), Waiting::default(), Arc::new(OnceLock::new()));
        let connections = self.clients.scope();
        let state = HttpState {
            admin: Arc::clone(&admin),
            waiting: waiting.clone(),
            metrics: Arc::clone(&metrics),
            faults: self.hooks,
        };
        drop(http::serve(http_listener, state, &connections));
        let hlc = Arc::clone(&self.storage.hlc);
        let config = NodeConfig {
            log_dir: self.storage.log_dir,
            data_dir: self.storage.dir,
            engine: self.storage.engine,
            transport,
            hlc,
            tasks: self.clients.clone(),
            raft_tasks: self.raft.clone(),
            random: self.random.clone(),
            settings: self.options.settings,
            groups: GroupConfig::default(),
            wal: WalOptions::default(),
            locality: self.options.locality,
            address: self.rpc_address.clone(),
            sql_address: sql_addr.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            begin,
            waiting,
        };
        let kv = self.clients.spawn("start node", Node::start(config)).await??;
        let sql = start_sql(&kv, &self.clients, &self.queries, &self.random, self.options.sql_memory_bytes).await?;
        let shared = Arc::new(Shared {
            sql,
            cancels: CancelRegistry::new(kv.node_id(), self.random.fork("cancel")),
            tasks: connections.clone(),
            metrics: Arc::clone(&metrics),
            farewell: Farewell::default(),
        });
        // The first and only word on it.
        let _ = admin.set(Arc::downgrade(&kv.admin()));
        drop(sql_port::serve(sql_listener, Arc::clone(&shared)));
        let kv = Arc::new(kv);
        drop(connections.spawn("drain", drain(Arc::clone(&kv), Arc::clone(&shared))));
        Ok(RunningNode {
            kv,
            transport: self.transport,
            faults: self.faults,
            sql_addr,
            rpc_address: self.rpc_address,
            http_addr,
            clients: shared,
            connections,
            client_tasks: self.clients,
            query_tasks: self.queries,
            raft_tasks: self.raft,
            _lock: self.storage.lock,
        })
    }
}

/// Says goodbye to clients when the node is to drain; the node itself goes on.
async fn drain(kv: Arc<Node>, clients: Arc<Shared>) {
    kv.drain_asked().await;
    clients.stop().await;
}

/// Transactions and SQL over a node's ranges.
async fn start_sql(
    kv: &Node,
    clients: &Tasks,
    queries: &Tasks,
    random: &Random,
    memory_bytes: usize,
) -> Result<SqlNode> {
    let database = txn::Database::new(
        kv.sender(),
        Arc::clone(kv.hlc()),
        clients.clone(),
        random.fork("transactions"),
        kv.node_id(),
        txn::Settings::default(),
    );
    let sql = SqlNode::start(SqlNodeConfig {
        database,
        cluster: cluster_view::of(&kv.admin()),
        node_id: kv.node_id(),
        tasks: clients.clone(),
        query_tasks: queries.clone(),
        random: random.fork("sql"),
        settings: SqlSettings { query_memory_bytes: memory_bytes, ..SqlSettings::default() },
    });
    sql.await.map_err(|error| anyhow::anyhow!("the catalog cannot be read: {error}"))
}

/// What the node's first life begins with; one that is to join can be told to found a cluster instead.
fn begin(beginning: Beginning, transport: &dyn Transport) -> Begin {
    match beginning {
        Beginning::Bootstrap => Begin::Bootstrap,
        Beginning::Join(join) => {
            let (told, bootstrap) = oneshot::channel();
            transport.register(Class::Kv, Arc::new(InitHandler { told: Mutex::new(Some(told)) }));
            Begin::JoinOrBootstrap { join, bootstrap }
        }
    }
}

impl RunningNode {
    /// The node's ID.
    pub fn node_id(&self) -> u64 {
        self.kv.node_id()
    }

    /// What is asked of the node beside SQL.
    pub fn kv(&self) -> &Node {
        &self.kv
    }

    /// Where clients connect.
    pub fn sql_addr(&self) -> SocketAddr {
        self.sql_addr
    }

    /// Where other nodes connect.
    pub fn rpc_address(&self) -> &str {
        &self.rpc_address
    }

    /// Where health and metrics are asked for.
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// The faults of its links, where it has any.
    pub fn faults(&self) -> Option<&Arc<FaultyTransport>> {
        self.faults.as_ref()
    }

    /// Returns once the node has stopped serving because its clock must not be relied on: it must be shut down then.
    pub async fn fenced(&self) -> ClockFault {
        self.kv.fenced().await
    }

    /// Returns once the node cannot go on, with the reason: it must be [abandoned](RunningNode::abandon) then.
    pub async fn failed(&self) -> String {
        self.kv.failed().await
    }

    /// Stops at once, as a process that is killed: what the node would still say or write may be wrong. Readiness is gone
    /// before, and the HTTP port, which says so, goes last.
    pub async fn abandon(self) {
        let ending = async {
            self.kv.halt().await;
            self.connections.stop().await;
            self.client_tasks.stop().await;
            self.transport.close();
            self.raft_tasks.stop().await;
        };
        if tokio::time::timeout(ABANDON_TIMEOUT, ending).await.is_err() {
            tracing::warn!("something still runs that does not end: the process ends without it");
        }
    }

    /// Stops in order: no more clients, leases handed over, everything durable. On return nothing of the node runs any more,
    /// and its data directory may be opened anew.
    ///
    /// # Errors
    /// When the store cannot be synced.
    pub async fn shutdown(self) -> Result<()> {
        // Clients first: what their transactions hold can still be let go while the rest says goodbye.
        self.clients.stop().await;
        self.connections.stop().await;
        // Nobody waits for them any more, which has told them to end.
        self.query_tasks.stop().await;
        let stopped = self.kv.shutdown().await;
        self.client_tasks.stop().await;
        self.transport.close();
        self.raft_tasks.stop().await;
        Ok(stopped?)
    }
}

/// Answers `meridian init` while the node has no cluster yet.
struct InitHandler {
    told: Mutex<Option<oneshot::Sender<()>>>,
}

#[async_trait]
impl Handler for InitHandler {
    async fn handle(&self, _from: NodeId, _class: Class, body: Bytes) -> Result<Bytes, String> {
        match NodeRequest::decode(body).map_err(|error| error.to_string())?.kind {
            Some(NodeRequestKind::Init(_)) => match self.told.lock().take() {
                Some(told) => {
                    let _ = told.send(());
                    Ok(NodeAnswer::encode_kind(NodeAnswerKind::Done(Pong {})))
                }
                None => Err("the node is being initialised already".to_owned()),
            },
            _ => Err("the node belongs to no cluster yet: run `meridian init` once".to_owned()),
        }
    }
}
