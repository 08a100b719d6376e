//! Leases of different sequence never overlap, and nobody serves under one at or above the start of the next.
//!
//! What was served under a sequence is what counts: an expiration that was never used up to its end may be cut short by the
//! holder's own next lease.

use std::collections::BTreeMap;

use clock::Timestamp;
use kv::lease::Lease;

use super::{Invariant, Sample};
use crate::sim::audit::Audited;

/// See the module.
#[derive(Debug, Default)]
pub struct LeaseDisjointness {
    ranges: BTreeMap<u64, BTreeMap<u64, Known>>,
}

/// What is known of one sequence of one range.
#[derive(Debug, Default)]
struct Known {
    /// With the latest expiration seen.
    lease: Option<Lease>,
    /// The newest timestamp served under it, and by whom.
    served: Option<(Timestamp, u64)>,
}

impl LeaseDisjointness {
    fn check(&self, range: u64, sequence: u64) -> Result<(), String> {
        let Some(known) = self.ranges.get(&range) else { return Ok(()) };
        let Some(own) = known.get(&sequence) else { return Ok(()) };
        let later = known.range(sequence + 1..).find_map(|(_, later)| later.lease);
        if let (Some((at, node)), Some(later)) = (own.served, later)
            && at >= later.start
        {
            return Err(format!(
                "node {node} served range {range} at {at} under lease {sequence}, and lease {} of node {} starts at {}",
                later.sequence, later.node, later.start
            ));
        }
        let next = known.get(&(sequence + 1)).and_then(|next| next.lease);
        if let (Some(lease), Some(next)) = (own.lease, next)
            && next.term > 0
            && next.holder != lease.holder
            && next.start < lease.expiration
        {
            return Err(format!(
                "lease {sequence} of range {range} runs to {}, and node {} acquired the next from {} on",
                lease.expiration, next.node, next.start
            ));
        }
        Ok(())
    }
}

impl Invariant for LeaseDisjointness {
    fn name(&self) -> &'static str {
        "lease_disjointness"
    }

    fn audited(&mut self, audited: &Audited, _true_ns: u64) -> Result<(), String> {
        let Audited::Served { node, range, sequence, at } = audited else { return Ok(()) };
        let known = self.ranges.entry(*range).or_default().entry(*sequence).or_default();
        known.served = known.served.max(Some((*at, *node)));
        self.check(*range, *sequence)
    }

    fn sample(&mut self, sample: &Sample) -> Result<(), String> {
        for state in sample.nodes.iter().flat_map(|node| &node.ranges) {
            let (range, lease) = (state.descriptor.range_id, state.lease);
            if lease.sequence == 0 {
                continue;
            }
            let known = self.ranges.entry(range).or_default().entry(lease.sequence).or_default();
            if known.lease.is_some_and(|known| known.expiration >= lease.expiration) {
                continue;
            }
            known.lease = Some(lease);
            self.check(range, lease.sequence)?;
            self.check(range, lease.sequence - 1)?;
        }
        Ok(())
    }
}
