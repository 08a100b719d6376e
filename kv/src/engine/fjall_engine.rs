//! The engine of production: fjall, a log-structured merge tree in Rust.
//!
//! One fjall keyspace holds everything. Each write is flushed to the operating system, none is synced by itself:
//! the Raft log is what makes writes durable, and it is purged only below what [`Engine::sync`] has persisted.
//!
//! Commits are serialised by fjall's journal lock, which fjall holds over a sync, too. [`Engine::sync`] therefore syncs the
//! journal by itself before it asks fjall to, and leaves next to nothing to be written under the lock:
//!
//! ```text
//!   writers   w w w w w w w w w w w w w . w w w w
//!   sync          [ journal, no lock ][lock]           the lock is held for what was written meanwhile
//! ```
//!
//! One writer gets through three times as much beside syncs for it, sixteen as much as without (`cargo bench -p kv --bench stalls`).
//!
//! A large value is kept apart from its key: otherwise whoever looks for a key beside it reads it, from the file each time, since the
//! cache takes no block of its size.
//!
//! An I/O error, even in a background flush or compaction, poisons the database for good: each later write fails until it is opened
//! anew, and one that finds four sealed memtables waits for a flush that never comes. Hence [`Engine::probe`].

use std::fs::File;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use fjall::{
    Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode, Readable, Snapshot, UserKey, UserValue,
};

use super::{Cursor, Engine, EngineError, Reader, WriteBatch};

/// Values of at least this many bytes are shared with fjall's block or memtable instead of copied.
const SHARE_FROM_BYTES: usize = 4096;

/// Values of at least this many bytes are kept apart from their keys. Elsewhere an entry's block is read whole by whoever looks for
/// a key next to it, each time where it is too large for the cache. A store keeps what it was made with.
const APART_FROM_BYTES: u32 = 1 << 20;

/// With so many memtables to be written out, fjall has writers wait.
const SEALED_MEMTABLES_MAX: usize = 4;

/// How much fjall may use.
#[derive(Clone, Copy, Debug)]
pub struct FjallOptions {
    /// Block cache, in bytes.
    pub cache_bytes: u64,
    /// Memtable size at which it is written out, in bytes. Five may be in memory at once: one being written to, and four that wait.
    /// A store keeps what it was made with.
    pub memtable_bytes: u64,
    /// Threads for flushes and compactions; at least 1.
    pub worker_threads: usize,
}

impl Default for FjallOptions {
    fn default() -> Self {
        FjallOptions { cache_bytes: 128 << 20, memtable_bytes: 16 << 20, worker_threads: 2 }
    }
}

/// See the module.
pub struct FjallEngine {
    // Fields drop in order: the keyspace before its database.
    keyspace: Keyspace,
    database: Database,
    path: PathBuf,
}

impl FjallEngine {
    /// Opens the store in a directory, creating it if there is none.
    ///
    /// # Errors
    /// [`EngineError::Storage`] when the directory cannot be used, is in use, or what it holds cannot be recovered.
    pub fn open(path: &Path, options: FjallOptions) -> Result<Self, EngineError> {
        let database = Database::builder(path)
            .cache_size(options.cache_bytes)
            .worker_threads(options.worker_threads.max(1))
            .open()
            .map_err(storage)?;
        let apart = KvSeparationOptions::default().separation_threshold(APART_FROM_BYTES);
        let settings = || {
            let settings = KeyspaceCreateOptions::default().max_memtable_size(options.memtable_bytes);
            settings.with_kv_separation(Some(apart.clone()))
        };
        let keyspace = database.keyspace("meridian", settings).map_err(storage)?;
        Ok(FjallEngine { keyspace, database, path: path.to_owned() })
    }

    /// Syncs what the journal holds so far, without fjall's lock. Only a head start: what fails here is found again by
    /// fjall's own sync, which the kernel tells of every error since its file was opened. Sealed journals were synced as they
    /// were sealed.
    #[allow(clippy::disallowed_methods, reason = "fjall's own files, which are behind the engine's seam")]
    fn sync_ahead(&self) {
        let Ok(entries) = std::fs::read_dir(&self.path) else { return };
        let number = |path: &PathBuf| -> Option<u64> {
            let is_journal = path.extension().is_some_and(|extension| extension == "jnl");
            path.file_stem().filter(|_| is_journal)?.to_str()?.parse().ok()
        };
        let journals = entries.flatten().filter_map(|entry| Some((number(&entry.path())?, entry.path())));
        if let Some(journal) = journals.max().and_then(|(_, path)| File::open(path).ok()) {
            let _ = journal.sync_data();
        }
    }
}

