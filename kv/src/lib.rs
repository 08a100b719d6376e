//! Ranges: replicated, leased, multi-version.

pub mod api;
pub mod descriptor;
