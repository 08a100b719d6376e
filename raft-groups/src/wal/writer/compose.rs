//! From what is queued to a batch.

use std::sync::Arc;

use super::Writer;
use crate::wal::WalError;
use crate::wal::format::Record;
use crate::wal::group_state::Group;
use crate::wal::queue::{Item, Work};

/// At most about this many bytes of old entries are moved with one batch.
const MAX_MOVED_BYTES: u64 = 512 << 10;

/// What a batch holds, by the numbers of its records, and what follows once it is synced.
pub(super) struct Plan {
    /// For each item, its first record.
    pub first_records: Vec<usize>,
    /// Entries moved from the oldest segment.
    pub moved: Vec<Moved>,
    /// Groups whose whole state is in the batch.
    pub stated: Vec<Arc<Group>>,
    /// How many of the oldest segments are no longer needed.
    pub recycled: usize,
}

/// An entry moved.
pub(super) struct Moved {
    pub group: Arc<Group>,
    pub index: u64,
    pub number: u64,
    pub record: usize,
}

impl Writer {
    /// Puts the items' records into the batch, with what is needed to give up old segments.
    pub(super) fn compose(&mut self, items: &[Item]) -> Result<Plan, WalError> {
        self.batch.clear();
        let mut plan =
            Plan { first_records: Vec::with_capacity(items.len()), moved: Vec::new(), stated: Vec::new(), recycled: 0 };
        let dead = self.log.dead_prefix();
        if dead > 0 {
            self.push_states(dead, &mut plan);
        }
        for item in items {
            plan.first_records.push(self.batch.len());
            self.push_item(item);
        }
        if dead == 0
            && let Some(oldest) = self.log.to_be_moved(self.options.max_segments)
        {
            self.push_moved(oldest, &mut plan)?;
        }
        Ok(plan)
    }

    /// Adds an item's records, one for each entry of an append, one for anything else.
    fn push_item(&mut self, item: &Item) {
        let group = item.group.id;
        let record = match &item.work {
            Work::Append(entries) => {
                for (_, entry) in entries {
                    self.batch.push(Record::Entry { group, position: entry.position, payload: &entry.payload });
                }
                return;
            }
            Work::Vote(vote) => Record::Vote { group, vote },
            Work::Committed(position) => Record::Committed { group, position: *position },
            Work::Truncate(after) => Record::Truncate { group, after: *after },
            Work::Purge(upto) => Record::Purge { group, upto: *upto },
            Work::Destroy => Record::Destroy { group },
        };
        self.batch.push(record);
    }

    /// Adds the state that lies in the first `dead` segments, so that they can be given up: as it is synced, and
    /// before what the items make of it.
    fn push_states(&mut self, dead: usize, plan: &mut Plan) {
        let Some(oldest) = self.log.sequence_after(dead) else { return };
        for group in self.shared.all_groups() {
            let state = group.state.lock();
            if state.kept.oldest_sequence().is_some_and(|kept| kept < oldest) {
                self.batch.push(state.kept.record(group.id));
                drop(state);
                plan.stated.push(group);
            }
        }
        plan.recycled = dead;
    }

    /// Adds entries that lie in the oldest segment, so that it dies sooner.
    fn push_moved(&mut self, oldest: u64, plan: &mut Plan) -> Result<(), WalError> {
        let mut bytes = 0;
        for group in self.shared.all_groups() {
            let found: Vec<_> = {
                let state = group.state.lock();
                let in_oldest = state.slots().filter_map(|slot| {
                    let location = slot.location.as_ref().filter(|location| location.sequence() == oldest)?;
                    Some((slot.number, slot.position, slot.payload.clone(), location.clone()))
                });
                let mut room = MAX_MOVED_BYTES.saturating_sub(bytes);
                in_oldest
                    .take_while(|(_, _, _, location)| {
                        let fits = room > 0;
                        room = room.saturating_sub(location.record_bytes());
                        fits
                    })
                    .collect()
            };
            for (number, position, payload, location) in found {
                bytes += location.record_bytes();
                let payload = match payload {
                    Some(payload) => payload,
                    None => location.read(position)?,
                };
                let record = self.batch.push(Record::Moved { group: group.id, position, payload: &payload });
                plan.moved.push(Moved { group: group.clone(), index: position.index, number, record });
            }
            if bytes >= MAX_MOVED_BYTES {
                break;
            }
        }
        Ok(())
    }
}
