//! The write-ahead log shared by all groups of a store.
//!
//! ```text
//!   GroupLog ─┐                                ┌─▶ segment 7 │▒▒▒▒▒▒▒▒▒▒│ oldest needed
//!   GroupLog ─┼─▶ queue ─▶ writer: one write ──┼─▶ segment 8 │▒▒▒▒▒▒▒▒▒▒│
//!   GroupLog ─┘            and one sync for    └─▶ segment 9 │▒▒▒▒      │ being written
//!                          all that waits          spares    │          │ zeros, ready
//! ```
//!
//! Votes and entries of all groups share one sequence of batches, and so one sync. Each group's state is in
//! memory and runs ahead of the disk; recent payloads are too. A group truncates at the end of its log and
//! purges at the front. Segments are given up oldest first, once no entry in them is needed and what else is in
//! them (the newest votes) was rewritten and synced; when entries of a few idle groups would keep many segments
//! that are otherwise dead, those entries are moved forward.
//!
//! Invariants:
//! - `log_answers_synced`: what was answered is found after power loss.
//! - `log_prefix`: after power loss the log is a prefix, in batches, of what was queued, and no shorter than what
//!   was answered.
//! - `log_consecutive`: a group's entries have consecutive indexes, from the one after `purged`.
//! - `log_recycles_dead`: a segment is recycled only when a restart no longer needs it.
//! - `log_detects_damage`: damage to what a later batch vouches for is an error, never a shorter log.
//!
//! A failed write or sync ends the process: nothing after it can be trusted. In simulation the log halts instead,
//! and the simulated node with it. A full disk does neither: the writer waits until a segment can be made.
//!
//! Knows nothing of Raft's rules, of what votes and payloads say, or of when an entry may be purged.
//!
//! Sources: the batch that vouches for its predecessors is after TigerBeetle's journal and Kafka's log end; moving
//! live entries forward is after TiKV's raft-engine.

mod batch;
mod error;
mod format;
mod group_log;
mod group_state;
mod pool;
mod queue;
mod recovery;
mod segment;
mod segment_log;
mod shared;
mod types;
mod writer;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use clock::Tasks;

use crate::GroupId;
use crate::disk::Dir;
use pool::Pool;
use segment_log::SegmentLog;
use shared::{Lifecycle, Shared};
use writer::Writer;

pub use error::WalError;
pub use group_log::{GroupLog, OnSynced};
pub use types::{LogEntry, LogSize, LogState};

/// How a log is laid out and bounded.
#[derive(Clone, Debug)]
pub struct WalOptions {
    /// Length of a segment file. Larger batches get a file of their own length.
    pub segment_bytes: u64,
    /// With more segments than this, of which less than half is needed, the needed entries are moved forward.
    pub max_segments: usize,
    /// Payload bytes of recent entries kept in memory, over all groups.
    pub cache_bytes: usize,
}

impl Default for WalOptions {
    fn default() -> Self {
        WalOptions { segment_bytes: 16 << 20, max_segments: 8, cache_bytes: 32 << 20 }
    }
}

impl WalOptions {
    /// Small, for simulated disks, which are in memory.
    pub fn small() -> Self {
        WalOptions { segment_bytes: 128 << 10, max_segments: 8, cache_bytes: 1 << 20 }
    }
}

/// Figures of a log since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalStats {
    /// Batches written, each with one sync.
    pub batches: u64,
    /// Requests in them.
    pub requests: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Segments the log consists of now.
    pub segments: u64,
    /// Files ready to become segments.
    pub spares: u64,
    /// Whether the writer waits for a full disk to have space again.
    pub waits_for_space: bool,
}

/// A handle on the shared log. Clones share it; when the last one and the last [`GroupLog`] are dropped, what is
/// queued is written and the writer ends.
#[derive(Clone)]
pub struct Wal {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.queue.close();
    }
}

impl Wal {
    /// Opens the log in the directory, recovering what it holds. Blocks. The directory must be this log's alone.
    ///
    /// # Errors
    /// [`WalError::Corrupt`] when something once synced is damaged; [`WalError::FormatVersion`]; [`WalError::Io`]
    /// when the disk fails.
    pub fn open(dir: Arc<dyn Dir>, options: WalOptions, tasks: Tasks) -> Result<Wal, WalError> {
        let found = recovery::recover(&*dir, options.segment_bytes)?;
        tracing::debug!(groups = found.groups.len(), segments = found.segments.len(), end = found.end, "log opened");
        let with_thread = !tasks.is_deterministic();
        let pool = Pool::new(dir, options.segment_bytes, found.next_file, found.spares, with_thread)
            .map_err(|error| WalError::io("start a thread for", "spare segments", error))?;
        let log = SegmentLog::new(pool, found.segments, found.end, found.next_sequence);
        let shared = Shared::new(found.groups);
        let writer = Writer::new(shared.clone(), options, log);
        if with_thread {
            std::thread::Builder::new()
                .name("wal-writer".to_owned())
                .spawn(move || writer.run_as_thread())
                .map_err(|error| WalError::io("start a thread for", "the log", error))?;
        } else {
            tasks.spawn("wal-writer", writer.run_as_task());
        }
        Ok(Wal { handle: Arc::new(Handle { shared }) })
    }

    /// A group's log. It comes into being with its first write.
    pub fn group(&self, group: GroupId) -> GroupLog {
        GroupLog::new(self.handle.clone(), self.handle.shared.group(group))
    }

    /// The groups that have something in the log, in order.
    pub fn groups(&self) -> Vec<GroupId> {
        let groups = self.handle.shared.all_groups();
        groups.iter().filter(|group| group.state.lock().exists).map(|group| group.id).collect()
    }

    /// Writes and syncs what is queued, and stops; later calls answer [`WalError::Closed`]. On return nothing
    /// touches the directory any more: it may be opened again.
    pub async fn close(&self) {
        self.handle.shared.queue.close();
        let mut lifecycle = self.handle.shared.lifecycle.subscribe();
        // The sender lives as long as this handle.
        let _ = lifecycle.wait_for(|lifecycle| *lifecycle != Lifecycle::Running).await;
    }

    /// Returns once a write or sync has failed, which happens in simulation only: the node must then stop.
    pub async fn halted(&self) {
        let mut lifecycle = self.handle.shared.lifecycle.subscribe();
        if lifecycle.wait_for(|lifecycle| *lifecycle == Lifecycle::Halted).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Figures since the log was opened.
    pub fn stats(&self) -> WalStats {
        let counters = &self.handle.shared.counters;
        WalStats {
            batches: counters.batches.load(Ordering::Relaxed),
            requests: counters.items.load(Ordering::Relaxed),
            bytes: counters.bytes.load(Ordering::Relaxed),
            segments: counters.segments.load(Ordering::Relaxed),
            spares: counters.spares.load(Ordering::Relaxed),
            waits_for_space: counters.waits_for_space.load(Ordering::Relaxed),
        }
    }
}

impl fmt::Debug for Wal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wal").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
