//! Upkeep of a range by its leaseholder: versions and transaction records that nobody needs any more.
//!
//! ```text
//!   due? ─▶ walk a snapshot, piece by piece, on a thread that may block, under no latch
//!             └▶ versions: threshold replicated ─▶ latch the keys found ─▶ remove what of it is there still
//!             └▶ records:  intents that they name resolved, silent ones pushed ─▶ latch them ─▶ remove
//! ```
//!
//! What is found stays garbage, so that nothing need be isolated from the walk (see [`crate::mvcc::find_garbage`]); and an ended
//! record never changes again.
//!
//! Each walk tells when the next one can find anything: until then there is none. It is put off a little longer, so that what it
//! finds is worth the way.
//!
//! A record that names intents is not removed before they are resolved: a missing record would turn committed intents into
//! aborted ones.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use clock::Timestamp;
use clock::mutation::{self, Mutant};
use parking_lot::Mutex;

use super::propose::Fate;
use super::{Replica, invalid};
use crate::api::*;
use crate::command::{Command, GcThreshold, Trigger};
use crate::concurrency::latches::{LatchAccess, LatchSpan};
use crate::engine::Overlay;
use crate::evaluate::{OldRecord, find_old_records};
use crate::keys;
use crate::mvcc::{self, Garbage, GarbageLimits, MvccStats};

/// How much one step of a walk for versions takes in.
const GARBAGE_LIMITS: GarbageLimits = GarbageLimits { max_versions: 10_000, max_entries: 200_000 };
/// Records removed in one command.
const RECORDS_A_PIECE: usize = 1_000;
/// Intents resolved in one batch.
const INTENTS_A_BATCH: usize = 500;
/// A walk waits for this part of the age at which anything is collected, beyond that age.
const PATIENCE_DIVISOR: u32 = 8;
/// How long after a walk that failed the next one begins.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// When each walk may find something. `MIN`: it is not known, since this replica has not walked yet.
#[derive(Debug, Default)]
pub(super) struct Upkeep {
    due: Mutex<Due>,
    /// How large the range was when it was found to have no key to split at.
    whole_at_bytes: Mutex<Option<i64>>,
}

impl Upkeep {
    /// Whether the range had no key to split at when it was nearly as large.
    pub fn is_known_whole(&self, bytes: i64) -> bool {
        self.whole_at_bytes.lock().is_some_and(|known| bytes < known + known / 8)
    }

