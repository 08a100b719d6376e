//! The one writer of the log: everything queued, one write, one sync, then every answer.
//!
//! ```text
//!   queue ─▶ compose ─▶ place ─▶ write ─▶ sync ─▶ finish: locations, answers, segments given up
//!     ▲         │ and, when segments at the old end are dead, the state that still lies in them;
//!     │         │ when too many are nearly dead, some of their entries
//!     └─────────┴── meanwhile the next batch gathers
//! ```
//!
//! In production it is a thread, woken by the first item and never waiting for more; in simulation, a task.
//!
//! Invariants: `log_recycles_dead` (a segment is given up only after a synced batch says it is not needed,
//! which carries the newest votes that were in it), `log_answers_synced` (an answer comes after the sync).

mod compose;
mod finish;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clock::mutation::{self, Mutant};

use super::batch::Batch;
use super::queue::Item;
use super::segment::Segment;
use super::segment_log::SegmentLog;
use super::shared::{Lifecycle, Shared};
use super::{WalError, WalOptions};
use compose::Plan;
use finish::Recent;

/// A batch takes no further items beyond about this.
const MAX_BATCH_BYTES: usize = 4 << 20;
/// How long a writer without space waits before it looks again.
const SPACE_RETRY: Duration = Duration::from_millis(200);

/// The writer's own state.
pub(super) struct Writer {
    shared: Arc<Shared>,
    options: WalOptions,
    log: SegmentLog,
    batch: Batch,
    recent: Recent,
}

/// A batch's place.
struct Place {
    segment: Arc<Segment>,
    offset: u64,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, options: WalOptions, log: SegmentLog) -> Writer {
        let recent = Recent::new(options.cache_bytes);
        let writer = Writer { shared, options, log, batch: Batch::new(), recent };
        writer.count_segments();
        writer
    }

    /// Runs until the log is closed. A failure ends the process.
    pub(super) fn run_as_thread(mut self) {
        let mut items = Vec::new();
        while self.shared.queue.take_blocking(MAX_BATCH_BYTES, &mut items) {
            if items.is_empty() {
                continue;
            }
            if let Err(error) = self.commit_blocking(&items) {
                if matches!(error, WalError::Closed) {
                    return self.stop(items, &error, Lifecycle::Closed);
                }
                tracing::error!(%error, cause = ?std::error::Error::source(&error), "the log failed: aborting");
                std::process::abort();
            }
            finish::answer(&mut items, &Ok(()));
        }
        self.leave(Lifecycle::Closed);
    }

    /// Runs until the log is closed. A failure halts the log.
    pub(super) async fn run_as_task(mut self) {
        let mut items = Vec::new();
        while self.shared.queue.take(MAX_BATCH_BYTES, &mut items).await {
            if items.is_empty() {
                continue;
            }
            if let Err(error) = self.commit(&mut items).await {
                let closed = matches!(error, WalError::Closed);
                return self.stop(items, &error, if closed { Lifecycle::Closed } else { Lifecycle::Halted });
            }
            finish::answer(&mut items, &Ok(()));
        }
        self.leave(Lifecycle::Closed);
    }

    /// Answers everyone with the error, those still queued too.
    fn stop(self, mut items: Vec<Item>, error: &WalError, lifecycle: Lifecycle) {
        tracing::warn!(%error, ?lifecycle, "the log stops");
        items.extend(self.shared.queue.halt());
        finish::answer(&mut items, &Err(error.clone()));
        self.leave(lifecycle);
    }

    /// Lets go of the directory, then says so.
    fn leave(self, lifecycle: Lifecycle) {
        let Writer { shared, log, .. } = self;
        drop(log);
        shared.lifecycle.send_replace(lifecycle);
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "the thread is the log's own, and waits for space only; none runs under simulation"
    )]
    fn commit_blocking(&mut self, items: &[Item]) -> Result<(), WalError> {
        let plan = self.compose(items)?;
        let place = loop {
            match self.try_place()? {
                Some(place) => break place,
                None => std::thread::sleep(SPACE_RETRY),
            }
        };
        self.write(&place, &plan)?;
        self.sync(&place)?;
        self.finish(items, plan, &place);
        Ok(())
    }

    async fn commit(&mut self, items: &mut [Item]) -> Result<(), WalError> {
        let plan = self.compose(items)?;
        let place = loop {
            match self.try_place()? {
                Some(place) => break place,
                None => tokio::time::sleep(SPACE_RETRY).await,
            }
        };
        self.write(&place, &plan)?;
        let delay = place.segment.file.simulated_sync_delay();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        self.sync(&place)?;
        self.finish(items, plan, &place);
        Ok(())
    }

    /// The batch's place; `None` while the disk is full.
    fn try_place(&mut self) -> Result<Option<Place>, WalError> {
        let counters = &self.shared.counters;
        match self.log.place(&self.batch) {
            Ok((segment, offset)) => {
                counters.waits_for_space.store(false, Ordering::Relaxed);
                Ok(Some(Place { segment, offset }))
            }
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                if !counters.waits_for_space.swap(true, Ordering::Relaxed) {
                    tracing::warn!("the disk is full: the log waits for space");
                }
                // Who closes the log does not wait for someone to free space.
                self.shared.queue.refusal().map_or(Ok(None), Err)
            }
            Err(error) => Err(WalError::io("create", "a segment", error)),
        }
    }

    fn write(&mut self, place: &Place, plan: &Plan) -> Result<(), WalError> {
        let oldest = self.log.sequence_after(plan.recycled).expect("the segment being written is never given up");
        let (offset, bytes) = self.batch.seal(&place.segment, place.offset, self.log.previous(), oldest);
        self.shared.counters.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        let segment = &place.segment;
        segment.file.write_at(offset, bytes).map_err(|error| WalError::io("write", &segment.name, error))
    }

    fn sync(&mut self, place: &Place) -> Result<(), WalError> {
        let segment = &place.segment;
        if mutation::is(Mutant::AnswerBeforeSync) {
            self.log.advance(self.batch.end_when_sealed(place.offset));
            return Ok(());
        }
        segment.file.sync_data().map_err(|error| WalError::io("sync", &segment.name, error))?;
        self.log.advance(self.batch.end_when_sealed(place.offset));
        Ok(())
    }

    fn count_segments(&self) {
        let counters = &self.shared.counters;
        counters.segments.store(self.log.len() as u64, Ordering::Relaxed);
        counters.spares.store(self.log.spares() as u64, Ordering::Relaxed);
    }
}
