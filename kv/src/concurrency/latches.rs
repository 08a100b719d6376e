//! Latches: what isolates overlapping requests of one range from each other while they run.
//!
//! ```text
//!   acquire ─▶ enter all spans at once, under the next sequence number ─▶ wait for every conflicting one before it
//!   guard dropped ─▶ leave ─▶ those behind go on
//! ```
//!
//! A request waits only for requests that came before it, so latches cannot deadlock, and nobody overtakes. A
//! read at a timestamp below a write's does not conflict with it: whichever runs first, the read
//! does not see the write, and the write stays above the read.
//!
//! Invariant: `latch_isolation` (no two conflicting guards are held at once). The module knows nothing of
//! transactions or locks.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use clock::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// What is done under a latch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LatchAccess {
    /// Reading at a timestamp: what is written above it does not matter.
    Read(Timestamp),
    /// Writing at or above a timestamp: who reads below it does not matter.
    Write(Timestamp),
}

impl LatchAccess {
    fn conflicts(self, other: LatchAccess) -> bool {
        match (self, other) {
            (LatchAccess::Read(_), LatchAccess::Read(_)) => false,
            (LatchAccess::Read(read), LatchAccess::Write(write))
            | (LatchAccess::Write(write), LatchAccess::Read(read)) => write <= read,
            (LatchAccess::Write(_), LatchAccess::Write(_)) => true,
        }
    }
}

/// A span to latch: `[start, end)`, or the one key `start` when `end` is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatchSpan {
    /// First key, inclusive.
    pub start: Bytes,
    /// End, exclusive; an empty one stands for the end of the keyspace.
    pub end: Option<Bytes>,
    /// What is done there.
    pub access: LatchAccess,
}

impl LatchSpan {
    /// The latch on one key.
    pub fn key(key: Bytes, access: LatchAccess) -> Self {
        LatchSpan { start: key, end: None, access }
    }

    /// The latch on `[start, end)`.
    pub fn span(start: Bytes, end: Bytes, access: LatchAccess) -> Self {
        LatchSpan { start, end: Some(end), access }
    }

    fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            None => self.start == key,
            Some(end) => self.start <= key && (end.is_empty() || key < &end[..]),
        }
    }

    fn overlaps(&self, other: &LatchSpan) -> bool {
        match (&self.end, &other.end) {
            (None, _) => other.contains(&self.start),
            (_, None) => self.contains(&other.start),
            (Some(end), Some(other_end)) => {
                (end.is_empty() || other.start < *end) && (other_end.is_empty() || self.start < *other_end)
            }
        }
    }
}

/// Says once that a guard is gone.
#[derive(Debug, Default)]
struct Released {
    done: AtomicBool,
    notify: Notify,
}

impl Released {
    fn set(&self) {
        self.done.store(true, Ordering::Release);
        self.notify.notify_waiters();
    }

    async fn wait(&self) {
        clock::wait_for(&self.notify, || self.done.load(Ordering::Acquire).then_some(())).await;
    }
}

#[derive(Debug)]
struct Held {
    sequence: u64,
    access: LatchAccess,
    released: Arc<Released>,
}

#[derive(Debug)]
struct HeldSpan {
    sequence: u64,
    span: LatchSpan,
    released: Arc<Released>,
}

#[derive(Debug, Default)]
struct Inner {
    last_sequence: u64,
    points: BTreeMap<Bytes, Vec<Held>>,
    spans: Vec<HeldSpan>,
}

/// The latches of one range.
#[derive(Debug, Default)]
pub struct Latches {
    inner: Mutex<Inner>,
}

/// Latches entered, and held once [`LatchGuard::ready`] has returned; dropping leaves them.
#[derive(Debug)]
pub struct LatchGuard {
    latches: Arc<Latches>,
    sequence: u64,
    spans: Vec<LatchSpan>,
    released: Arc<Released>,
    before: Vec<Arc<Released>>,
}

