//! A whole cluster in one thread, from one seed, in virtual time.
//!
//! ```text
//!   seed ─▶ random ─┬▶ network: delay, loss, duplication, reorder, cuts
//!                   ├▶ disks: lost unsynced writes, torn writes
//!                   ├▶ elections, clients' choices, the nemesis
//!                   └▶ tokio's scheduler
//!   nodes ─▶ SQL sessions, transactions, ranges, groups, log: all as in production
//! ```
//!
//! A node is everything from SQL down to the log, on a simulated disk and an in-memory engine with the same crash semantics. A crash
//! takes it off the network and gives back what its disk would hold after power loss. A run has a *safety* phase, with faults, and
//! a *liveness* phase: everything is healed, and must answer within a bound.
//!
//! Running a seed twice gives the same trace hash: [`Trace`] folds every client operation with its virtual time and its result,
//! and the number of messages delivered.

mod cluster;
mod run;
mod session;
mod trace;

pub use cluster::{SimCluster, SimSettings};
pub use run::{Outcome, run_seed};
pub use trace::Trace;
