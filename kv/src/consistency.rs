//! Whether the replicas of a range are equal, found out by the ranges themselves (`replica_equality`).
//!
//! ```text
//!   leader     ─ Check ─▶ log ─▶ each replica, at that very entry: a snapshot of its engine ─▶ digest, piece by piece
//!              ◀─ asked, again and again ─┘
//!              ─▶ judge ─┬ consistent: all answered alike
//!                        ├ indeterminate: those that answered are alike, and some did not
//!                        └ inconsistent ─ View ─▶ log ─▶ snapshots, kept ─▶ the first key that differs, by its pieces
//!                                       └ Condemn ─▶ log ─▶ a replica that differs from a majority of the voters: its store
//!                                                           remembers it, its process leaves service and ends
//! ```
//!
//! What is compared is what a snapshot would copy ([`crate::replica::extent`]): versions, intents and records, the applied position
//! and membership, lease, threshold and statistics; and the bounds as the replica itself has them. Nothing that is local to a replica
//! is in it: its ID, tombstones, staging, and how much of its log it has purged.
//!
//! Why equal replicas never differ:
//!
//! - *Writes, leases, thresholds, garbage, removals of spans*: all are commands, hence before the check in the log or after it. The
//!   check ends the batch that it is applied in, as a split does, and the snapshot is taken before the next entry is applied.
//! - *Splits*: the bounds are those of the engine's snapshot. One that applies later takes nothing out of it.
//! - *A snapshot installed instead of the entry*: the replica never sees the check, and says that it knows nothing of it: it is not
//!   compared. A check that was begun before goes on with the engine's own snapshot, which is of the entry.
//! - *Rejection*: as any command under another lease, on every replica alike.
//! - *A crash*: a check that was begun is forgotten. If the loss of power undoes its entry, it is applied, and computed, again: at the
//!   same position, from the same data.
//! - *Removal*: a replica that is removed gives up. Who is asked is asked by its replica ID, so that a successor is not taken for it.
//! - *The log's own end*: what has been purged of it is in no engine.
//!
//! A replica that was condemned, and is sent a snapshot before it applies that, never hears of it: its data is that of its leader
//! then. One that was sent a snapshot *between* check and condemnation leaves service all the same; what made it differ may have been
//! its disk.
//!
//! It costs: a node computes a few checks at a time and refuses more ([`CheckLimits`]), reads so many bytes a second for all of them,
//! and keeps no more than a digest each in memory; the engine keeps what a snapshot sees, for as long as it is computed or
//! looked at. A check that nobody asks for is given up.
//!
//! The module knows nothing of messages.

mod digest;
mod pace;
mod verdict;

pub use digest::{Digest, Entry, Piece, Walk, describe_key, differing};
pub use pace::{CheckLimits, now};
pub use verdict::{Answer, CheckStatus, Verdict, judge};
