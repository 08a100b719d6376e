//! How much room is left, and what to do when it is little.
//!
//! ```text
//!   free ≥ 2 × floor        the ballast file is (re)made
//!   free < floor            writes are refused (reads go on); the ballast is given up, so that what must still be
//!                           written (the log, leases, garbage collection, removals) has room
//!   free < reserve          the ballast is gone, too, to others: nothing is written to the engine, which would not survive
//!                           a write that fails; what is committed waits, and others lead
//!   free ≥ floor + ballast  writes go on
//! ```
//!
//! The reserve is half of the ballast, or of the floor where that is less: what the engine may still need for what it does by itself,
//! a flush above all.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use raft_groups::disk::Dir;

use crate::Settings;

/// The name of the ballast file.
const BALLAST: &str = "ballast";

/// Watches the room on a disk.
pub struct DiskGuard {
    dir: Arc<dyn Dir>,
    floor_bytes: u64,
    ballast_bytes: u64,
    reserve_bytes: u64,
    /// Nobody waits for room any more.
    is_closed: AtomicBool,
    state: Mutex<State>,
}

struct State {
    free_bytes: u64,
    is_full: bool,
    has_ballast: bool,
}

impl DiskGuard {
    /// Watches the disk of a directory, which the ballast file is put into.
    pub fn new(dir: Arc<dyn Dir>, settings: &Settings) -> Self {
        let has_ballast = dir.list().is_ok_and(|names| names.iter().any(|name| name == BALLAST));
        DiskGuard {
            dir,
            floor_bytes: settings.disk_floor_bytes,
            ballast_bytes: settings.disk_ballast_bytes,
            reserve_bytes: settings.disk_ballast_bytes.min(settings.disk_floor_bytes) / 2,
            is_closed: AtomicBool::new(false),
            state: Mutex::new(State { free_bytes: u64::MAX, is_full: false, has_ballast }),
        }
    }

    /// Looks at the room that is left. Blocks. Returns whether writes are refused from now on.
    ///
    /// # Errors
    /// The disk's own.
    pub fn look(&self) -> io::Result<bool> {
        let free_bytes = self.dir.free_bytes()?;
        let mut state = self.state.lock();
        let reopen_bytes = self.floor_bytes.saturating_add(self.ballast_bytes);
        let was_full = state.is_full;
        state.free_bytes = free_bytes;
        state.is_full = free_bytes < if was_full { reopen_bytes } else { self.floor_bytes };
        if state.is_full != was_full {
            tracing::warn!(free_bytes, floor_bytes = self.floor_bytes, is_full = state.is_full, "disk space");
        }
        if state.is_full && state.has_ballast {
            self.dir.remove(BALLAST)?;
            state.has_ballast = false;
        } else if !state.has_ballast
            && self.ballast_bytes > 0
            && free_bytes >= self.floor_bytes.saturating_mul(2).saturating_add(self.ballast_bytes)
        {
            self.dir.create(BALLAST)?.allocate(self.ballast_bytes)?;
            state.has_ballast = true;
        }
        Ok(state.is_full)
    }

    /// The store stops: whatever waits for room goes on, and ends, whether it works or not.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }

    /// Whether the engine may be written to: asked before each write, since others may take what is left at any time. Gives up
    /// the ballast first, if there is one.
    pub fn has_room(&self) -> bool {
        // What is not known is not held against anyone.
        let has_room = || self.dir.free_bytes().map_or(true, |free_bytes| free_bytes >= self.reserve_bytes);
        if self.reserve_bytes == 0 || self.is_closed.load(Ordering::SeqCst) || has_room() {
            return true;
        }
        if let Err(error) = self.look() {
            tracing::warn!(%error, "the ballast was not given up");
        }
        has_room()
    }

    /// Whether too little is left to take writes: a sentence with the figures.
    pub fn is_full(&self) -> Option<String> {
        let state = self.state.lock();
        state.is_full.then(|| {
            let (free, floor) = (state.free_bytes >> 20, self.floor_bytes >> 20);
            format!("{free} MiB are free, writes are refused below {floor} MiB: free some space, reads go on")
        })
    }

    /// Free room as of the last look, in bytes.
    pub fn free_bytes(&self) -> u64 {
        self.state.lock().free_bytes
    }
}

impl std::fmt::Debug for DiskGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskGuard").finish_non_exhaustive()
    }
}
