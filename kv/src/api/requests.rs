//! Requests, one message each. Spans are `[start, end)`; keys are the full keys of the keyspace.

use bytes::Bytes;
use clock::Timestamp;

use super::{LockStrength, SequenceSpan, TxnId, TxnMeta, TxnStatus};
use crate::descriptor::RangeDescriptor;

/// Several requests, evaluated in order at one timestamp.
#[derive(Clone, PartialEq, prost::Message)]
pub struct BatchRequest {
    /// What holds for all of them.
    #[prost(message, required, tag = "1")]
    pub header: BatchHeader,
    /// The requests, in order.
    #[prost(message, repeated, tag = "2")]
    pub requests: Vec<Request>,
}

/// What holds for every request of a batch.
#[derive(Clone, PartialEq, prost::Message)]
pub struct BatchHeader {
    /// The transaction it acts for; without one, the batch is a transaction of its own, in one range.
    #[prost(message, optional, tag = "1")]
    pub txn: Option<TxnMeta>,
    /// For a batch without transaction: read at this timestamp. `MIN`: the leaseholder chooses now.
    #[prost(message, required, tag = "2")]
    pub read_timestamp: Timestamp,
    /// How long the client waits, in milliseconds, for locks and quorums alike. 0: the default of 10 s.
    #[prost(uint64, tag = "3")]
    pub timeout_ms: u64,
    /// The range the router means, set by the router. As of when it knows the range does not matter: keys that lie in it are
    /// served, and others are answered with the bounds as they are.
    #[prost(uint64, tag = "4")]
    pub range_id: u64,
    // Tag 5 is spent.
    /// Rows that the reads of the batch may return together; 0: no limit.
    #[prost(uint64, tag = "6")]
    pub max_rows: u64,
    /// Bytes of keys and values after which reads stop, having returned at least one row; 0: no limit.
    #[prost(uint64, tag = "7")]
    pub max_bytes: u64,
    /// Fail with `KvError` `LockUnavailable` instead of waiting for a lock.
    #[prost(bool, tag = "8")]
    pub no_wait: bool,
    /// Read as of a past timestamp, outside any transaction's own writes: below every promise, no uncertainty.
    #[prost(bool, tag = "9")]
    pub historical: bool,
    /// Fail with `KvError` `LockUnavailable` after waiting that long for one lock, in milliseconds. 0: as long as for all else.
    #[prost(uint64, tag = "10")]
    pub lock_timeout_ms: u64,
}

/// One request.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Request {
    /// Which one. `None` comes only from a newer or broken peer, and is refused.
    #[prost(oneof = "RequestKind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19")]
    pub kind: Option<RequestKind>,
}

/// The kinds of request.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum RequestKind {
    /// Reads one key.
    #[prost(message, tag = "1")]
    Get(Get),
    /// Reads a span in either direction.
    #[prost(message, tag = "2")]
    Scan(Scan),
    /// Writes one key: an intent when it acts for a transaction that does not commit in this batch.
    #[prost(message, tag = "3")]
    Put(Put),
    /// Deletes one key.
    #[prost(message, tag = "4")]
    Delete(Delete),
    /// Commits or rolls back the batch's transaction.
    #[prost(message, tag = "5")]
    EndTxn(EndTxn),
    /// Verifies that nothing was written to a span in `(from, to]`.
    #[prost(message, tag = "6")]
    Refresh(Refresh),
    /// Keeps a transaction's record alive.
    #[prost(message, tag = "7")]
    HeartbeatTxn(HeartbeatTxn),
    /// Moves or ends another transaction.
    #[prost(message, tag = "8")]
    PushTxn(PushTxn),
    /// Reads a transaction's record.
    #[prost(message, tag = "9")]
    QueryTxn(QueryTxn),
    /// Replaces the intents of a finished transaction by what they came to.
    #[prost(message, tag = "10")]
    ResolveIntents(ResolveIntents),
    /// Asks whether a write in flight is present, and prevents it when it is not.
    #[prost(message, tag = "11")]
    QueryIntent(QueryIntent),
    /// Records the verdict on a silent staging transaction.
    #[prost(message, tag = "12")]
    RecoverTxn(RecoverTxn),
    /// Releases unreplicated locks.
    #[prost(message, tag = "13")]
    ReleaseLocks(ReleaseLocks),
    /// Removes every version in a span that nobody can see any more, without leaving tombstones.
    #[prost(message, tag = "14")]
    ClearSpan(ClearSpan),
    /// Raises the garbage collection threshold and collects below it.
    #[prost(message, tag = "15")]
    CollectGarbage(CollectGarbage),
    /// Splits the range at a key.
    #[prost(message, tag = "16")]
    SplitRange(SplitRange),
    /// Moves the lease to another replica.
    #[prost(message, tag = "17")]
    TransferLease(TransferLease),
    /// Adds to a counter outside any transaction, and returns its new value.
    #[prost(message, tag = "18")]
    Increment(Increment),
    /// Brings an entry of the directory up to a descriptor, unless it has a newer one.
    #[prost(message, tag = "19")]
    EnterRange(EnterRange),
}

