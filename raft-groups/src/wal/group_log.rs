//! One group's view of the shared log.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::group_state::{Group, GroupState};
use super::queue::{Item, Work};
use super::segment::Location;
use super::{Handle, LogEntry, LogSize, LogState, WalError};
use crate::{GroupId, LogPosition};

/// Called once, when what it was passed with is synced or never will be: on the log's writer, or at once by a
/// call that is refused. Must not block.
pub type OnSynced = Box<dyn FnOnce(Result<(), WalError>) + Send>;

/// One group's log. Clones share it.
///
/// What is written can be read at once, and is durable once its sync is told. Calls of one group take effect,
/// and are answered, in order.
#[derive(Clone)]
pub struct GroupLog {
    handle: Arc<Handle>,
    group: Arc<Group>,
}

impl GroupLog {
    pub(super) fn new(handle: Arc<Handle>, group: Arc<Group>) -> Self {
        GroupLog { handle, group }
    }

    /// The group.
    pub fn group(&self) -> GroupId {
        self.group.id
    }

    /// What the log holds, counting what is still to be synced.
    pub fn state(&self) -> LogState {
        self.group.state.lock().summary()
    }

    /// The last entry that is synced, the purged ones counted as such: nothing above it may be applied or
    /// acknowledged.
    pub fn synced(&self) -> Option<LogPosition> {
        self.group.state.lock().synced
    }

    /// How many entries it holds, and how many bytes of payloads.
    pub fn size(&self) -> LogSize {
        let (entries, bytes) = self.group.state.lock().size();
        LogSize { entries, bytes }
    }

    /// The last index of those to purge so that so much stays at most; `None` when all of it may stay.
    pub fn last_beyond(&self, kept: LogSize) -> Option<u64> {
        self.group.state.lock().last_beyond(kept.entries, kept.bytes)
    }

    /// Appends entries that follow the last one; the first entry of an empty log has index 0, or follows what
    /// was purged. Returns at once. `on_synced` is told [`WalError::NotConsecutive`] when an entry is out of
    /// place; none is then appended.
    pub fn append(&self, entries: Vec<LogEntry>, on_synced: OnSynced) {
        let mut state = self.group.state.lock();
        let expected = state.next_index();
        let out_of_place = entries.iter().zip(expected..).find(|(entry, index)| entry.position.index != *index);
        if let Some((entry, expected)) = out_of_place {
            let found = entry.position.index;
            drop(state);
            return on_synced(Err(WalError::NotConsecutive { group: self.group.id, expected, found }));
        }
        if let Some(refusal) = self.handle.shared.queue.refusal() {
            drop(state);
            return on_synced(Err(refusal));
        }
        let entries = entries.into_iter().map(|entry| (state.push(&entry), entry)).collect();
        let refused = self.enqueue(Work::Append(entries), Vec::new(), Some(on_synced));
        drop(state);
        refused.answer();
    }

    /// Saves the vote, replacing the former one; returns when it is synced.
    ///
    /// # Errors
    /// [`WalError::Halted`], [`WalError::Closed`], or the failure of the disk.
    pub async fn save_vote(&self, vote: Bytes) -> Result<(), WalError> {
        let (on_synced, synced) = waiting();
        let refused = {
            let mut state = self.group.state.lock();
            state.vote = Some(vote.clone());
            state.exists = true;
            self.enqueue(Work::Vote(vote), Vec::new(), Some(on_synced))
        };
        refused.answer();
        synced.await.unwrap_or(Err(WalError::Closed))
    }

    /// Notes up to where the log is committed. Not waited for: it becomes durable with a later batch.
    pub fn save_committed(&self, committed: LogPosition) {
        let mut state = self.group.state.lock();
        if state.committed == Some(committed) {
            return;
        }
        state.committed = Some(committed);
        state.exists = true;
        let refused = self.enqueue(Work::Committed(committed), Vec::new(), None);
        drop(state);
        refused.answer();
    }

