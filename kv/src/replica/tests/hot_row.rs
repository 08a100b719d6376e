//! Many clients on one row: what their waiting costs.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clock::{Hlc, Random, SimulatedTime, Tasks, Timestamp, VolatileCeiling};

use crate::api::*;
use crate::engine::{Engine, EngineWriter, MemoryEngine, WriteBatch};
use crate::replica::{LocalProposer, NoEvents, Replica, ReplicaContext, first_range_state};
use crate::settings::Settings;

/// Counts what the replica asks of ranges, itself among them.
#[derive(Default)]
struct Counting {
    replica: OnceLock<Arc<Replica>>,
    asked: AtomicU64,
}

#[async_trait]
impl Sender for Counting {
    async fn send(&self, batch: BatchRequest) -> Result<BatchResponse, KvError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(TRIP).await;
        let replica = self.replica.get().cloned().expect("it is open");
        replica.send(batch).await
    }
}

/// From a client to the range, and from the range to another.
const TRIP: Duration = Duration::from_micros(500);

struct Range {
    replica: Arc<Replica>,
    counting: Arc<Counting>,
    hlc: Arc<Hlc>,
}

fn open_range(tasks: &Tasks) -> Range {
    let time = SimulatedTime::starting_at(1_000_000_000_000, Duration::ZERO);
    let hlc = Arc::new(Hlc::new(Arc::new(time), Duration::ZERO, Arc::new(VolatileCeiling), Timestamp::MIN));
    let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::new());
    let mut batch = WriteBatch::new();
    first_range_state(1, &[1]).write_all(1, &mut batch);
    engine.write(batch).expect("memory takes every batch");
    let counting = Arc::new(Counting::default());
    let context = ReplicaContext {
        range_id: 1,
        node_id: 1,
        writer: EngineWriter::new(engine.clone(), tasks.clone()),
        engine,
        hlc: hlc.clone(),
        tasks: tasks.clone(),
        random: Random::from_seed(1),
        settings: Arc::new(Settings::default()),
        sender: counting.clone(),
        events: Arc::new(NoEvents),
        limits: Arc::new(crate::consistency::CheckLimits::of(&Settings::default())),
    };
    let replica = Replica::open(context).expect("a range that was just written can be opened");
    LocalProposer::attach(&replica);
    assert!(counting.replica.set(replica.clone()).is_ok(), "once");
    Range { replica, counting, hlc }
}

impl Range {
    async fn send(&self, txn: &TxnMeta, requests: Vec<RequestKind>) -> Result<BatchResponse, KvError> {
        tokio::time::sleep(TRIP).await;
        let header = BatchHeader { txn: Some(txn.clone()), timeout_ms: 60_000, ..BatchHeader::default() };
        let requests = requests.into_iter().map(Request::from).collect();
        let answer = self.replica.send(BatchRequest { header, requests }).await;
        tokio::time::sleep(TRIP).await;
        answer
    }

    /// Adds one to the row, as an UPDATE does: a locking read, then write and commit in one phase.
    async fn add_one(&self, row: &Bytes, id: u128) {
        let now = self.hlc.now().expect("simulated clocks answer");
        let mut txn = TxnMeta {
            id: TxnId::from_random(id),
            anchor: row.clone(),
            sequence: 1,
            read_timestamp: now,
            write_timestamp: now,
            uncertainty_limit: now,
            begin_timestamp: now,
            held_since: Some(now),
            ..TxnMeta::default()
        };
        loop {
            let get = Get { key: row.clone(), lock: LockStrength::Exclusive as i32 };
            let before = match self.send(&txn, vec![RequestKind::Get(get)]).await {
                Ok(response) => match response.responses.into_iter().next().and_then(|response| response.kind) {
                    Some(ResponseKind::Value(Value { value })) => {
                        value.map_or(0, |value| u64::from_be_bytes(value[..].try_into().expect("eight bytes")))
                    }
                    other => panic!("{other:?}"),
                },
                Err(KvError::WriteTooOld(conflict)) => {
                    (txn.read_timestamp, txn.write_timestamp) = (conflict.actual, conflict.actual);
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            let value = Bytes::copy_from_slice(&(before + 1).to_be_bytes());
            let put = Put { key: row.clone(), value, sequence: 1, invisible: false };
            let end = EndTxn { commit: true, one_phase: true, ..EndTxn::default() };
            loop {
                let requests = vec![RequestKind::Put(put.clone()), RequestKind::EndTxn(end.clone())];
                match self.send(&txn, requests).await {
                    Ok(_) => return,
                    // Under the lock nothing else was read or written: its reads hold there, too.
                    Err(KvError::CommitPushed(conflict)) => {
                        (txn.read_timestamp, txn.write_timestamp) = (conflict.actual, conflict.actual);
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}

/// Each release lets one client go on, and costs no more than a few requests however many wait: with 200 of them, not 200.
#[test]
fn a_release_of_a_hot_row_costs_the_same_however_many_wait() {
    const CLIENTS: u64 = 200;
    const ROUNDS: u64 = 10;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime starts");
    runtime.block_on(async {
        let tasks = Tasks::deterministic(tokio::runtime::Handle::current());
        let range = Arc::new(open_range(&tasks));
        let row = Bytes::from_static(b"\x04hot");
        range.add_one(&row, 1).await;
        let client = |client: u64| {
            let (range, row) = (range.clone(), row.clone());
            async move {
                for round in 0..ROUNDS {
                    range.add_one(&row, u128::from(2 + client * ROUNDS + round)).await;
                }
            }
        };
        let begun = range.hlc.now().expect("simulated clocks answer");
        let clients: Vec<_> = (0..CLIENTS).map(|nth| tasks.spawn("client", client(nth))).collect();
        for client in clients {
            client.await.expect("no client panics");
        }
        let took = range.hlc.now().expect("simulated clocks answer").wall_ns - begun.wall_ns;
        let get = RequestKind::Get(Get { key: row.clone(), ..Get::default() });
        let batch = BatchRequest { requests: vec![get.into()], ..BatchRequest::default() };
        let Some(ResponseKind::Value(Value { value: Some(value) })) =
            range.replica.send(batch).await.expect("read").responses.remove(0).kind
        else {
            panic!("the row is there")
        };
        let releases = CLIENTS * ROUNDS;
        assert_eq!(value[..], (releases + 1).to_be_bytes(), "every client's addition counts once");
        let asked = range.counting.asked.load(Ordering::Relaxed);
        println!("{releases} releases, {asked} requests, {} ms of virtual time", took / 1_000_000);
        assert!(asked <= 10 * releases, "{asked} requests for {releases} releases");
    });
}
