//! One transaction at its gateway.
//!
//! ```text
//!   snapshot R ──────────────────────────────▶ R' (refreshed: nothing it read changed in between)
//!      │  reads at R, their spans remembered      │
//!      │  writes buffered, or intents at W ≥ R    │ commit at W = R'
//!      └ statement ┬ statement ┬ statement        └ answered once this clock's earliest is past the effect timestamp
//!                  └ mark      └ mark: what rewind goes back to
//! ```
//!
//! Invariants:
//! - Every span in `reads` holds at `read_timestamp`: it was read there, or refreshed to there. An answer that was read at a
//!   former snapshot is never recorded: the request is sent again.
//! - It commits at or above `read_timestamp`, with its reads valid there; so it is serializable at its commit timestamp.
//! - After [`Error::StatementRetry`] nothing is accepted but a rewind or a rollback; after a fatal error, nothing but a rollback.
//! - What was written above a savepoint that was rolled back to does not count, in the buffer or in intents (`meta.ignored`). What
//!   was read there does: it stays among the spans. Its locks go.
//! - It is answered only after commit wait for the effect timestamp: the newest of its commit timestamp and of every version
//!   observed (`external_consistency`), unless it is relaxed.
//!
//! Locks: `state` is never held over an await. `moving` (held while the snapshot moves) is taken before `state`.
//!
//! Sources: CockroachDB's `txnSpanRefresher`, `txnWriteBuffer`, `txnCommitter`; Spanner (OSDI '12) for commit wait.

mod bulk;
mod commit;
mod finish;
mod read;
mod refresh;
mod savepoint;
mod write;

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use clock::Timestamp;
use kv::api::{BatchHeader, BatchResponse, LockStrength, Span, TxnId, TxnMeta};
use parking_lot::Mutex;

pub use commit::CommitOutcome;
pub use read::{OwnWrites, Page, ScanRequest};
pub use savepoint::{Savepoint, StillHeld};

use crate::buffer::WriteBuffer;
use crate::database::{Core, TxnOptions};
use crate::locks::LockSpans;
use crate::spans::SpanSet;
use crate::{Conflict, Error};
use bulk::Bulk;

/// A transaction. All methods take `&self`; reads may run side by side, writes and statements one after the other.
///
/// Dropping one that has not ended rolls it back in the background.
pub struct Transaction {
    core: Arc<Core>,
    this: Weak<Transaction>,
    /// Reads a past snapshot: no locks, no writes, nothing to refresh.
    historical: bool,
    state: Mutex<State>,
    moving: tokio::sync::Mutex<()>,
    bulk: Bulk,
}

struct State {
    meta: TxnMeta,
    lock_timeout: Option<Duration>,
    phase: Phase,
    /// Why nothing but a rollback is left.
    failure: Option<Error>,
    /// Why nothing but a rewind is left.
    must_rewind: Option<Box<Conflict>>,
    /// How often the snapshot has moved.
    moves: u64,
    buffer: WriteBuffer,
    /// What earlier statements read.
    reads: SpanSet,
    /// What the statement in hand has read.
    statement_reads: SpanSet,
    /// Counts statements.
    statement: u64,
    /// The newest sequence number before the statement in hand.
    statement_sequence: u32,
    /// The statement in hand has written intents, which a rewind must ignore.
    statement_spilled: bool,
    /// The statement in hand has loaded rows in bulk, which a rewind cannot undo.
    statement_loaded: bool,
    locks: LockSpans,
    /// The ranges that answered locking reads, in order.
    lock_ranges: Vec<u64>,
    /// Locking reads that were sent and not answered: their locks may be anywhere in `locks`.
    lock_requests_open: u32,
    intents: LockSpans,
    /// Every key put into `intents` was answered as written.
    all_written: bool,
    /// A record was, or may have been, written at the anchor.
    has_record: bool,
    /// Bulk writes were sent, at or below the write timestamp.
    loaded: bool,
    /// The newest version observed.
    observed: Timestamp,
    /// The ranges that took part, in order.
    ranges: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Active,
    /// Between the first commit request and knowing what it came to.
    Committing,
    Committed,
    RolledBack,
    /// Nobody knows.
    Unknown,
}

/// Where a statement began; see [`Transaction::statement`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatementMark {
    statement: u64,
}

