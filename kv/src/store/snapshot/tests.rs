use parking_lot::Mutex;
use raft_groups::{LogPosition, initial_state};

mod unseen;

use super::*;
use crate::descriptor::ReplicaDescriptor;
use crate::engine::MemoryEngine;
use crate::mvcc;

struct Host {
    former: RangeDescriptor,
    refuses: bool,
    installed: Mutex<bool>,
}

impl InstallHost for Host {
    fn former(&self) -> RangeDescriptor {
        self.former.clone()
    }

    fn claim(&self, _descriptor: &RangeDescriptor) -> Result<(), String> {
        if self.refuses { Err("not now".to_owned()) } else { Ok(()) }
    }

    fn begin_switch(&self, _descriptor: &RangeDescriptor) -> Result<(), String> {
        Ok(())
    }

    fn installed(&self, _descriptor: &RangeDescriptor) -> Result<(), StateMachineError> {
        *self.installed.lock() = true;
        Ok(())
    }

    fn abandoned(&self, _range_id: u64, _staged: Option<EngineSpan>) {}
}

fn steps(engine: &Arc<dyn Engine>) -> Steps {
    let settings = crate::Settings { disk_floor_bytes: 0, ..crate::Settings::default() };
    let dir = raft_groups::disk::SimDir::new(clock::Random::from_seed(1));
    let disk = Arc::new(super::super::DiskGuard::new(Arc::new(dir), &settings));
    Steps { engine: engine.clone(), tasks: clock::Tasks::deterministic(tokio::runtime::Handle::current()), disk }
}

fn descriptor(end: &'static [u8], generation: u64) -> RangeDescriptor {
    let replica = |replica_id| ReplicaDescriptor { replica_id, node_id: replica_id, ..ReplicaDescriptor::default() };
    RangeDescriptor {
        range_id: 2,
        start: Bytes::from_static(b"\x04"),
        end: Bytes::from_static(end),
        generation,
        replicas: vec![replica(1), replica(2)],
        next_replica_id: 3,
    }
}

fn row(key: u64) -> Bytes {
    let key = [&[keys::TABLE][..], &key.to_be_bytes()].concat();
    mvcc::key::version(&key, clock::Timestamp::new(7, 0))
}

/// A store with one replica of the range, and so many rows.
fn fill(engine: &dyn Engine, replica_id: u64, descriptor: &RangeDescriptor, rows: std::ops::Range<u64>, index: u64) {
    let mut state = RangeState { descriptor: descriptor.clone(), ..RangeState::default() };
    state.applied = initial_state(&[(1.into(), 1.into())]);
    state.applied.last_applied = Some(LogPosition { term: 3, leader: 0, index });
    let mut batch = WriteBatch::new();
    state.write_all(replica_id, &mut batch);
    for key in rows {
        // Without marks, in front of the value.
        batch.put(row(key), [&[0], key.to_string().as_bytes()].concat());
    }
    engine.write(batch).expect("memory takes it");
}

/// All entries of the range, less what is the replica's own.
fn contents(engine: &dyn Engine, descriptor: &RangeDescriptor) -> Vec<(Bytes, Bytes)> {
    let reader = engine.snapshot();
    let mut spans = vec![data::id_span(descriptor.range_id)];
    spans.extend(data::key_spans(descriptor));
    let mut all = Vec::new();
    for (start, end) in spans {
        let mut from = Some(start);
        while let Some(start) = from {
            let (entries, next) = data::page(&*reader, &start, &end).expect("memory is readable");
            all.extend(entries);
            from = next;
        }
    }
    all
}

fn sink<H: InstallHost>(engine: &Arc<dyn Engine>, host: &Arc<H>, batch_bytes: usize) -> Box<RangeSink> {
    Box::new(RangeSink {
        steps: steps(engine),
        host: host.clone(),
        replica_id: 2,
        range_id: 2,
        install_id: 99,
        batch_bytes,
        state: SinkState::default(),
    })
}

async fn carry(from: &dyn Engine, mut to: Box<RangeSink>) -> Result<(), StateMachineError> {
    let mut source = RangeSource::open(from, 2)?;
    while let Some(chunk) = source.next_chunk().await? {
        to.write_chunk(chunk).await?;
    }
    to.prepare().await?;
    to.finish().await
}

