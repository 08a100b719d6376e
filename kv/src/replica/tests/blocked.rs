//! Applying while the engine blocks: other tasks of the same thread go on.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use clock::{Hlc, Random, SimulatedTime, Tasks, Timestamp, VolatileCeiling};
use prost::Message;
use raft_groups::{CommittedEntry, EntryKind, LogPosition, StateMachine};

use super::super::{NoEvents, Replica, ReplicaContext, first_range_state};
use crate::api::{BatchRequest, BatchResponse, KvError, Sender};
use crate::command::{Command, GcThreshold, Trigger};
use crate::engine::{Door, Engine, EngineWriter, WriteBatch};
use crate::settings::Settings;

/// How long a test waits for what must happen, before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

struct Nowhere;

#[async_trait::async_trait]
impl Sender for Nowhere {
    async fn send(&self, _batch: BatchRequest) -> Result<BatchResponse, KvError> {
        Err(KvError::invalid("there is nobody"))
    }
}

fn open(door: &Arc<Door>, tasks: &Tasks) -> Arc<Replica> {
    let engine: Arc<dyn Engine> = door.clone();
    let mut batch = WriteBatch::new();
    first_range_state(1, &[1]).write_all(1, &mut batch);
    engine.write(batch).expect("memory takes every batch");
    let time = SimulatedTime::starting_at(1_000_000_000_000, Duration::ZERO);
    let context = ReplicaContext {
        range_id: 1,
        node_id: 1,
        writer: EngineWriter::new(engine.clone(), tasks.clone()),
        engine,
        hlc: Arc::new(Hlc::new(Arc::new(time), Duration::ZERO, Arc::new(VolatileCeiling), Timestamp::MIN)),
        tasks: tasks.clone(),
        random: Random::from_seed(1),
        settings: Arc::new(Settings::default()),
        sender: Arc::new(Nowhere),
        events: Arc::new(NoEvents),
        limits: Arc::new(crate::consistency::CheckLimits::of(&crate::Settings::default())),
    };
    Replica::open(context).expect("a range that was just written can be opened")
}

/// Applies an entry while the engine is shut, on a runtime of one thread, on which something else must be done meanwhile.
fn apply_blocked(kind: EntryKind) -> Arc<Replica> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.expect("a thread starts");
    let (door, tasks) = (Arc::new(Door::default()), Tasks::on(runtime.handle().clone()));
    let replica = open(&door, &tasks);
    door.shut();
    let position = LogPosition { term: 1, leader: 1, index: 7 };
    let applying = {
        let replica = replica.clone();
        tasks.spawn("apply", async move { replica.apply(vec![CommittedEntry { position, kind }]).await })
    };
    door.wait_for(2);
    assert_ne!(replica.applied_position(), Some(position), "nothing is told before the engine has it");
    let (beat, beats) = mpsc::channel();
    tasks.spawn("heartbeat", async move { beat.send(()) });
    let heard = beats.recv_timeout(PATIENCE);
    door.open();
    heard.expect("another task runs while an entry is applied");
    runtime.block_on(applying).expect("the task ends").expect("it applies");
    assert_eq!(replica.applied_position(), Some(position));
    replica
}

#[test]
fn an_entry_that_waits_for_the_engine_holds_no_thread() {
    apply_blocked(EntryKind::Blank);
}

#[test]
fn an_entry_that_changes_the_view_and_waits_for_the_engine_holds_no_thread() {
    let threshold = Timestamp::new(5, 0);
    let command = Command { trigger: Some(Trigger::GcThreshold(GcThreshold { threshold })), ..Command::default() };
    let replica = apply_blocked(EntryKind::Command(Bytes::from(command.encode_to_vec())));
    assert_eq!(replica.gc_threshold(), threshold);
}
