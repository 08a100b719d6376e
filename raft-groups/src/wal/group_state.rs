//! One group's log in memory: which entries there are, and where.
//!
//! ```text
//!                purged          synced                last
//!   ───────────────┤├──────────────┤├────────────────────┤
//!    forgotten       in segments,     in memory, queued
//!                    perhaps in       for the writer
//!                    memory too
//! ```
//!
//! The state runs ahead of the disk: it shows what will be once everything queued is synced. A slot's number
//! tells the writer whether the entry it has written is still the one in the slot.

use std::collections::VecDeque;
use std::ops::RangeBounds;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::format::Record;
use super::segment::{Location, Segment};
use super::types::{LogEntry, LogState};
use crate::{GroupId, LogPosition};

/// A group and its state. Lock order: a group's state, then the queue.
pub(super) struct Group {
    pub id: GroupId,
    pub state: Mutex<GroupState>,
}

/// An entry in memory.
pub(super) struct Slot {
    /// Unlike any other slot's of this group, ever.
    pub number: u64,
    pub position: LogPosition,
    /// Of the payload, or about so many.
    pub bytes: u32,
    /// Unless it was dropped to save memory; never dropped before there is a location.
    pub payload: Option<Bytes>,
    /// Once it is synced.
    pub location: Option<Location>,
}

/// What a group's log holds.
#[derive(Default)]
pub(super) struct GroupState {
    /// Whether anything was written since it was last destroyed.
    pub exists: bool,
    pub vote: Option<Bytes>,
    pub purged: Option<LogPosition>,
    pub committed: Option<LogPosition>,
    pub synced: Option<LogPosition>,
    /// Consecutive, from the index after `purged`.
    slots: VecDeque<Slot>,
    /// What all slots say of their payloads.
    bytes: u64,
    next_number: u64,
    /// What is synced. The writer's: it does not run ahead.
    pub kept: Kept,
}

/// A group's state without its entries as it is synced, each part with the segment it lies in.
#[derive(Default)]
pub(super) struct Kept {
    pub vote: Option<(Bytes, Arc<Segment>)>,
    pub purged: Option<(LogPosition, Arc<Segment>)>,
    pub committed: Option<(LogPosition, Arc<Segment>)>,
}

impl Kept {
    /// The sequence number of the oldest segment any of it lies in.
    pub(super) fn oldest_sequence(&self) -> Option<u64> {
        let vote = self.vote.as_ref().map(|(_, segment)| segment.sequence);
        let positions = [&self.purged, &self.committed].map(|kept| kept.as_ref().map(|(_, segment)| segment.sequence));
        positions.into_iter().chain([vote]).flatten().min()
    }

    /// The record that says all of it.
    pub(super) fn record(&self, group: GroupId) -> Record<'_> {
        let position = |kept: &Option<(LogPosition, Arc<Segment>)>| kept.as_ref().map(|(position, _)| *position);
        Record::State {
            group,
            vote: self.vote.as_ref().map(|(vote, _)| vote.as_ref()),
            purged: position(&self.purged),
            committed: position(&self.committed),
        }
    }

    /// Notes that all of it now lies in the segment too.
    pub(super) fn move_to(&mut self, segment: &Arc<Segment>) {
        let places = [self.vote.as_mut().map(|(_, place)| place)]
            .into_iter()
            .chain([&mut self.purged, &mut self.committed].map(|kept| kept.as_mut().map(|(_, place)| place)));
        for place in places.flatten() {
            *place = segment.clone();
        }
    }

    /// Notes a truncation. A commit position above it is forgotten: the entries that come there are others.
    pub(super) fn truncate_after(&mut self, index: Option<u64>) {
        let stays = |committed: &(LogPosition, Arc<Segment>)| index.is_some_and(|index| committed.0.index <= index);
        self.committed = self.committed.take().filter(stays);
    }

    /// Notes a purge; answers whether it went further than the one before.
    pub(super) fn purge(&mut self, upto: LogPosition, segment: &Arc<Segment>) -> bool {
        let further = self.purged.as_ref().is_none_or(|(purged, _)| purged.index < upto.index);
        if further {
            self.purged = Some((upto, segment.clone()));
        }
        further
    }
}

impl Group {
    pub(super) fn new(id: GroupId) -> Arc<Group> {
        Arc::new(Group { id, state: Mutex::default() })
    }
}

impl GroupState {
    /// A group's state as found on the disk. REQUIRES: the entries are consecutive, from the one after those purged.
    pub(super) fn recovered(kept: Kept, entries: Vec<(LogPosition, Location)>) -> GroupState {
        let mut state = GroupState { exists: true, ..GroupState::default() };
        state.vote = kept.vote.as_ref().map(|(vote, _)| vote.clone());
        state.purged = kept.purged.as_ref().map(|(purged, _)| *purged);
        for (position, location) in entries {
            let number = state.take_number();
            let bytes = u32::try_from(location.record_bytes()).unwrap_or(u32::MAX);
            state.bytes += u64::from(bytes);
            state.slots.push_back(Slot { number, position, bytes, payload: None, location: Some(location) });
        }
        state.synced = state.last();
        state.committed = kept.committed.as_ref().map(|(committed, _)| *committed).min_by_index(state.last());
        state.kept = kept;
        state
    }

