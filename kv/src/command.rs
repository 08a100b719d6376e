//! What a range replicates: the effects of an evaluated request, with what is needed to apply them alike everywhere.
//!
//! ```text
//!   Command { proposal, lease sequence, write batch, statistics, trigger }
//!       │          │          │                                  └ what a write batch cannot say: split, lease, descriptor, threshold, check
//!       │          │          └ application rejects the command when the applied sequence is another
//!       │          └ which waiting request it answers, on the replica that proposed it
//!       └ prost, encoded once
//! ```
//!
//! Invariant: `deterministic_application` (whether and how a command applies depends on the command and the applied
//! state alone). The module knows nothing of requests.

use clock::Timestamp;

use crate::descriptor::RangeDescriptor;
use crate::engine::WriteBatch;
use crate::lease::LeaseChange;
use crate::mvcc::MvccStats;

/// An evaluated request on its way through the log.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Command {
    /// Random; by it the proposing replica finds the request that waits.
    #[prost(fixed64, tag = "1")]
    pub proposal: u64,
    /// The lease sequence it was evaluated under.
    #[prost(uint64, tag = "2")]
    pub lease_sequence: u64,
    /// The effects.
    #[prost(message, required, tag = "3")]
    pub batch: WriteBatch,
    /// What the effects add to the range's statistics.
    #[prost(message, optional, tag = "4")]
    pub stats_delta: Option<MvccStats>,
    /// What else happens.
    #[prost(oneof = "Trigger", tags = "5, 6, 7, 8, 9, 10")]
    pub trigger: Option<Trigger>,
}

/// What a command does besides writing.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Trigger {
    /// The lease changes. Judged by the lease's own rules, not by the command's lease sequence.
    #[prost(message, tag = "5")]
    Lease(LeaseChange),
    /// The range is split.
    #[prost(message, tag = "6")]
    Split(Split),
    /// The replicas change.
    #[prost(message, tag = "7")]
    Descriptor(DescriptorChange),
    /// Nothing can be read below the threshold any more.
    #[prost(message, tag = "8")]
    GcThreshold(GcThreshold),
    /// Every replica takes a snapshot, to be compared.
    #[prost(message, tag = "9")]
    Check(Check),
    /// Some replicas are not what a majority is.
    #[prost(message, tag = "10")]
    Condemn(Condemn),
}

/// The left range ends earlier, and a right one begins there.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Split {
    /// The left range afterwards.
    #[prost(message, required, tag = "1")]
    pub left: RangeDescriptor,
    /// The new right range.
    #[prost(message, required, tag = "2")]
    pub right: RangeDescriptor,
    /// The right range's statistics; the left keeps the rest.
    #[prost(message, required, tag = "3")]
    pub right_stats: MvccStats,
}

/// A new descriptor with the same bounds.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DescriptorChange {
    /// The generation that must be the applied one.
    #[prost(uint64, tag = "1")]
    pub expected_generation: u64,
    /// The descriptor from then on.
    #[prost(message, required, tag = "2")]
    pub descriptor: RangeDescriptor,
}

/// A new garbage collection threshold.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct GcThreshold {
    /// Inclusive: reads at or above it are answered.
    #[prost(message, required, tag = "1")]
    pub threshold: Timestamp,
}

/// Every replica takes a snapshot at this entry: see [`crate::consistency`].
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Check {
    /// By which it is asked for.
    #[prost(fixed64, tag = "1")]
    pub check_id: u64,
    /// The snapshot is kept to be read, instead of its digest being computed.
    #[prost(bool, tag = "2")]
    pub keep_view: bool,
}

/// Some replicas do not hold what a majority holds: their nodes leave service.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Condemn {
    /// Replica IDs.
    #[prost(uint64, repeated, tag = "1")]
    pub replicas: Vec<u64>,
    /// What was found, for people.
    #[prost(string, tag = "2")]
    pub words: String,
}