    /// What the search for such a key came to: the size of the range if it found none.
    pub fn note_search(&self, whole_at_bytes: Option<i64>) {
        *self.whole_at_bytes.lock() = whole_at_bytes;
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Due {
    versions: Timestamp,
    records: Timestamp,
}

impl Replica {
    /// Whether there may be versions or records to remove.
    pub fn is_upkeep_due(&self) -> bool {
        let (now, due) = (self.clock_reading(), *self.upkeep.due.lock());
        (due.versions <= now && self.has_much_garbage()) || due.records <= now
    }

    /// Removes what is due to go. REQUIRES: to be called by one task at a time.
    ///
    /// # Errors
    /// Any [`KvError`]; what is left is found by the next walk.
    pub async fn keep_up(&self) -> Result<(), KvError> {
        let now = self.clock_reading();
        let due = *self.upkeep.due.lock();
        if due.versions <= now && self.has_much_garbage() {
            let ttl = Duration::from_millis(self.settings.gc_ttl_ms);
            self.upkeep.due.lock().versions = now.plus(RETRY_AFTER.min(ttl));
            let next = self.collect_below(now.minus(ttl), false).await?;
            self.upkeep.due.lock().versions = when_due(next.min(now), ttl);
        }
        if due.records <= now {
            let retention = self.record_age();
            self.upkeep.due.lock().records = now.plus(RETRY_AFTER.min(retention));
            let oldest = self.forget_records(now.minus(retention)).await?;
            self.upkeep.due.lock().records = when_due(oldest.min(now), retention);
        }
        Ok(())
    }

    /// Collects all garbage below a threshold, whether or not it is due, and records that are.
    pub(super) async fn collect_garbage(&self, collect: &CollectGarbage) -> Result<(), KvError> {
        if !self.descriptor().contains(&collect.key) {
            return Err(self.mismatch());
        }
        if collect.threshold > self.clock_now()? {
            return Err(invalid("the threshold lies in the future"));
        }
        self.collect_below(collect.threshold, true).await?;
        self.forget_records(self.clock_now()?.minus(self.record_age())).await?;
        Ok(())
    }

    /// How old records are that go: what others count on that they are kept for, and what clocks may differ by, when it was ended
    /// and now.
    fn record_age(&self) -> Duration {
        Duration::from_millis(self.settings.record_retention_ms) + 4 * self.hlc.max_clock_error()
    }

    fn has_much_garbage(&self) -> bool {
        u64::try_from(self.stats().garbage_bytes()).is_ok_and(|bytes| bytes > self.settings.gc_garbage_bytes_min)
    }

    /// The clock, without moving it.
    fn clock_reading(&self) -> Timestamp {
        Timestamp::new(self.hlc.interval().latest_ns, 0)
    }

    /// Removes garbage below a threshold; answers the next threshold at which there is some. The threshold is raised only once
    /// garbage was found, or `always`.
    async fn collect_below(&self, threshold: Timestamp, always: bool) -> Result<Timestamp, KvError> {
        let mut next = Timestamp::MAX;
        let mut from = Some(Bytes::new());
        if always {
            self.in_time(self.raise_threshold(threshold)).await?;
        }
        while let Some(start) = from {
            let garbage = self.find_garbage(start, threshold).await?;
            if !garbage.keys.is_empty() {
                self.in_time(self.raise_threshold(threshold)).await?;
                self.in_time(self.remove_garbage(garbage.keys)).await?;
            }
            next = next.min(garbage.next_threshold);
            from = garbage.resume;
        }
        Ok(next)
    }

    /// Gives a step up that a lost quorum, or a lock-out, holds up: other upkeep of the range must go on. What it has proposed may
    /// apply yet.
    async fn in_time(&self, step: impl Future<Output = Result<(), KvError>>) -> Result<(), KvError> {
        let timeout = self.settings.request_timeout();
        let late = |_| Err(self.ambiguous("a step of upkeep took too long"));
        tokio::time::timeout(timeout, step).await.unwrap_or_else(late)
    }

    async fn find_garbage(&self, start: Bytes, threshold: Timestamp) -> Result<Garbage, KvError> {
        let replica = self.handle();
        let walk = move || {
            let (view, reader) = replica.read_view()?;
            let start = start.max(view.descriptor.start.clone());
            mvcc::find_garbage(&*reader, &start, &view.descriptor.end, threshold, GARBAGE_LIMITS)
                .map_err(|error| replica.engine_failed(&error))
        };
        self.tasks.blocking(walk).await
    }

    /// Replicates the threshold, if it is not in place yet. No write may be under way: one that was evaluated before could land
    /// below it (`write_above_threshold`). Readers are not in the way: the threshold they check belongs to the snapshot they read.
    async fn raise_threshold(&self, threshold: Timestamp) -> Result<(), KvError> {
        if threshold <= self.gc_threshold() {
            return Ok(());
        }
        self.lease_for(self.clock_now()?).await?;
        let mut latches = self.latches.enter(super::admin::whole(&self.descriptor()));
        latches.ready().await;
        let held = self.lease_to_write(self.clock_now()?).await?;
        let command = Command { trigger: Some(Trigger::GcThreshold(GcThreshold { threshold })), ..Command::default() };
        self.applied(self.propose(command, held, latches, Vec::new()).await?)
    }

    async fn remove_garbage(&self, keys: Vec<(Bytes, Vec<Timestamp>)>) -> Result<(), KvError> {
        let latch = |(key, _): &(Bytes, _)| LatchSpan::key(key.clone(), LatchAccess::Write(Timestamp::MAX));
        self.lease_for(self.clock_now()?).await?;
        let mut latches = self.latches.enter(keys.iter().map(latch).collect());
        latches.ready().await;
        let held = self.lease_to_write(self.clock_now()?).await?;
        let replica = self.handle();
        let evaluate = move || {
            let (view, reader) = replica.read_view()?;
            let (mut overlay, mut stats) = (Overlay::new(&*reader), MvccStats::default());
            // Those split off meanwhile are the other range's.
            for (key, versions) in keys.iter().filter(|(key, _)| view.descriptor.contains(key)) {
                mvcc::remove_garbage(&mut overlay, &mut stats, key, versions)
                    .map_err(|error| replica.engine_failed(&error))?;
            }
            Ok::<_, KvError>((overlay.into_batch(), stats))
        };
        let (batch, stats) = self.tasks.blocking(evaluate).await?;
        if batch.is_empty() {
            return Ok(());
        }
        let command = Command { batch, stats_delta: Some(stats), ..Command::default() };
        self.applied(self.propose(command, held, latches, Vec::new()).await?)
    }

    fn applied(&self, fate: Fate) -> Result<(), KvError> {
        match fate {
            Fate::Applied => Ok(()),
            Fate::Rejected => Err(self.not_leaseholder(0)),
            Fate::Unknown => Err(self.ambiguous("it was proposed, and its fate is not known")),
        }
    }

    /// Removes the records of transactions that ended before; answers when the oldest of those that stay ended.
    async fn forget_records(&self, before: Timestamp) -> Result<Timestamp, KvError> {
        let mut oldest = Timestamp::MAX;
        let mut from = Some(Bytes::new());
        while let Some(start) = from {
            let replica = self.handle();
            let walk = move || {
                let (view, reader) = replica.read_view()?;
                let (first, end) = keys::key_local_span(&view.descriptor.start, &view.descriptor.end);
                find_old_records(&*reader, &start.max(first), &end, before, RECORDS_A_PIECE)
                    .map_err(|error| replica.engine_failed(&error))
            };
            let found = self.tasks.blocking(walk).await?;
            oldest = oldest.min(found.oldest_left);
            from = found.resume;
            // One that cannot be settled now (a range does not answer) stays, and its like with it, until the next walk.
            match self.settle_records(&found.records).await {
                Ok(()) => self.in_time(self.remove_records(&found.records)).await?,
                Err(error) => {
                    tracing::debug!(range = self.range_id, %error, "transaction records stay for now");
                    oldest = oldest.min(before);
                }
            }
        }
        Ok(oldest)
    }

    /// Resolves what ended transactions have left, and ends those whose coordinator has been silent for so long.
    async fn settle_records(&self, records: &[OldRecord]) -> Result<(), KvError> {
        let is_left = |record: &&OldRecord| !(record.has_ended() && mutation::is(Mutant::RecordBeforeIntents));
        let requests: Vec<Request> = records.iter().filter(is_left).flat_map(OldRecord::settling).collect();
        // A span may be too much for one command: it stands alone, so that the range can cut it into pieces.
        let alone = |request: &Request| matches!(&request.kind, Some(RequestKind::ResolveIntents(resolve)) if !resolve.span.end.is_empty());
        let (spans, points): (Vec<Request>, Vec<Request>) = requests.into_iter().partition(alone);
        let mut batches: Vec<&[Request]> = points.chunks(INTENTS_A_BATCH).chain(spans.chunks(1)).collect();
        while let Some(batch) = batches.pop() {
            match self.sender.send(BatchRequest { requests: batch.to_vec(), ..BatchRequest::default() }).await {
                Ok(_) => {}
                Err(KvError::TooLarge(_)) if batch.len() > 1 => {
                    let (first, second) = batch.split_at(batch.len() / 2);
                    batches.extend([first, second]);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn remove_records(&self, records: &[OldRecord]) -> Result<(), KvError> {
        let keys: Vec<Bytes> =
            records.iter().filter(|record| record.has_ended()).map(|record| record.key.clone()).collect();
        if keys.is_empty() {
            return Ok(());
        }
        self.lease_for(self.clock_now()?).await?;
        let latch = |key: &Bytes| LatchSpan::key(key.clone(), LatchAccess::Write(Timestamp::MIN));
        let mut latches = self.latches.enter(keys.iter().map(latch).collect());
        latches.ready().await;
        let held = self.lease_to_write(self.clock_now()?).await?;
        let descriptor = self.descriptor();
        let mut command = Command::default();
        for key in keys {
            // Those split off meanwhile are the other range's.
            if keys::addressing(&key).is_some_and(|anchor| descriptor.contains(&anchor)) {
                command.batch.delete(key);
            }
        }
        if command.batch.is_empty() {
            return Ok(());
        }
        self.applied(self.propose(command, held, latches, Vec::new()).await?)
    }
}

/// When what is of this age now is to go.
fn when_due(from: Timestamp, age: Duration) -> Timestamp {
    from.plus(age).plus(age / PATIENCE_DIVISOR)
}
