//! How much room is left, and what to do when it is little.
//!
//! ```text
//!   free ≥ 2 × floor        the ballast file is (re)made
//!   free < floor            writes are refused (reads go on); the ballast is given up, so that what must still be
//!                           written (the log, garbage collection, removals) has room
//!   free ≥ floor + ballast  writes go on
//! ```

use std::io;
use std::sync::Arc;

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
