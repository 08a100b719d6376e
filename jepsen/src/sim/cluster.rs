//! The simulated nodes, and what can be done to them.
//!
//! ```text
//!            start                 crash, kill
//!   Down ──────────────▶ Starting ─────────────▶ Down        what survives: synced bytes, and some of the rest
//!                           │                     ▲
//!                           └──────▶ Up ──────────┘
//! ```
//!
//! Everything a node starts goes through the gate of its present life, so that a pause stops it where it stands and a crash
//! leaves nothing of it behind. Handles are shared: faults overlap, and the watch looks at all nodes while they run.

mod harm;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::Duration;

use clock::{Gate, Random, SimulatedTime, Tasks};
use kv::engine::MemoryEngine;
use kv::node::Node;
use parking_lot::Mutex;
use raft_groups::disk::SimDir;
use raft_groups::{NodeId, SimNetwork};

use super::links::Links;
use super::node::{self, Parts};
use super::session::{Clients, SimDatabase};
use super::strike::Strike;
use super::watch::Watch;

/// How a simulated cluster is made.
#[derive(Clone, Debug)]
pub struct SimSettings {
    /// How many nodes found it.
    pub nodes: usize,
    /// The bound on clock errors; nodes' clocks are skewed within it.
    pub clock_error: Duration,
    /// The numbers of the layers below SQL.
    pub kv: kv::Settings,
    /// How the groups' logs are kept.
    pub groups: raft_groups::GroupConfig,
    /// The numbers of the coordinators.
    pub transactions: txn::Settings,
    /// Transactions that clients begin a simulated second, all together; `None` for as many as they can.
    pub rate: Option<u64>,
    /// How long clients think, at most, before they go on with a transaction.
    pub thinking: Duration,
    /// What each session asks for first.
    pub prelude: Option<&'static str>,
    /// How far the last of the nodes that found it is from the others, one way.
    pub far: Option<Duration>,
}

impl Default for SimSettings {
    fn default() -> Self {
        SimSettings {
            nodes: 3,
            clock_error: Duration::from_millis(2),
            kv: kv::Settings::default(),
            groups: raft_groups::GroupConfig::default(),
            transactions: txn::Settings::default(),
            rate: Some(20),
            thinking: Duration::ZERO,
            prelude: None,
            far: None,
        }
    }
}

/// When every run begins: 2023-11-14, so that timestamps look like timestamps.
pub(super) const START_NS: u64 = 1_700_000_000_000_000_000;

/// How long a process whose clock is fenced goes on, serving nothing.
const FENCED_FOR: Duration = Duration::from_millis(700);

/// How long the remains of a crashed process may take to fall silent, in virtual time.
const HALT_BOUND: Duration = Duration::from_secs(5);

/// A cluster of simulated nodes. Clones are the same cluster.
#[derive(Clone)]
pub struct SimCluster {
    shared: Arc<Shared>,
}

/// A cluster, as those know it who must not keep it.
pub(super) struct WeakCluster(Weak<Shared>);

impl WeakCluster {
    pub fn upgrade(&self) -> Option<SimCluster> {
        self.0.upgrade().map(|shared| SimCluster { shared })
    }
}

struct Shared {
    settings: SimSettings,
    random: Random,
    tasks: Tasks,
    time: SimulatedTime,
    network: SimNetwork,
    links: Mutex<Links>,
    slots: Mutex<Vec<Slot>>,
    /// Whose each node ID is: the slot, and how many nodes there had been in it before.
    identities: Mutex<BTreeMap<u64, (usize, u64)>>,
    database: SimDatabase,
    watch: Watch,
}

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does not run.
    Down,
    /// It is on its way up.
    Starting,
    /// It takes sessions.
    Up,
    /// Its log is damaged, and it said so: it does not come back.
    Lost,
}

/// One node, over all its lives.
struct Slot {
    time: SimulatedTime,
    disk: SimDir,
    log: SimDir,
    engine: Arc<MemoryEngine>,
    gate: Gate,
    node: Option<Arc<Node>>,
    id: Option<NodeId>,
    standing: Standing,
    /// How often it has started.
    lives: u64,
    /// Nobody speaks SQL to it.
    is_drained: bool,
    /// The life in which its clock was fenced last.
    fenced_life: u64,
    /// Its log was damaged below its durable end.
    is_rotten: bool,
    /// Its clock is off, and nobody says so.
    is_clock_wrong: bool,
    /// How many nodes there have been at this address before it.
    lost: u64,
    /// What hits it next.
    strike: Option<Strike>,
    /// Its data disk is full, and stays so.
    is_full_for_good: bool,
    /// The transactions that it coordinates send no heartbeats.
    is_starved: Arc<AtomicBool>,
}

