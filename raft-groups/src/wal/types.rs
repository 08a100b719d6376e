//! What the log holds: entries, and a group's state.

use std::fmt;

use bytes::Bytes;

use crate::LogPosition;

impl LogPosition {
    /// A position from its parts.
    pub const fn new(term: u64, leader: u64, index: u64) -> Self {
        LogPosition { term, leader, index }
    }
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}-{}.{}", self.term, self.leader, self.index)
    }
}

/// An entry of a group's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Where it stands.
    pub position: LogPosition,
    /// What it says; the log does not look inside.
    pub payload: Bytes,
}

/// How long a log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogSize {
    /// Entries.
    pub entries: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
}

/// What a group's log holds, as it will be once everything queued is synced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    /// The newest vote saved.
    pub vote: Option<Bytes>,
    /// Everything up to and including this was purged.
    pub purged: Option<LogPosition>,
    /// The last entry; `purged` when none is left after it.
    pub last: Option<LogPosition>,
    /// The newest commit position saved. Saved without a sync: it may lag behind after a crash.
    pub committed: Option<LogPosition>,
}
