//! The wire, the node, the `meridian` binary.
//!
//! ```text
//!   meridian (cli) ─▶ node: kv node ◀─ txn ◀─ sql ◀─ connections ◀─ clients
//!                      └─ http: /health, /metrics
//! ```
//!
//! [`node`] assembles a node from all the crates; [`connection`] serves one client; [`wire`] is the protocol.

pub mod allocator;
pub mod cancel;
pub mod cli;
pub mod connection;
pub mod faults;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod node;
pub mod wire;
