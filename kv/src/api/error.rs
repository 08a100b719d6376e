//! Why ranges refuse: one variant for each thing a caller can decide on.

use bytes::Bytes;
use clock::Timestamp;

use super::TxnId;

/// An error on its way between nodes and to the coordinator.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WireError {
    /// Which one.
    #[prost(oneof = "KvError", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18")]
    pub kind: Option<KvError>,
}

/// Why a batch was not evaluated, or not as asked.
#[derive(Clone, PartialEq, prost::Oneof, thiserror::Error)]
pub enum KvError {
    /// This replica does not hold the lease. The router follows the hint.
    #[error("the replica on node {} does not hold the lease", .0.node)]
    #[prost(message, tag = "1")]
    NotLeaseholder(error_detail::NotLeaseholder),
    /// The range's bounds are others than the batch was routed by. The router learns the descriptors.
    #[error("the range has other bounds than the request was routed by")]
    #[prost(message, tag = "2")]
    RangeMismatch(error_detail::RangeMismatch),
    /// A newer version lies above the transaction's read timestamp: refresh to `actual` and retry, or restart.
    #[error("a newer write at {} conflicts", .0.actual)]
    #[prost(message, tag = "3")]
    WriteTooOld(error_detail::Conflict),
    /// A version in the uncertainty interval: refresh to `actual` and retry, or restart.
    #[error("an uncertain value at {} was met", .0.actual)]
    #[prost(message, tag = "4")]
    Uncertain(error_detail::Conflict),
    /// A refresh found a newer version.
    #[error("a key read earlier was written since, at {}", .0.actual)]
    #[prost(message, tag = "5")]
    RefreshFailed(error_detail::Conflict),
    /// The transaction's write timestamp lies above its read timestamp: refresh to it and retry the commit.
    #[error("the commit timestamp was pushed to {}", .0.actual)]
    #[prost(message, tag = "6")]
    CommitPushed(error_detail::Conflict),
    /// The transaction was aborted by someone else, or its record is gone.
    #[error("the transaction was aborted: {}", .0.message)]
    #[prost(message, tag = "7")]
    TxnAborted(error_detail::Ended),
    /// The transaction is committed already: the retry of a commit that took effect.
    #[error("the transaction is committed already, at {}", .0.actual)]
    #[prost(message, tag = "8")]
    AlreadyCommitted(error_detail::Conflict),
    /// The transaction is the victim of a deadlock.
    #[error("deadlock detected")]
    #[prost(message, tag = "9")]
    Deadlock(error_detail::Conflict),
    /// The lock is held, and the request does not wait, or waited as long as it may.
    #[error("the lock is held by another transaction")]
    #[prost(message, tag = "10")]
    LockUnavailable(error_detail::Conflict),
    /// No quorum, or no leaseholder, within the time the client gave.
    #[error("range {} is unavailable: {}", .0.range_id, .0.message)]
    #[prost(message, tag = "11")]
    Unavailable(error_detail::Unavailable),
    /// The command may or may not take effect.
    #[error("it is unknown whether the command took effect: {}", .0.message)]
    #[prost(message, tag = "12")]
    Ambiguous(error_detail::Ended),
    /// The read timestamp lies below the garbage collection threshold.
    #[error("the timestamp lies below the garbage collection threshold {}", .0.actual)]
    #[prost(message, tag = "13")]
    BelowGcThreshold(error_detail::Conflict),
    /// The batch asked for one phase, and cannot have it: it spans ranges, or intents exist.
    #[error("the batch cannot commit in one phase")]
    #[prost(message, tag = "14")]
    NotOnePhase(error_detail::Ended),
    /// Too little disk space is left on a replica to take writes.
    #[error("no disk space is left: {}", .0.message)]
    #[prost(message, tag = "15")]
    DiskFull(error_detail::Ended),
    /// The request makes no sense, comes from a clock too far ahead, or from a newer version.
    #[error("invalid request: {}", .0.message)]
    #[prost(message, tag = "16")]
    Invalid(error_detail::Ended),
    /// The transaction has no record, and is older than records are kept: what became of it, if anything did, is forgotten. None
    /// is written any more. Proves nothing about what was sent before.
    #[error("the outcome of the transaction is no longer known: {}", .0.message)]
    #[prost(message, tag = "17")]
    Forgotten(error_detail::Ended),
    /// What it would write, or answer, is too much for one message: it did nothing. Less may be asked for at a time.
    #[error("a batch of {} bytes exceeds the limit of {} bytes", .0.bytes, .0.limit)]
    #[prost(message, tag = "18")]
    TooLarge(error_detail::TooLarge),
}

