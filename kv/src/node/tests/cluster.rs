//! A whole cluster in one process, from one seed: simulated network, disks, clocks, and engines in memory.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use clock::{Gate, Hlc, Random, SimulatedTime, Tasks, TimeSource, Timestamp, VolatileCeiling};
use raft_groups::disk::{Dir, SimDir, SimFaults};
use raft_groups::{GroupConfig, NodeId, SimNetwork, WalOptions};

use crate::api::{
    BatchHeader, BatchRequest, BatchResponse, Delete, Get, KvError, Put, RequestKind, ResponseKind, Rows, Scan,
};
use crate::consistency::Digest;
use crate::engine::{Engine, MemoryEngine, Reader, WriteBatch};
use crate::node::Waiting;
use crate::{Begin, Node, NodeConfig, Settings};

/// The bound on clock errors that the simulated clocks keep.
const CLOCK_ERROR: Duration = Duration::from_millis(10);

/// Runs a test on one thread in virtual time.
pub fn simulate<T>(seed: u64, test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_be_bytes()))
        .build();
    runtime.expect("a runtime without I/O starts").block_on(test)
}

/// One node's lasting parts, and its present life.
struct Machine {
    log: SimDir,
    engine: Arc<MemoryEngine>,
    locality: &'static str,
    node: Option<Node>,
    /// The machine's clock.
    time: SimulatedTime,
    last_time: Timestamp,
}

/// Nodes by number; a machine's number is the ID its node gets.
pub struct Cluster {
    pub network: SimNetwork,
    pub settings: Settings,
    pub groups: GroupConfig,
    random: Random,
    tasks: Tasks,
    time: SimulatedTime,
    machines: BTreeMap<u64, Machine>,
    lives: u64,
}

impl Cluster {
    /// A cluster without machines.
    pub fn new(seed: u64) -> Self {
        let random = Random::from_seed(seed);
        let tasks = Tasks::deterministic(tokio::runtime::Handle::current());
        let network = SimNetwork::new(random.fork("network"), tasks.clone());
        let time = SimulatedTime::starting_at(1_700_000_000_000_000_000, CLOCK_ERROR);
        let settings = Settings { disk_floor_bytes: 0, disk_ballast_bytes: 0, ..Settings::default() };
        let groups = GroupConfig::default();
        Cluster { network, settings, groups, random, tasks, time, machines: BTreeMap::new(), lives: 0 }
    }

    /// A cluster of so many nodes.
    pub async fn of(seed: u64, nodes: u64) -> Self {
        let mut cluster = Cluster::new(seed);
        for _ in 0..nodes {
            cluster.add("").await;
        }
        cluster
    }

    /// Adds a machine with a new node, which founds the cluster or joins it. Returns its ID.
    pub async fn add(&mut self, locality: &'static str) -> u64 {
        let id = self.add_machine(locality);
        self.start(id).await;
        assert_eq!(self.node(id).node_id(), id);
        id
    }

    /// Adds a machine with a new node, which joins the cluster. Returns the ID that it was given.
    pub async fn join(&mut self) -> u64 {
        let id = self.add_machine("");
        self.start(id).await;
        self.node(id).node_id()
    }

    /// Starts so many machines of a new cluster at once, those that join first. Returns the nodes by machine.
    pub async fn start_at_once(&mut self, machines: u64) -> Vec<Node> {
        let ids: Vec<u64> = (0..machines).map(|_| self.add_machine("")).collect();
        let configs: Vec<NodeConfig> = ids.iter().rev().map(|id| self.config(*id)).collect();
        let mut nodes = futures::future::try_join_all(configs.into_iter().map(Node::start)).await.expect("all start");
        nodes.reverse();
        nodes
    }