fn storage(error: fjall::Error) -> EngineError {
    EngineError::Storage(Box::new(error))
}

impl Engine for FjallEngine {
    fn snapshot(&self) -> Box<dyn Reader> {
        Box::new(FjallReader { snapshot: self.database.snapshot(), keyspace: self.keyspace.clone() })
    }

    fn write(&self, batch: WriteBatch) -> Result<(), EngineError> {
        let mut writes = self.database.batch().durability(Some(PersistMode::Buffer));
        for op in &last_of_each(&batch) {
            match &op.value {
                Some(value) => writes.insert(&self.keyspace, &op.key[..], &value[..]),
                None => writes.remove(&self.keyspace, &op.key[..]),
            }
        }
        writes.commit().map_err(storage)
    }

    fn is_behind(&self) -> bool {
        let waits = self.keyspace.sealed_memtable_count() >= SEALED_MEMTABLES_MAX;
        // Once poisoned, nothing is flushed any more: the write itself says so.
        waits && self.probe().is_ok()
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.sync_ahead();
        self.database.persist(PersistMode::SyncData).map_err(storage)
    }

    fn probe(&self) -> Result<(), EngineError> {
        // Nothing is left to flush after a write: this only asks whether fjall is poisoned.
        self.database.persist(PersistMode::Buffer).map_err(storage)
    }

    fn disk_bytes(&self) -> u64 {
        self.database.disk_space().unwrap_or(0)
    }
}

/// The last write to each key. All writes of a batch share one sequence number in fjall, where the order of
/// two writes to one key would be lost.
fn last_of_each(batch: &WriteBatch) -> Vec<&super::WriteOp> {
    if batch.ops.windows(2).all(|pair| pair[0].key < pair[1].key) {
        return batch.ops.iter().collect();
    }
    let last: std::collections::BTreeMap<&[u8], &super::WriteOp> =
        batch.ops.iter().map(|op| (&op.key[..], op)).collect();
    last.into_values().collect()
}

struct FjallReader {
    snapshot: Snapshot,
    keyspace: Keyspace,
}

impl Reader for FjallReader {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        Ok(self.snapshot.get(&self.keyspace, key).map_err(storage)?.map(|value| to_bytes(&value)))
    }

    fn cursor(&self, start: &[u8], end: &[u8], reverse: bool) -> Box<dyn Cursor + '_> {
        let entries = if end.is_empty() {
            Some(self.snapshot.range(&self.keyspace, start..))
        } else if start < end {
            Some(self.snapshot.range(&self.keyspace, start..end))
        } else {
            None
        };
        Box::new(FjallCursor { entries, reverse, entry: None })
    }
}

struct FjallCursor {
    entries: Option<fjall::Iter>,
    reverse: bool,
    entry: Option<(UserKey, UserValue)>,
}

impl FjallCursor {
    fn entry(&self) -> &(UserKey, UserValue) {
        self.entry.as_ref().expect("a cursor is read only where it stands on an entry")
    }
}

impl Cursor for FjallCursor {
    fn advance(&mut self) -> Result<bool, EngineError> {
        let next = match (&mut self.entries, self.reverse) {
            (Some(entries), false) => entries.next(),
            (Some(entries), true) => entries.next_back(),
            (None, _) => None,
        };
        self.entry = next.map(fjall::Guard::into_inner).transpose().map_err(storage)?;
        Ok(self.entry.is_some())
    }

    fn key(&self) -> &[u8] {
        &self.entry().0
    }

    fn value(&self) -> &[u8] {
        &self.entry().1
    }

    fn value_bytes(&self) -> Bytes {
        to_bytes(&self.entry().1)
    }
}

fn to_bytes(value: &UserValue) -> Bytes {
    if value.len() < SHARE_FROM_BYTES { Bytes::copy_from_slice(value) } else { Bytes::from_owner(value.clone()) }
}
