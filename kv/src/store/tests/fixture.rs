//! One store on a simulated disk, without peers: its replicas hear nobody, and the test does what Raft would.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clock::{Hlc, Random, SimulatedTime, Tasks, Timestamp, VolatileCeiling};
use raft_groups::disk::SimDir;
use raft_groups::wal::{Wal, WalOptions};
use raft_groups::{
    GroupConfig, GroupHost, LogPosition, NodeId, SimNetwork, SnapshotSink, StateMachineError, Transport, initial_state,
};

use crate::Settings;
use crate::consistency::CheckLimits;
use crate::descriptor::{RangeDescriptor, ReplicaDescriptor};
use crate::engine::{Engine, MemoryEngine, WriteBatch};
use crate::keys;
use crate::liveness::Registry;
use crate::mvcc;
use crate::replica::{RangeState, ReplicaEvents};
use crate::router::Router;
use crate::store::snapshot::RangeSource;
use crate::store::{DiskGuard, Store, StoreParts};
use raft_groups::SnapshotSource;

/// Runs a test on one thread in virtual time.
pub fn simulate<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without I/O starts").block_on(test)
}

/// Opens a store on what an engine holds. Its log is new.
pub async fn open(engine: Arc<dyn Engine>) -> Arc<Store> {
    let tasks = Tasks::deterministic(tokio::runtime::Handle::current());
    let random = Random::from_seed(1);
    let time = SimulatedTime::starting_at(1_000_000_000_000, Duration::from_millis(10));
    let hlc = Hlc::new(Arc::new(time), Duration::from_millis(10), Arc::new(VolatileCeiling), Timestamp::MIN);
    let hlc = Arc::new(hlc);
    let network = SimNetwork::new(random.fork("network"), tasks.clone());
    let transport: Arc<dyn Transport> = network.connect(NodeId(1), "node-1", hlc.clone());
    let disk = Arc::new(SimDir::new(random.fork("disk")));
    let settings = Settings { disk_floor_bytes: 0, snapshot_batch_bytes: 4 << 10, ..Settings::default() };
    let wal = Wal::open(disk.clone(), WalOptions::small(), tasks.clone()).expect("a new log opens");
    let groups = GroupConfig::default();
    let host = GroupHost::new(NodeId(1), wal, transport.clone(), tasks.clone(), random.fork("raft"), groups);
    let registry = Arc::new(Registry::new(hlc.clone(), settings.clone()));
    let router = Arc::new(Router::new(transport, registry, hlc.clone(), settings.clone()));
    let parts = StoreParts {
        node_id: 1,
        engine,
        host: host.expect("the settings are sound"),
        router,
        hlc,
        tasks,
        random,
        disk: Arc::new(DiskGuard::new(disk, &settings)),
        limits: Arc::new(CheckLimits::of(&settings)),
        settings,
    };
    Store::start(parts).await.expect("the store starts")
}

/// A range of three replicas, whose first is on this node.
pub fn descriptor(range_id: u64, start: u64, end: Option<u64>, generation: u64) -> RangeDescriptor {
    let replica = |id| ReplicaDescriptor { replica_id: id, node_id: id, ..ReplicaDescriptor::default() };
    RangeDescriptor {
        range_id,
        start: key(start),
        end: end.map(key).unwrap_or_default(),
        generation,
        replicas: (1..=3).map(replica).collect(),
        next_replica_id: 4,
    }
}

/// The key of a row.
pub fn key(row: u64) -> Bytes {
    [&[keys::TABLE][..], &row.to_be_bytes()].concat().into()
}

fn version(row: u64) -> Bytes {
    mvcc::key::version(&key(row), Timestamp::new(7, 0))
}

/// Writes a replica with rows, as found after this many entries were applied.
pub fn fill(engine: &dyn Engine, descriptor: &RangeDescriptor, rows: std::ops::Range<u64>, index: u64) {
    let mut applied = initial_state(&[(1.into(), 1.into()), (2.into(), 2.into()), (3.into(), 3.into())]);
    applied.last_applied = Some(LogPosition { term: 1, leader: 0, index });
    let state = RangeState { descriptor: descriptor.clone(), applied, ..RangeState::default() };
    let mut batch = WriteBatch::new();
    state.write_all(1, &mut batch);
    rows.for_each(|row| batch.put(version(row), row.to_string()));
    engine.write(batch).expect("memory takes it");
}

/// How many of these rows an engine holds.
pub fn count(engine: &dyn Engine, rows: std::ops::Range<u64>) -> usize {
    let reader = engine.snapshot();
    rows.filter(|row| reader.get(&version(*row)).expect("memory is readable").is_some()).count()
}

/// Sends a snapshot of the range to the store's replica of it, as its leader would.
pub async fn receive(store: &Arc<Store>, from: &dyn Engine, range_id: u64) -> Result<(), StateMachineError> {
    let held = store.held(range_id).ok_or_else(|| StateMachineError::refused("no replica runs"))?;
    let mut source = RangeSource::open(from, range_id)?;
    let mut sink: Box<dyn SnapshotSink> = store.begin_install(&held.replica, source.applied_state()).await?;
    while let Some(chunk) = source.next_chunk().await? {
        sink.write_chunk(chunk).await?;
    }
    sink.prepare().await?;
    sink.finish().await
}

/// The engine of a node that has such a range.
pub fn peer(descriptor: &RangeDescriptor, rows: std::ops::Range<u64>) -> MemoryEngine {
    let engine = MemoryEngine::new();
    fill(&engine, descriptor, rows, 50);
    engine
}