impl Latches {
    /// Enters all spans at once. They are held only once the guard is [ready](LatchGuard::ready).
    pub fn enter(self: &Arc<Self>, spans: Vec<LatchSpan>) -> LatchGuard {
        let released = Arc::new(Released::default());
        let mut before = Vec::new();
        let mut inner = self.inner.lock();
        inner.last_sequence += 1;
        let sequence = inner.last_sequence;
        for span in &spans {
            inner.collect_conflicts(span, &mut before);
        }
        for span in &spans {
            inner.insert(sequence, span, &released);
        }
        drop(inner);
        LatchGuard { latches: self.clone(), sequence, spans, released, before }
    }

    /// How many guards are entered; for people.
    pub fn is_idle(&self) -> bool {
        let inner = self.inner.lock();
        inner.points.is_empty() && inner.spans.is_empty()
    }
}

impl Inner {
    fn collect_conflicts(&self, span: &LatchSpan, before: &mut Vec<Arc<Released>>) {
        let mut add = |held: &Held| {
            if held.access.conflicts(span.access) {
                before.push(held.released.clone());
            }
        };
        match &span.end {
            None => self.points.get(&span.start).into_iter().flatten().for_each(&mut add),
            Some(end) => {
                let upper = if end.is_empty() { Bound::Unbounded } else { Bound::Excluded(end.clone()) };
                if end.is_empty() || span.start < *end {
                    let range = (Bound::Included(span.start.clone()), upper);
                    self.points.range(range).flat_map(|(_, held)| held).for_each(&mut add);
                }
            }
        }
        for held in &self.spans {
            if held.span.access.conflicts(span.access) && held.span.overlaps(span) {
                before.push(held.released.clone());
            }
        }
    }

    fn insert(&mut self, sequence: u64, span: &LatchSpan, released: &Arc<Released>) {
        let released = released.clone();
        if span.end.is_some() {
            self.spans.push(HeldSpan { sequence, span: span.clone(), released });
        } else {
            let held = Held { sequence, access: span.access, released };
            self.points.entry(span.start.clone()).or_default().push(held);
        }
    }

    fn remove(&mut self, sequence: u64, spans: &[LatchSpan]) {
        if spans.iter().any(|span| span.end.is_some()) {
            self.spans.retain(|held| held.sequence != sequence);
        }
        for span in spans.iter().filter(|span| span.end.is_none()) {
            if let Some(held) = self.points.get_mut(&span.start) {
                held.retain(|held| held.sequence != sequence);
                if held.is_empty() {
                    self.points.remove(&span.start);
                }
            }
        }
    }

    /// Whether an earlier guard than `sequence` conflicts; what `latch_isolation` denies of a ready one.
    fn has_earlier_conflict(&self, sequence: u64, span: &LatchSpan) -> bool {
        let on_points = self.points.get(&span.start).into_iter().flatten();
        on_points.filter(|held| held.sequence < sequence).any(|held| held.access.conflicts(span.access))
            || self
                .spans
                .iter()
                .filter(|held| held.sequence < sequence)
                .any(|held| held.span.access.conflicts(span.access) && held.span.overlaps(span))
    }
}

impl LatchGuard {
    /// Returns once every conflicting guard entered before is gone.
    pub async fn ready(&mut self) {
        for released in std::mem::take(&mut self.before) {
            released.wait().await;
        }
        if cfg!(debug_assertions) {
            let inner = self.latches.inner.lock();
            let conflict = self.spans.iter().any(|span| inner.has_earlier_conflict(self.sequence, span));
            assert!(!conflict, "latch_isolation: a conflicting guard entered before is still held");
        }
    }

    /// Whether nothing stands before it, so that [`LatchGuard::ready`] returns at once.
    pub fn is_uncontended(&self) -> bool {
        self.before.iter().all(|released| released.done.load(Ordering::Acquire))
    }
}

impl Drop for LatchGuard {
    fn drop(&mut self) {
        self.latches.inner.lock().remove(self.sequence, &self.spans);
        self.released.set();
    }
}

#[cfg(test)]
mod tests;
