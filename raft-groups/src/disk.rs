//! The seam of the disk: what the log needs of a directory and its files, and nothing more.
//!
//! ```text
//!   wal, cells ──▶ dyn Dir ──▶ dyn File
//!                   ├─ OsDir    the operating system's
//!                   └─ SimDir   in memory, seeded: loses what was not synced, tears writes, fails, is slow
//! ```
//!
//! Calls block. A write is durable only after the file's [`File::sync_data`]; a name (created, renamed or
//! removed) only after the directory's [`Dir::sync`]. A failed sync leaves nothing to rely on: what was
//! written since the last successful one may be lost even if a later sync succeeds.
//!
//! Knows nothing of what the bytes mean.

mod ceiling_cell;
mod durable_cell;
mod os_dir;
mod sim_dir;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::time::Duration;

pub use ceiling_cell::CeilingCell;
pub use durable_cell::DurableCell;
pub use os_dir::{DirLock, OsDir};
pub use sim_dir::{SimDir, SimFaults};

/// The unit in which a disk writes all or nothing, in bytes.
pub const SECTOR_BYTES: usize = 512;

/// An open file, read and written at explicit offsets.
pub trait File: Send + Sync + 'static {
    /// Fills the buffer from the offset on.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends before the buffer is full; otherwise the disk's own.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes all bytes at the offset, extending the file if needed. Not durable before [`File::sync_data`].
    ///
    /// # Errors
    /// The disk's own; part of the bytes may then have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes the file at least `len` bytes long, with written zeros in what is new, so that later writes
    /// there change no metadata. Not durable before [`File::sync_all`].
    ///
    /// # Errors
    /// `StorageFull` when the disk has too little space; otherwise the disk's own.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Makes the written data durable, and what metadata is needed to read it back.
    ///
    /// # Errors
    /// The disk's own: nothing written since the last successful sync can be relied on afterwards.
    fn sync_data(&self) -> io::Result<()>;

    /// As [`File::sync_data`], with all metadata.
    ///
    /// # Errors
    /// As [`File::sync_data`].
    fn sync_all(&self) -> io::Result<()>;

    /// The length in bytes.
    ///
    /// # Errors
    /// The disk's own.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    ///
    /// # Errors
    /// As [`File::len`].
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// How much virtual time a sync takes. Zero on a real disk, where it takes what it takes.
    fn simulated_sync_delay(&self) -> Duration {
        Duration::ZERO
    }
}

/// A directory of files. Names are plain, without separators.
pub trait Dir: Send + Sync + 'static {
    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// `NotFound` when there is none; otherwise the disk's own.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Creates an empty file. Its name is durable only after [`Dir::sync`].
    ///
    /// # Errors
    /// `AlreadyExists` when there is one; otherwise the disk's own.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// The names of the files in it, sorted.
    ///
    /// # Errors
    /// The disk's own.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Removes a file. Durable only after [`Dir::sync`].
    ///
    /// # Errors
    /// `NotFound` when there is none; otherwise the disk's own.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Renames a file, replacing what had the new name. Atomic; durable only after [`Dir::sync`].
    ///
    /// # Errors
    /// `NotFound` when there is none; otherwise the disk's own.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes created, renamed and removed names durable.
    ///
    /// # Errors
    /// The disk's own.
    fn sync(&self) -> io::Result<()>;

    /// Bytes that may still be written to this disk.
    ///
    /// # Errors
    /// The disk's own.
    fn free_bytes(&self) -> io::Result<u64>;
}
