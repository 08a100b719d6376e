//! What requests mean: from a batch and a view of the data to a response and the effects to replicate.
//!
//! ```text
//!   Input {view of data, bounds, threshold, clock, timestamp cache} ─▶ evaluate ─▶ Evaluated {response, command, reads, locks}
//!                                                                       └────────▶ Refusal {intents in the way, error}
//! ```
//!
//! Two modes of writing:
//!
//! - *Intents*, for a transaction that goes on: each write stands at or above every read served of its key.
//! - *Direct*, for a batch without transaction, and for a transaction that commits in one phase: all of it happens at one
//!   timestamp. If nothing was read before, that timestamp moves up by itself until nothing is in the way;
//!   otherwise the coordinator is told to refresh.
//!
//! Invariant: `read_protected` (checked for each write). Evaluation changes nothing but the timestamp cache, and that only
//! for what must be remembered without being written (a push of a transaction without a record). It waits for
//! nothing, and knows nothing of latches, leases or proposals.

mod declare;
mod end_txn;
mod reads;
mod records;
mod spans;
mod writes;

use bytes::Bytes;
use clock::Timestamp;
use clock::mutation::{self, Mutant};

pub(crate) use declare::{Declared, check_shape, declare, is_within};
pub(crate) use end_txn::find_outcome;
pub(crate) use records::{OldRecord, TxnRecordStore, find_old_records};

use crate::api::*;
use crate::command::{Command, Trigger};
use crate::concurrency::timestamp_cache::{ReadMark, TimestampCache};
use crate::concurrency::waits::Waits;
use crate::engine::{EngineError, Overlay, Reader};
use crate::mvcc::{FoundIntent, MvccStats, ReadAt};
use crate::replica::RangeView;
use crate::settings::Settings;

/// From how many requests on a batch is worth a look at whether it writes to where nothing is.
const SURVEYED_WRITES_MIN: usize = 16;

/// What a batch is evaluated against.
pub(crate) struct Input<'a> {
    pub batch: &'a BatchRequest,
    pub reader: &'a dyn Reader,
    pub view: &'a RangeView,
    pub cache: &'a TimestampCache,
    pub waits: &'a Waits,
    pub settings: &'a Settings,
    /// This node's clock, read for this evaluation.
    pub now: Timestamp,
    /// Where a batch without transaction, and without a timestamp of its own, begins.
    pub chosen: Timestamp,
    /// The uncertainty limit of such a batch.
    pub uncertainty_limit: Timestamp,
}

/// Why a batch was not evaluated.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// Other transactions' intents are in the way.
    Intents(Vec<FoundIntent>),
    /// The timestamp must be at least this; resolved inside when the batch may move.
    Later { key: Bytes, at: Timestamp, cause: LaterCause },
    /// It fails.
    Error(KvError),
    /// The store failed.
    Engine(EngineError),
}

/// What a batch has to move above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaterCause {
    Read,
    Version,
    Uncertain,
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        Refusal::Engine(error)
    }
}

impl From<KvError> for Refusal {
    fn from(error: KvError) -> Self {
        Refusal::Error(error)
    }
}

/// What the lock table is told once a command applied.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum LockUpdate {
    /// The transaction holds nothing in this range any more.
    Txn { txn: TxnId },
    /// It does not hold the key any more, or stands later there.
    Key { key: Bytes, txn: TxnId, ended: bool, timestamp: Timestamp },
    /// The same of a span.
    Span { start: Bytes, end: Bytes, txn: TxnId, ended: bool, timestamp: Timestamp },
    /// It has no intent on the key any more, and goes on.
    Intent { key: Bytes, txn: TxnId },
    /// Its unreplicated locks in the span are released.
    Release { start: Bytes, end: Bytes, txn: TxnId },
}

/// A read that was served: what the timestamp cache must know.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ServedRead {
    pub start: Bytes,
    /// `None` for the one key.
    pub end: Option<Bytes>,
    pub mark: ReadMark,
}

/// An evaluated batch.
#[derive(Debug, Default)]
pub(crate) struct Evaluated {
    pub response: BatchResponse,
    /// The effects, if there are any. Proposal and lease sequence are filled in by whoever proposes.
    pub command: Option<Command>,
    pub reads: Vec<ServedRead>,
    /// Keys to lock, unreplicated, for the batch's transaction.
    pub locks: Vec<Bytes>,
    pub lock_updates: Vec<LockUpdate>,
    /// What is left to do of a batch that was cut into pieces: evaluated once this piece applied.
    pub rest: Option<BatchRequest>,
    /// The newest timestamp at which anything was read or written: the lease must cover it.
    pub final_timestamp: Timestamp,
}

/// How many times a batch that may move is tried before the conflict is reported.
const MOVES: usize = 16;