impl Transaction {
    pub(crate) fn begin(core: Arc<Core>, meta: TxnMeta, options: TxnOptions) -> Arc<Self> {
        let historical = options.as_of.is_some();
        let state = State {
            meta,
            lock_timeout: options.lock_timeout,
            phase: Phase::Active,
            failure: None,
            must_rewind: None,
            moves: 0,
            buffer: WriteBuffer::default(),
            reads: SpanSet::default(),
            statement_reads: SpanSet::default(),
            statement: 0,
            statement_sequence: 0,
            statement_spilled: false,
            statement_loaded: false,
            locks: LockSpans::default(),
            lock_ranges: Vec::new(),
            lock_requests_open: 0,
            intents: LockSpans::default(),
            all_written: true,
            has_record: false,
            loaded: false,
            observed: Timestamp::MIN,
            ranges: Vec::new(),
        };
        Arc::new_cyclic(|this| Transaction {
            core,
            this: this.clone(),
            historical,
            state: Mutex::new(state),
            moving: tokio::sync::Mutex::default(),
            bulk: Bulk::default(),
        })
    }

    /// Its identity, as error messages of others name it.
    pub fn id(&self) -> TxnId {
        self.state.lock().meta.id
    }

    /// The snapshot it reads. Moves when the transaction is refreshed.
    pub fn read_timestamp(&self) -> Timestamp {
        self.state.lock().meta.read_timestamp
    }

    /// When it began, by its gateway's clock: what `now()` in SQL is. Never moves.
    pub fn begin_timestamp(&self) -> Timestamp {
        self.state.lock().meta.begin_timestamp
    }

    /// Whether it was committed or rolled back, or failed to commit.
    pub fn is_finished(&self) -> bool {
        self.state.lock().phase != Phase::Active
    }

    /// Whether it reads a past snapshot.
    pub fn is_historical(&self) -> bool {
        self.historical
    }

    /// The identifiers of the ranges that took part so far, in order.
    pub fn ranges_touched(&self) -> Vec<u64> {
        self.state.lock().ranges.clone()
    }

    /// Bytes of writes buffered at the gateway.
    pub fn buffered_bytes(&self) -> usize {
        self.state.lock().buffer.bytes()
    }

    /// Changes how long each wait for a lock may take; `None`: as long as it takes.
    pub fn set_lock_timeout(&self, limit: Option<Duration>) {
        self.state.lock().lock_timeout = limit;
    }

    /// Takes in that a version was observed on this transaction's behalf outside it (a cached catalog entry): commit wait
    /// covers it.
    pub fn observe(&self, version_timestamp: Timestamp) {
        let mut state = self.state.lock();
        state.observed = state.observed.max(version_timestamp);
    }

    /// Starts a statement. What was written before stays when the statement is executed again.
    pub fn statement(&self) -> StatementMark {
        let cap_bytes = self.core.settings.read_span_bytes;
        let mut state = self.state.lock();
        state.buffer.mark();
        state.begin_statement(cap_bytes)
    }

    /// Undoes what the statement has written and forgets what it has read, so that it can be executed again. Locks stay.
    ///
    /// # Errors
    /// [`Error::Retry`] when the statement has loaded rows in bulk: the transaction must start over. The error that ended it, when
    /// it cannot go on.
    ///
    /// # Panics
    /// When the mark is not that of the statement in hand.
    pub fn rewind(&self, mark: StatementMark) -> Result<(), Error> {
        let mut state = self.state.lock();
        assert!(mark.statement == state.statement, "only the statement in hand can be rewound");
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        if state.phase != Phase::Active {
            return Err(Error::Finished);
        }
        let conflict = state.must_rewind.take();
        if state.statement_loaded {
            let conflict = conflict.unwrap_or_else(|| Box::new(Conflict::loaded()));
            state.failure = Some(Error::Retry(conflict.clone()));
            return Err(Error::Retry(conflict));
        }
        state.buffer.rewind();
        if std::mem::take(&mut state.statement_spilled) {
            let before = state.statement_sequence;
            state.ignore_above(before);
        }
        state.statement_reads.clear();
        Ok(())
    }

    /// What a heartbeat sends, or none when the transaction is over or cannot have a record.
    pub(crate) fn begin_heartbeat(&self) -> Option<TxnMeta> {
        let mut state = self.state.lock();
        let alive = matches!(state.phase, Phase::Active | Phase::Committing) && state.failure.is_none();
        if !alive || state.meta.anchor.is_empty() {
            return None;
        }
        state.has_record = true;
        Some(state.meta.clone())
    }

