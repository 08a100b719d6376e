//! Test support: ranges that evaluate one batch after the other, in memory, and say in a trace what they were asked.
//!
//! They keep the rules that a coordinator sees (snapshots, intents, locks, the timestamp cache, records) and none of those it does
//! not: a conflict with a live transaction is answered at once, instead of waited for.

mod evaluate;
mod trace;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use clock::{Interval, TimeSource, Timestamp};
use kv::api::{
    BatchRequest, BatchResponse, KvError, Sender, SequenceSpan, Span, TxnId, TxnMeta, TxnStatus, error_detail,
};
use parking_lot::Mutex;

pub use trace::{time, value};

/// A clock that follows virtual time, and moves on by one millisecond with each reading besides: what a test does decides what
/// time it is, and time never stands still.
pub struct TickingTime {
    start: tokio::time::Instant,
    ticked_ms: AtomicU64,
    error_ms: u64,
}

impl TickingTime {
    /// REQUIRES: inside a runtime whose time is paused.
    #[allow(clippy::disallowed_methods, reason = "this is virtual time")]
    pub fn new(error_ms: u64) -> Self {
        TickingTime { start: tokio::time::Instant::now(), ticked_ms: AtomicU64::new(1_000), error_ms }
    }

    pub fn advance_ms(&self, by: u64) {
        self.ticked_ms.fetch_add(by, Ordering::SeqCst);
    }

    /// Without moving it.
    pub fn peek_ms(&self) -> u64 {
        self.ticked_ms.load(Ordering::SeqCst) + self.elapsed_ms()
    }

    #[allow(clippy::disallowed_methods, reason = "this is virtual time")]
    fn elapsed_ms(&self) -> u64 {
        let elapsed = tokio::time::Instant::now().duration_since(self.start);
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }
}

impl TimeSource for TickingTime {
    fn now(&self) -> Interval {
        let now_ms = self.ticked_ms.fetch_add(1, Ordering::SeqCst) + self.elapsed_ms();
        Interval {
            earliest_ns: now_ms.saturating_sub(self.error_ms) * 1_000_000,
            latest_ns: (now_ms + self.error_ms) * 1_000_000,
        }
    }
}

/// How one batch is to fail.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The kind of request the batch must hold, as the trace names it.
    pub on: String,
    /// Whether it takes effect nevertheless.
    pub applies: bool,
    pub error: KvError,
}

/// The ranges.
#[derive(Default)]
pub struct SerialRanges {
    state: Mutex<Ranges>,
    faults: Mutex<VecDeque<Fault>>,
    trace: Mutex<Vec<String>>,
}

#[derive(Clone, Default)]
struct Ranges {
    /// First keys of the ranges but the first.
    boundaries: Vec<Bytes>,
    versions: BTreeMap<Bytes, BTreeMap<Timestamp, Option<Bytes>>>,
    writers: BTreeMap<(Bytes, Timestamp), TxnId>,
    intents: BTreeMap<Bytes, Intent>,
    locks: BTreeMap<Bytes, TxnId>,
    reads: Vec<(Span, Timestamp, Option<TxnId>)>,
    records: BTreeMap<TxnId, Record>,
}

#[derive(Clone)]
struct Record {
    status: TxnStatus,
    at: Timestamp,
    ignored: Vec<SequenceSpan>,
}

#[derive(Clone)]
struct Intent {
    txn: TxnMeta,
    /// By sequence number.
    writes: BTreeMap<u32, Option<Bytes>>,
}

impl Intent {
    /// The newest write through a sequence number that counts.
    fn newest(&self, through: u32, ignored: &[SequenceSpan]) -> Option<&Option<Bytes>> {
        let counts = |sequence: &u32| !ignored.iter().any(|span| span.contains(*sequence));
        self.writes.range(..=through).rev().find(|(sequence, _)| counts(sequence)).map(|(_, value)| value)
    }
}

impl SerialRanges {
    pub fn split(&self, key: Bytes) {
        let mut state = self.state.lock();
        state.boundaries.push(key);
        state.boundaries.sort();
    }

    /// The next batch with such a request fails so.
    pub fn inject(&self, fault: Fault) {
        self.faults.lock().push_back(fault);
    }

    pub fn clear_faults(&self) {
        self.faults.lock().clear();
    }

    pub fn take_trace(&self) -> Vec<String> {
        std::mem::take(&mut self.trace.lock())
    }

    /// What is stored: committed versions newest first, then intents and locks.
    pub fn dump(&self) -> String {
        trace::dump(&self.state.lock())
    }

    fn take_fault(&self, batch: &BatchRequest) -> Option<Fault> {
        let mut faults = self.faults.lock();
        let place = faults.iter().position(|fault| batch.requests.iter().any(|r| trace::kind_of(r) == fault.on))?;
        faults.remove(place)
    }
}

#[async_trait]
impl Sender for SerialRanges {
    async fn send(&self, batch: BatchRequest) -> Result<BatchResponse, KvError> {
        let asked = trace::describe(&batch);
        let fault = self.take_fault(&batch);
        let answer = match fault {
            Some(Fault { applies: false, error, .. }) => Err(error),
            Some(Fault { applies: true, error, .. }) => {
                let _ = self.evaluate(&batch);
                Err(error)
            }
            None => self.evaluate(&batch),
        };
        self.trace.lock().push(format!("{asked} -> {}", trace::describe_answer(&answer)));
        answer
    }
}

impl SerialRanges {
    /// All of the batch, or nothing.
    fn evaluate(&self, batch: &BatchRequest) -> Result<BatchResponse, KvError> {
        let mut state = self.state.lock();
        let mut next = state.clone();
        let response = next.evaluate(batch)?;
        *state = next;
        Ok(response)
    }
}

fn ended(message: &str) -> error_detail::Ended {
    error_detail::Ended { message: message.into(), other: None }
}
