//! A leaseholder that was paused, and is overwritten by a snapshot, serves nothing of what is half-way in place
//! (`half_installed_is_unseen`).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clock::{Hlc, Random, SimulatedTime, Tasks, Timestamp, VolatileCeiling};
use futures::FutureExt;
use raft_groups::{CommittedEntry, EntryKind, GroupError, GroupStatus, ProposeError, ReplicaId, StateMachine};

use super::*;
use crate::Settings;
use crate::api::{BatchHeader, BatchRequest, BatchResponse, Get, KvError, RequestKind, ResponseKind, Sender};
use crate::engine::{EngineError, EngineWriter, Reader};
use crate::replica::{NoEvents, Proposer, Replica, ReplicaContext};

/// A log that applies what is proposed at once, until its replica no longer leads.
struct Log {
    replica: std::sync::Weak<Replica>,
    leads: Arc<AtomicBool>,
    index: Mutex<u64>,
}

#[async_trait]
impl Proposer for Log {
    async fn propose(&self, command: Bytes, _term: u64) -> Result<(), ProposeError> {
        if !self.leads.load(Ordering::SeqCst) {
            return Err(ProposeError::NotLeader { leader: None });
        }
        *self.index.lock() += 1;
        let position = LogPosition { term: 3, leader: 0, index: *self.index.lock() };
        let entry = CommittedEntry { position, kind: EntryKind::Command(command) };
        let replica = self.replica.upgrade().ok_or(ProposeError::ShuttingDown)?;
        replica.apply(vec![entry]).await.map_err(|_| ProposeError::Unknown)
    }

    fn status(&self) -> GroupStatus {
        GroupStatus::default()
    }

    fn leader_term(&self) -> Option<u64> {
        self.leads.load(Ordering::SeqCst).then_some(3)
    }

    fn heard_quorum_within(&self, _window: Duration) -> bool {
        true
    }

    async fn transfer_leadership(&self, _to: ReplicaId) -> Result<(), GroupError> {
        Ok(())
    }
}

struct Nowhere;

#[async_trait]
impl Sender for Nowhere {
    async fn send(&self, _batch: BatchRequest) -> Result<BatchResponse, KvError> {
        Err(KvError::invalid("this test has one range"))
    }
}

type Hook = Box<dyn FnMut() + Send>;

/// An engine that lets others look after each batch.
#[derive(Default)]
struct Seen {
    engine: MemoryEngine,
    after_each: Mutex<Option<Hook>>,
}

impl Engine for Seen {
    fn snapshot(&self) -> Box<dyn Reader> {
        self.engine.snapshot()
    }

    fn write(&self, batch: WriteBatch) -> Result<(), EngineError> {
        self.engine.write(batch)?;
        let hook = self.after_each.lock().take();
        if let Some(mut hook) = hook {
            hook();
            *self.after_each.lock() = Some(hook);
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.engine.sync()
    }

    fn disk_bytes(&self) -> u64 {
        self.engine.disk_bytes()
    }
}

fn open(engine: Arc<dyn Engine>) -> (Arc<Replica>, Arc<AtomicBool>) {
    let time = SimulatedTime::starting_at(1_000_000_000_000, Duration::from_millis(10));
    let hlc = Hlc::new(Arc::new(time), Duration::from_millis(10), Arc::new(VolatileCeiling), Timestamp::MIN);
    let tasks = Tasks::deterministic(tokio::runtime::Handle::current());
    let replica = Replica::open(ReplicaContext {
        range_id: 2,
        node_id: 2,
        writer: EngineWriter::new(engine.clone(), tasks.clone()),
        engine,
        hlc: Arc::new(hlc),
        tasks,
        random: Random::from_seed(1),
        settings: Arc::new(Settings::default()),
        sender: Arc::new(Nowhere),
        events: Arc::new(NoEvents),
        limits: Arc::new(crate::consistency::CheckLimits::of(&Settings::default())),
    });
    let replica = replica.expect("what was written can be read");
    let leads = Arc::new(AtomicBool::new(true));
    let log = Log { replica: Arc::downgrade(&replica), leads: leads.clone(), index: Mutex::new(5) };
    replica.set_proposer(Arc::new(log));
    (replica, leads)
}

/// A host as the store is one, of one replica.
struct Replaced(Arc<Replica>);

impl InstallHost for Replaced {
    fn former(&self) -> RangeDescriptor {
        self.0.descriptor()
    }

    fn claim(&self, _descriptor: &RangeDescriptor) -> Result<(), String> {
        Ok(())
    }

    fn begin_switch(&self, _descriptor: &RangeDescriptor) -> Result<(), String> {
        self.0.begin_switch();
        Ok(())
    }

    fn installed(&self, _descriptor: &RangeDescriptor) -> Result<(), StateMachineError> {
        self.0.reload().map_err(StateMachineError::new)
    }

    fn abandoned(&self, _range_id: u64, _staged: Option<EngineSpan>) {}
}

fn get(row: u64, at: Timestamp) -> BatchRequest {
    let key = [&[keys::TABLE][..], &row.to_be_bytes()].concat().into();
    let header = BatchHeader { read_timestamp: at, ..BatchHeader::default() };
    BatchRequest { header, requests: vec![RequestKind::Get(Get { key, ..Get::default() }).into()] }
}

/// What a get was answered with: whether there was a row. `None` when it was not answered, or refused.
fn found(answer: Option<Result<BatchResponse, KvError>>) -> Option<bool> {
    match answer?.ok()?.responses.into_iter().next()?.kind {
        Some(ResponseKind::Value(value)) => Some(value.value.is_some()),
        _ => None,
    }
}

/// Every row is there before and after, in small snapshots and in large ones, in the old data and in the new: whoever does not
/// see it has looked in between.
#[tokio::test(start_paused = true)]
async fn a_paused_leaseholder_serves_nothing_half_installed() {
    for (rows, batch_bytes) in [(100, 1 << 20), (9_000, 1 << 12)] {
        let seen = Arc::new(Seen::default());
        let target: Arc<dyn Engine> = seen.clone();
        let older = descriptor(b"\x05", 3);
        fill(&*target, 2, &older, 0..rows, 5);
        let (replica, leads) = open(target.clone());
        assert_eq!(found(Some(replica.send(get(7, Timestamp::MIN)).await)), Some(true), "it holds the lease");
        let at = replica.lease().start;
        assert_eq!(found(Some(replica.send(get(7, at)).await)), Some(true), "at timestamps that its lease covers");
        // It is cut off, others take over, and what they wrote is so much that it is sent a snapshot. Its own clock stood still.
        leads.store(false, Ordering::SeqCst);
        let source = MemoryEngine::new();
        fill(&source, 1, &descriptor(b"\x05", 4), 0..rows, 77);
        let answers = Arc::new(Mutex::new(BTreeSet::new()));
        let (heard, asked) = (answers.clone(), replica.clone());
        *seen.after_each.lock() = Some(Box::new(move || {
            for row in [0, rows / 2, rows - 1] {
                heard.lock().extend(found(asked.send(get(row, at)).now_or_never()));
            }
        }));
        carry(&source, sink(&target, &Arc::new(Replaced(replica.clone())), batch_bytes)).await.expect("installed");
        *seen.after_each.lock() = None;
        assert!(!answers.lock().contains(&false), "half_installed_is_unseen: a row was not there, of {rows}");
        assert!(!replica.is_leaseholder(), "its lease went with the data it was for");
        leads.store(true, Ordering::SeqCst);
    }
}