    /// Adds a machine whose node is killed after it was polled so often, with all that it had written, or only what it had synced.
    /// Returns whether it was killed before it had started.
    pub async fn add_and_kill(&mut self, polls: usize, is_all_kept: bool) -> bool {
        let id = self.add_machine("");
        let gate = Gate::default();
        let mut config = self.config(id);
        (config.tasks, config.raft_tasks) = (self.tasks.behind(gate.clone()), self.tasks.behind(gate.clone()));
        let mut starting = Box::pin(Node::start(config));
        let mut polled = 0;
        let started = std::future::poll_fn(|context| {
            if polled == polls {
                return Poll::Ready(None);
            }
            polled += 1;
            starting.as_mut().poll(context).map(Some)
        })
        .await;
        gate.end();
        drop(starting);
        self.network.unplug(&format!("node-{id}"));
        let machine = self.machine(id);
        machine.log = if is_all_kept { machine.log.kill() } else { machine.log.crash() };
        let kept = if is_all_kept { machine.engine.unsynced_batches() } else { 0 };
        machine.engine = Arc::new(machine.engine.crash(kept));
        if let Some(started) = started {
            started.expect("the node starts").halt().await;
            return false;
        }
        true
    }

    fn add_machine(&mut self, locality: &'static str) -> u64 {
        let id = self.machines.len() as u64 + 1;
        let log = SimDir::new(self.random.fork(&format!("disk {id}")));
        let engine = Arc::new(MemoryEngine::new());
        let time = self.time.another(0);
        self.machines.insert(id, Machine { log, engine, locality, node: None, time, last_time: Timestamp::MIN });
        id
    }

    /// Starts a machine's node.
    pub async fn start(&mut self, id: u64) {
        let node = Node::start(self.config(id)).await.expect("the node starts");
        self.machine(id).node = Some(node);
    }

    fn config(&mut self, id: u64) -> NodeConfig {
        self.lives += 1;
        let machine = &self.machines[&id];
        let is_new = machine.last_time.is_min();
        let hlc = Hlc::new(Arc::new(machine.time.clone()), CLOCK_ERROR, Arc::new(VolatileCeiling), machine.last_time);
        let hlc = Arc::new(hlc);
        let address = format!("node-{id}");
        let known = NodeId(if is_new { 0 } else { id });
        NodeConfig {
            log_dir: Arc::new(machine.log.clone()),
            data_dir: Arc::new(machine.log.clone()),
            engine: machine.engine.clone(),
            transport: self.network.connect(known, &address, hlc.clone()),
            hlc,
            tasks: self.tasks.clone(),
            raft_tasks: self.tasks.clone(),
            random: self.random.fork(&format!("node {id} life {}", self.lives)),
            settings: self.settings.clone(),
            groups: self.groups.clone(),
            wal: WalOptions::small(),
            locality: machine.locality.parse().expect("a locality"),
            address,
            sql_address: String::new(),
            version: "test".to_owned(),
            waiting: Waiting::default(),
            begin: if id == 1 { Begin::Bootstrap } else { Begin::Join(vec!["node-1".to_owned()]) },
        }
    }

    fn machine(&mut self, id: u64) -> &mut Machine {
        self.machines.get_mut(&id).expect("the machine is the cluster's")
    }

    /// A running node.
    pub fn node(&self, id: u64) -> &Node {
        self.machines[&id].node.as_ref().expect("the node runs")
    }

    /// The running nodes.
    pub fn running(&self) -> Vec<u64> {
        self.machines.iter().filter(|(_, machine)| machine.node.is_some()).map(|(id, _)| *id).collect()
    }

    /// Ends a node's life as by a signal: what was written stays.
    pub async fn kill(&mut self, id: u64) {
        self.network.disconnect(NodeId(id));
        let ceiling = self.ceiling();
        let machine = self.machine(id);
        machine.log = machine.log.kill();
        machine.engine = Arc::new(machine.engine.crash(machine.engine.unsynced_batches()));
        machine.last_time = ceiling;
        let node = machine.node.take().expect("the node runs");
        node.halt().await;
    }

    /// Begins to start a machine's node: what it waits for, and the node once it has started.
    pub fn starting(&mut self, id: u64) -> (Waiting, impl Future<Output = Result<Node, crate::NodeError>> + use<>) {
        let config = self.config(id);
        (config.waiting.clone(), Node::start(config))
    }

    /// A machine's node has started.
    pub fn set_started(&mut self, id: u64, node: Node) {
        self.machine(id).node = Some(node);
    }

