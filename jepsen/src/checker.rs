//! Verdicts on histories.

pub mod linearizable;
