//! Changes of the range itself: split, lease transfer, replicas.

use std::sync::Arc;

use bytes::Bytes;

use super::propose::Fate;
use super::touched::Watch;
use super::{Replica, invalid};
use crate::api::*;
use crate::command::{Command, DescriptorChange, Split, Trigger};
use crate::concurrency::latches::{LatchAccess, LatchSpan};
use crate::descriptor::RangeDescriptor;
use crate::engine::{EngineError, Reader};
use crate::keys;
use crate::mvcc::{self, MvccStats};

/// The counter that range IDs are allocated from. Its value is the newest ID in use.
pub const RANGE_ID_COUNTER: &str = "range-id";

/// Keys touched while a side of a split was counted, that are counted again under its latches.
const TOUCHED_MAX: usize = 10_000;
/// How often a side is counted at most, as long as more than that are touched.
const COUNTS_MAX: u32 = 3;

impl Replica {
    /// Splits the range so that a new one begins at the key; 0 when one begins there already.
    pub(super) async fn split(&self, key: &Bytes) -> Result<u64, KvError> {
        let now = self.clock_now()?;
        self.lease_for(now).await?;
        self.check_split_key(key)?;
        if self.descriptor().start == *key {
            return Ok(0);
        }
        // Before any latch is taken: the counter may live in this very range.
        let right_range_id = self.allocate_range_id().await?;
        let counted = self.count_from(key).await?;
        let descriptor = self.descriptor();
        let mut latches = self.latches.enter(whole(&descriptor));
        latches.ready().await;
        let held = self.lease_to_write(self.clock_now()?).await?;
        let (view, reader) = self.read_view()?;
        let descriptor = &view.descriptor;
        self.check_split_key(key)?;
        if descriptor.start == *key {
            return Ok(0);
        }
        let generation = descriptor.generation + 1;
        let left = RangeDescriptor { end: key.clone(), generation, ..descriptor.clone() };
        let right = RangeDescriptor { range_id: right_range_id, start: key.clone(), generation, ..descriptor.clone() };
        if counted.end != right.end {
            return Err(self.mismatch());
        }
        let right_stats = counted.now(&*reader).map_err(|error| self.engine_failed(&error))?;
        drop((reader, counted));
        let trigger = Some(Trigger::Split(Split { left, right, right_stats }));
        let command = Command { trigger, ..Command::default() };
        match self.propose(command, held, latches, Vec::new()).await? {
            Fate::Applied => Ok(right_range_id),
            Fate::Rejected => Err(self.not_leaseholder(0)),
            Fate::Unknown => Err(self.ambiguous("the split was proposed, and its fate is not known")),
        }
    }

    /// Counts what the right side of a split holds, on a thread that may block and under no latch; once more while too much is
    /// written meanwhile.
    async fn count_from(&self, key: &Bytes) -> Result<Counted, KvError> {
        let mut counted = self.count_once(key).await?;
        for _ in 1..COUNTS_MAX {
            if counted.watch.len() <= TOUCHED_MAX {
                break;
            }
            counted = self.count_once(key).await?;
        }
        Ok(counted)
    }

    async fn count_once(&self, key: &Bytes) -> Result<Counted, KvError> {
        let end = self.descriptor().end;
        let replica = self.handle();
        let watch = replica.touched.watch(key.clone(), end.clone());
        let reader = match self.read_view() {
            Ok((_, reader)) => reader,
            Err(error) => {
                replica.touched.end(&watch);
                return Err(error);
            }
        };
        let mut counted = Counted { replica, watch, reader, end, stats: MvccStats::default() };
        let start = key.clone();
        let count = move || {
            counted.stats = mvcc::compute_stats(&*counted.reader, &start, &counted.end)?;
            Ok(counted)
        };
        self.tasks.blocking(count).await.map_err(|error: EngineError| self.engine_failed(&error))
    }

