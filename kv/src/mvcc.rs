//! Many versions of each key, read at a timestamp.
//!
//! ```text
//!   engine key                         engine value
//!   key ⧺ 00 01                        intent: who, at what timestamp, the provisional value and those it replaced
//!   key ⧺ 00 01 ⧺ !timestamp (newest)  mark, value
//!   key ⧺ 00 01 ⧺ !timestamp           mark, value                        ◀── a read at this timestamp or above stops here
//!   key ⧺ 00 01 ⧺ !timestamp (oldest)  mark (tombstone)
//! ```
//!
//! One seek per key answers everything about it: the intent stands first, then versions from the newest.
//!
//! Functions that read take a [`Reader`](crate::engine::Reader); those that write take an
//! [`Overlay`](crate::engine::Overlay), whose batch is then replicated, and the [`MvccStats`] to adjust. None of them waits:
//! what is in the way is returned ([`FoundIntent`]) for the lock table to deal with.
//!
//! Invariants:
//!
//! - `versions_immutable`: a committed version never changes; it disappears only by garbage collection or [`clear_span`].
//! - `one_intent`: a key has at most one intent, above all its versions.
//! - `versions_rise`: a version is only ever added above the newest.
//! - `stats_exact`: the statistics kept by deltas equal those recomputed ([`compute_stats`]).
//!
//! The module knows nothing of latches, locks, leases, ranges or transaction records. It trusts its caller to have
//! checked the garbage collection threshold. The layout follows CockroachDB's `storage/mvcc.go`, save that the provisional
//! value lives in the intent itself, so that only committed versions ever stand among the versions.

mod clear;
mod gc;
mod get;
pub mod key;
mod refresh;
mod resolve;
mod scan;
mod split;
mod stats;
#[cfg(test)]
mod tests;
mod value;
mod write;

use bytes::Bytes;
use clock::Timestamp;

use crate::api::TxnMeta;

pub use clear::clear_span;
pub use gc::{Garbage, GarbageLimits, find_garbage, remove_garbage};
pub use get::{GetOutcome, get, newest_version};
pub use refresh::{RefreshOutcome, refresh};
pub use resolve::{Resolution, ResolveOutcome, find_intent, find_intents, resolve_key, resolve_span};
pub use scan::{ScanLimits, ScanOutcome, scan};
pub use split::find_split_key;
pub use stats::{MvccStats, compute_stats};
pub use value::{Intent, PastValue};
pub use write::{WriteMode, WriteOutcome, write};

/// An intent that stands in the way.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundIntent {
    /// The key it is on.
    pub key: Bytes,
    /// Whose it is; `write_timestamp` is the intent's own.
    pub txn: TxnMeta,
}

/// At what timestamp to read, and for whom.
#[derive(Clone, Copy, Debug)]
pub struct ReadAt<'a> {
    /// The newest version at or below it is seen.
    pub read_timestamp: Timestamp,
    /// Marked versions and intents above the read timestamp, up to and including this, are uncertain. At or below the read
    /// timestamp: nothing is.
    pub uncertainty_limit: Timestamp,
    /// The reader's own transaction, whose intents it sees by sequence instead of being blocked by them.
    pub txn: Option<&'a TxnMeta>,
}

impl<'a> ReadAt<'a> {
    /// A read outside any transaction, with nothing uncertain.
    pub fn timestamp(read_timestamp: Timestamp) -> Self {
        ReadAt { read_timestamp, uncertainty_limit: read_timestamp, txn: None }
    }

    /// A read of a transaction, at its read timestamp and with its uncertainty limit.
    pub fn txn(txn: &'a TxnMeta) -> Self {
        ReadAt { read_timestamp: txn.read_timestamp, uncertainty_limit: txn.uncertainty_limit, txn: Some(txn) }
    }
}