impl From<RequestKind> for Request {
    fn from(kind: RequestKind) -> Self {
        Request { kind: Some(kind) }
    }
}

/// See [`RequestKind::Get`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Get {
    /// The key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// What to lock besides.
    #[prost(enumeration = "LockStrength", tag = "2")]
    pub lock: i32,
}

/// See [`RequestKind::Scan`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Scan {
    /// First key, inclusive.
    #[prost(bytes = "bytes", tag = "1")]
    pub start: Bytes,
    /// End, exclusive.
    #[prost(bytes = "bytes", tag = "2")]
    pub end: Bytes,
    /// From the end to the start.
    #[prost(bool, tag = "3")]
    pub reverse: bool,
    /// What to lock of each row returned.
    #[prost(enumeration = "LockStrength", tag = "4")]
    pub lock: i32,
}

/// See [`RequestKind::Put`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Put {
    /// The key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The value; may be empty.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
    /// The sequence number of the write within its transaction.
    #[prost(uint32, tag = "3")]
    pub sequence: u32,
    /// The client vouches that nobody else can see this span yet (an index being filled before it is visible): write committed
    /// versions at the batch's write timestamp without intents.
    #[prost(bool, tag = "4")]
    pub invisible: bool,
}

/// See [`RequestKind::Delete`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Delete {
    /// The key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The sequence number of the write within its transaction.
    #[prost(uint32, tag = "2")]
    pub sequence: u32,
}

/// See [`RequestKind::EndTxn`]. The last request of its batch.
#[derive(Clone, PartialEq, prost::Message)]
pub struct EndTxn {
    /// Commit, or roll back.
    #[prost(bool, tag = "1")]
    pub commit: bool,
    /// Every key on which the transaction may have left an intent in earlier batches.
    #[prost(message, repeated, tag = "2")]
    pub intents: Vec<Span>,
    /// The transaction has read nothing that must be refreshed, so the range itself may move its timestamp forward.
    #[prost(bool, tag = "3")]
    pub can_forward_timestamp: bool,
    /// All writes of the transaction are in this batch: commit in one phase, or say `NotOnePhase`.
    #[prost(bool, tag = "4")]
    pub one_phase: bool,
    /// Every key that `intents` names by itself was answered as written: one without its intent means that somebody ended the
    /// transaction.
    #[prost(bool, tag = "5")]
    pub all_written: bool,
}

/// A key span `[start, end)`; an empty `end` means the one key `start`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Message)]
pub struct Span {
    /// First key, inclusive.
    #[prost(bytes = "bytes", tag = "1")]
    pub start: Bytes,
    /// End, exclusive; empty for the one key `start`.
    #[prost(bytes = "bytes", tag = "2")]
    pub end: Bytes,
}

/// See [`RequestKind::Refresh`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Refresh {
    /// What was read.
    #[prost(message, required, tag = "1")]
    pub span: Span,
    /// The timestamp it was read at, exclusive.
    #[prost(message, required, tag = "2")]
    pub from: Timestamp,
    // The upper end, inclusive, is the read timestamp of the batch's transaction.
}

/// See [`RequestKind::HeartbeatTxn`]. Creates the record when there is none yet and none ended before.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HeartbeatTxn {
    /// The coordinator's clock.
    #[prost(message, required, tag = "1")]
    pub now: Timestamp,
}