fn host(former: RangeDescriptor) -> Arc<Host> {
    Arc::new(Host { former, refuses: false, installed: Mutex::new(false) })
}

#[tokio::test]
async fn a_snapshot_replaces_what_was_there_small_or_large() {
    for (rows, batch_bytes) in [(100, 1 << 20), (20_000, 1 << 10), (20_000, usize::MAX)] {
        let source = MemoryEngine::new();
        let newer = descriptor(b"\x05", 4);
        fill(&source, 1, &newer, 0..rows, 77);
        let target: Arc<dyn Engine> = Arc::new(MemoryEngine::new());
        let older = descriptor(b"\x06", 3);
        fill(&*target, 2, &older, 50..9_000, 5);
        let host = host(older.clone());
        carry(&source, sink(&target, &host, batch_bytes)).await.expect("installed");
        assert!(*host.installed.lock());
        assert_eq!(contents(&*target, &older), contents(&source, &newer));
        let (record, state) = RangeState::load(&*target.snapshot(), 2).expect("readable").expect("there");
        assert_eq!((record.replica_id, record.descriptor), (2, newer));
        assert_eq!(state.applied.last_applied.map(|position| position.index), Some(77));
        complete_marked(&steps(&target), 2).await.expect("nothing to do");
    }
}

#[tokio::test]
async fn a_refused_snapshot_leaves_everything_as_it_was() {
    let source = MemoryEngine::new();
    fill(&source, 1, &descriptor(b"\x05", 4), 0..10, 77);
    let target: Arc<dyn Engine> = Arc::new(MemoryEngine::new());
    let older = descriptor(b"\x06", 3);
    fill(&*target, 2, &older, 50..60, 5);
    let before = contents(&*target, &older);
    let host = Arc::new(Host { former: older.clone(), refuses: true, installed: Mutex::new(false) });
    assert!(carry(&source, sink(&target, &host, 1 << 20)).await.is_err());
    assert_eq!(contents(&*target, &older), before);
}

/// Power is lost after each batch of a large install: the restarted store holds the old state, or the new one.
#[tokio::test]
async fn install_rolls_forward() {
    let source = MemoryEngine::new();
    let newer = descriptor(b"\x05", 4);
    fill(&source, 1, &newer, 0..4_500, 77);
    let older = descriptor(b"\x06", 3);
    let (mut kept, mut switched) = (0, 0);
    for surviving in 0.. {
        let memory = Arc::new(MemoryEngine::new());
        let target: Arc<dyn Engine> = memory.clone();
        fill(&*target, 2, &older, 50..4_600, 5);
        target.sync().expect("memory syncs");
        let before = contents(&*target, &older);
        let mut sink = sink(&target, &host(older.clone()), 1 << 10);
        let mut source_view = RangeSource::open(&source, 2).expect("there");
        while let Some(chunk) = source_view.next_chunk().await.expect("readable") {
            sink.write_chunk(chunk).await.expect("staged");
        }
        sink.install_staged(&newer).await.expect("switched");
        if surviving > memory.unsynced_batches() {
            break;
        }
        let restarted: Arc<dyn Engine> = Arc::new(memory.crash(surviving));
        complete_marked(&steps(&restarted), 2).await.expect("completed");
        let after = contents(&*restarted, &older);
        if after == before {
            kept += 1;
            assert_eq!(switched, 0, "once marked, always switched");
        } else {
            switched += 1;
            assert_eq!(after, contents(&source, &newer), "after {surviving} batches");
        }
        assert_eq!(staging_left(&*restarted), 0);
    }
    assert!(kept > 0 && switched > 0);
}

fn staging_left(engine: &dyn Engine) -> usize {
    let prefix = keys::range_local(2, RangeLocal::Staging);
    let reader = engine.snapshot();
    let mut cursor = reader.cursor(&prefix, &keys::prefix_end(&prefix), false);
    let mut left = 0;
    while cursor.advance().expect("memory is readable") {
        left += 1;
    }
    left
}