/// Evaluates a batch. REQUIRES: latches on everything [`declare()`] names, and a view within whose bounds it lies.
pub(crate) fn evaluate(input: &Input<'_>) -> Result<Evaluated, Refusal> {
    let mut at = Stand::of(input);
    for _ in 0..MOVES {
        let mut evaluation = Evaluation::new(input, at);
        match evaluation.run() {
            Ok(responses) => return Ok(evaluation.finish(responses)),
            Err(Refusal::Later { key, at: later, cause }) if !at.movable => {
                return Err(Refusal::Error(later_error(key, later, cause)));
            }
            Err(Refusal::Later { at: later, .. }) => {
                assert!(later > at.write, "a batch that moves rises");
                at.read = later;
                at.write = later;
            }
            Err(other) => return Err(other),
        }
    }
    let conflict = error_detail::Conflict { key: Bytes::new(), actual: at.write, other: None };
    Err(Refusal::Error(KvError::WriteTooOld(conflict)))
}

fn later_error(key: Bytes, actual: Timestamp, cause: LaterCause) -> KvError {
    let conflict = error_detail::Conflict { key, actual, other: None };
    match cause {
        LaterCause::Read => KvError::CommitPushed(conflict),
        LaterCause::Version => KvError::WriteTooOld(conflict),
        LaterCause::Uncertain => KvError::Uncertain(conflict),
    }
}

/// Where a batch stands in time.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stand {
    read: Timestamp,
    write: Timestamp,
    uncertainty_limit: Timestamp,
    /// Writes are committed versions at `write`.
    direct: bool,
    /// Nothing was read before: both timestamps may rise together.
    movable: bool,
}

impl Stand {
    fn of(input: &Input<'_>) -> Stand {
        let header = &input.batch.header;
        let one_phase = end_txn::of(input.batch).filter(|end| end.commit && end.one_phase);
        match (&header.txn, one_phase) {
            (Some(txn), Some(end)) => {
                let movable = end.can_forward_timestamp;
                let write = txn.write_timestamp.max(txn.read_timestamp);
                let read = if movable { write } else { txn.read_timestamp };
                Stand { read, write, uncertainty_limit: txn.uncertainty_limit, direct: true, movable }
            }
            (Some(txn), None) => Stand {
                read: txn.read_timestamp,
                write: txn.write_timestamp.max(txn.read_timestamp),
                uncertainty_limit: txn.uncertainty_limit,
                direct: false,
                movable: false,
            },
            (None, _) if header.read_timestamp.is_min() => Stand {
                read: input.chosen,
                write: input.chosen,
                uncertainty_limit: input.uncertainty_limit,
                direct: true,
                movable: true,
            },
            (None, _) => Stand {
                read: header.read_timestamp,
                write: header.read_timestamp,
                uncertainty_limit: header.read_timestamp,
                direct: true,
                movable: false,
            },
        }
    }
}

/// A batch on its way through its requests.
struct Evaluation<'a> {
    input: &'a Input<'a>,
    txn: Option<&'a TxnMeta>,
    stand: Stand,
    overlay: Overlay<'a>,
    stats: MvccStats,
    observed: Timestamp,
    out: Evaluated,
    trigger: Option<Trigger>,
    /// The record of the batch's transaction, when the batch ends it.
    record: Option<records::StoredRecord>,
    /// Keys the batch wrote.
    written: Vec<Bytes>,
    rows: u64,
    bytes: u64,
}

impl<'a> Evaluation<'a> {
    fn new(input: &'a Input<'a>, stand: Stand) -> Self {
        Evaluation {
            input,
            txn: input.batch.header.txn.as_ref(),
            stand,
            overlay: Overlay::new(input.reader),
            stats: MvccStats::default(),
            observed: Timestamp::MIN,
            out: Evaluated::default(),
            trigger: None,
            record: None,
            written: Vec::new(),
            rows: 0,
            bytes: 0,
        }
    }

    fn run(&mut self) -> Result<Vec<Response>, Refusal> {
        self.check_threshold()?;
        self.prepare_end()?;
        self.survey()?;
        let mut responses = Vec::with_capacity(self.input.batch.requests.len());
        for request in &self.input.batch.requests {
            let kind = request.kind.as_ref().ok_or_else(|| crate::replica::invalid("a request of an unknown kind"))?;
            responses.push(self.request(kind)?.into());
        }
        Ok(responses)
    }