impl KvError {
    /// The request makes no sense, in words for people.
    pub fn invalid(message: impl Into<String>) -> Self {
        KvError::Invalid(error_detail::Ended { message: message.into(), other: None })
    }

    /// Nobody knows whether it happened, and why, in words for people.
    pub fn ambiguous(message: impl Into<String>) -> Self {
        KvError::Ambiguous(error_detail::Ended { message: message.into(), other: None })
    }

    /// It takes more than one phase, and why.
    pub fn not_one_phase(message: impl Into<String>) -> Self {
        KvError::NotOnePhase(error_detail::Ended { message: message.into(), other: None })
    }

    /// There is too little room on disk, and where.
    pub fn disk_full(message: impl Into<String>) -> Self {
        KvError::DiskFull(error_detail::Ended { message: message.into(), other: None })
    }

    /// It is too much for one message.
    pub fn too_large(bytes: usize, limit: usize) -> Self {
        KvError::TooLarge(error_detail::TooLarge { bytes: bytes as u64, limit: limit as u64 })
    }

    /// A range lacks nodes.
    pub fn unavailable(range_id: u64, message: impl Into<String>, missing_nodes: Vec<u64>) -> Self {
        KvError::Unavailable(error_detail::Unavailable { range_id, message: message.into(), missing_nodes })
    }
}

/// In what way a transaction must be tried again; part of the messages that users read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryReason {
    /// A write met a newer version, and the reads before it could not be refreshed.
    WriteTooOld,
    /// A read met an uncertain value, and the reads before it could not be refreshed.
    Uncertain,
    /// The commit timestamp was pushed, and the reads could not be refreshed.
    CommitPushed,
    /// Another transaction aborted this one.
    Aborted,
    /// It was chosen to break a deadlock.
    Deadlock,
    /// What its snapshot needs has been collected.
    Outdated,
}

/// The contents of the variants of [`KvError`].
pub mod error_detail {
    use super::{Bytes, Timestamp, TxnId};
    use crate::descriptor::RangeDescriptor;

    /// Who does not hold the lease, and who may.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct NotLeaseholder {
        /// The range.
        #[prost(uint64, tag = "1")]
        pub range_id: u64,
        /// The node that answers.
        #[prost(uint64, tag = "2")]
        pub node: u64,
        /// The node that probably holds the lease; 0 for unknown.
        #[prost(uint64, tag = "3")]
        pub holder: u64,
        /// The newest descriptor the node knows, if it has the range at all.
        #[prost(message, optional, tag = "4")]
        pub descriptor: Option<RangeDescriptor>,
    }

    /// What the ranges really are.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct RangeMismatch {
        /// The descriptors that the replica knows and that overlap the batch.
        #[prost(message, repeated, tag = "1")]
        pub descriptors: Vec<RangeDescriptor>,
    }

    /// Where a conflict was met.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Conflict {
        /// The key.
        #[prost(bytes = "bytes", tag = "1")]
        pub key: Bytes,
        /// The timestamp that would do, or that stands in the way.
        #[prost(message, required, tag = "2")]
        pub actual: Timestamp,
        /// The other transaction, when known.
        #[prost(message, optional, tag = "3")]
        pub other: Option<TxnId>,
    }

    /// Why something ended.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Ended {
        /// One sentence for people.
        #[prost(string, tag = "1")]
        pub message: String,
        /// The other transaction, when known.
        #[prost(message, optional, tag = "2")]
        pub other: Option<TxnId>,
    }

    /// How much is too much.
    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub struct TooLarge {
        /// What it would have been.
        #[prost(uint64, tag = "1")]
        pub bytes: u64,
        /// What it may be.
        #[prost(uint64, tag = "2")]
        pub limit: u64,
    }

    /// Which range lacks which nodes.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Unavailable {
        /// The range.
        #[prost(uint64, tag = "1")]
        pub range_id: u64,
        /// One sentence for people, naming the nodes that do not answer.
        #[prost(string, tag = "2")]
        pub message: String,
        /// The nodes that do not answer.
        #[prost(uint64, repeated, tag = "3")]
        pub missing_nodes: Vec<u64>,
    }
}
