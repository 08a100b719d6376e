//! A replica's part in comparing it with its peers: see [`crate::consistency`].
//!
//! ```text
//!   applied ─▶ snapshot of the engine, at once ─▶ task: digest, piece by piece, paced ─▶ kept while somebody asks
//!                                                 └ or the snapshot itself is kept, and read by pieces
//! ```
//!
//! Whatever is kept is given up when nobody has asked for it for a while, when newer checks have taken its place, or when the replica
//! is closed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::propose::Fate;
use super::{RangeState, Replica};
use crate::api::KvError;
use crate::command::{Check, Command, Condemn, Trigger};
use crate::consistency::{Digest, Piece, Walk, now};
use crate::descriptor::RangeDescriptor;
use crate::engine::{EngineError, Reader};

/// Checks that a replica keeps at a time.
const KEPT_MAX: usize = 4;

/// What nobody has asked for in so long is given up.
const ASKED_WITHIN: Duration = Duration::from_secs(15);

/// How many entries are read between two pauses.
const STEP_ENTRIES: u64 = 4_096;

/// How much of a snapshot one question reads: entries, and bytes.
const PIECE_MAX: (u64, u64) = (4_096, 512 << 10);

/// The checks of a replica, by ID.
#[derive(Default)]
pub(super) struct Checks {
    kept: Mutex<BTreeMap<u64, Arc<Kept>>>,
}

/// One check that was applied.
struct Kept {
    /// The entry of it.
    index: u64,
    /// When it was asked for last.
    asked: Mutex<Instant>,
    progress: Mutex<Progress>,
}

/// How far a check is.
enum Progress {
    Computing,
    Computed(Digest),
    /// What the engine held, to be read.
    Open(View),
    Refused(String),
}

/// What the engine held at the entry of a check.
#[derive(Clone)]
struct View {
    reader: Arc<dyn Reader>,
    descriptor: Arc<RangeDescriptor>,
    /// One of the node's few.
    _leave: Arc<OwnedSemaphorePermit>,
}

/// What a replica says of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckAnswer {
    /// It has not applied it, or knows nothing of it any more.
    Unknown,
    /// It is at it; a snapshot that is asked for can be read.
    Begun,
    /// The index of the entry, and the digest of what it held there.
    Computed(u64, Digest),
    /// It does not, and why.
    Refused(String),
}

impl Checks {
    fn find(&self, check_id: u64) -> Option<Arc<Kept>> {
        let kept = self.kept.lock().get(&check_id).cloned()?;
        *kept.asked.lock() = now();
        Some(kept)
    }

    fn keep(&self, check_id: u64, kept: Arc<Kept>) {
        let mut all = self.kept.lock();
        all.insert(check_id, kept);
        while all.len() > KEPT_MAX {
            let oldest = all.iter().min_by_key(|(_, kept)| kept.index).map(|(id, _)| *id);
            oldest.and_then(|id| all.remove(&id));
        }
    }

    fn is_wanted(&self, check_id: u64, kept: &Arc<Kept>) -> bool {
        let is_kept = self.kept.lock().get(&check_id).is_some_and(|found| Arc::ptr_eq(found, kept));
        is_kept && kept.asked.lock().elapsed() < ASKED_WITHIN
    }

    fn forget(&self, check_id: u64, kept: &Arc<Kept>) {
        let mut all = self.kept.lock();
        if all.get(&check_id).is_some_and(|found| Arc::ptr_eq(found, kept)) {
            all.remove(&check_id);
        }
    }
}

impl Replica {
    /// Has every replica of the range take a snapshot at the same entry, and compute its digest or keep it to be read. REQUIRES: this
    /// replica leads.
    ///
    /// # Errors
    /// `NotLeaseholder`; `Ambiguous`, with which nothing is lost.
    pub async fn begin_check(&self, keep_view: bool) -> Result<u64, KvError> {
        let check_id = self.random.next_u64();
        self.propose_trigger(Trigger::Check(Check { check_id, keep_view })).await?;
        Ok(check_id)
    }

    /// Has these replicas leave service, since what they hold is not what a majority holds.
    ///
    /// # Errors
    /// As [`Replica::begin_check`].
    pub async fn condemn(&self, replicas: Vec<u64>, words: String) -> Result<(), KvError> {
        self.propose_trigger(Trigger::Condemn(Condemn { replicas, words })).await
    }

    async fn propose_trigger(&self, trigger: Trigger) -> Result<(), KvError> {
        // It reads and writes no key that a request could: where it stands in the log is all that counts.
        let latches = self.latches.enter(Vec::new());
        let held = self.lease_to_write(self.clock_now()?).await?;
        let command = Command { trigger: Some(trigger), ..Command::default() };
        match self.propose(command, held, latches, Vec::new()).await? {
            Fate::Applied => Ok(()),
            Fate::Rejected => Err(self.not_leaseholder(0)),
            Fate::Unknown => Err(self.ambiguous("a check was proposed, and its fate is not known")),
        }
    }

    /// What this replica says of a check.
    pub fn check_answer(&self, check_id: u64) -> CheckAnswer {
        let Some(kept) = self.checks.find(check_id) else { return CheckAnswer::Unknown };
        match &*kept.progress.lock() {
            Progress::Computing | Progress::Open(_) => CheckAnswer::Begun,
            Progress::Computed(digest) => CheckAnswer::Computed(kept.index, *digest),
            Progress::Refused(words) => CheckAnswer::Refused(words.clone()),
        }
    }

