//! Why the log did not do as asked.

use std::io;
use std::sync::Arc;

use crate::GroupId;

/// An error of the shared log. Clones share their cause, since one failed batch fails many callers.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WalError {
    /// The disk failed.
    #[error("the log could not {operation} {file}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file, within the log's directory.
        file: String,
        /// What the disk said.
        #[source]
        source: Arc<io::Error>,
    },
    /// Bytes that were once synced no longer read as they were written. The store must not be used.
    #[error(
        "the log is corrupt at byte {offset} of {file}: {detail}; this store has lost acknowledged data and must be \
         replaced"
    )]
    Corrupt {
        /// The file, within the log's directory.
        file: String,
        /// Where in the file.
        offset: u64,
        /// What was expected and what was found.
        detail: String,
    },
    /// The log was written by a release with another format.
    #[error("{file} has log format version {found}, and this release reads version {expected}")]
    FormatVersion {
        /// The file, within the log's directory.
        file: String,
        /// The version it has.
        found: u32,
        /// The version this release reads.
        expected: u32,
    },
    /// Entries were appended that do not follow the last one.
    #[error("group {group} was to append index {found} where index {expected} was expected")]
    NotConsecutive {
        /// The group.
        group: GroupId,
        /// The index that would follow.
        expected: u64,
        /// The index given.
        found: u64,
    },
    /// An entry asked for is not in the log: purged, or not yet appended.
    #[error("group {group} has no entry at index {index} in its log")]
    Missing {
        /// The group.
        group: GroupId,
        /// The first index that is missing.
        index: u64,
    },
    /// A write or sync failed earlier, and nothing after it can be trusted.
    #[error("the log has halted after a failed write or sync")]
    Halted,
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

impl WalError {
    pub(crate) fn io(operation: &'static str, file: &str, source: io::Error) -> Self {
        WalError::Io { operation, file: file.to_owned(), source: Arc::new(source) }
    }
}
