//! Leases over a log whose leadership the test decides.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clock::{Hlc, Random, SimulatedTime, Tasks, Timestamp, VolatileCeiling};
use parking_lot::Mutex;
use raft_groups::{
    CommittedEntry, EntryKind, GroupError, GroupStatus, LogPosition, NodeId, ProposeError, ReplicaId, StateMachine,
};

use crate::api::*;
use crate::engine::{Engine, EngineWriter, MemoryEngine, WriteBatch};
use crate::replica::{NoEvents, Proposer, Replica, ReplicaContext, first_range_state};
use crate::settings::Settings;

/// A log that two replicas share: the test says who leads, and may hold entries back.
#[derive(Default)]
struct Log {
    leader: AtomicU64,
    term: AtomicU64,
    replicas: Mutex<Vec<Arc<Replica>>>,
    entries: Mutex<Vec<Bytes>>,
    /// Entries beyond this many are not applied yet.
    held_back: AtomicU64,
    turn: tokio::sync::Mutex<usize>,
}

impl Log {
    fn elect(&self, replica: u64) {
        self.term.fetch_add(1, Ordering::SeqCst);
        self.leader.store(replica, Ordering::SeqCst);
        for replica in self.replicas.lock().iter() {
            replica.leadership(&GroupStatus::default());
        }
    }

    async fn apply_all(&self) {
        let mut applied = self.turn.lock().await;
        let replicas = self.replicas.lock().clone();
        let hold = self.held_back.load(Ordering::SeqCst) > 0;
        let entries = self.entries.lock()[*applied..].to_vec();
        if hold {
            return;
        }
        for entry in entries {
            *applied += 1;
            let position = LogPosition { term: self.term.load(Ordering::SeqCst), leader: 0, index: *applied as u64 };
            for replica in &replicas {
                let entry = CommittedEntry { position, kind: EntryKind::Command(entry.clone()) };
                replica.apply(vec![entry]).await.expect("memory takes every batch");
            }
        }
    }
}

struct Side {
    log: Arc<Log>,
    replica: u64,
}

#[async_trait]
impl Proposer for Side {
    async fn propose(&self, command: Bytes, term: u64) -> Result<(), ProposeError> {
        if self.leader_term() != Some(term) {
            return Err(ProposeError::NotLeader { leader: None });
        }
        self.log.entries.lock().push(command);
        if self.log.held_back.load(Ordering::SeqCst) > 0 {
            return Err(ProposeError::Unknown);
        }
        self.log.apply_all().await;
        Ok(())
    }

    fn status(&self) -> GroupStatus {
        let leader = self.log.leader.load(Ordering::SeqCst);
        GroupStatus {
            term: self.log.term.load(Ordering::SeqCst),
            leader: Some(ReplicaId(leader)),
            is_leader: leader == self.replica,
            voters: [(ReplicaId(1), NodeId(1)), (ReplicaId(2), NodeId(2))].into(),
            ..GroupStatus::default()
        }
    }

    fn leader_term(&self) -> Option<u64> {
        (self.log.leader.load(Ordering::SeqCst) == self.replica).then(|| self.log.term.load(Ordering::SeqCst))
    }

    fn heard_quorum_within(&self, _window: Duration) -> bool {
        true
    }

    async fn transfer_leadership(&self, to: ReplicaId) -> Result<(), GroupError> {
        self.log.elect(to.0);
        Ok(())
    }
}

struct Nowhere;

#[async_trait]
impl Sender for Nowhere {
    async fn send(&self, _batch: BatchRequest) -> Result<BatchResponse, KvError> {
        Err(crate::replica::invalid("this test has one range"))
    }
}

struct Pair {
    log: Arc<Log>,
    replicas: [Arc<Replica>; 2],
}

fn pair() -> Pair {
    let time = SimulatedTime::starting_at(1_000_000_000_000, Duration::from_millis(10));
    let log = Arc::new(Log::default());
    let open = |node: u64| {
        let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::new());
        let mut batch = WriteBatch::new();
        first_range_state(1, &[1, 2]).write_all(node, &mut batch);
        engine.write(batch).expect("memory takes every batch");
        let source = Arc::new(time.another(0));
        let error = Duration::from_millis(10);
        let tasks = Tasks::deterministic(tokio::runtime::Handle::current());
        let context = ReplicaContext {
            range_id: 1,
            node_id: node,
            writer: EngineWriter::new(engine.clone(), tasks.clone()),
            engine,
            hlc: Arc::new(Hlc::new(source, error, Arc::new(VolatileCeiling), Timestamp::MIN)),
            tasks,
            random: Random::from_seed(node),
            settings: Arc::new(Settings::default()),
            sender: Arc::new(Nowhere),
            events: Arc::new(NoEvents),
            limits: Arc::new(crate::consistency::CheckLimits::of(&Settings::default())),
        };
        let replica = Replica::open(context).expect("what was just written can be opened");
        replica.set_proposer(Arc::new(Side { log: log.clone(), replica: node }));
        replica
    };
    let replicas = [open(1), open(2)];
    *log.replicas.lock() = replicas.to_vec();
    log.elect(1);
    Pair { log, replicas }
}