    /// Takes in what the record said.
    pub(crate) fn heartbeat_answered(&self, write_timestamp: Timestamp, aborted: bool) {
        let mut state = self.state.lock();
        if aborted && state.phase == Phase::Active {
            let detail = kv::api::error_detail::Ended { message: "another transaction ended it".into(), other: None };
            state.failure.get_or_insert(Error::Retry(Box::new(Conflict::aborted(detail))));
        } else if !aborted {
            state.meta.write_timestamp = state.meta.write_timestamp.max(write_timestamp);
        }
    }

    /// Opens a request: the header to send it under, and the snapshot it belongs to.
    fn open(&self, lock: LockStrength, lock_spans: impl FnOnce() -> Vec<Span>) -> Result<(BatchHeader, u64), Error> {
        let mut state = self.state.lock();
        state.check_active()?;
        if self.historical {
            if lock != LockStrength::None {
                return Err(Error::ReadOnly);
            }
            let header =
                BatchHeader { read_timestamp: state.meta.read_timestamp, historical: true, ..self.core.header(None) };
            return Ok((header, state.moves));
        }
        if lock != LockStrength::None {
            let cap_bytes = self.core.settings.intent_span_bytes;
            for span in lock_spans() {
                state.anchor_at(&span.start);
                state.locks.insert(span, cap_bytes);
            }
            self.keep_alive(&mut state);
        }
        Ok((self.header(&state), state.moves))
    }

    /// The header of a batch that may wait for locks.
    fn header(&self, state: &State) -> BatchHeader {
        let mut header = self.core.header(Some(state.meta.clone()));
        if let Some(limit) = state.lock_timeout {
            header.lock_timeout_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX).max(1);
        }
        header
    }

    /// Sees to it that the record is kept alive from an interval from now on. REQUIRES: to be called before anything is asked for
    /// that others may meet.
    fn keep_alive(&self, state: &mut State) {
        let now = self.core.hlc.interval();
        // True time is not before it, and so no clock by which it can be ended.
        state.meta.held_since.get_or_insert(Timestamp::new(now.earliest_ns, 0));
        self.core.heartbeats.register(state.meta.id, self.this.clone(), now.latest_ns);
    }
}

impl State {
    /// # Errors
    /// When nothing but a rewind or a rollback is left, or not even that.
    fn check_active(&self) -> Result<(), Error> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if let Some(conflict) = &self.must_rewind {
            return Err(Error::StatementRetry(conflict.clone()));
        }
        if self.phase == Phase::Active { Ok(()) } else { Err(Error::Finished) }
    }

    fn begin_statement(&mut self, read_span_bytes: usize) -> StatementMark {
        self.reads.take_from(&mut self.statement_reads, read_span_bytes);
        self.statement += 1;
        self.statement_sequence = self.meta.sequence;
        self.statement_spilled = false;
        self.statement_loaded = false;
        StatementMark { statement: self.statement }
    }

    /// Anchors the record at the key, if it has no anchor yet.
    fn anchor_at(&mut self, key: &Bytes) {
        if self.meta.anchor.is_empty() {
            self.meta.anchor = key.clone();
        }
    }

    /// Takes in what every answer carries.
    fn absorb(&mut self, response: &BatchResponse) {
        self.meta.write_timestamp = self.meta.write_timestamp.max(response.write_timestamp);
        self.observed = self.observed.max(response.observed_timestamp);
        merge_ranges(&mut self.ranges, &response.ranges);
    }

    /// Whether the end of the transaction in these ranges released all its locks.
    fn locks_lie_within(&self, ranges: &[u64]) -> bool {
        self.lock_requests_open == 0 && self.lock_ranges.iter().all(|range| ranges.contains(range))
    }

    fn next_sequence(&mut self) -> u32 {
        self.meta.sequence += 1;
        self.meta.sequence
    }
}

/// Adds to a sorted list what it lacks.
fn merge_ranges(known: &mut Vec<u64>, more: &[u64]) {
    for range in more {
        if let Err(place) = known.binary_search(range) {
            known.insert(place, *range);
        }
    }
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Transaction").field("meta", &state.meta).field("phase", &state.phase).finish_non_exhaustive()
    }
}