/// What a process leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// The machine loses power: what was not synced is lost, or torn.
    PowerLoss,
    /// The process is killed: what was written stays.
    Kill,
}

impl SimCluster {
    /// The nodes of a new cluster. None of them runs yet; the first one founds it when it starts, the others join.
    pub fn new(seed: u64, settings: SimSettings, watch: Watch) -> SimCluster {
        let random = Random::from_seed(seed);
        let tasks = Tasks::deterministic(tokio::runtime::Handle::current());
        let network = SimNetwork::new(random.fork("network"), tasks.clone());
        let time = SimulatedTime::starting_at(START_NS, settings.clock_error);
        let far = settings.far.map(|far| (settings.nodes - 1, far));
        let links = Links::drawn(&random.fork("links"), far);
        watch.begin(&time, &network, &settings);
        let clients = Clients {
            rate: settings.rate,
            thinking: settings.thinking,
            prelude: settings.prelude,
            random: random.fork("thinking"),
        };
        let database = SimDatabase::new(watch.clone(), time.clone(), clients);
        let nodes = settings.nodes;
        let shared = Shared {
            settings,
            random,
            tasks,
            time,
            network,
            links: Mutex::new(links),
            slots: Mutex::default(),
            identities: Mutex::default(),
            database,
            watch,
        };
        let cluster = SimCluster { shared: Arc::new(shared) };
        cluster.shared.watch.attend(&cluster);
        for _ in 0..nodes {
            cluster.add_slot();
        }
        cluster
    }

    pub(super) fn downgrade(&self) -> WeakCluster {
        WeakCluster(Arc::downgrade(&self.shared))
    }

    /// Makes room for one more node, on a new disk.
    pub fn add_slot(&self) -> usize {
        let random = &self.shared.random;
        let mut slots = self.shared.slots.lock();
        let index = slots.len();
        let limit_ns = i64::try_from(self.shared.settings.clock_error.as_nanos()).unwrap_or(i64::MAX);
        let time = self.shared.time.another(0);
        let offset_ns = drawn_within(random, limit_ns);
        time.set_skew(offset_ns, 0, limit_ns);
        slots.push(Slot {
            time,
            disk: SimDir::new(random.fork(&format!("disk {index}"))),
            log: SimDir::new(random.fork(&format!("log disk {index}"))),
            lost: 0,
            engine: Arc::new(MemoryEngine::new()),
            gate: Gate::default(),
            node: None,
            id: None,
            standing: Standing::Down,
            lives: 0,
            is_drained: false,
            fenced_life: 0,
            is_rotten: false,
            is_clock_wrong: false,
            strike: None,
            is_full_for_good: false,
            is_starved: Arc::default(),
        });
        self.shared.database.add_node();
        index
    }

    /// Starts a node, for the first time or again, and returns once it takes sessions. It goes on starting if the caller leaves.
    ///
    /// # Errors
    /// When it does not start. Never returns when it crashes meanwhile.
    pub async fn start_node(&self, index: usize) -> anyhow::Result<()> {
        let (parts, gate) = {
            let mut slots = self.shared.slots.lock();
            let slot = &mut slots[index];
            if slot.standing != Standing::Down {
                return Ok(());
            }
            slot.lives += 1;
            slot.standing = Standing::Starting;
            slot.gate = Gate::default();
            let parts = Parts {
                index,
                life: slot.lives,
                is_founder: index == 0 && slot.lost == 0,
                time: slot.time.clone(),
                disk: slot.disk.clone(),
                log: slot.log.clone(),
                engine: slot.engine.clone(),
                tasks: self.shared.tasks.behind(slot.gate.clone()),
                random: self.shared.random.fork(&format!("node {index} life {}", slot.lives)),
                network: self.shared.network.clone(),
                settings: self.shared.settings.clone(),
                is_starved: slot.is_starved.clone(),
            };
            if let Some(strike) = slot.strike {
                self.arm(index, slot.lives, &slot.engine, &slot.gate, strike);
            }
            (parts, slot.gate.clone())
        };
        let (cluster, life) = (self.clone(), parts.life);
        let starting = async move {
            let result = cluster.bring_up(parts).await;
            if let Err(error) = &result {
                cluster.shared.watch.note(&format!("node {} did not start: {error:#}", index + 1));
                cluster.die(index, Some(life), Death::Kill);
                let says_so = format!("{error:#}").contains("the log is corrupt");
                let mut slots = cluster.shared.slots.lock();
                if slots[index].is_rotten && says_so && slots[index].standing == Standing::Down {
                    slots[index].standing = Standing::Lost;
                }
            }
            result
        };
        self.shared.tasks.spawn("node start", gate.guard(starting)).await?
    }