    /// A batch of many writes may go to where nothing is yet: then one look is enough for all of them.
    fn survey(&mut self) -> Result<(), Refusal> {
        let requests = &self.input.batch.requests;
        if requests.len() < SURVEYED_WRITES_MIN {
            return Ok(());
        }
        let puts = || {
            requests.iter().filter_map(|request| match &request.kind {
                Some(RequestKind::Put(put)) => Some(&put.key[..]),
                _ => None,
            })
        };
        let (Some(first), Some(last)) = (puts().min(), puts().max()) else { return Ok(()) };
        let after_last = [last, &[0]].concat();
        let (start, end) = crate::mvcc::key::span(first, &after_last);
        Ok(self.overlay.survey(start, end)?)
    }

    fn request(&mut self, kind: &RequestKind) -> Result<ResponseKind, Refusal> {
        let done = || ResponseKind::Done(Done {});
        match kind {
            RequestKind::Get(get) => self.get(get),
            RequestKind::Scan(scan) => self.scan(scan),
            RequestKind::Refresh(refresh) => self.refresh(refresh).map(|()| done()),
            RequestKind::Put(put) if put.invisible => {
                self.write_invisible(&put.key, Some(put.value.clone())).map(|()| done())
            }
            RequestKind::Put(put) => self.write(&put.key, Some(put.value.clone()), put.sequence).map(|()| done()),
            RequestKind::Delete(delete) => self.write(&delete.key, None, delete.sequence).map(|()| done()),
            RequestKind::Increment(increment) => self.increment(increment),
            RequestKind::EnterRange(enter) => self.enter_range(enter).map(|()| done()),
            RequestKind::EndTxn(end) => self.end_txn(end),
            RequestKind::HeartbeatTxn(heartbeat) => self.heartbeat_txn(heartbeat),
            RequestKind::PushTxn(push) => self.push_txn(push),
            RequestKind::QueryTxn(query) => self.query_txn(query),
            RequestKind::ResolveIntents(resolve) => self.resolve_intents(resolve).map(|()| done()),
            RequestKind::ReleaseLocks(release) => {
                let (start, end) = crate::keys::bounds(&release.span);
                self.out.lock_updates.push(LockUpdate::Release { start, end, txn: release.txn });
                Ok(done())
            }
            RequestKind::ClearSpan(clear) => self.clear_span(clear).map(|()| done()),
            RequestKind::QueryIntent(_) | RequestKind::RecoverTxn(_) => {
                Err(Refusal::Error(crate::replica::invalid("parallel commit is not supported yet: send EndTxn last")))
            }
            RequestKind::SplitRange(_) | RequestKind::TransferLease(_) | RequestKind::CollectGarbage(_) => {
                let message = "a split, a lease transfer or a garbage collection is a batch of its own";
                Err(Refusal::Error(crate::replica::invalid(message)))
            }
        }
    }

    /// A read, a refresh, or a transaction that read, below the threshold may miss versions: refused, not answered wrong.
    fn check_threshold(&self) -> Result<(), Refusal> {
        let threshold = self.input.view.gc_threshold;
        let reads = |request: &Request| {
            matches!(request.kind, Some(RequestKind::Get(_) | RequestKind::Scan(_) | RequestKind::Refresh(_)))
        };
        let snapshot = self.txn.map_or(self.stand.read, |txn| txn.read_timestamp);
        if mutation::is(Mutant::ThresholdUnchecked) {
            return Ok(());
        }
        if snapshot < threshold && self.input.batch.requests.iter().any(reads) {
            let conflict = error_detail::Conflict { key: Bytes::new(), actual: threshold, other: None };
            return Err(Refusal::Error(KvError::BelowGcThreshold(conflict)));
        }
        Ok(())
    }

    fn read_at(&self) -> ReadAt<'a> {
        let uncertainty_limit =
            if mutation::is(Mutant::UncertaintyIgnored) { Timestamp::MIN } else { self.stand.uncertainty_limit };
        ReadAt {
            read_timestamp: self.stand.read,
            uncertainty_limit: uncertainty_limit.max(self.stand.read),
            txn: self.txn,
        }
    }

    fn txn_id(&self) -> Option<TxnId> {
        self.txn.map(|txn| txn.id)
    }

    fn finish(self, responses: Vec<Response>) -> Evaluated {
        let mut out = self.out;
        let write_timestamp = self.stand.write;
        out.response = BatchResponse {
            responses,
            write_timestamp,
            observed_timestamp: self.observed,
            ranges: vec![self.input.view.descriptor.range_id],
            read_timestamp: self.stand.read,
        };
        out.final_timestamp = self.stand.read.max(write_timestamp);
        if !self.overlay.is_empty() || self.trigger.is_some() {
            let stats_delta = (self.stats != MvccStats::default()).then_some(self.stats);
            out.command = Some(Command {
                batch: self.overlay.into_batch(),
                stats_delta,
                trigger: self.trigger,
                ..Command::default()
            });
        }
        out
    }
}

#[cfg(test)]
mod tests;
