//! Statements on one table, straight to its keys: no planner, no batches, no more work than the statement asks for.
//!
//! ```text
//!   WHERE ── conjuncts ──▶ Access {one key | some keys | a span of an index | everything} + what is left to check
//!   SELECT list ── bound ──▶ Scalars over the row
//! ```
//!
//! Knows nothing of joins, sorting and aggregates: those queries go to the planner.

pub(crate) mod access;
pub(crate) mod read;
pub(crate) mod select;
