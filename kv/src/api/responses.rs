//! Responses, in the order of their requests.

use bytes::Bytes;
use clock::Timestamp;

use super::{Span, TxnMeta, TxnStatus, WaitEdge};

/// The answer to a batch.
#[derive(Clone, PartialEq, prost::Message)]
pub struct BatchResponse {
    /// One response for each request, in order.
    #[prost(message, repeated, tag = "1")]
    pub responses: Vec<Response>,
    /// Where the batch's writes stand: the transaction's write timestamp after this batch, possibly pushed.
    #[prost(message, required, tag = "2")]
    pub write_timestamp: Timestamp,
    /// The newest version the evaluation observed, tombstones and filtered rows included.
    #[prost(message, required, tag = "3")]
    pub observed_timestamp: Timestamp,
    /// The ranges that took part.
    #[prost(uint64, repeated, tag = "4")]
    pub ranges: Vec<u64>,
    /// The timestamp the batch read at (chosen by the leaseholder for a batch without one).
    #[prost(message, required, tag = "5")]
    pub read_timestamp: Timestamp,
}

/// One response.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Response {
    /// Which one.
    #[prost(oneof = "ResponseKind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9")]
    pub kind: Option<ResponseKind>,
}

/// The kinds of response.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum ResponseKind {
    /// To a request that answers nothing but that it was done.
    #[prost(message, tag = "1")]
    Done(Done),
    /// To [`super::Get`].
    #[prost(message, tag = "2")]
    Value(Value),
    /// To [`super::Scan`].
    #[prost(message, tag = "3")]
    Rows(Rows),
    /// To [`super::EndTxn`].
    #[prost(message, tag = "4")]
    Ended(Ended),
    /// To [`super::PushTxn`], [`super::QueryTxn`], [`super::HeartbeatTxn`], [`super::RecoverTxn`].
    #[prost(message, tag = "5")]
    Record(TxnRecord),
    /// To [`super::QueryIntent`].
    #[prost(message, tag = "6")]
    IntentFound(IntentFound),
    /// To [`super::Increment`].
    #[prost(message, tag = "7")]
    Counter(Counter),
    /// To [`super::SplitRange`].
    #[prost(message, tag = "8")]
    Split(SplitDone),
    /// To a read that was not begun, since the batch's limits were used up.
    #[prost(message, tag = "9")]
    NotBegun(NotBegun),
}

impl From<ResponseKind> for Response {
    fn from(kind: ResponseKind) -> Self {
        Response { kind: Some(kind) }
    }
}

/// It was done.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Done {}

/// The read was not begun, since the batch's limits were used up.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct NotBegun {}

/// One key's value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Value {
    /// The value; `None` when the key does not exist at the read timestamp.
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub value: Option<Bytes>,
}

/// A page of rows, in the direction of the scan.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Rows {
    /// The rows.
    #[prost(message, repeated, tag = "1")]
    pub rows: Vec<KeyValue>,
    /// What is left of the span when a limit stopped the scan; `None` when it is complete.
    #[prost(message, optional, tag = "2")]
    pub resume: Option<Span>,
}

/// A key with its value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct KeyValue {
    /// The key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The value.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

/// A transaction has ended.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Ended {
    /// Committed or aborted.
    #[prost(enumeration = "TxnStatus", tag = "1")]
    pub status: i32,
    /// The commit timestamp.
    #[prost(message, required, tag = "2")]
    pub commit_timestamp: Timestamp,
    /// Whether it took one phase.
    #[prost(bool, tag = "3")]
    pub one_phase: bool,
}

/// A transaction's record, as it is or would be.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TxnRecord {
    /// The transaction; `write_timestamp` is the commit timestamp once it is committed.
    #[prost(message, required, tag = "1")]
    pub txn: TxnMeta,
    /// Its status.
    #[prost(enumeration = "TxnStatus", tag = "2")]
    pub status: i32,
    /// When its coordinator was last heard of.
    #[prost(message, required, tag = "3")]
    pub heartbeat: Timestamp,
    /// The spans it left intents in, known once it ended or is staging.
    #[prost(message, repeated, tag = "4")]
    pub intents: Vec<Span>,
    /// Whether a record exists; a synthesised answer otherwise.
    #[prost(bool, tag = "5")]
    pub exists: bool,
    /// The waits of its requests that were noted here.
    #[prost(message, repeated, tag = "6")]
    pub waits: Vec<WaitEdge>,
    /// When it was presumed aborted, for want of a record; one of a commit, its intents resolved, might have been forgotten.
    #[prost(message, optional, tag = "7")]
    pub presumed_at: Option<Timestamp>,
}

/// Whether a write in flight was found.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct IntentFound {
    /// It is there.
    #[prost(bool, tag = "1")]
    pub found: bool,
}

/// A counter's new value.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Counter {
    /// After the addition.
    #[prost(sint64, tag = "1")]
    pub value: i64,
}

/// A range was split.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct SplitDone {
    /// The new right range; 0 when the key already was a boundary.
    #[prost(uint64, tag = "1")]
    pub right_range_id: u64,
}
