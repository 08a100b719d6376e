//! A group's part of the shared log, as openraft wants it.
//!
//! Appends return at once and are reported when synced, so that one sync serves many groups. The reports
//! also move the mark that [`SyncedMark::wait_for`] waits on, by which nothing is applied before this
//! node's own log has synced it (`own_log_synced`).

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{BufMut, BytesMut};
use clock::mutation::{self, Mutant};
use futures::stream::{self, Stream};
use openraft::OptionalSend;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::durability::Durability;
use super::types::{Entry, EntryParts, LogId, Types, Vote, decode_vote, encode_vote, log_id, position};
use crate::wal::{GroupLog, LogEntry, WalError};

/// A reader stops after this many bytes of commands, but gives at least one entry.
const READ_BYTES_MAX: usize = 4 << 20;

/// The log of one group; clones share it, and serve as readers.
#[derive(Clone)]
pub(crate) struct LogStore {
    log: GroupLog,
    vote: Arc<Mutex<Option<Vote>>>,
    synced: SyncedMark,
    durability: Arc<Durability>,
}

/// How far this node's own log is synced.
#[derive(Clone)]
pub(crate) struct SyncedMark {
    /// The index after the last synced entry; `None` after a failed write.
    next: Arc<watch::Sender<Option<u64>>>,
    /// Counts truncations: what was appended before one says nothing about the indexes appended after it.
    generation: Arc<AtomicU64>,
}

impl SyncedMark {
    fn new(next: u64) -> Self {
        SyncedMark { next: Arc::new(watch::channel(Some(next)).0), generation: Arc::default() }
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Returns once the entry is synced.
    pub async fn wait_for(&self, index: u64) -> Result<(), io::Error> {
        let mut next = self.next.subscribe();
        let reached = next.wait_for(|next| next.is_none_or(|next| next > index)).await;
        match reached.map(|next| next.is_some()) {
            Ok(true) => Ok(()),
            _ => Err(io::Error::other("the log failed before the entry was synced")),
        }
    }

    /// REQUIRES: `generation` was read when the write that is now synced was begun.
    fn advance(&self, generation: u64, to: u64) {
        if generation != self.generation() {
            return;
        }
        self.next.send_if_modified(|next| match next {
            Some(current) if *current < to => {
                *current = to;
                true
            }
            _ => false,
        });
    }

    /// After a truncation: what follows is new.
    fn retreat(&self, to: u64) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.next.send_if_modified(|next| match next {
            Some(current) if *current > to => {
                *current = to;
                false
            }
            _ => false,
        });
    }

    /// Whoever waits for a sync waits in vain.
    pub fn fail(&self) {
        self.next.send_replace(None);
    }
}

impl LogStore {
    /// The log of a group as it was left.
    pub fn open(log: GroupLog, durability: Arc<Durability>) -> Result<Self, io::Error> {
        let state = log.state();
        let vote = state.vote.map(decode_vote).transpose().map_err(io::Error::other)?;
        let synced = SyncedMark::new(log.synced().or(state.purged).map_or(0, |last| last.index + 1));
        Ok(LogStore { log, vote: Arc::new(Mutex::new(vote)), synced, durability })
    }

    pub fn synced(&self) -> SyncedMark {
        self.synced.clone()
    }

    pub fn log(&self) -> GroupLog {
        self.log.clone()
    }

    pub fn durability(&self) -> Arc<Durability> {
        self.durability.clone()
    }

    /// Reads `[start, end)`, or a beginning of it that keeps to the byte budget.
    fn read_some(&self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        let mut entries = Vec::new();
        let (mut next, mut bytes) = (start, 0);
        // One at a time: any of them may be larger than all that fits one message beside it.
        while next < end && bytes < READ_BYTES_MAX {
            for entry in self.log.read(next..next + 1).map_err(io::Error::other)? {
                bytes += entry.payload.len();
                entries.push(decode_entry(entry)?);
            }
            next += 1;
        }
        Ok(entries)
    }
}