/// See [`RequestKind::PushTxn`]. Addressed to the anchor of the pushee.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PushTxn {
    /// Who is in the way, as its lock says.
    #[prost(message, required, tag = "1")]
    pub pushee: TxnMeta,
    /// Who waits, if it is a transaction.
    #[prost(message, optional, tag = "2")]
    pub pusher: Option<TxnMeta>,
    /// Move the pushee's write timestamp to above this; `MIN` to ask for its end instead.
    #[prost(message, required, tag = "3")]
    pub push_to: Timestamp,
    /// End it even though it is alive: a deadlock was found and it is the victim.
    #[prost(bool, tag = "4")]
    pub force: bool,
    /// When the pusher knows the pushee to have been alive: its lock was taken, or first met, then. Without a record,
    /// its silence is counted from here, so that a missing record of a young lock is not taken for an abort.
    #[prost(message, required, tag = "5")]
    pub last_active: Timestamp,
}

/// See [`RequestKind::QueryTxn`]. Addressed to the anchor.
#[derive(Clone, PartialEq, prost::Message)]
pub struct QueryTxn {
    /// Which transaction.
    #[prost(message, required, tag = "1")]
    pub id: TxnId,
    /// Its anchor.
    #[prost(bytes = "bytes", tag = "2")]
    pub anchor: Bytes,
    /// Notes besides that a request of the transaction waits for others, or waits no longer: how deadlocks are found.
    #[prost(message, optional, tag = "3")]
    pub note: Option<WaitEdge>,
}

/// A request of a transaction waits for other transactions.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WaitEdge {
    /// Which wait: random, so that two rounds of a search can tell that an edge is the same wait still.
    #[prost(fixed64, tag = "1")]
    pub wait: u64,
    /// Whom it waits for; empty when the wait is over.
    #[prost(message, repeated, tag = "2")]
    pub blockers: Vec<TxnMeta>,
}

/// See [`RequestKind::ResolveIntents`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct ResolveIntents {
    /// Where to look.
    #[prost(message, required, tag = "1")]
    pub span: Span,
    /// Whose intents.
    #[prost(message, required, tag = "2")]
    pub txn: TxnId,
    /// The epoch whose intents count; those of lower epochs are removed.
    #[prost(uint32, tag = "3")]
    pub epoch: u32,
    /// What the transaction came to: `Committed`, `Aborted`, or `Pending` when it was only pushed.
    #[prost(enumeration = "TxnStatus", tag = "4")]
    pub status: i32,
    /// Its commit timestamp, or the one it was pushed to.
    #[prost(message, required, tag = "5")]
    pub timestamp: Timestamp,
    /// Its writes that do not count, although it committed.
    #[prost(message, repeated, tag = "6")]
    pub ignored: Vec<SequenceSpan>,
}

/// See [`RequestKind::QueryIntent`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct QueryIntent {
    /// The key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The transaction whose write is looked for, at its epoch, sequence and write timestamp.
    #[prost(message, required, tag = "2")]
    pub txn: TxnMeta,
}

/// See [`RequestKind::RecoverTxn`]. Addressed to the anchor.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RecoverTxn {
    /// The transaction, with the epoch and write timestamp the verdict was reached for.
    #[prost(message, required, tag = "1")]
    pub txn: TxnMeta,
    /// Whether every write in flight was found.
    #[prost(bool, tag = "2")]
    pub committed: bool,
}

/// See [`RequestKind::ReleaseLocks`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReleaseLocks {
    /// Whose locks.
    #[prost(message, required, tag = "1")]
    pub txn: TxnId,
    /// Where.
    #[prost(message, required, tag = "2")]
    pub span: Span,
}

/// See [`RequestKind::ClearSpan`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct ClearSpan {
    /// What to remove.
    #[prost(message, required, tag = "1")]
    pub span: Span,
}

/// See [`RequestKind::CollectGarbage`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct CollectGarbage {
    /// Any key of the range.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The new threshold: nothing can be read below it afterwards.
    #[prost(message, required, tag = "2")]
    pub threshold: Timestamp,
}

/// See [`RequestKind::SplitRange`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct SplitRange {
    /// First key of the new right range.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
}

/// See [`RequestKind::TransferLease`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct TransferLease {
    /// Any key of the range.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The node to move it to.
    #[prost(uint64, tag = "2")]
    pub target_node: u64,
}

/// See [`RequestKind::Increment`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Increment {
    /// The counter's key; its value is a big-endian `i64`, absent meaning 0.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// What to add.
    #[prost(sint64, tag = "2")]
    pub by: i64,
}

/// See [`RequestKind::EnterRange`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct EnterRange {
    /// The entry's key, which follows from the end of the range.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// What its leaseholder knows of the range.
    #[prost(message, required, tag = "2")]
    pub descriptor: RangeDescriptor,
}
