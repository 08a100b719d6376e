//! From records to the state of the groups.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::read_all;
use crate::wal::WalError;
use crate::wal::format::{
    BATCH_HEADER_BYTES, BatchHeader, RECORD_HEADER_BYTES, Record, SEGMENT_HEADER_BYTES, checked_record,
};
use crate::wal::group_state::{Group, GroupState, Kept};
use crate::wal::segment::{Location, Segment};
use crate::{GroupId, LogPosition};

/// The groups as the records so far leave them.
#[derive(Default)]
pub(super) struct Replay {
    groups: BTreeMap<GroupId, Building>,
}

/// A group. Its entries may have gaps until all is replayed: those moved forward come late.
#[derive(Default)]
struct Building {
    kept: Kept,
    entries: BTreeMap<u64, (LogPosition, Location)>,
}

/// A record and where it lies.
struct Placed<'a> {
    record: Record<'a>,
    segment: &'a Arc<Segment>,
    offset: u64,
    bytes: u32,
}

impl Replay {
    /// Replays a segment's batches up to `end`.
    pub(super) fn segment(&mut self, segment: &Arc<Segment>, end: u64) -> Result<(), WalError> {
        let bytes = read_all(&segment.name, &*segment.file)?;
        let changed = |offset: usize| WalError::Corrupt {
            file: segment.name.clone(),
            offset: offset as u64,
            detail: "it read well a moment ago, and does not now".to_owned(),
        };
        let mut at = SEGMENT_HEADER_BYTES;
        while (at as u64) < end {
            let header = BatchHeader::decode(&bytes, at).ok_or_else(|| changed(at))?;
            let mut record_at = at + BATCH_HEADER_BYTES;
            let body_end = record_at + header.body_bytes as usize;
            while record_at < body_end {
                let offset = record_at as u64;
                let record =
                    checked_record(&bytes, segment.sequence, record_at, offset).ok_or_else(|| changed(record_at))?;
                let len = RECORD_HEADER_BYTES + record.len();
                let record = Record::decode(record).map_err(|_| WalError::Corrupt {
                    file: segment.name.clone(),
                    offset,
                    detail: "the record passes its checksum and makes no sense".to_owned(),
                })?;
                let bytes = u32::try_from(len).expect("a record's length is 32 bits wide");
                self.apply(&Placed { record, segment, offset, bytes });
                record_at += len;
            }
            at = usize::try_from(header.end()).map_err(|_| changed(at))?;
        }
        Ok(())
    }

    fn group(&mut self, id: GroupId) -> &mut Building {
        self.groups.entry(id).or_default()
    }

    fn apply(&mut self, placed: &Placed<'_>) {
        let here = placed.segment;
        match placed.record {
            Record::Entry { group: id, position, .. } => {
                let group = self.group(id);
                group.entries.split_off(&position.index);
                group.insert(position, placed);
            }
            Record::Moved { group: id, position, .. } => self.group(id).insert(position, placed),
            Record::Vote { group: id, vote } => {
                self.group(id).kept.vote = Some((Bytes::copy_from_slice(vote), here.clone()));
            }
            Record::Committed { group: id, position } => self.group(id).kept.committed = Some((position, here.clone())),
            Record::Truncate { group: id, after } => {
                let group = self.group(id);
                group.kept.truncate_after(after);
                match after {
                    Some(after) => drop(group.entries.split_off(&(after + 1))),
                    None => group.entries.clear(),
                }
            }
            Record::Purge { group: id, upto } => self.group(id).purge(upto, here),
            Record::Destroy { group: id } => drop(self.groups.remove(&id)),
            Record::State { group: id, vote, purged, committed } => {
                let group = self.group(id);
                if let Some(purged) = purged {
                    group.purge(purged, here);
                }
                group.kept.vote = vote.map(|vote| (Bytes::copy_from_slice(vote), here.clone()));
                group.kept.committed = committed.map(|committed| (committed, here.clone()));
                group.kept.move_to(here);
            }
        }
    }

    /// The groups. `newest` names the newest file, for errors.
    pub(super) fn finish(self, newest: &str) -> Result<BTreeMap<GroupId, Arc<Group>>, WalError> {
        self.groups.into_iter().map(|(id, building)| Ok((id, building.finish(id, newest)?))).collect()
    }
}

impl Building {
    fn insert(&mut self, position: LogPosition, placed: &Placed<'_>) {
        if self.kept.purged.as_ref().is_none_or(|(purged, _)| position.index > purged.index) {
            let location = Location::new(placed.segment, placed.offset, placed.bytes);
            self.entries.insert(position.index, (position, location));
        }
    }

    fn purge(&mut self, upto: LogPosition, segment: &Arc<Segment>) {
        if self.kept.purge(upto, segment) {
            self.entries = self.entries.split_off(&(upto.index + 1));
        }
    }

    fn finish(self, id: GroupId, newest: &str) -> Result<Arc<Group>, WalError> {
        let first = self.kept.purged.as_ref().map_or(0, |(purged, _)| purged.index + 1);
        for (expected, found) in (first..).zip(self.entries.keys()) {
            if expected != *found {
                return Err(WalError::Corrupt {
                    file: newest.to_owned(),
                    offset: 0,
                    detail: format!("group {id} lacks entry {expected} before its entry {found}"),
                });
            }
        }
        let state = GroupState::recovered(self.kept, self.entries.into_values().collect());
        Ok(Arc::new(Group { id, state: Mutex::new(state) }))
    }
}
