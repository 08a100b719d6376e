//! What a record says.

use super::u64_at;
use crate::{GroupId, LogPosition};

/// A record, borrowing what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wal) enum Record<'a> {
    /// An entry appended.
    Entry { group: GroupId, position: LogPosition, payload: &'a [u8] },
    /// An entry moved here from an old segment. It stands where it stood, and says nothing of those after it.
    Moved { group: GroupId, position: LogPosition, payload: &'a [u8] },
    /// A vote, replacing the former one.
    Vote { group: GroupId, vote: &'a [u8] },
    /// A commit position.
    Committed { group: GroupId, position: LogPosition },
    /// The entries above the index are gone; all of them for `None`.
    Truncate { group: GroupId, after: Option<u64> },
    /// The entries up to and including the position are gone.
    Purge { group: GroupId, upto: LogPosition },
    /// All of the group is gone.
    Destroy { group: GroupId },
    /// All of the group's state but its entries, moved here from an old segment.
    State { group: GroupId, vote: Option<&'a [u8]>, purged: Option<LogPosition>, committed: Option<LogPosition> },
}

/// A record whose checksum is right and that still makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wal) struct RecordError;

const ENTRY: u8 = 1;
const MOVED: u8 = 2;
const VOTE: u8 = 3;
const COMMITTED: u8 = 4;
const TRUNCATE: u8 = 5;
const PURGE: u8 = 6;
const DESTROY: u8 = 7;
const STATE: u8 = 8;

/// Where an entry's payload begins, counted from the record's kind.
const PAYLOAD_AT: usize = 33;

impl<'a> Record<'a> {
    /// Appends the record's bytes, without length and checksum.
    pub(in crate::wal) fn encode(&self, out: &mut Vec<u8>) {
        let mut start = |kind: u8, group: GroupId| {
            out.push(kind);
            out.extend_from_slice(&group.0.to_le_bytes());
        };
        match *self {
            Record::Entry { group, position, payload } => {
                start(ENTRY, group);
                encode_position(out, position);
                out.extend_from_slice(payload);
            }
            Record::Moved { group, position, payload } => {
                start(MOVED, group);
                encode_position(out, position);
                out.extend_from_slice(payload);
            }
            Record::Vote { group, vote } => {
                start(VOTE, group);
                out.extend_from_slice(vote);
            }
            Record::Committed { group, position } => {
                start(COMMITTED, group);
                encode_position(out, position);
            }
            Record::Truncate { group, after } => {
                start(TRUNCATE, group);
                if let Some(after) = after {
                    out.extend_from_slice(&after.to_le_bytes());
                }
            }
            Record::Purge { group, upto } => {
                start(PURGE, group);
                encode_position(out, upto);
            }
            Record::Destroy { group } => start(DESTROY, group),
            Record::State { group, vote, purged, committed } => {
                start(STATE, group);
                out.push(
                    u8::from(vote.is_some()) | u8::from(purged.is_some()) << 1 | u8::from(committed.is_some()) << 2,
                );
                for position in [purged, committed].into_iter().flatten() {
                    encode_position(out, position);
                }
                out.extend_from_slice(vote.unwrap_or_default());
            }
        }
    }

    /// The record with these bytes.
    pub(in crate::wal) fn decode(bytes: &'a [u8]) -> Result<Record<'a>, RecordError> {
        let (head, rest) = bytes.split_at_checked(9).ok_or(RecordError)?;
        let group = GroupId(u64_at(head, 1));
        Ok(match head[0] {
            ENTRY | MOVED => {
                let (position, payload) = split_position(rest)?;
                match head[0] {
                    ENTRY => Record::Entry { group, position, payload },
                    _ => Record::Moved { group, position, payload },
                }
            }
            VOTE => Record::Vote { group, vote: rest },
            COMMITTED => Record::Committed { group, position: split_position(rest)?.0 },
            TRUNCATE => match rest.len() {
                0 => Record::Truncate { group, after: None },
                8 => Record::Truncate { group, after: Some(u64_at(rest, 0)) },
                _ => return Err(RecordError),
            },
            PURGE => Record::Purge { group, upto: split_position(rest)?.0 },
            DESTROY => Record::Destroy { group },
            STATE => {
                let (flags, mut rest) = rest.split_first().ok_or(RecordError)?;
                let mut take = |flag: u8| {
                    if flags & flag == 0 {
                        return Ok(None);
                    }
                    let (position, after) = split_position(rest)?;
                    rest = after;
                    Ok(Some(position))
                };
                let (purged, committed) = (take(2)?, take(4)?);
                Record::State { group, vote: (flags & 1 != 0).then_some(rest), purged, committed }
            }
            _ => return Err(RecordError),
        })
    }

    /// The payload of an entry's record, with its position.
    pub(in crate::wal) fn entry(bytes: &[u8]) -> Option<(LogPosition, usize)> {
        match Record::decode(bytes) {
            Ok(Record::Entry { position, .. } | Record::Moved { position, .. }) => Some((position, PAYLOAD_AT)),
            _ => None,
        }
    }
}

fn encode_position(out: &mut Vec<u8>, position: LogPosition) {
    for number in [position.term, position.leader, position.index] {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

fn split_position(bytes: &[u8]) -> Result<(LogPosition, &[u8]), RecordError> {
    let (position, rest) = bytes.split_at_checked(24).ok_or(RecordError)?;
    Ok((LogPosition::new(u64_at(position, 0), u64_at(position, 8), u64_at(position, 16)), rest))
}
