//! What a node remembers of the directory: descriptors by start key, and who held the lease last.
//!
//! Invariant: cached ranges do not overlap. A newer generation displaces what it overlaps; an older one never does.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;

use crate::descriptor::RangeDescriptor;

/// A remembered range.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CachedRange {
    /// Its descriptor, as of some generation.
    pub descriptor: Arc<RangeDescriptor>,
    /// The node that answered last, or was named as the leaseholder.
    pub leaseholder: Option<u64>,
}

/// Remembered ranges.
#[derive(Debug, Default)]
pub(super) struct RangeCache {
    by_start: BTreeMap<Bytes, CachedRange>,
}

/// Enough for a large cluster's working set; the oldest-keyed are dropped beyond it.
const CACHED_RANGES_MAX: usize = 100_000;

impl RangeCache {
    /// The range that contains the key, if remembered.
    pub fn get(&self, key: &[u8]) -> Option<CachedRange> {
        let (_, range) = self.by_start.range::<[u8], _>((Bound::Unbounded, Bound::Included(key))).next_back()?;
        range.descriptor.contains(key).then(|| range.clone())
    }

    /// The range that contains the keys just below `end`, if remembered.
    pub fn get_before(&self, end: &[u8]) -> Option<CachedRange> {
        let (_, range) = self.by_start.range::<[u8], _>((Bound::Unbounded, Bound::Excluded(end))).next_back()?;
        let reaches = range.descriptor.end.is_empty() || end <= &range.descriptor.end[..];
        reaches.then(|| range.clone())
    }

    /// Remembers a descriptor. Returns false when something newer is known of the same keys.
    pub fn insert(&mut self, descriptor: RangeDescriptor) -> bool {
        let overlapping = self.overlapping(&descriptor);
        if overlapping.iter().any(|start| self.by_start[start].descriptor.generation > descriptor.generation) {
            return false;
        }
        let mut leaseholder = None;
        for start in overlapping {
            if let Some(former) = self.by_start.remove(&start) {
                // Both sides of a split are led, at first, by whoever led the whole.
                leaseholder = leaseholder.or(former.leaseholder);
            }
        }
        let leaseholder = leaseholder.filter(|node| descriptor.replicas.iter().any(|r| r.node_id == *node));
        if self.by_start.len() >= CACHED_RANGES_MAX {
            self.by_start.pop_first();
        }
        self.by_start.insert(descriptor.start.clone(), CachedRange { descriptor: Arc::new(descriptor), leaseholder });
        true
    }

    /// Remembers who holds the lease of a range.
    pub fn set_leaseholder(&mut self, descriptor: &RangeDescriptor, node: Option<u64>) {
        if let Some(range) = self.by_start.get_mut(&descriptor.start)
            && range.descriptor.range_id == descriptor.range_id
        {
            range.leaseholder = node;
        }
    }

    /// Forgets a range, unless something newer was learned since.
    pub fn forget(&mut self, descriptor: &RangeDescriptor) {
        if self.by_start.get(&descriptor.start).is_some_and(|range| *range.descriptor == *descriptor) {
            self.by_start.remove(&descriptor.start);
        }
    }

    fn overlapping(&self, descriptor: &RangeDescriptor) -> Vec<Bytes> {
        let before = self
            .by_start
            .range::<[u8], _>((Bound::Unbounded, Bound::Excluded(&descriptor.start[..])))
            .next_back()
            .filter(|(_, range)| range.descriptor.end.is_empty() || range.descriptor.end > descriptor.start)
            .map(|(start, _)| start.clone());
        let within = self
            .by_start
            .range::<[u8], _>((Bound::Included(&descriptor.start[..]), Bound::Unbounded))
            .take_while(|(start, _)| descriptor.end.is_empty() || **start < descriptor.end)
            .map(|(start, _)| start.clone());
        before.into_iter().chain(within).collect()
    }
}

#[cfg(test)]
mod tests;
