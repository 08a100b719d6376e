//! The engine of simulations and tests: a versioned map in memory that can lose power.
//!
//! ```text
//!   key ─▶ [(batch 7, value), (batch 3, value), …]     newest first
//!   a reader remembers the newest batch it sees, and takes the first entry at or below it
//! ```
//!
//! Values that no reader can see any more are dropped as their key is written again. What was written since the last
//! sync is kept as undo records, from which [`MemoryEngine::crash`] makes the store as found after a loss of power.
//!
//! Somebody may [interfere](MemoryEngine::interfere): see every write and sync before and after it is done, and have it fail.
//! A failure poisons the engine, as it does fjall: reads go on, and nothing is written any more until the store is opened anew.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;

use super::{Cursor, Engine, EngineError, Reader, WriteBatch};

/// See the module.
#[derive(Clone, Default)]
pub struct MemoryEngine {
    shared: Arc<RwLock<State>>,
    interference: Arc<RwLock<Option<Interference>>>,
}

/// What is asked of an engine, and whether it is about to be done or was done just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineCall {
    /// A sync, not a write.
    pub is_sync: bool,
    /// It was done.
    pub is_done: bool,
}

/// What becomes of a call that is about to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallFate {
    /// What it is meant to do.
    Succeeds,
    /// It fails, and poisons the engine.
    Fails {
        /// Why.
        error: std::io::ErrorKind,
        /// Whether a batch that was refused is there all the same when the store is opened anew.
        survives: bool,
    },
}

/// Sees every call, before and after it is done, and decides about those that are yet to be done. No lock of the engine is held.
pub type Interference = Arc<dyn Fn(EngineCall) -> CallFate + Send + Sync>;

/// Newest first; `None` is a deletion.
type Versions = Vec<(u64, Option<Bytes>)>;
/// What a batch replaced.
type Undo = Vec<(Bytes, Option<Bytes>)>;

#[derive(Default)]
struct State {
    newest_batch: u64,
    entries: BTreeMap<Bytes, Versions>,
    bytes: u64,
    /// Readers alive, by the batch they see.
    readers: BTreeMap<u64, usize>,
    /// Unsynced batches, oldest first.
    unsynced: VecDeque<Undo>,
    /// A call has failed.
    is_poisoned: bool,
    /// The batch that failed, where it is found when the store is opened anew.
    in_doubt: Option<WriteBatch>,
}

impl MemoryEngine {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many batches a loss of power might lose.
    pub fn unsynced_batches(&self) -> usize {
        self.shared.read().unsynced.len()
    }

    /// Has somebody see and decide about every call from now on; nobody, for `None`.
    pub fn interfere(&self, interference: Option<Interference>) {
        *self.interference.write() = interference;
    }

    /// Whether a call has failed: nothing is written any more.
    pub fn is_poisoned(&self) -> bool {
        self.shared.read().is_poisoned
    }

    /// The store as found after a loss of power that spared the oldest `surviving` of the unsynced batches. What
    /// survived counts as synced. This handle and its readers go on unharmed, apart from the returned one, which nobody
    /// interferes with.
    #[must_use]
    pub fn crash(&self, surviving: usize) -> MemoryEngine {
        let state = self.shared.read();
        let mut found: BTreeMap<Bytes, Bytes> = BTreeMap::new();
        for (key, versions) in &state.entries {
            if let Some((_, Some(value))) = versions.first() {
                found.insert(key.clone(), value.clone());
            }
        }
        for undo in state.unsynced.iter().skip(surviving).rev() {
            for (key, value) in undo.iter().rev() {
                match value {
                    Some(value) => found.insert(key.clone(), value.clone()),
                    None => found.remove(key),
                };
            }
        }
        if surviving >= state.unsynced.len() {
            for op in state.in_doubt.iter().flat_map(|batch| &batch.ops) {
                match &op.value {
                    Some(value) => found.insert(op.key.clone(), value.clone()),
                    None => found.remove(&op.key),
                };
            }
        }
        let bytes = found.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum();
        let entries = found.into_iter().map(|(key, value)| (key, vec![(0, Some(value))])).collect();
        let state = State { entries, bytes, ..State::default() };
        MemoryEngine { shared: Arc::new(RwLock::new(state)), interference: Arc::default() }
    }

    /// Asks whoever interferes what becomes of a call, and tells of one that was done.
    fn consult(&self, is_sync: bool, is_done: bool) -> CallFate {
        let interference = self.interference.read().clone();
        interference.map_or(CallFate::Succeeds, |interfere| interfere(EngineCall { is_sync, is_done }))
    }
}

/// Why a poisoned engine refuses.
const POISONED: &str = "a call failed before: nothing is written until the store is opened anew";

fn failed(error: std::io::Error) -> EngineError {
    EngineError::Storage(Box::new(error))
}

impl State {
    /// Poisons the engine.
    fn fail(&mut self, error: std::io::ErrorKind) -> EngineError {
        self.is_poisoned = true;
        failed(error.into())
    }

    fn check_sound(&self) -> Result<(), EngineError> {
        if self.is_poisoned { Err(failed(std::io::Error::other(POISONED))) } else { Ok(()) }
    }

