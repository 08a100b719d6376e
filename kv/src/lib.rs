//! Ranges: replicated, leased, multi-version.

pub mod api;
pub mod command;
pub mod concurrency;
pub mod consistency;
pub mod descriptor;
pub mod directory;
pub mod encoding;
pub mod engine;
mod evaluate;
pub mod keys;
pub mod lease;
pub mod liveness;
pub mod mvcc;
pub mod node;
pub mod placement;
pub mod replica;
pub mod router;
pub mod settings;
pub mod store;

pub use node::{Admin, Begin, Node, NodeConfig, NodeError, NodeInfo, RangeInfo, StatusInfo};
pub use replica::{LocalProposer, Proposer, Replica, ReplicaContext, ReplicaEvents, local_range};
pub use settings::Settings;
