//! Which keys are written while a long count of them is under way.
//!
//! ```text
//!   watch ─▶ snapshot ─▶ count it, under no latch ─▶ latch ─▶ count once more what was touched since, before and now
//!      └───────── each command that applies notes its keys ──────────┘
//! ```
//!
//! So the count is exact at the latch, and the latch is short. Watched before the snapshot is taken: what applies in between is
//! touched, and in the snapshot, which does no harm.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::engine::{EngineError, Reader, WriteBatch};
use crate::mvcc::{self, MvccStats};

/// The watches of a replica.
#[derive(Debug, Default)]
pub(super) struct Touched {
    watches: Mutex<Vec<Arc<Watch>>>,
    count: AtomicUsize,
}

/// The keys in `[start, end)` that were written since it began.
#[derive(Debug)]
pub(super) struct Watch {
    start: Bytes,
    end: Bytes,
    keys: Mutex<BTreeSet<Bytes>>,
}

impl Touched {
    /// Begins to watch a span; an empty end is the end of the keyspace. REQUIRES: [`Touched::end`] is called some time.
    pub fn watch(&self, start: Bytes, end: Bytes) -> Arc<Watch> {
        let watch = Arc::new(Watch { start, end, keys: Mutex::default() });
        let mut watches = self.watches.lock();
        watches.push(watch.clone());
        self.count.store(watches.len(), Ordering::Release);
        watch
    }

    /// Ends a watch.
    pub fn end(&self, watch: &Arc<Watch>) {
        let mut watches = self.watches.lock();
        watches.retain(|other| !Arc::ptr_eq(other, watch));
        self.count.store(watches.len(), Ordering::Release);
    }

    /// A command is about to apply.
    pub fn note(&self, batch: &WriteBatch) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let keys: Vec<Bytes> =
            batch.ops.iter().filter_map(|op| mvcc::key::decode(&op.key).ok()).map(|(key, _)| key).collect();
        for watch in self.watches.lock().iter() {
            watch.keys.lock().extend(keys.iter().filter(|key| watch.contains(key)).cloned());
        }
    }
}

impl Watch {
    fn contains(&self, key: &[u8]) -> bool {
        self.start <= key && (self.end.is_empty() || key < &self.end[..])
    }

    /// How many keys were touched.
    pub fn len(&self) -> usize {
        self.keys.lock().len()
    }

    /// How the statistics of the span have changed between two snapshots. REQUIRES: the watch began before the first one, and
    /// nothing is applied that is not in the second.
    pub fn change(&self, before: &dyn Reader, now: &dyn Reader) -> Result<MvccStats, EngineError> {
        let mut change = MvccStats::default();
        for key in self.keys.lock().iter() {
            let end = crate::keys::next(key);
            change.add(&mvcc::compute_stats(now, key, &end)?);
            change.subtract(&mvcc::compute_stats(before, key, &end)?);
        }
        Ok(change)
    }
}
