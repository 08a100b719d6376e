//! Why a transaction, or a statement of it, did not do what was asked: one variant for each thing the caller can decide on.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use clock::{HlcError, Timestamp};
use kv::api::{KvError, RetryReason, TxnId, error_detail};

/// Why an operation of a transaction failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The transaction is sound and has moved to a newer snapshot, but what the statement in hand has read is not valid there:
    /// [`rewind`](crate::Transaction::rewind) to the statement's mark and execute it again. If its rows were sent to the client
    /// already, report it as 40001 instead. Nothing else is accepted before the rewind.
    #[error("the statement must be executed again: {0}")]
    StatementRetry(Box<Conflict>),
    /// The transaction must be tried again from its beginning (40001). It can only be rolled back.
    #[error("restart transaction: {0}")]
    Retry(Box<Conflict>),
    /// The transaction was chosen to break a deadlock (40P01). It can only be rolled back.
    #[error("deadlock detected: {0}")]
    Deadlock(Box<Conflict>),
    /// A lock was not to be had in time (55P03).
    #[error(
        "could not obtain a lock in time on key \"{}\", held by transaction {}",
        .0.key.escape_ascii(),
        .0.other.map_or("unknown".to_owned(), |other| other.to_string())
    )]
    LockTimeout(Box<Conflict>),
    /// It is unknown whether the transaction committed (40003).
    #[error("it is unknown whether the transaction committed: {0}")]
    Ambiguous(String),
    /// A range did not answer in time. The operation did not happen.
    #[error("range {range_id} is unavailable: {message}")]
    Unavailable {
        /// Which range.
        range_id: u64,
        /// One sentence that names the nodes.
        message: String,
        /// The nodes that do not answer.
        missing_nodes: Vec<u64>,
    },
    /// Too little disk space is left to take writes (53100).
    #[error("no disk space is left: {0}")]
    DiskFull(String),
    /// The past that was asked for has been collected.
    #[error("the read timestamp lies below the garbage collection threshold {threshold}")]
    BelowGcThreshold {
        /// Nothing can be read at or below this.
        threshold: Timestamp,
    },
    /// A key with its value, or with all the values that the transaction has given it, is larger than a write may be.
    #[error("a write of {bytes} bytes exceeds the limit of {limit} bytes")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// `AS OF` names a time that has not been reached.
    #[error("cannot read as of {wanted}, which lies above this node's clock at {now}")]
    AsOfFuture {
        /// What was asked for.
        wanted: Timestamp,
        /// The node's clock.
        now: Timestamp,
    },
    /// A transaction that reads a past snapshot cannot write or lock (25006).
    #[error("a transaction that reads as of a past time cannot write")]
    ReadOnly,
    /// The transaction has ended already.
    #[error("the transaction has ended")]
    Finished,
    /// The node's clock may not be used.
    #[error("the clock does not answer")]
    Clock(#[source] Arc<HlcError>),
    /// A range refused the request as making no sense: a fault in Meridian or a peer of another version.
    #[error("internal error: {0}")]
    Internal(String),
}

/// What stood in the way of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// What happened.
    pub reason: RetryReason,
    /// The key on which it happened; empty when unknown.
    pub key: Bytes,
    /// The other transaction, when known.
    pub other: Option<TxnId>,
    /// The timestamp of the other's write, or the one that would have done; `MIN` when unknown.
    pub timestamp: Timestamp,
    /// The key read earlier that has been written since, which is why the transaction could not carry on.
    pub changed: Option<Bytes>,
    /// What the range said, if it said it in words.
    pub message: String,
}

impl Conflict {
    pub(crate) fn new(reason: RetryReason, detail: error_detail::Conflict) -> Self {
        Conflict {
            reason,
            key: detail.key,
            other: detail.other,
            timestamp: detail.actual,
            changed: None,
            message: String::new(),
        }
    }

    pub(crate) fn pushed(to: Timestamp) -> Self {
        let detail = error_detail::Conflict { key: Bytes::new(), actual: to, other: None };
        Conflict::new(RetryReason::CommitPushed, detail)
    }

    /// A commit whose fate was unclear was rolled back to make it clear.
    pub(crate) fn unclear(refused: &KvError) -> Self {
        Conflict { reason: RetryReason::Aborted, message: refused.to_string(), ..Conflict::pushed(Timestamp::MIN) }
    }

    /// It went on for longer than the past is kept.
    fn outdated(threshold: Timestamp) -> Self {
        Conflict { reason: RetryReason::Outdated, ..Conflict::pushed(threshold) }
    }

