//! One ordered keyspace on one store, behind a seam narrow enough to swap.
//!
//! ```text
//!   WriteBatch ──▶ Engine::write ──▶ (journal, unsynced) ──▶ Engine::sync ──▶ on stable storage
//!                       │
//!   Engine::snapshot ──▶ Reader ──▶ get / cursor        a consistent view, however long it is held
//!                          ▲
//!                       Overlay   pending writes on top of a reader, for the evaluation of one batch
//! ```
//!
//! Invariants, the same for every implementation, held by the same tests:
//!
//! - `batch_atomic`: a batch is seen whole or not at all, by readers and after a crash alike.
//! - `prefix_survives`: a crash loses a suffix of the written batches, never one that was synced, and never one
//!   before another that survives.
//! - A [`Reader`] sees every batch written before it was made and none written after.
//!
//! The engine knows nothing of versions, transactions or ranges.

mod batch;
mod fjall_engine;
mod memory;
mod overlay;
#[cfg(test)]
mod tests;
mod writer;

use bytes::Bytes;

pub use batch::{WriteBatch, WriteOp};
pub use fjall_engine::{FjallEngine, FjallOptions};
pub use memory::{CallFate, EngineCall, Interference, MemoryEngine};
pub use overlay::Overlay;
pub use writer::EngineWriter;
#[cfg(test)]
pub(crate) use writer::tests::Door;

/// Why storage did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The store failed. Nothing written since the last sync can be trusted to survive.
    #[error("the storage engine failed")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What is stored is not what was written.
    #[error("stored data is corrupt: {0}")]
    Corrupt(String),
}

/// An ordered map from byte strings to byte strings.
pub trait Engine: Send + Sync + 'static {
    /// A consistent view of everything written so far. Cheap; but what it sees cannot be reclaimed while it lives.
    fn snapshot(&self) -> Box<dyn Reader>;

    /// Applies the batch atomically. It survives the death of the process, but not yet a loss of power.
    ///
    /// # Errors
    /// [`EngineError::Storage`]; whether the batch took effect is then unknown, and the store must be reopened.
    fn write(&self, batch: WriteBatch) -> Result<(), EngineError>;

    /// Whether a write would have to wait for what the engine does in the background: whoever holds a lock while he writes asks
    /// first. Blocks for as long as a sync takes.
    fn is_behind(&self) -> bool {
        false
    }

    /// Makes everything written so far survive a loss of power. Blocks for as long as the disk takes.
    ///
    /// # Errors
    /// [`EngineError::Storage`]: what was written since the last sync may be lost.
    fn sync(&self) -> Result<(), EngineError>;

    /// Says whether the engine still works: what it does in the background may have failed since it was last written to.
    ///
    /// # Errors
    /// [`EngineError::Storage`] when it does not: it must be reopened.
    fn probe(&self) -> Result<(), EngineError> {
        Ok(())
    }

    /// Bytes the engine occupies on its disk, journals included.
    fn disk_bytes(&self) -> u64;
}

/// A consistent view of an [`Engine`].
pub trait Reader: Send + Sync {
    /// The value of a key.
    ///
    /// # Errors
    /// [`EngineError`] when the store cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// A cursor over `[start, end)`, from the end when `reverse`. An empty `end` is the end of the keyspace.
    fn cursor(&self, start: &[u8], end: &[u8], reverse: bool) -> Box<dyn Cursor + '_>;
}

/// A walk over entries in order. It stands before the first entry until [`Cursor::advance`] is called.
pub trait Cursor: Send {
    /// Goes to the next entry; `false` when there is none.
    ///
    /// # Errors
    /// [`EngineError`] when the store cannot be read.
    fn advance(&mut self) -> Result<bool, EngineError>;

    /// The key of the present entry. REQUIRES: the last `advance` returned `true`.
    fn key(&self) -> &[u8];

    /// The value of the present entry. REQUIRES: the last `advance` returned `true`.
    fn value(&self) -> &[u8];

    /// The value of the present entry, to keep. REQUIRES: the last `advance` returned `true`.
    fn value_bytes(&self) -> Bytes {
        Bytes::copy_from_slice(self.value())
    }
}
