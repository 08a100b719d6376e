//! A whole cluster in one thread, from one seed, in virtual time.
//!
//! ```text
//!   seed ─▶ random ─┬▶ network: delay, loss, duplication, reorder, cuts
//!                   ├▶ disks: lost unsynced writes, torn writes, errors, no room
//!                   ├▶ engines: calls that fail and poison them, are slow, or are the last of their process
//!                   ├▶ clocks: skew and drift within the bound
//!                   ├▶ elections, clients' choices, the plan of faults, the numbers of the layers
//!                   └▶ tokio's scheduler
//!   nodes ─▶ SQL sessions, transactions, ranges, groups, log: all as in production
//! ```
//!
//! A node is everything from SQL down to the log, on simulated disks and an in-memory engine with the same crash semantics. A
//! run has a *founding*, disturbed in some runs; a *safety* phase, with faults; and a *liveness* phase: everything is healed, and
//! must answer, be whole and have shrunk within a bound. The [`watch`] folds every message and every answer into the trace, whose
//! hash is the same for every run of a seed, and checks the [`invariants`] while the run goes on.

pub mod audit;
pub mod cluster;
pub mod command;
pub mod fleet;
pub mod invariants;
pub mod links;
pub mod mutants;
mod nemesis;
mod node;
pub mod plan;
pub mod run;
mod session;
pub mod strike;
mod trace;
pub mod watch;

pub use cluster::{SimCluster, SimSettings};
pub use run::{Outcome, RunOptions, run_seed};
pub use trace::Trace;
pub use watch::{Violation, Watch};
