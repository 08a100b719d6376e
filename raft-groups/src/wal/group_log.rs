//! One group's view of the shared log.

use std::ops::Range;

use super::{LogEntry, LogState, WalError};
use crate::{GroupId, LogPosition};

/// Called once, on the log's writer, when what it was passed with is synced, or never will be. Must not block.
pub type OnSynced = Box<dyn FnOnce(Result<(), WalError>) + Send>;

/// One group's log. Clones share it.
#[derive(Clone, Debug)]
pub struct GroupLog {
    group: GroupId,
}

impl GroupLog {
    pub(super) fn new(group: GroupId) -> Self {
        GroupLog { group }
    }

    /// The group.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// What the log holds, counting what is still to be synced.
    pub fn state(&self) -> LogState {
        LogState::default()
    }

    /// The last entry that is synced: nothing above it may be applied or acknowledged.
    pub fn synced(&self) -> Option<LogPosition> {
        None
    }

    /// Appends entries that follow the last one. Returns at once: they can be read then, and are synced when
    /// `on_synced` is called. Calls of one group take effect, and are answered, in order.
    pub fn append(&self, _entries: Vec<LogEntry>, on_synced: OnSynced) {
        on_synced(Err(WalError::Closed));
    }

    /// Saves the vote, replacing the former one; returns when it is synced.
    ///
    /// # Errors
    /// [`WalError::Halted`] or [`WalError::Closed`].
    pub async fn save_vote(&self, _vote: bytes::Bytes) -> Result<(), WalError> {
        Err(WalError::Closed)
    }

    /// Notes up to where the log is committed. Not waited for: it becomes durable with a later batch.
    pub fn save_committed(&self, _committed: LogPosition) {}

    /// Removes the entries above `index`, all of them for `None`.
    pub fn truncate_after(&self, _index: Option<u64>, on_synced: OnSynced) {
        on_synced(Err(WalError::Closed));
    }

    /// Forgets the entries up to and including the position, which may lie above the last one (after a
    /// snapshot). REQUIRES: the engine has persisted their effects. Not waited for.
    pub fn purge(&self, _upto: LogPosition) {}

    /// The entries with the given indexes, from memory or from the disk.
    ///
    /// # Errors
    /// [`WalError::Missing`] unless all are there; [`WalError::Corrupt`] or [`WalError::Io`] if they cannot be read.
    pub fn read(&self, _indexes: Range<u64>) -> Result<Vec<LogEntry>, WalError> {
        Ok(Vec::new())
    }

    /// Forgets the group: votes, entries and all; returns when that is synced. REQUIRES: the engine has
    /// persisted that the replica is gone. The log may then be written anew.
    ///
    /// # Errors
    /// [`WalError::Halted`] or [`WalError::Closed`].
    pub async fn destroy(&self) -> Result<(), WalError> {
        Err(WalError::Closed)
    }
}
