//! What a node may be made to suffer, for demonstrations and tests of real processes.
//!
//! ```text
//!   POST /faults/link?node=2&delay_us=1000&cut=true ─▶ links ─▶ wraps the transport
//!   POST /faults/clock?offset_us=-3000              ─▶ clock ─▶ wraps the time source
//!   POST /faults/disk?sync_delay_us=20000           ─▶ disk  ─▶ wraps the log's directory
//! ```
//!
//! Each wraps one seam, and is in place only where fault hooks were switched on, or, for the links, where latency was asked for.
//! Without a fault set, what is wrapped behaves as if it were not.
//!
//! Knows nothing of who sets faults, and why.

mod clock;
mod disk;
mod links;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use clock::FaultyTime;
pub use disk::FaultyDir;
pub use links::{FaultyTransport, LinkFault};

/// All faults of a node that can be set from outside.
#[derive(Clone)]
pub struct Hooks {
    /// Its links to other nodes.
    pub links: Arc<FaultyTransport>,
    /// Its clock.
    pub clock: Arc<FaultyTime>,
    /// Its log's disk.
    pub disk: Arc<FaultyDir>,
}