    fn set(&mut self, key: Bytes, value: Option<Bytes>, oldest_reader: u64) -> Option<Bytes> {
        let batch = self.newest_batch;
        let versions = self.entries.entry(key.clone()).or_default();
        let before = versions.first().and_then(|(_, value)| value.clone());
        let size = |value: &Option<Bytes>| value.as_ref().map_or(0, |value| (key.len() + value.len()) as u64);
        self.bytes = self.bytes - size(&before) + size(&value);
        if versions.first().is_some_and(|(newest, _)| *newest == batch) {
            versions[0].1 = value;
        } else {
            versions.insert(0, (batch, value));
        }
        // The oldest reader takes the first entry at or below its batch; everything after that one is out of sight.
        if let Some(last_seen) = versions.iter().position(|(at, _)| *at <= oldest_reader) {
            versions.truncate(last_seen + 1);
        }
        if versions.len() == 1 && versions[0].1.is_none() && versions[0].0 <= oldest_reader {
            self.entries.remove(&key);
        }
        before
    }
}

impl Engine for MemoryEngine {
    fn snapshot(&self) -> Box<dyn Reader> {
        let mut state = self.shared.write();
        let batch = state.newest_batch;
        *state.readers.entry(batch).or_default() += 1;
        Box::new(MemoryReader { shared: self.shared.clone(), batch })
    }

    fn write(&self, batch: WriteBatch) -> Result<(), EngineError> {
        let fate = self.consult(false, false);
        let mut state = self.shared.write();
        state.check_sound()?;
        if let CallFate::Fails { error, survives } = fate {
            state.in_doubt = survives.then_some(batch);
            return Err(state.fail(error));
        }
        state.newest_batch += 1;
        let oldest_reader = state.readers.keys().next().copied().unwrap_or(state.newest_batch);
        let mut undo = Vec::with_capacity(batch.ops.len());
        for op in batch.ops {
            let before = state.set(op.key.clone(), op.value, oldest_reader);
            undo.push((op.key, before));
        }
        state.unsynced.push_back(undo);
        drop(state);
        self.consult(false, true);
        Ok(())
    }

    fn sync(&self) -> Result<(), EngineError> {
        let fate = self.consult(true, false);
        let mut state = self.shared.write();
        state.check_sound()?;
        if let CallFate::Fails { error, .. } = fate {
            return Err(state.fail(error));
        }
        state.unsynced.clear();
        drop(state);
        self.consult(true, true);
        Ok(())
    }

    fn probe(&self) -> Result<(), EngineError> {
        self.shared.read().check_sound()
    }

    fn disk_bytes(&self) -> u64 {
        self.shared.read().bytes
    }
}

struct MemoryReader {
    shared: Arc<RwLock<State>>,
    batch: u64,
}

impl Drop for MemoryReader {
    fn drop(&mut self) {
        let mut state = self.shared.write();
        if let Some(count) = state.readers.get_mut(&self.batch) {
            *count -= 1;
            if *count == 0 {
                state.readers.remove(&self.batch);
            }
        }
    }
}

fn visible(versions: &Versions, batch: u64) -> Option<&Bytes> {
    versions.iter().find(|(at, _)| *at <= batch).and_then(|(_, value)| value.as_ref())
}

impl Reader for MemoryReader {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let state = self.shared.read();
        Ok(state.entries.get(key).and_then(|versions| visible(versions, self.batch)).cloned())
    }

    fn cursor(&self, start: &[u8], end: &[u8], reverse: bool) -> Box<dyn Cursor + '_> {
        Box::new(MemoryCursor {
            reader: self,
            start: Bytes::copy_from_slice(start),
            end: Bytes::copy_from_slice(end),
            reverse,
            page: VecDeque::new(),
            exhausted: !end.is_empty() && start >= end,
            entry: None,
            page_size: 4,
        })
    }
}

/// Reads pages of entries, so that the lock is taken once a page; pages grow as the walk goes on.
struct MemoryCursor<'a> {
    reader: &'a MemoryReader,
    start: Bytes,
    end: Bytes,
    reverse: bool,
    page: VecDeque<(Bytes, Bytes)>,
    exhausted: bool,
    entry: Option<(Bytes, Bytes)>,
    page_size: usize,
}

impl MemoryCursor<'_> {
    fn fill(&mut self) {
        let state = self.reader.shared.read();
        let upper = if self.end.is_empty() { Bound::Unbounded } else { Bound::Excluded(&self.end[..]) };
        let mut range = state.entries.range::<[u8], _>((Bound::Included(&self.start[..]), upper));
        while self.page.len() < self.page_size {
            let Some((key, versions)) = (if self.reverse { range.next_back() } else { range.next() }) else {
                self.exhausted = true;
                break;
            };
            if let Some(value) = visible(versions, self.reader.batch) {
                self.page.push_back((key.clone(), value.clone()));
            }
        }
        if let (false, Some((last, _))) = (self.exhausted, self.page.back()) {
            if self.reverse {
                self.end = last.clone();
                self.exhausted = self.start >= self.end;
            } else {
                self.start = [&last[..], &[0]].concat().into();
                self.exhausted = !self.end.is_empty() && self.start >= self.end;
            }
        }
        self.page_size = (self.page_size * 4).min(256);
    }

    fn entry(&self) -> &(Bytes, Bytes) {
        self.entry.as_ref().expect("a cursor is read only where it stands on an entry")
    }
}

impl Cursor for MemoryCursor<'_> {
    fn advance(&mut self) -> Result<bool, EngineError> {
        if self.page.is_empty() && !self.exhausted {
            self.fill();
        }
        self.entry = self.page.pop_front();
        Ok(self.entry.is_some())
    }

    fn key(&self) -> &[u8] {
        &self.entry().0
    }

    fn value(&self) -> &[u8] {
        &self.entry().1
    }

    fn value_bytes(&self) -> Bytes {
        self.entry().1.clone()
    }
}
