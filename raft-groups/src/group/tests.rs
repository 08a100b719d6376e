//! Whole groups on simulated networks and disks, in virtual time; and on real ones.

mod cluster;
mod ends;
mod faults;
mod lifecycle;
pub(super) mod machine;
mod membership;
mod real;
mod replay;
mod snapshots;
