//! How requests of one range stay out of each other's way.
//!
//! ```text
//!   request ─▶ latches ─▶ lock table ─▶ evaluate ─▶ timestamp cache told of reads ─▶ proposed ─▶ applied
//!                │            │ blocked: latches left, wait, push the holder after a while, try again
//!                │            └ an intent met while evaluating is entered, and the request waits like any other
//!                └ held until the command applied here, or cannot apply any more
//! ```
//!
//! [`latches`] isolate overlapping requests while they run; [`lock_table`] orders those that wait for transactions;
//! [`timestamp_cache`] keeps writes above the reads served; [`waits`] remembers who waits for whom, and finds
//! deadlocks. Each is a data structure by itself, and none knows of replication; the
//! replica strings them together.

pub mod latches;
pub mod lock_table;
pub mod timestamp_cache;
pub mod waits;