    async fn bring_up(&self, parts: Parts) -> anyhow::Result<()> {
        let (index, life) = (parts.index, parts.life);
        let (former, is_clock_wrong) = {
            let slots = self.shared.slots.lock();
            (slots[index].id, slots[index].is_clock_wrong)
        };
        if let Some(id) = former {
            // It serves before it has started to the end.
            self.shared.watch.begins_anew(id);
            if is_clock_wrong {
                self.shared.watch.clock_went_wrong(id);
            }
        }
        let started = node::start(&parts).await?;
        self.unless_dead(index, life).await;
        let node = Arc::new(started);
        self.check_identity(index, node.node_id());
        {
            let mut slots = self.shared.slots.lock();
            slots[index].id = Some(NodeId(node.node_id()));
            slots[index].node = Some(node.clone());
        }
        if let Ok(now) = node.hlc().now() {
            self.shared.watch.started(NodeId(node.node_id()), now);
        }
        self.apply_links();
        self.end_when_it_must(&parts, &node);
        let sql = node::start_sql(&parts, &node).await?;
        self.unless_dead(index, life).await;
        let mut slots = self.shared.slots.lock();
        slots[index].standing = Standing::Up;
        if !slots[index].is_drained {
            self.shared.database.node_is_up(index, life, sql, parts.tasks.clone());
        }
        drop(slots);
        self.shared.watch.note(&format!("node {} is up, life {life}", index + 1));
        Ok(())
    }

    /// Returns at once while a life lasts, and never once it is over: a strike may have ended it within the very poll.
    async fn unless_dead(&self, index: usize, life: u64) {
        let is_over = {
            let slots = self.shared.slots.lock();
            slots[index].lives != life || slots[index].standing == Standing::Down
        };
        if is_over {
            std::future::pending::<()>().await;
        }
    }

    /// `node_ids_unique`: an ID belongs to one node, over all its lives, and a node has but one.
    fn check_identity(&self, index: usize, node_id: u64) {
        let slots = self.shared.slots.lock();
        let (own, former) = ((index, slots[index].lost), slots[index].id);
        drop(slots);
        let owner = *self.shared.identities.lock().entry(node_id).or_insert(own);
        let number = index + 1;
        if owner != own {
            let other = owner.0 + 1;
            let words = format!("node {number} was given ID {node_id}, which is that of node {other}");
            self.shared.watch.report("node_ids_unique", &words);
        } else if former.is_some_and(|former| former.0 != node_id) {
            let words = format!("node {number} has come back as {node_id}, and was {former:?}");
            self.shared.watch.report("node_ids_unique", &words);
        }
    }

    /// A failed write or sync, of the log or the engine, a group that ended, or a clock that must not be relied on, ends a process.
    /// In simulation it is ended here.
    fn end_when_it_must(&self, parts: &Parts, node: &Arc<Node>) {
        let (cluster, node, index, life) = (self.clone(), node.clone(), parts.index, parts.life);
        self.shared.tasks.spawn("log watch", async move {
            let why = tokio::select! {
                biased;
                () = node.wal().halted() => "its log failed".to_owned(),
                why = node.failed() => why,
                fault = node.fenced() => {
                    cluster.shared.slots.lock()[index].fenced_life = life;
                    cluster.shared.watch.note(&format!("node {}: its clock is fenced: {fault}", index + 1));
                    // It takes a process a while to end, in which it serves nothing.
                    tokio::time::sleep(FENCED_FOR).await;
                    "its clock is fenced".to_owned()
                }
            };
            cluster.shared.watch.note(&format!("node {}: {why}, the process ends", index + 1));
            cluster.die(index, Some(life), Death::Kill);
        });
    }

    /// Ends a node's process.
    pub fn crash(&self, index: usize, death: Death) {
        self.die(index, None, death);
    }