    pub(crate) fn loaded() -> Self {
        Conflict { message: "the statement has loaded rows in bulk".into(), ..Conflict::pushed(Timestamp::MIN) }
    }

    pub(crate) fn aborted(detail: error_detail::Ended) -> Self {
        Conflict {
            reason: RetryReason::Aborted,
            key: Bytes::new(),
            other: detail.other,
            timestamp: Timestamp::MIN,
            changed: None,
            message: detail.message,
        }
    }

    /// What happened, in words: all that can be said without knowing what the keys stand for.
    pub fn what(&self) -> String {
        let what = match self.reason {
            RetryReason::WriteTooOld => "a newer version stands where it writes",
            RetryReason::Uncertain => "it met a value that may have been committed before it began",
            RetryReason::CommitPushed => "its commit was pushed to a later time",
            RetryReason::Aborted => "it was aborted",
            RetryReason::Deadlock => "it waited in a circle",
            RetryReason::Outdated => "its snapshot is older than what is kept of the past",
        };
        if self.message.is_empty() { what.to_owned() } else { format!("{what} ({})", self.message) }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what())?;
        if !self.key.is_empty() {
            write!(f, ", on key \"{}\"", self.key.escape_ascii())?;
        }
        if let Some(other) = self.other {
            write!(f, ", by transaction {other}")?;
        }
        if !self.timestamp.is_min() {
            write!(f, ", at {}", self.timestamp)?;
        }
        match &self.changed {
            Some(key) => write!(f, "; key \"{}\", which it had read, was written since", key.escape_ascii()),
            None => Ok(()),
        }
    }
}

impl Error {
    /// Whether trying the whole transaction again may help.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::Retry(_) | Error::StatementRetry(_) | Error::Deadlock(_))
    }

    /// What it means to a transaction that has not asked for the past: a newer snapshot will do.
    pub(crate) fn in_the_present(self) -> Error {
        match self {
            Error::BelowGcThreshold { threshold } => Error::Retry(Box::new(Conflict::outdated(threshold))),
            other => other,
        }
    }

    /// Whether nothing but a rollback is left for the transaction that saw this.
    pub(crate) fn is_fatal(&self) -> bool {
        matches!(self, Error::Retry(_) | Error::Deadlock(_) | Error::Ambiguous(_))
    }
}

impl From<HlcError> for Error {
    fn from(error: HlcError) -> Self {
        Error::Clock(Arc::new(error))
    }
}

impl From<KvError> for Error {
    /// What an error of a range means to the caller when the coordinator can do no more about it.
    fn from(error: KvError) -> Self {
        let retry = |reason, detail| Error::Retry(Box::new(Conflict::new(reason, detail)));
        match error {
            KvError::WriteTooOld(detail) => retry(RetryReason::WriteTooOld, detail),
            KvError::Uncertain(detail) => retry(RetryReason::Uncertain, detail),
            KvError::RefreshFailed(detail) | KvError::CommitPushed(detail) => retry(RetryReason::CommitPushed, detail),
            KvError::TxnAborted(detail) | KvError::Forgotten(detail) => {
                Error::Retry(Box::new(Conflict::aborted(detail)))
            }
            KvError::Deadlock(detail) => Error::Deadlock(Box::new(Conflict::new(RetryReason::Deadlock, detail))),
            KvError::LockUnavailable(detail) => {
                Error::LockTimeout(Box::new(Conflict::new(RetryReason::WriteTooOld, detail)))
            }
            KvError::Unavailable(detail) => Error::Unavailable {
                range_id: detail.range_id,
                message: detail.message,
                missing_nodes: detail.missing_nodes,
            },
            KvError::NotLeaseholder(detail) => Error::Unavailable {
                range_id: detail.range_id,
                message: format!("node {} does not hold its lease", detail.node),
                missing_nodes: Vec::new(),
            },
            KvError::Ambiguous(detail) => Error::Ambiguous(detail.message),
            KvError::BelowGcThreshold(detail) => Error::BelowGcThreshold { threshold: detail.actual },
            KvError::DiskFull(detail) => Error::DiskFull(detail.message),
            KvError::TooLarge(detail) => Error::TooLarge { bytes: detail.bytes as usize, limit: detail.limit as usize },
            KvError::Invalid(detail) => Error::Internal(detail.message),
            other @ (KvError::RangeMismatch(_) | KvError::AlreadyCommitted(_) | KvError::NotOnePhase(_)) => {
                Error::Internal(format!("a range answered out of place: {other}"))
            }
        }
    }
}
