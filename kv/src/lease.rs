//! Who may serve a range, in timestamp space.
//!
//! ```text
//!   sequence 7 ├──────────────────────┤ extension: same sequence, later expiration
//!              start            expiration
//!   sequence 8                        ├───────────────┤ another holder: start >= applied expiration
//!   sequence 8           ├─────────────────┤            the same holder, or a transfer by it: cuts 7 short
//! ```
//!
//! A holder serves a request at `ts` only if `ts < expiration`, whatever its clock says. Invariants:
//! `lease_disjointness` (leases of different sequence never overlap in `[start, expiration)`, the older one
//! ending where the newer one of the same proposer starts), checked by [`Lease::check_change`] on each replica
//! alike; and that each sequence is tied to the Raft term it was acquired in, so that a proposal fenced by
//! that term cannot be appended once another leader took over.
//!
//! A lease received (by transfer, or by the split of a range) names the term 0: its holder serves only after it
//! acquired a sequence of its own, as leader, which it may do at once. The same rule serves a holder that
//! was restarted.
//!
//! The module knows nothing of clocks or logs: it judges one lease against the next.

use clock::Timestamp;
use clock::mutation::{self, Mutant};

/// A lease, as it is replicated in its range.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Lease {
    /// Rises by one with every change that is not an extension; 0 for a range that never had a lease.
    #[prost(uint64, tag = "1")]
    pub sequence: u64,
    /// The replica that holds it.
    #[prost(uint64, tag = "2")]
    pub holder: u64,
    /// The node of that replica.
    #[prost(uint64, tag = "3")]
    pub node: u64,
    /// The first timestamp it covers, inclusive.
    #[prost(message, required, tag = "4")]
    pub start: Timestamp,
    /// The end, exclusive.
    #[prost(message, required, tag = "5")]
    pub expiration: Timestamp,
    /// The Raft term it was acquired in; 0 for one that was received and that nobody serves under.
    #[prost(uint64, tag = "6")]
    pub term: u64,
}

/// A change of the lease, as a command carries it.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct LeaseChange {
    /// The sequence that must be the applied one.
    #[prost(uint64, tag = "1")]
    pub expected_sequence: u64,
    /// The replica that proposes the change.
    #[prost(uint64, tag = "2")]
    pub proposer: u64,
    /// The lease from then on.
    #[prost(message, required, tag = "3")]
    pub lease: Lease,
}

/// Why a change does not apply; the same on every replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseRefusal {
    /// Another change came first.
    #[error("the lease changed before")]
    OtherSequence,
    /// An extension that changes more than the expiration, or lowers it.
    #[error("an extension may only raise the expiration")]
    NotAnExtension,
    /// The new lease would overlap the old one.
    #[error("the lease would start before the former one ends")]
    Overlap,
}

impl Lease {
    /// Whether the replica holds it, and it covers the timestamp.
    pub fn covers(&self, replica: u64, at: Timestamp) -> bool {
        self.holder == replica && self.start <= at && at < self.expiration
    }

    /// Judges a change against this, the applied lease, and returns the new one.
    ///
    /// # Errors
    /// [`LeaseRefusal`]; the applied lease then stays.
    pub fn check_change(&self, change: &LeaseChange) -> Result<Lease, LeaseRefusal> {
        let next = change.lease;
        if change.expected_sequence != self.sequence {
            return Err(LeaseRefusal::OtherSequence);
        }
        if next.sequence == self.sequence {
            let extends = Lease { expiration: next.expiration, ..*self } == next && next.expiration >= self.expiration;
            return if extends && self.sequence > 0 { Ok(next) } else { Err(LeaseRefusal::NotAnExtension) };
        }
        if next.sequence != self.sequence + 1 {
            return Err(LeaseRefusal::OtherSequence);
        }
        let by_holder = (self.sequence > 0 && change.proposer == self.holder) || mutation::is(Mutant::LeaseOverlaps);
        let earliest_start = if by_holder { self.start } else { self.expiration };
        if next.start < earliest_start || next.expiration <= next.start {
            return Err(LeaseRefusal::Overlap);
        }
        let former_end = self.expiration.min(next.start);
        assert!(
            former_end <= next.start && self.start <= former_end.max(self.start),
            "lease_disjointness: sequence {} reaches into sequence {}",
            self.sequence,
            next.sequence
        );
        Ok(next)
    }
}

#[cfg(test)]
mod tests;