fn put(value: &str) -> BatchRequest {
    let put = Put { key: Bytes::from("\x04k"), value: value.to_owned().into(), sequence: 0, invisible: false };
    BatchRequest { requests: vec![RequestKind::Put(put).into()], ..BatchRequest::default() }
}

fn get() -> BatchRequest {
    let get = Get { key: Bytes::from("\x04k"), lock: 0 };
    BatchRequest { requests: vec![RequestKind::Get(get).into()], ..BatchRequest::default() }
}

fn value(response: BatchResponse) -> Option<Bytes> {
    match response.responses.into_iter().next().and_then(|response| response.kind) {
        Some(ResponseKind::Value(value)) => value.value,
        other => panic!("a get answered {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_leader_acquires_and_replicas_are_equal() {
    let Pair { replicas: [one, two], .. } = pair();
    one.send(put("x")).await.expect("the leader serves");
    assert!(matches!(two.send(get()).await, Err(KvError::NotLeaseholder(detail)) if detail.holder == 1));
    assert_eq!(one.lease().sequence, 1);
    assert_eq!(one.digest().expect("it reads"), two.digest().expect("it reads"), "replica_equality");
}

#[tokio::test(start_paused = true)]
async fn a_new_holder_waits_until_the_lease_has_run_out() {
    let Pair { log, replicas: [one, two] } = pair();
    one.send(put("x")).await.expect("the leader serves");
    let former = one.lease();
    // The client's commit wait: afterwards every clock has passed the write.
    tokio::time::sleep(Duration::from_millis(30)).await;
    log.elect(2);
    assert_eq!(value(two.send(get()).await.expect("it takes over")), Some("x".into()));
    let taken = two.lease();
    assert_eq!(taken.sequence, former.sequence + 1);
    assert!(taken.start >= former.expiration, "lease_disjointness");
    assert!(matches!(one.send(put("y")).await, Err(KvError::NotLeaseholder(_))));
}

#[tokio::test(start_paused = true)]
async fn a_transfer_takes_effect_at_once() {
    let Pair { replicas: [one, two], .. } = pair();
    one.send(put("x")).await.expect("the leader serves");
    let before = one.lease();
    let transfer = TransferLease { key: Bytes::from("\x04k"), target_node: 2 };
    let batch = BatchRequest { requests: vec![RequestKind::TransferLease(transfer).into()], ..BatchRequest::default() };
    one.send(batch).await.expect("the transfer applies");
    assert!(matches!(one.send(get()).await, Err(KvError::NotLeaseholder(detail)) if detail.holder == 2));
    two.send(put("y")).await.expect("the new holder serves");
    assert!(two.lease().start < before.expiration, "nobody waited for the expiration");
    assert_eq!(two.lease().sequence, before.sequence + 2, "one received, one of its own");
}

#[tokio::test(start_paused = true)]
async fn latches_until_fate() {
    let Pair { log, replicas: [one, two] } = pair();
    one.send(put("x")).await.expect("the leader serves");
    log.held_back.store(1, Ordering::SeqCst);
    let mut slow = put("y");
    slow.header.timeout_ms = 100;
    assert!(matches!(one.send(slow).await, Err(KvError::Ambiguous(_))), "it may yet apply");
    let mut read = get();
    read.header.timeout_ms = 100;
    assert!(matches!(one.send(read).await, Err(KvError::Unavailable(_))), "its latches are kept");
    log.held_back.store(0, Ordering::SeqCst);
    log.elect(2);
    log.apply_all().await;
    assert_eq!(
        value(two.send(get()).await.expect("it takes over")),
        Some("y".into()),
        "it was in the log, and applied"
    );
    log.elect(1);
    assert_eq!(value(one.send(get()).await.expect("its latches are free")), Some("y".into()));
}

#[tokio::test(start_paused = true)]
async fn a_restarted_holder_starts_a_new_sequence() {
    let Pair { log, replicas: [one, _two] } = pair();
    one.send(put("x")).await.expect("the leader serves");
    one.reload().expect("the state is read again");
    assert!(!one.is_leaseholder(), "a lease dies with its process");
    one.send(put("y")).await.expect("it leads still");
    assert_eq!(one.lease().sequence, 2);
    log.elect(1);
    one.send(put("z")).await.expect("a new term needs a new sequence");
    assert_eq!(one.lease().sequence, 3, "each sequence is tied to its term");
}
