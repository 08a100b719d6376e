//! The transaction coordinator: what a gateway does so that a handful of reads and writes on ranges is one transaction.
//!
//! ```text
//!   Database::begin ─▶ Transaction ─┬─ get, get_many, scan ─▶ own writes over what the ranges answer ─▶ read spans
//!                                   ├─ put, delete ─▶ write buffer ──(over 4 MiB)──▶ intents
//!                                   ├─ statement / rewind      re-execute one statement
//!                                   └─ commit ─▶ one phase, or intents ▶ record ▶ resolve ─▶ commit wait
//! ```
//!
//! It talks to ranges through [`Sender`] alone, and knows nothing of SQL and nothing of Raft.

mod audit;
mod buffer;
mod cleanup;
mod database;
mod error;
mod heartbeat;
mod locks;
mod settings;
mod spans;
mod transaction;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use database::{Database, TxnOptions};
pub use error::{Conflict, Error};
pub use settings::Settings;
pub use transaction::{CommitOutcome, OwnWrites, Page, Savepoint, ScanRequest, StatementMark, StillHeld, Transaction};

pub use clock::Timestamp;
pub use kv::api::{KeyValue, KvError, LockStrength, RetryReason, Sender, Span, TxnId};
pub use kv::descriptor::{RangeDescriptor, ReplicaDescriptor};
pub use kv::liveness::{NodeDescriptor, NodeStatus};
pub use kv::node::{Admin, NodeInfo, RangeInfo, StatusInfo};
pub use kv::{encoding, keys};
