//! What time it might be.
//!
//! A clock reading here is never a point but an [`Interval`] that contains true time. On top of it
//! stands the hybrid logical clock ([`Hlc`]), whose [`Timestamp`]s order everything the cluster does.
//!
//! ```text
//!   TimeSource ──▶ Interval [earliest, latest] ──▶ Hlc ──▶ Timestamp {wall_ns, logical}
//!   (kernel or      contains true time             never goes back,
//!    simulated)                                    not even over a restart
//! ```
//!
//! The crate also holds three of the five seams through which the outside world reaches a node:
//! time ([`TimeSource`]), randomness ([`Random`]) and tasks ([`Tasks`]). It knows nothing of
//! networks, disks or data.

mod hlc;
mod interval;
mod kernel;
pub mod mutation;
mod peers;
mod random;
mod source;
mod tasks;
mod timestamp;

pub use hlc::{CeilingStore, Hlc, HlcError, VolatileCeiling};
pub use interval::Interval;
pub use kernel::{Adjtimex, KernelClock, KernelReading, KernelTime};
pub use peers::{Comparison, PeerClocks};
pub use random::Random;
pub use source::{ClockFault, Disagreement, SimulatedTime, SystemTime, TimeSource};
pub use tasks::{Gate, Tasks, TimeSlice, wait_for};
pub use timestamp::Timestamp;
