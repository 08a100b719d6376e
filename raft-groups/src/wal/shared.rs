//! What the handles of a log and its writer share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::group_state::Group;
use super::queue::Queue;
use crate::GroupId;

/// Where a log is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifecycle {
    Running,
    /// Closed by its owner: all that was queued is synced.
    Closed,
    /// A write or a sync failed.
    Halted,
}

/// Shared by the handles and the writer.
pub(super) struct Shared {
    pub queue: Queue,
    pub groups: Mutex<BTreeMap<GroupId, Arc<Group>>>,
    pub lifecycle: watch::Sender<Lifecycle>,
    pub counters: Counters,
}

/// Figures for metrics.
#[derive(Default)]
pub(super) struct Counters {
    pub batches: AtomicU64,
    pub items: AtomicU64,
    pub bytes: AtomicU64,
    pub segments: AtomicU64,
    pub spares: AtomicU64,
    pub waits_for_space: AtomicBool,
}

impl Shared {
    pub(super) fn new(groups: BTreeMap<GroupId, Arc<Group>>) -> Arc<Shared> {
        let (queue, groups, counters) = (Queue::default(), Mutex::new(groups), Counters::default());
        Arc::new(Shared { queue, groups, lifecycle: watch::Sender::new(Lifecycle::Running), counters })
    }

    pub(super) fn group(&self, id: GroupId) -> Arc<Group> {
        self.groups.lock().entry(id).or_insert_with(|| Group::new(id)).clone()
    }

    /// Every group ever named, in order.
    pub(super) fn all_groups(&self) -> Vec<Arc<Group>> {
        self.groups.lock().values().cloned().collect()
    }
}