    /// Where to split the range in its middle; found on a thread that may block, and not looked for again in a range that had no
    /// such place until it has grown. `None` when there is none.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn find_split_key(&self) -> Result<Option<Bytes>, KvError> {
        let bytes = self.stats().total_bytes();
        if self.upkeep.is_known_whole(bytes) {
            return Ok(None);
        }
        let half = u64::try_from(bytes / 2).unwrap_or(0);
        let replica = self.handle();
        let search = move || {
            let (view, reader) = replica.read_view()?;
            let whole_key = |key: &Bytes| key.clone();
            mvcc::find_split_key(&*reader, &view.descriptor.start, &view.descriptor.end, half, &whole_key)
                .map_err(|error| replica.engine_failed(&error))
        };
        let found = self.tasks.blocking(search).await?;
        self.upkeep.note_search(found.is_none().then_some(bytes));
        Ok(found)
    }

    /// Replaces the descriptor by one with the same bounds and the next generation: the replicas change. What the
    /// group's own membership needs is the caller's.
    ///
    /// # Errors
    /// `NotLeaseholder`; `RangeMismatch` when the descriptor changed since; `Ambiguous`.
    pub async fn change_descriptor(&self, expected_generation: u64, next: RangeDescriptor) -> Result<(), KvError> {
        let now = self.clock_now()?;
        self.lease_for(now).await?;
        let mut latches = self.latches.enter(vec![LatchSpan::key(
            keys::range_descriptor(&next.start),
            LatchAccess::Write(clock::Timestamp::MIN),
        )]);
        latches.ready().await;
        let held = self.lease_to_write(now).await?;
        let current = self.descriptor();
        let same_bounds = (&current.start, &current.end) == (&next.start, &next.end);
        if current.generation != expected_generation || !same_bounds || next.generation <= expected_generation {
            return Err(self.mismatch());
        }
        let trigger = Some(Trigger::Descriptor(DescriptorChange { expected_generation, descriptor: next }));
        let command = Command { trigger, ..Command::default() };
        match self.propose(command, held, latches, Vec::new()).await? {
            Fate::Applied => Ok(()),
            Fate::Rejected => Err(self.not_leaseholder(0)),
            Fate::Unknown => Err(self.ambiguous("the descriptor change was proposed, and its fate is not known")),
        }
    }

    async fn allocate_range_id(&self) -> Result<u64, KvError> {
        let increment = Increment { key: keys::counter(RANGE_ID_COUNTER), by: 1 };
        let batch =
            BatchRequest { requests: vec![RequestKind::Increment(increment).into()], ..BatchRequest::default() };
        let response = self.sender.send(batch).await?;
        match response.responses.into_iter().next().and_then(|response| response.kind) {
            // What was split off is newer than what it was split off from.
            Some(ResponseKind::Counter(Counter { value })) if value > self.range_id().cast_signed() => {
                Ok(value.unsigned_abs())
            }
            other => Err(invalid(format!("the counter of range IDs answered {other:?}"))),
        }
    }

    fn check_split_key(&self, key: &Bytes) -> Result<(), KvError> {
        if self.descriptor().contains(key) { Ok(()) } else { Err(self.mismatch()) }
    }

    pub(super) fn mismatch(&self) -> KvError {
        let view = self.view.read().clone();
        let mut descriptors = vec![view.descriptor.clone()];
        descriptors.extend(view.split_off.iter().cloned());
        KvError::RangeMismatch(error_detail::RangeMismatch { descriptors })
    }

    pub(super) fn ambiguous(&self, message: &str) -> KvError {
        KvError::Ambiguous(error_detail::Ended { message: message.to_owned(), other: None })
    }
}

/// What the right side of a split held at some time, and what was touched there since.
struct Counted {
    replica: Arc<Replica>,
    watch: Arc<Watch>,
    reader: Box<dyn Reader>,
    end: Bytes,
    stats: MvccStats,
}

impl Counted {
    /// What it holds now. REQUIRES: latches on all of it.
    fn now(&self, reader: &dyn Reader) -> Result<MvccStats, EngineError> {
        let mut stats = self.stats;
        stats.add(&self.watch.change(&*self.reader, reader)?);
        Ok(stats)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.replica.touched.end(&self.watch);
    }
}

/// Everything of a range: no writer beside, while readers go on.
pub(super) fn whole(descriptor: &RangeDescriptor) -> Vec<LatchSpan> {
    let access = LatchAccess::Write(clock::Timestamp::MAX);
    let (start, end) = keys::key_local_span(&descriptor.start, &descriptor.end);
    vec![LatchSpan::span(descriptor.start.clone(), descriptor.end.clone(), access), LatchSpan::span(start, end, access)]
}
