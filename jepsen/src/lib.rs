//! Is it true? Clusters of real processes, faults, workloads with checkers, simulation, and load.
//!
//! ```text
//!   cluster ──▶ nemesis breaks it ──▶ workload records a history ──▶ checker gives the verdict ──▶ report
//!   control ──▶ the same workloads on PostgreSQL, whose promises are known
//!   bench   ──▶ closed-loop load ──▶ figures, beside PostgreSQL's where one is found
//! ```
//!
//! This crate stands outside the database: it starts processes, kills them and reads clocks, so the seams
//! that bind the other crates do not bind it.
#![allow(clippy::disallowed_methods, reason = "tests of real processes use the real world")]

pub mod allocator;
pub mod bench;
pub mod checker;
pub mod client;
pub mod cluster;
pub mod control;
pub mod history;
pub mod nemesis;
pub mod pgbench;
pub mod report;
pub mod run;
pub mod sim;
pub mod suite;
pub mod workload;