    /// Removes the entries above `index`, all of them for `None`.
    pub fn truncate_after(&self, index: Option<u64>, on_synced: OnSynced) {
        let mut state = self.group.state.lock();
        let removed = state.truncate_after(index);
        let refused = self.enqueue(Work::Truncate(index), removed, Some(on_synced));
        drop(state);
        refused.answer();
    }

    /// Forgets the entries up to and including the position, which may lie above the last one (after a
    /// snapshot). Nothing happens if they were purged before. Not waited for.
    ///
    /// REQUIRES: the engine has persisted their effects.
    pub fn purge(&self, upto: LogPosition) {
        let mut state = self.group.state.lock();
        let Some(removed) = state.purge(upto) else { return };
        let refused = self.enqueue(Work::Purge(upto), removed, None);
        drop(state);
        refused.answer();
    }

    /// The entries with the given indexes, from memory or from the disk, which blocks.
    ///
    /// # Errors
    /// [`WalError::Missing`] unless all are there; [`WalError::Corrupt`] or [`WalError::Io`] if they cannot be
    /// read.
    pub fn read(&self, indexes: Range<u64>) -> Result<Vec<LogEntry>, WalError> {
        let mut found = Vec::new();
        {
            let state = self.group.state.lock();
            for index in indexes {
                let missing = || WalError::Missing { group: self.group.id, index };
                let slot = state.slot(index).ok_or_else(missing)?;
                let place = match (&slot.payload, &slot.location) {
                    (Some(payload), _) => Ok(payload.clone()),
                    (None, Some(location)) => Err(location.clone()),
                    (None, None) => unreachable!("a payload is dropped only once its entry has a location"),
                };
                found.push((slot.position, place));
            }
        }
        let read = |(position, place): (LogPosition, Result<Bytes, Location>)| {
            let payload = place.or_else(|location| location.read(position))?;
            Ok(LogEntry { position, payload })
        };
        found.into_iter().map(read).collect()
    }

    /// Forgets the group: votes, entries and all; returns when that is synced. The log may then, or at once, be
    /// written anew.
    ///
    /// REQUIRES: the engine has persisted that the replica is gone.
    ///
    /// # Errors
    /// As [`GroupLog::save_vote`].
    pub async fn destroy(&self) -> Result<(), WalError> {
        let (on_synced, synced) = waiting();
        let refused = {
            let mut state = self.group.state.lock();
            if let Some(refusal) = self.handle.shared.queue.refusal() {
                return Err(refusal);
            }
            let removed = state.destroy();
            self.enqueue(Work::Destroy, removed, Some(on_synced))
        };
        refused.answer();
        synced.await.unwrap_or(Err(WalError::Closed))
    }

    /// REQUIRES: the group's state is locked, so that the queue's order is that of the state's changes.
    fn enqueue(&self, work: Work, removed: Vec<Location>, on_synced: Option<OnSynced>) -> Refused {
        let item = Item { group: self.group.clone(), work, on_synced, removed };
        Refused(self.handle.shared.queue.push(item).err())
    }
}

/// An item that was not taken, to be answered once no lock is held.
#[must_use]
struct Refused(Option<(Item, WalError)>);

impl Refused {
    fn answer(self) {
        if let Some((Item { on_synced: Some(on_synced), .. }, refusal)) = self.0 {
            on_synced(Err(refusal));
        }
    }
}

fn waiting() -> (OnSynced, oneshot::Receiver<Result<(), WalError>>) {
    let (send, receive) = oneshot::channel();
    // Whoever waited may be gone.
    (Box::new(move |outcome| drop(send.send(outcome))), receive)
}

impl fmt::Debug for GroupLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let GroupState { exists, .. } = &*self.group.state.lock();
        f.debug_struct("GroupLog").field("group", &self.group.id).field("exists", exists).finish_non_exhaustive()
    }
}
