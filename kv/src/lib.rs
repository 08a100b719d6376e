//! Ranges: replicated, leased, multi-version.

pub mod api;
pub mod descriptor;
pub mod directory;
pub mod encoding;
pub mod engine;
pub mod keys;
pub mod liveness;
pub mod mvcc;
pub mod node;
pub mod placement;
pub mod router;
pub mod settings;

pub use settings::Settings;