    /// Ends a node's life by power loss: what was not synced is gone.
    pub async fn crash(&mut self, id: u64) {
        self.network.disconnect(NodeId(id));
        let surviving = self.random.range(0, self.machines[&id].engine.unsynced_batches() as u64 + 1);
        let ceiling = self.ceiling();
        let machine = self.machine(id);
        machine.log = machine.log.crash();
        machine.engine = Arc::new(machine.engine.crash(usize::try_from(surviving).expect("few batches")));
        machine.last_time = ceiling;
        let node = machine.node.take().expect("the node runs");
        node.halt().await;
    }

    /// The ceiling is kept as the production clock keeps it: ahead of everything issued by anyone it may have heard from.
    fn ceiling(&self) -> Timestamp {
        let latest = self.machines.values().map(|machine| machine.time.now().latest_ns).max().unwrap_or(0);
        Timestamp::new(latest, u32::MAX)
    }

    /// A timestamp of a machine's clock, at its latest.
    pub fn now(&self, id: u64) -> Timestamp {
        Timestamp::new(self.machines[&id].time.now().latest_ns, 0)
    }

    /// Sets how far a machine's clock reads from true time, in milliseconds.
    pub fn skew(&self, id: u64, skew_ms: i64) {
        self.machines[&id].time.set_skew_ns(skew_ms * 1_000_000);
    }

    /// The node that holds the lease of the range that contains the key, by its own word.
    pub fn leaseholder(&self, key: &str) -> Option<u64> {
        self.running().into_iter().find(|id| {
            self.node(*id)
                .store()
                .all()
                .iter()
                .any(|(_, held)| held.replica.descriptor().contains(&row(key)) && held.replica.is_leaseholder())
        })
    }

    /// Stops a node in order.
    pub async fn stop(&mut self, id: u64) {
        let ceiling = self.ceiling();
        let machine = self.machine(id);
        machine.last_time = ceiling;
        let node = machine.node.take().expect("the node runs");
        node.shutdown().await.expect("the node stops");
        self.network.disconnect(NodeId(id));
        let machine = self.machine(id);
        machine.log = machine.log.kill();
        assert_eq!(machine.engine.unsynced_batches(), 0, "a node that stops in order leaves nothing unsynced");
    }

    /// Changes a machine's engine beneath its node.
    pub fn change_beneath(&self, id: u64, change: impl FnOnce(&mut WriteBatch, &dyn Reader)) {
        let engine = &self.machines[&id].engine;
        let mut batch = WriteBatch::new();
        change(&mut batch, &*engine.snapshot());
        engine.write(batch).expect("memory takes it");
    }

    /// Starts a machine's node, which is not to start.
    pub async fn try_to_start(&mut self, id: u64) -> Result<(), crate::NodeError> {
        Node::start(self.config(id)).await.map(|_| ())
    }

    /// Sets how much a machine's disk may hold in all.
    pub fn set_free_bytes(&self, id: u64, capacity_bytes: Option<u64>) {
        self.machines[&id].log.set_faults(SimFaults { capacity_bytes, ..SimFaults::default() });
    }

    /// How much a machine's disk holds.
    pub fn used_bytes(&self, id: u64) -> u64 {
        let capacity_bytes = 1 << 40;
        self.set_free_bytes(id, Some(capacity_bytes));
        let free_bytes = self.machines[&id].log.free_bytes().expect("the disk answers");
        self.set_free_bytes(id, None);
        capacity_bytes - free_bytes
    }

    /// Waits until every range has so many voters, and no other replicas, on every running node that holds it.
    pub async fn replicated(&self, voters: usize) {
        let done = async {
            while !self.is_replicated(voters) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(60), done).await.is_err() {
            panic!("not replicated {voters} ways: {}", self.describe());
        }
    }

    fn is_replicated(&self, voters: usize) -> bool {
        let mut ranges = BTreeMap::new();
        for id in self.running() {
            for (range, held) in self.node(id).store().all() {
                let descriptor = held.replica.descriptor();
                let settled = descriptor.replicas.len() == voters
                    && descriptor.replicas.iter().all(|replica| replica.role == 0)
                    && held.group.status().voters.len() == voters;
                *ranges.entry(range).or_insert(0) += usize::from(settled);
            }
        }
        !ranges.is_empty() && ranges.values().all(|count| *count == voters)
    }