/// The first index, and the one after the last.
fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end + 1,
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let state = self.log.state();
        let first_kept = state.purged.map_or(0, |purged| purged.index + 1);
        let last_next = state.last.map_or(0, |last| last.index + 1);
        let (start, end) = bounds(&range);
        let mut entries = Vec::new();
        let (mut next, end) = (start.max(first_kept), end.min(last_next));
        while next < end {
            let some = self.read_some(next, end)?;
            next += some.len() as u64;
            entries.extend(some);
        }
        Ok(entries)
    }

    /// What is to be applied: all of it, or an error. A log that failed or was closed has refused entries that openraft counts on
    /// until it hears of that.
    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        let mut entries = Vec::new();
        while start + (entries.len() as u64) < end {
            match self.read_some(start + entries.len() as u64, end) {
                Ok(some) => entries.extend(some.into_iter().map(Ok)),
                Err(error) => {
                    entries.push(Err(error));
                    break;
                }
            }
        }
        stream::iter(entries)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        self.read_some(start, end)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(*self.vote.lock())
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let state = self.log.state();
        let (purged, last) = (state.purged.map(log_id), state.last.map(log_id));
        Ok(LogState { last_purged_log_id: purged, last_log_id: last.or(purged) })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        *self.vote.lock() = Some(*vote);
        if mutation::is(Mutant::VoteForgotten) {
            return Ok(());
        }
        self.log.save_vote(encode_vote(vote)).await.map_err(io::Error::other)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        if let Some(committed) = committed {
            self.log.save_committed(position(&committed));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        let state = self.log.state();
        // A commit position above what the log kept says nothing about what it kept.
        Ok(state.committed.filter(|committed| Some(*committed) <= state.last).map(log_id))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<LogEntry> = entries.into_iter().map(encode_entry).collect();
        let Some(last) = entries.last().map(|entry| entry.position.index) else {
            callback.io_completed(Ok(()));
            return Ok(());
        };
        let (synced, generation) = (self.synced.clone(), self.synced.generation());
        let on_synced = move |result: Result<(), WalError>| match result {
            Ok(()) => {
                synced.advance(generation, last + 1);
                callback.io_completed(Ok(()));
            }
            Err(error) => {
                synced.fail();
                callback.io_completed(Err(io::Error::other(error)));
            }
        };
        self.log.append(entries, Box::new(on_synced));
        Ok(())
    }

    /// Returns once the removal is synced. What openraft does next may be the installation of a snapshot, which the engine syncs by
    /// itself: after a loss of power in between, entries that the snapshot overruled would stand above it in the log again, and
    /// this replica would vote for those that have no more than them.
    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let last = last_log_id.map(|last| last.index());
        let kept_next = last.map_or(0, |last| last + 1);
        self.synced.retreat(kept_next);
        let (synced, generation) = (self.synced.clone(), self.synced.generation());
        let (send, receive) = oneshot::channel();
        let on_synced = move |result: Result<(), WalError>| {
            match &result {
                Ok(()) => synced.advance(generation, kept_next),
                Err(_) => synced.fail(),
            }
            // Whoever waited may be gone.
            drop(send.send(result));
        };
        self.log.truncate_after(last, Box::new(on_synced));
        receive.await.unwrap_or(Err(WalError::Closed)).map_err(io::Error::other)
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        self.durability.require(upto.index()).await?;
        self.log.purge(position(&upto));
        self.synced.advance(self.synced.generation(), upto.index() + 1);
        Ok(())
    }
}

fn encode_entry(entry: Entry) -> LogEntry {
    let parts = EntryParts::from(entry);
    let mut payload = BytesMut::with_capacity(parts.data.len() + 1);
    payload.put_u8(parts.kind);
    payload.put_slice(&parts.data);
    LogEntry { position: parts.position, payload: payload.freeze() }
}

fn decode_entry(entry: LogEntry) -> Result<Entry, io::Error> {
    let mut data = entry.payload;
    if data.is_empty() {
        let what = format!("the entry at {} is empty", entry.position);
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    let kind = data.split_to(1)[0];
    EntryParts { position: entry.position, kind, data }
        .into_entry()
        .map_err(|what| io::Error::new(io::ErrorKind::InvalidData, what))
}

#[cfg(test)]
mod tests;
