//! The write-ahead log shared by all groups of a store.

mod error;
mod group_log;
mod types;

use std::sync::Arc;

use clock::Tasks;

use crate::GroupId;
use crate::disk::Dir;

pub use error::WalError;
pub use group_log::{GroupLog, OnSynced};
pub use types::{LogEntry, LogState};

/// How a log is laid out and bounded.
#[derive(Clone, Debug)]
pub struct WalOptions {
    /// Length of a segment file.
    pub segment_bytes: u64,
    /// Payload bytes of recent entries kept in memory, over all groups.
    pub cache_bytes: usize,
}

impl Default for WalOptions {
    fn default() -> Self {
        WalOptions { segment_bytes: 16 << 20, cache_bytes: 64 << 20 }
    }
}

/// A handle on the shared log. Clones share it.
#[derive(Clone)]
pub struct Wal {
    _dir: Arc<dyn Dir>,
}

impl Wal {
    /// Opens the log in the directory, recovering what it holds.
    ///
    /// # Errors
    /// [`WalError::Corrupt`] when something once synced is damaged; [`WalError::Io`] when the disk fails.
    pub fn open(dir: Arc<dyn Dir>, _options: WalOptions, _tasks: Tasks) -> Result<Wal, WalError> {
        Ok(Wal { _dir: dir })
    }

    /// A group's log. It comes into being with its first write.
    pub fn group(&self, group: GroupId) -> GroupLog {
        GroupLog::new(group)
    }

    /// The groups that have something in the log, in order.
    pub fn groups(&self) -> Vec<GroupId> {
        Vec::new()
    }

    /// Writes and syncs what is queued, and stops. Later calls answer [`WalError::Closed`].
    pub async fn close(&self) {}
}
