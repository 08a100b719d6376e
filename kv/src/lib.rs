//! Ranges: replicated, leased, multi-version.

pub mod api;
pub mod descriptor;
pub mod liveness;
pub mod node;
pub mod settings;

pub use settings::Settings;