    /// Every replica of every running node, for people.
    pub fn describe(&self) -> String {
        let mut lines = Vec::new();
        for id in self.running() {
            for (range, held) in self.node(id).store().all() {
                let status = held.group.status();
                lines.push(format!(
                    "n{id} r{range}: {:?} term {} leader {:?} applied {:?} last {:?} voters {:?} learners {:?} lease {:?}",
                    held.replica.descriptor(),
                    status.term,
                    status.leader,
                    held.replica.applied_position(),
                    status.last_log,
                    status.voters,
                    status.learners,
                    held.replica.lease(),
                ));
            }
        }
        format!("\n{}", lines.join("\n"))
    }

    /// Sends one request by itself, from a node.
    pub async fn send(&self, from: u64, kind: RequestKind) -> Result<ResponseKind, KvError> {
        let batch = BatchRequest { header: BatchHeader::default(), requests: vec![kind.into()] };
        let response = self.send_batch(from, batch).await?;
        Ok(response.responses.into_iter().next().and_then(|r| r.kind).expect("one request, one response"))
    }

    /// Sends a batch from a node.
    pub async fn send_batch(&self, from: u64, batch: BatchRequest) -> Result<BatchResponse, KvError> {
        self.node(from).sender().send(batch).await
    }

    /// Writes a row outside any transaction, again if the first attempt may have been lost: it says what, not how much.
    pub async fn put(&self, from: u64, key: impl AsRef<str>, value: impl AsRef<str>) -> Result<(), KvError> {
        let (key, value) = (row(key.as_ref()), Bytes::copy_from_slice(value.as_ref().as_bytes()));
        let put = Put { key, value, ..Put::default() };
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.send(from, RequestKind::Put(put.clone())).await {
                Err(KvError::Ambiguous(_)) if attempts < 10 => {}
                other => return other.map(|_| ()),
            }
        }
    }

    #[allow(dead_code, reason = "part of the vocabulary")]
    pub async fn delete(&self, from: u64, key: &str) -> Result<(), KvError> {
        self.send(from, RequestKind::Delete(Delete { key: row(key), ..Delete::default() })).await.map(|_| ())
    }

    pub async fn get(&self, from: u64, key: impl AsRef<str>) -> Result<Option<String>, KvError> {
        match self.send(from, RequestKind::Get(Get { key: row(key.as_ref()), ..Get::default() })).await? {
            ResponseKind::Value(value) => Ok(value.value.map(|value| String::from_utf8_lossy(&value).into_owned())),
            other => panic!("a get was answered with {other:?}"),
        }
    }

    /// All rows between two keys, in one direction, within limits.
    pub async fn scan(&self, from: u64, start: &str, end: &str, reverse: bool, max_rows: u64) -> Result<Rows, KvError> {
        let scan = Scan { start: row(start), end: row(end), reverse, ..Scan::default() };
        let header = BatchHeader { max_rows, ..BatchHeader::default() };
        let batch = BatchRequest { header, requests: vec![RequestKind::Scan(scan).into()] };
        match self.send_batch(from, batch).await?.responses.remove(0).kind {
            Some(ResponseKind::Rows(rows)) => Ok(rows),
            other => panic!("a scan was answered with {other:?}"),
        }
    }

    /// Every replica of a range has the same contents once all have applied the same entries.
    pub async fn check_replica_equality(&self) {
        for _ in 0..2_000 {
            if self.checksums().values().all(|sums| sums.windows(2).all(|pair| pair[0] == pair[1])) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("replica_equality: {:?}{}", self.checksums(), self.describe());
    }

    fn checksums(&self) -> BTreeMap<u64, Vec<(u64, Digest)>> {
        let mut sums: BTreeMap<u64, Vec<(u64, Digest)>> = BTreeMap::new();
        for id in self.running() {
            for (range, held) in self.node(id).store().all() {
                sums.entry(range).or_default().push(held.replica.digest().expect("memory is readable"));
            }
        }
        sums
    }
}

/// A key among the rows.
pub fn row(key: &str) -> Bytes {
    [&[crate::keys::TABLE][..], key.as_bytes()].concat().into()
}