    /// What lies in `[start, end)` of the engine's keys in the snapshot that was kept for a check; an empty end is the end.
    ///
    /// # Errors
    /// When it is not kept, or the engine fails.
    pub async fn read_checked(
        &self,
        check_id: u64,
        start: Bytes,
        end: Bytes,
        entries_max: u64,
        with_entries: bool,
    ) -> Result<Piece, String> {
        let kept = self.checks.find(check_id).ok_or("the check is not known here, or no more")?;
        let view = match &*kept.progress.lock() {
            Progress::Open(view) => view.clone(),
            _ => return Err("no snapshot is kept for the check".to_owned()),
        };
        let max = (entries_max.min(PIECE_MAX.0), PIECE_MAX.1);
        let read = move || Piece::read(&*view.reader, &view.descriptor, (start, &end), max, with_entries);
        let piece = self.tasks.blocking(read).await.map_err(|error| error.to_string())?;
        self.limits.read(piece.digest.bytes).await;
        Ok(piece)
    }

    /// A check has just applied: its snapshot is taken before anything else does.
    pub(super) fn check_applied(&self, check: &Check) {
        let state = &self.applied.lock().clone();
        let progress = match self.limits.take_view() {
            Some(leave) if check.keep_view => {
                let (reader, descriptor) = (self.engine.snapshot().into(), Arc::new(state.descriptor.clone()));
                Progress::Open(View { reader, descriptor, _leave: Arc::new(leave) })
            }
            Some(leave) => {
                let (reader, descriptor) = (self.engine.snapshot().into(), Arc::new(state.descriptor.clone()));
                return self.begin(
                    check.check_id,
                    state,
                    Progress::Computing,
                    Some(View { reader, descriptor, _leave: Arc::new(leave) }),
                );
            }
            None => Progress::Refused("too many checks are under way there".to_owned()),
        };
        self.begin(check.check_id, state, progress, None);
    }

    fn begin(&self, check_id: u64, state: &RangeState, progress: Progress, compute: Option<View>) {
        let index = state.applied.last_applied.map_or(0, |position| position.index);
        let kept = Arc::new(Kept { index, asked: Mutex::new(now()), progress: Mutex::new(progress) });
        self.checks.keep(check_id, kept.clone());
        let replica = self.handle();
        self.tasks.spawn("check", async move {
            if let Some(view) = compute {
                let progress = replica.compute(check_id, &kept, view).await;
                // What is kept of it is small, and gives way to newer checks.
                *kept.progress.lock() = progress;
                return;
            }
            if !matches!(&*kept.progress.lock(), Progress::Open(_)) {
                return;
            }
            let weak = Arc::downgrade(&replica);
            drop(replica);
            loop {
                tokio::time::sleep(ASKED_WITHIN).await;
                let Some(replica) = weak.upgrade() else { return };
                if replica.is_shut_down() || !replica.checks.is_wanted(check_id, &kept) {
                    return replica.checks.forget(check_id, &kept);
                }
            }
        });
    }

    /// The digest of all there is, at the pace of the node's checks.
    async fn compute(&self, check_id: u64, kept: &Arc<Kept>, view: View) -> Progress {
        let mut digest = Digest::default();
        // The bounds as the replica has them for itself.
        digest.add(b"", &view.descriptor.encode_to_vec());
        let mut walk = Walk::over(&view.descriptor, Bytes::new(), &[]);
        loop {
            let (reader, max) = (view.reader.clone(), (STEP_ENTRIES, self.limits.step_bytes()));
            let step = move || -> Result<(Walk, Digest, bool), EngineError> {
                let more = walk.step(&*reader, max, |key, value| digest.add(key, value))?;
                Ok((walk, digest, more))
            };
            let before = digest.bytes;
            match self.tasks.blocking(step).await {
                Ok((_, digest, false)) => return Progress::Computed(digest),
                Ok((further, so_far, true)) => (walk, digest) = (further, so_far),
                Err(error) => {
                    self.events.engine_failed(&error);
                    return Progress::Refused(format!("its engine cannot be read: {error}"));
                }
            }
            self.limits.read(digest.bytes - before).await;
            if self.is_shut_down() || !self.checks.is_wanted(check_id, kept) {
                return Progress::Refused("it was given up".to_owned());
            }
        }
    }

    /// The digest of what the replica holds now, with the index it is of: what a check would compute here.
    ///
    /// # Errors
    /// When the engine fails, or holds the replica no more, or only half of it.
    pub fn digest(&self) -> Result<(u64, Digest), super::ReplicaError> {
        let (state, reader) = self.snapshot()?;
        let mut digest = Digest::default();
        digest.add(b"", &state.descriptor.encode_to_vec());
        let mut walk = Walk::over(&state.descriptor, Bytes::new(), &[]);
        while walk.step(&*reader, (STEP_ENTRIES, u64::MAX), |key, value| digest.add(key, value))? {}
        Ok((state.applied.last_applied.map_or(0, |position| position.index), digest))
    }
}