    pub(super) fn summary(&self) -> LogState {
        LogState { vote: self.vote.clone(), purged: self.purged, last: self.last(), committed: self.committed }
    }

    pub(super) fn last(&self) -> Option<LogPosition> {
        self.slots.back().map(|slot| slot.position).or(self.purged)
    }

    /// The index of the first slot, were there one.
    fn first_index(&self) -> u64 {
        self.purged.map_or(0, |purged| purged.index + 1)
    }

    /// The index the next entry must have.
    pub(super) fn next_index(&self) -> u64 {
        self.first_index() + self.slots.len() as u64
    }

    fn take_number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    fn place(&self, index: u64) -> Option<usize> {
        usize::try_from(index.checked_sub(self.first_index())?).ok().filter(|place| *place < self.slots.len())
    }

    pub(super) fn slot(&self, index: u64) -> Option<&Slot> {
        self.slots.get(self.place(index)?)
    }

    /// The slot at the index, if it is the one of that number.
    pub(super) fn slot_numbered(&mut self, index: u64, number: u64) -> Option<&mut Slot> {
        let place = self.place(index)?;
        self.slots.get_mut(place).filter(|slot| slot.number == number)
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter()
    }

    /// Adds an entry that follows the last; answers with its slot's number.
    pub(super) fn push(&mut self, entry: &LogEntry) -> u64 {
        assert_eq!(entry.position.index, self.next_index(), "log_consecutive: an entry is out of place");
        let number = self.take_number();
        let payload = Some(entry.payload.clone());
        let bytes = u32::try_from(entry.payload.len()).unwrap_or(u32::MAX);
        self.bytes += u64::from(bytes);
        self.slots.push_back(Slot { number, position: entry.position, bytes, payload, location: None });
        self.exists = true;
        number
    }

    /// Entries, and bytes of their payloads.
    pub(super) fn size(&self) -> (u64, u64) {
        (self.slots.len() as u64, self.bytes)
    }

    /// The last index of those that go if so many entries and bytes stay at most; `None` when all may stay.
    pub(super) fn last_beyond(&self, entries_max: u64, bytes_max: u64) -> Option<u64> {
        let (entries, bytes) = self.size();
        let (mut too_many, mut too_much) = (entries.saturating_sub(entries_max), bytes.saturating_sub(bytes_max));
        let goes = |slot: &&Slot| {
            let goes = too_many > 0 || too_much > 0;
            too_many = too_many.saturating_sub(1);
            too_much = too_much.saturating_sub(u64::from(slot.bytes));
            goes
        };
        self.slots.iter().take_while(goes).last().map(|slot| slot.position.index)
    }

    /// Removes slots; answers with where their entries lay.
    fn take(&mut self, places: impl RangeBounds<usize>) -> Vec<Location> {
        let mut bytes = 0;
        let removed = self.slots.drain(places);
        let removed = removed.inspect(|slot| bytes += u64::from(slot.bytes)).filter_map(|slot| slot.location).collect();
        self.bytes -= bytes;
        removed
    }

    /// Removes the entries above the index; answers with where they lay.
    pub(super) fn truncate_after(&mut self, index: Option<u64>) -> Vec<Location> {
        let first = self.first_index();
        let kept = index.map_or(0, |index| (index + 1).saturating_sub(first));
        let kept = usize::try_from(kept).unwrap_or(usize::MAX).min(self.slots.len());
        let removed = self.take(kept..self.slots.len());
        self.exists = true;
        let last = self.last();
        self.synced = self.synced.min_by_index(last);
        self.committed = self.committed.min_by_index(last);
        removed
    }

    /// Removes the entries up to and including the position; answers with where they lay, or `None` if it was
    /// purged before.
    pub(super) fn purge(&mut self, upto: LogPosition) -> Option<Vec<Location>> {
        if self.purged.is_some_and(|purged| purged.index >= upto.index) {
            return None;
        }
        let count = usize::try_from(upto.index + 1 - self.first_index()).unwrap_or(usize::MAX).min(self.slots.len());
        let removed = self.take(..count);
        self.exists = true;
        self.purged = Some(upto);
        if self.synced.is_none_or(|synced| synced.index < upto.index) {
            self.synced = Some(upto);
        }
        Some(removed)
    }

    /// Forgets everything; answers with where the entries lay.
    pub(super) fn destroy(&mut self) -> Vec<Location> {
        let removed = self.take(..);
        let (next_number, kept) = (self.next_number, std::mem::take(&mut self.kept));
        *self = GroupState { next_number, kept, ..GroupState::default() };
        removed
    }
}

/// Positions compared by index alone, `None` below all.
trait MinByIndex {
    fn min_by_index(self, other: Self) -> Self;
}

impl MinByIndex for Option<LogPosition> {
    fn min_by_index(self, other: Self) -> Self {
        match (self, other) {
            (Some(one), Some(two)) => Some(if two.index < one.index { two } else { one }),
            _ => None,
        }
    }
}