    pub(super) fn die(&self, index: usize, life: Option<u64>, death: Death) {
        let node = {
            let mut slots = self.shared.slots.lock();
            let slot = &mut slots[index];
            let is_down = matches!(slot.standing, Standing::Down | Standing::Lost);
            if is_down || life.is_some_and(|life| life != slot.lives) {
                return;
            }
            slot.standing = Standing::Down;
            self.shared.database.node_is_down(index);
            self.shared.network.unplug(&node::address(index));
            slot.engine.interfere(None);
            let unsynced = slot.engine.unsynced_batches() as u64;
            // What a failed sync was to make durable may be lost though the machine goes on.
            let may_lose = death == Death::PowerLoss || slot.engine.is_poisoned();
            let surviving = if may_lose { self.shared.random.range(0, unsynced + 1) } else { unsynced };
            slot.engine = Arc::new(slot.engine.crash(usize::try_from(surviving).unwrap_or(usize::MAX)));
            (slot.log, slot.disk) = match death {
                Death::PowerLoss => (slot.log.crash(), slot.disk.crash()),
                Death::Kill => (slot.log.kill(), slot.disk.kill()),
            };
            slot.gate.end();
            slot.node.take()
        };
        if let Some(node) = node {
            // What a library started by itself passes no gate: it is asked to stop.
            self.shared.tasks.spawn("halt", async move {
                let _ = tokio::time::timeout(HALT_BOUND, node.halt()).await;
            });
        }
    }

    /// Ends a node's process for good, with its disks: who starts at its address next is another node.
    pub fn lose(&self, index: usize) {
        self.die(index, None, Death::PowerLoss);
        let mut slots = self.shared.slots.lock();
        let slot = &mut slots[index];
        let random = &self.shared.random;
        slot.lost += 1;
        slot.id = None;
        slot.disk = SimDir::new(random.fork(&format!("disk {index} after {}", slot.lost)));
        slot.log = SimDir::new(random.fork(&format!("log disk {index} after {}", slot.lost)));
        slot.engine = Arc::new(MemoryEngine::new());
        (slot.standing, slot.is_rotten) = (Standing::Down, false);
        self.shared.watch.note(&format!("node {} is lost with its disks", index + 1));
    }

    /// Makes the links be as they should.
    pub(super) fn apply_links(&self) {
        let ids: Vec<Option<NodeId>> = self.shared.slots.lock().iter().map(|slot| slot.id).collect();
        self.shared.links.lock().apply(&self.shared.network, &ids);
    }

    /// Where a node stands.
    pub fn standing(&self, index: usize) -> Standing {
        self.shared.slots.lock()[index].standing
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.shared.slots.lock().len()
    }

    /// Whether there are no nodes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A node, while it runs.
    pub fn node(&self, index: usize) -> Option<Arc<Node>> {
        self.shared.slots.lock()[index].node.clone()
    }

    /// What every node's store holds now, with its node's number; crashed ones too.
    pub fn engines(&self) -> Vec<(usize, Standing, Arc<MemoryEngine>)> {
        let slots = self.shared.slots.lock();
        slots.iter().enumerate().map(|(index, slot)| (index, slot.standing, slot.engine.clone())).collect()
    }

    /// Starts a task that belongs to no node.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.shared.tasks.spawn(name, task);
    }

    /// Whether nodes are gone for good: their disks were lost, or their log is damaged.
    pub fn has_lost_nodes(&self) -> bool {
        self.shared.slots.lock().iter().any(|slot| slot.lost > 0 || slot.standing == Standing::Lost)
    }

    /// How many tasks a node runs, less those that libraries start by themselves.
    pub fn live_tasks(&self, index: usize) -> usize {
        self.shared.slots.lock()[index].gate.live_tasks()
    }

    /// How the groups' logs are kept.
    pub fn group_config(&self) -> &raft_groups::GroupConfig {
        &self.shared.settings.groups
    }

    /// The numbers of the layers below SQL.
    pub fn kv_settings(&self) -> &kv::Settings {
        &self.shared.settings.kv
    }

    /// The bound on clock errors, in nanoseconds.
    pub fn clock_error_ns(&self) -> i64 {
        i64::try_from(self.shared.settings.clock_error.as_nanos()).unwrap_or(i64::MAX)
    }

    /// The watch over the run.
    pub fn watch(&self) -> &Watch {
        &self.shared.watch
    }

    /// How many messages have arrived.
    pub fn delivered(&self) -> u64 {
        self.shared.network.delivered()
    }

    /// True time since the start.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.shared.time.true_ns() - START_NS)
    }

    /// The cluster as a database.
    pub fn database(&self) -> Box<dyn crate::client::Database> {
        Box::new(self.shared.database.clone())
    }
}

/// A number within the limit, either way, both ends included.
pub(super) fn drawn_within(random: &Random, limit: i64) -> i64 {
    let width = u64::try_from(limit).unwrap_or(0) * 2;
    i64::try_from(random.range(0, width + 1)).unwrap_or(0) - limit
}
