//! After the sync: where everything lies, and who is told.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::compose::Plan;
use super::{Place, Writer};
use crate::wal::WalError;
use crate::wal::group_state::{Group, Kept};
use crate::wal::queue::{Item, Work};
use crate::wal::segment::Location;

impl Writer {
    /// Notes that the batch is synced. The items are yet to be answered.
    pub(super) fn finish(&mut self, items: &[Item], plan: Plan, place: &Place) {
        for group in &plan.stated {
            group.state.lock().kept.move_to(&place.segment);
        }
        for (item, first_record) in items.iter().zip(&plan.first_records) {
            self.note(item, *first_record, place);
        }
        for moved in &plan.moved {
            let location = self.location(place, moved.record);
            if let Some(slot) = moved.group.state.lock().slot_numbered(moved.index, moved.number) {
                slot.location = Some(location);
            }
        }
        self.log.recycle(plan.recycled);
        self.recent.shrink();
        self.count_segments();
        let counters = &self.shared.counters;
        counters.batches.fetch_add(1, Ordering::Relaxed);
        counters.items.fetch_add(items.len() as u64, Ordering::Relaxed);
    }

    fn location(&self, place: &Place, record: usize) -> Location {
        let (offset, bytes) = self.batch.extent(record, place.offset);
        Location::new(&place.segment, offset, bytes)
    }

    fn note(&mut self, item: &Item, first_record: usize, place: &Place) {
        let mut state = item.group.state.lock();
        match &item.work {
            Work::Append(entries) => {
                for (nth, (number, entry)) in entries.iter().enumerate() {
                    let index = entry.position.index;
                    let location = self.location(place, first_record + nth);
                    let Some(slot) = state.slot_numbered(index, *number) else { continue };
                    slot.location = Some(location);
                    state.synced = Some(entry.position);
                    self.recent.push(&item.group, index, *number, entry.payload.len());
                }
            }
            Work::Vote(vote) => state.kept.vote = Some((vote.clone(), place.segment.clone())),
            Work::Committed(position) => state.kept.committed = Some((*position, place.segment.clone())),
            Work::Truncate(after) => state.kept.truncate_after(*after),
            Work::Purge(upto) => drop(state.kept.purge(*upto, &place.segment)),
            Work::Destroy => state.kept = Kept::default(),
        }
    }
}

/// Tells everyone in order, and lets go of what the items held.
pub(super) fn answer(items: &mut Vec<Item>, outcome: &Result<(), WalError>) {
    for item in items.drain(..) {
        let Item { on_synced, removed, .. } = item;
        drop(removed);
        if let Some(on_synced) = on_synced {
            on_synced(outcome.clone());
        }
    }
}

/// The entries whose payloads are in memory, oldest first, within a bound on their bytes.
pub(super) struct Recent {
    entries: VecDeque<RecentEntry>,
    bytes: usize,
    max_bytes: usize,
}

struct RecentEntry {
    group: Arc<Group>,
    index: u64,
    number: u64,
    bytes: usize,
}

/// What an entry counts beside its payload.
const OVERHEAD_BYTES: usize = 128;

impl Recent {
    pub(super) fn new(max_bytes: usize) -> Recent {
        Recent { entries: VecDeque::new(), bytes: 0, max_bytes }
    }

    fn push(&mut self, group: &Arc<Group>, index: u64, number: u64, payload_bytes: usize) {
        let bytes = payload_bytes + OVERHEAD_BYTES;
        self.bytes += bytes;
        self.entries.push_back(RecentEntry { group: group.clone(), index, number, bytes });
    }

    /// Drops payloads beyond the bound. REQUIRES: no group's state is locked.
    fn shrink(&mut self) {
        while self.bytes > self.max_bytes {
            let Some(RecentEntry { group, index, number, bytes }) = self.entries.pop_front() else { return };
            self.bytes -= bytes;
            if let Some(slot) = group.state.lock().slot_numbered(index, number) {
                slot.payload = None;
            }
        }
    }
}
