//! Keeping a group's log short, in entries and in bytes.
//!
//! ```text
//!   applied ─▶ enough since the last time? ──────────────┬▶ engine made durable ─▶ purge
//!              or something, and nothing more for a while? ┘
//!
//!   ├──── every replica has it ────┼── one lags, and answers ──┼── one lags, silent ──┤ last applied
//!            purged by a leader      kept up to `lag_bytes`        kept up to `keep_bytes`
//!   a follower does not know who has what: it keeps up to `keep_bytes` in any case
//! ```
//!
//! What is kept costs disk, time at each start, and a slot in memory an entry; what is not kept costs a snapshot when somebody needs
//! it. The bound in bytes is what keeps a range that is loaded from having its whole load in the log. Most ranges of a loaded table are
//! quiet: together they would keep what each of them may keep while it is busy.
//!
//! openraft's own policy counts entries alone. It is switched off, so that there is one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::{Group, GroupStatus};
use crate::ReplicaId;
use crate::host::GroupConfig;
use crate::wal::LogSize;

/// A replica that was heard of so lately is waited for; others are sent a snapshot when they are back.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// How often a log is looked at again that had to stay long.
const RECHECK_INTERVAL: Duration = Duration::from_secs(10);

/// A group that has applied nothing for so long is quiet.
const QUIET_AFTER: Duration = Duration::from_secs(10);

/// The log of a quiet group is compacted for this part of the bytes that are enough otherwise, not for less: each time costs a sync.
const QUIET_PART: u64 = 16;

/// What was applied since the log was compacted.
pub(super) struct Applied {
    entries: AtomicU64,
    bytes: AtomicU64,
    compact_after: LogSize,
    /// Rings when it is enough.
    due: Notify,
}

impl Applied {
    /// Counts what a log holds from before.
    pub fn new(config: &GroupConfig, held: LogSize) -> Self {
        let compact_after = LogSize { entries: config.compact_after_entries, bytes: config.compact_after_bytes };
        let applied =
            Applied { entries: AtomicU64::new(0), bytes: AtomicU64::new(0), compact_after, due: Notify::new() };
        applied.note(held);
        applied
    }

    /// So much more was applied.
    pub fn note(&self, more: LogSize) {
        let entries = self.entries.fetch_add(more.entries, Ordering::Relaxed) + more.entries;
        let bytes = self.bytes.fetch_add(more.bytes, Ordering::Relaxed) + more.bytes;
        if entries >= self.compact_after.entries || bytes >= self.compact_after.bytes {
            self.due.notify_one();
        }
    }

    /// Returns once enough was applied, or what was is worth it and nothing is added to it any more.
    async fn wait(&self) {
        let mut bytes = None;
        while tokio::time::timeout(QUIET_AFTER, self.due.notified()).await.is_err() {
            let now = self.bytes.load(Ordering::Relaxed);
            if now >= self.compact_after.bytes / QUIET_PART && bytes == Some(now) {
                return;
            }
            bytes = Some(now);
        }
    }

    fn begin_anew(&self) {
        self.entries.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
    }
}

/// Compacts the group's log whenever enough was applied, until the group stops.
pub(super) async fn keep_short(group: Group, applied: Arc<Applied>, config: GroupConfig) {
    loop {
        applied.wait().await;
        loop {
            applied.begin_anew();
            if compact(&group, &config).await.is_none() {
                return;
            }
            let long = group.log_size();
            if long.entries <= config.compact_after_entries.saturating_add(config.keep_entries)
                && long.bytes <= config.compact_after_bytes.saturating_add(config.keep_bytes)
            {
                break;
            }
            // Somebody lags: it may have caught up by then, and nothing more be applied.
            let _ = tokio::time::timeout(RECHECK_INTERVAL, applied.due.notified()).await;
        }
    }
}

/// `None` when the group has stopped.
async fn compact(group: &Group, config: &GroupConfig) -> Option<()> {
    let Some(applied) = group.status().last_applied else { return Some(()) };
    group.make_durable_to(applied).await.ok()?;
    let status = group.status();
    let limits = Limits::of(&status, group.replica_id());
    let kept = limits.kept(config);
    let upto = limits.has_all.max(group.inner.log.last_beyond(kept)).map(|upto| upto.min(applied.index));
    match upto {
        Some(upto) => group.purge_to(upto).await.ok(),
        None => Some(()),
    }
}

/// What the other replicas need of the log.
#[derive(Debug, PartialEq)]
struct Limits {
    /// Every replica has the entries up to this one; `None` when that is not known of any.
    has_all: Option<u64>,
    /// One that has not answers all the same.
    is_waited_for: bool,
}

impl Limits {
    fn of(status: &GroupStatus, own: ReplicaId) -> Limits {
        if !status.is_leader {
            return Limits { has_all: None, is_waited_for: false };
        }
        let others = status.voters.keys().chain(status.learners.keys()).filter(|replica| **replica != own);
        let peers = others.map(|replica| status.peers.get(replica).cloned().unwrap_or_default()).collect::<Vec<_>>();
        if peers.is_empty() {
            return Limits { has_all: Some(u64::MAX), is_waited_for: false };
        }
        let has_all = peers.iter().map(|peer| peer.matched).min().flatten();
        let lags = |matched: Option<u64>| matched < status.last_applied.map(|applied| applied.index);
        let answers = |heard: Option<Duration>| heard.is_some_and(|ago| ago < SILENCE_MAX);
        let is_waited_for = peers.iter().any(|peer| lags(peer.matched) && answers(peer.heard_ago));
        Limits { has_all, is_waited_for }
    }

    fn kept(&self, config: &GroupConfig) -> LogSize {
        if self.is_waited_for {
            let entries = config.compact_after_entries.saturating_add(config.keep_entries);
            return LogSize { entries, bytes: config.lag_bytes };
        }
        LogSize { entries: config.keep_entries, bytes: config.keep_bytes }
    }
}
