//! The leaseholder's side: a batch from arrival to answer.
//!
//! ```text
//!   absorb its timestamps ▶ ┌ lease ▶ latches ▶ lease ▶ lock table ▶ evaluate ▶ lease on the final timestamp ▶ propose ┐
//!                           └──────────◀ blocked: wait, push; intents met; lease moved; command rejected ◀─────────────┘
//! ```
//!
//! Timestamps are absorbed before the lease is looked at, so that whoever takes a start from this clock afterwards
//! takes one above everything served.

use std::time::Duration;

use clock::Timestamp;
use clock::mutation::{self, Mutant};
use parking_lot::Mutex;

use super::lease::HeldLease;
use super::propose::Fate;
use super::{Replica, invalid};
use crate::api::*;
use crate::concurrency::lock_table::LockRequest;
use crate::engine::EngineError;
use crate::evaluate::{self, Declared, Evaluated, Input, Refusal};
use crate::keys;

/// How far a batch has come: what to say when its time is up.
#[derive(Debug)]
pub(super) enum Phase {
    /// It waits for the lease, or for latches of commands whose fate is open.
    Begun,
    /// It waits for a lock.
    Locked(error_detail::Conflict),
    /// Its command is on its way.
    Proposed,
}

/// Where a batch stands in time at this replica.
#[derive(Clone, Copy, Debug)]
struct Times {
    read: Timestamp,
    write: Timestamp,
    uncertainty_limit: Timestamp,
}

/// What one round through the replica came to.
enum Round {
    Answer(BatchResponse),
    /// Once more, from the lease on.
    Again,
    /// What is left of a batch that was cut into pieces.
    Rest(BatchRequest),
}

/// What a request keeps over its rounds.
#[derive(Default)]
struct Attempt<'a> {
    arrival: Option<Arrival<'a>>,
    /// Where a former round moved the reads to: latched from there on.
    floor: Timestamp,
    /// The lease that a former round held.
    held: Option<HeldLease>,
}

impl Attempt<'_> {
    /// The lease of a former round, where a mutant trusts it still.
    fn trusted_lease(&self) -> Option<HeldLease> {
        self.held.filter(|_| mutation::is(Mutant::LeaseCheckedOnce))
    }
}

/// Leaves the lock table's queues however the request ends.
struct Arrival<'a> {
    replica: &'a Replica,
    request: LockRequest,
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        self.replica.locks.leave(&mut self.request);
    }
}

/// Requests of a batch that is evaluated where it arrives: some hundreds of microseconds at most.
const EVALUATED_INLINE: usize = 128;

/// How long a request rests after its command was rejected, so that what rejected it shows.
const REJECTED_PAUSE: Duration = Duration::from_millis(5);

impl Replica {
    /// Evaluates a batch whose keys lie in the range. See [`crate::api`] for what it answers.
    ///
    /// Dropping the future gives up the wait, never a command that was proposed.
    ///
    /// # Errors
    /// Any [`KvError`].
    pub async fn send(&self, batch: BatchRequest) -> Result<BatchResponse, KvError> {
        evaluate::check_shape(&batch)?;
        self.absorb(&batch)?;
        let timeout = match batch.header.timeout_ms {
            0 => self.settings.request_timeout(),
            timeout_ms => Duration::from_millis(timeout_ms),
        };
        let phase = Mutex::new(Phase::Begun);
        match tokio::time::timeout(timeout, self.run(batch, &phase)).await {
            Ok(result) => result,
            Err(_) => Err(self.timed_out(phase.into_inner(), timeout)),
        }
    }

    async fn run(&self, batch: BatchRequest, phase: &Mutex<Phase>) -> Result<BatchResponse, KvError> {
        if let [Request { kind: Some(kind) }] = &batch.requests[..] {
            match kind {
                RequestKind::SplitRange(split) => {
                    let right_range_id = Box::pin(self.split(&split.key)).await?;
                    return Ok(self.plain(ResponseKind::Split(SplitDone { right_range_id })));
                }
                RequestKind::TransferLease(transfer) => {
                    Box::pin(self.transfer_lease(transfer.target_node)).await?;
                    return Ok(self.plain(ResponseKind::Done(Done {})));
                }
                RequestKind::CollectGarbage(collect) => {
                    Box::pin(self.collect_garbage(collect)).await?;
                    return Ok(self.plain(ResponseKind::Done(Done {})));
                }
                RequestKind::ResolveIntents(resolve) if !resolve.span.end.is_empty() => {
                    Box::pin(self.resolve_span(&batch.header, resolve, phase)).await?;
                    return Ok(self.plain(ResponseKind::Done(Done {})));
                }
                _ => {}
            }
        }
        self.run_rounds(batch, phase).await
    }

    /// Evaluates a batch until it is done, piece by piece when it is cut.
    pub(super) async fn run_rounds(
        &self,
        mut batch: BatchRequest,
        phase: &Mutex<Phase>,
    ) -> Result<BatchResponse, KvError> {
        loop {
            let mut attempt = Attempt::default();
            let rest = loop {
                match self.round(&batch, &mut attempt, phase).await? {
                    Round::Answer(response) => {
                        self.audit_pushes(&batch, &response);
                        return Ok(response);
                    }
                    Round::Rest(rest) => break rest,
                    Round::Again => {}
                }
            };
            batch = rest;
        }
    }

    async fn round<'a>(
        &'a self,
        batch: &BatchRequest,
        attempt: &mut Attempt<'a>,
        phase: &Mutex<Phase>,
    ) -> Result<Round, KvError> {
        let mut times = self.times(batch)?;
        times.read = times.read.max(attempt.floor);
        *phase.lock() = Phase::Begun;
        if attempt.trusted_lease().is_none() {
            self.lease_for(times.read.max(times.write)).await?;
        }
        let view = self.view.read().clone();
        if view.is_closed() {
            return Err(self.not_leaseholder(0));
        }
        if !evaluate::is_within(batch, &view.descriptor) {
            return Err(self.mismatch());
        }
        let Declared { latches, locks, writes } =
            evaluate::declare(batch, &view.descriptor, times.read, times.write, times.uncertainty_limit);
        drop(view);
        if writes {
            if attempt.trusted_lease().is_none() {
                self.lease_to_write(times.read.max(times.write)).await?;
            }
            if let Some(message) = self.events.disk_full().filter(|_| adds_data(batch)) {
                return Err(KvError::DiskFull(error_detail::Ended { message, other: None }));
            }
        }
        let mut guard = self.latches.enter(latches);
        if !guard.is_uncontended() {
            guard.ready().await;
        }
        let held = match self.lease.lock().serve(times.read.max(times.write)).or(attempt.trusted_lease()) {
            Some(held) => held,
            None => return Ok(Round::Again),
        };
        attempt.held = Some(held);
        let arrival = attempt.arrival.get_or_insert_with(|| Arrival {
            replica: self,
            request: self.locks.arrive(batch.header.txn.clone(), Vec::new()),
        });
        arrival.request.spans = locks;
        if let Some(blocked) = self.locks.check(&mut arrival.request) {
            self.check_outcome(batch)?;
            drop(guard);
            let (key, other) = (blocked.key.clone(), blocked.holder.as_ref().map(|holder| holder.txn.id));
            *phase.lock() = Phase::Locked(error_detail::Conflict { key, actual: Timestamp::MIN, other });
            Box::pin(self.wait_for_lock(&arrival.request, blocked, batch)).await?;
            return Ok(Round::Again);
        }
        match self.evaluate_fairly(batch, times).await {
            Ok(evaluated) if evaluated.reads.iter().any(|read| read.mark.timestamp > times.read) => {
                // The reads moved up, past where their latches reach: a write on its way there would have been missed.
                let moved = evaluated.response.read_timestamp;
                attempt.floor = moved;
                self.hlc.absorb(moved).map_err(|error| invalid(error.to_string()))?;
                Ok(Round::Again)
            }
            Ok(evaluated) => self.conclude(batch, evaluated, held, guard, phase).await,
            Err(Refusal::Intents(intents)) => {
                let now = self.clock_now()?;
                for intent in intents {
                    self.locks.discover(&intent.key, &intent.txn, now);
                }
                Ok(Round::Again)
            }
            Err(Refusal::Error(error)) => Err(error),
            Err(Refusal::Later { key, at, .. }) => {
                let conflict = error_detail::Conflict { key, actual: at, other: None };
                Err(KvError::WriteTooOld(conflict))
            }
            Err(Refusal::Engine(error)) => Err(self.engine_failed(&error)),
        }
    }

    /// A commit that is sent again and has taken effect must not wait for those who came after it: they may wait for it.
    fn check_outcome(&self, batch: &BatchRequest) -> Result<(), KvError> {
        let (_, reader) = self.read_view()?;
        match evaluate::find_outcome(batch, &*reader) {
            Ok(None) => Ok(()),
            Ok(Some(committed)) => Err(committed),
            Err(error) => Err(self.engine_failed(&error)),
        }
    }

    pub(super) fn engine_failed(&self, error: &EngineError) -> KvError {
        tracing::error!(range = self.range_id, %error, "the engine failed under a request");
        self.events.engine_failed(error);
        invalid(format!("the storage engine failed: {error}"))
    }

    /// Evaluates a batch, a long one where it delays no other task.
    async fn evaluate_fairly(&self, batch: &BatchRequest, times: Times) -> Result<Evaluated, Refusal> {
        if batch.requests.len() <= EVALUATED_INLINE {
            return self.evaluate(batch, times);
        }
        let (replica, batch) = (self.handle(), batch.clone());
        self.tasks.blocking(move || replica.evaluate(&batch, times)).await
    }

    fn evaluate(&self, batch: &BatchRequest, times: Times) -> Result<Evaluated, Refusal> {
        let (view, reader) = self.read_view().map_err(Refusal::Error)?;
        if !evaluate::is_within(batch, &view.descriptor) {
            return Err(Refusal::Error(self.mismatch()));
        }
        let now = self.clock_now()?;
        evaluate::evaluate(&Input {
            batch,
            reader: &*reader,
            view: &view,
            cache: &self.reads,
            waits: &self.waits,
            settings: &self.settings,
            now,
            chosen: times.read,
            uncertainty_limit: times.uncertainty_limit,
        })
    }

    /// Tells the timestamp cache and the lock table what was served, and proposes what is to be written.
    async fn conclude(
        &self,
        batch: &BatchRequest,
        evaluated: Evaluated,
        held: HeldLease,
        guard: crate::concurrency::latches::LatchGuard,
        phase: &Mutex<Phase>,
    ) -> Result<Round, KvError> {
        // Absorbed before the lease is looked at, as on arrival: evaluation may have moved up.
        self.hlc.absorb(evaluated.final_timestamp).map_err(|error| invalid(error.to_string()))?;
        // To where the lease no longer reaches, even; and the lease may have moved meanwhile.
        let still = self.lease.lock().serve(evaluated.final_timestamp);
        let moved = still.is_none_or(|still| still.sequence != held.sequence);
        if moved && !mutation::is(Mutant::LeaseCheckedOnce) {
            drop(guard);
            self.lease_for(evaluated.final_timestamp).await?;
            return Ok(Round::Again);
        }
        self.audit(batch, &evaluated, held);
        for read in &evaluated.reads {
            match &read.end {
                None => self.reads.add_key(&read.start, read.mark),
                Some(end) => self.reads.add_span(&read.start, end, read.mark),
            }
        }
        if let (Some(txn), false) = (&batch.header.txn, evaluated.locks.is_empty()) {
            let now = self.clock_now()?;
            evaluated.locks.iter().for_each(|key| self.locks.acquire(key, txn, now));
        }
        let Evaluated { response, command, lock_updates, rest, .. } = evaluated;
        let fate = match command {
            None => {
                lock_updates.iter().for_each(|update| self.update_locks(update));
                drop(guard);
                Fate::Applied
            }
            Some(command) => {
                *phase.lock() = Phase::Proposed;
                self.propose(command, held, guard, lock_updates).await?
            }
        };
        match (fate, rest) {
            (Fate::Applied, None) => Ok(Round::Answer(response)),
            (Fate::Applied, Some(rest)) => Ok(Round::Rest(rest)),
            // It certainly did not apply: the request is evaluated anew, wherever the lease is now.
            (Fate::Rejected, _) => {
                tokio::time::sleep(REJECTED_PAUSE).await;
                Ok(Round::Again)
            }
            (Fate::Unknown, _) => Err(self.ambiguous("the replica was closed while the command was on its way")),
        }
    }

    fn times(&self, batch: &BatchRequest) -> Result<Times, KvError> {
        let header = &batch.header;
        Ok(match &header.txn {
            Some(txn) => Times {
                read: txn.read_timestamp,
                write: txn.write_timestamp.max(txn.read_timestamp),
                uncertainty_limit: txn.uncertainty_limit,
            },
            None if header.read_timestamp.is_min() => {
                let now = self.clock_now()?;
                Times { read: now, write: now, uncertainty_limit: self.hlc.uncertainty_limit() }
            }
            None => Times {
                read: header.read_timestamp,
                write: header.read_timestamp,
                uncertainty_limit: header.read_timestamp,
            },
        })
    }

    fn absorb(&self, batch: &BatchRequest) -> Result<(), KvError> {
        let header = &batch.header;
        let newest = match &header.txn {
            Some(txn) => txn.read_timestamp.max(txn.write_timestamp),
            None => header.read_timestamp,
        };
        if newest.is_min() {
            return Ok(());
        }
        if header.historical && newest > self.clock_now()? {
            return Err(invalid("AS OF SYSTEM TIME lies in the future"));
        }
        self.hlc.absorb(newest).map_err(|error| invalid(error.to_string()))
    }

    fn plain(&self, kind: ResponseKind) -> BatchResponse {
        BatchResponse { responses: vec![kind.into()], ranges: vec![self.range_id], ..BatchResponse::default() }
    }

    fn timed_out(&self, phase: Phase, timeout: Duration) -> KvError {
        let missing_nodes = self.missing_nodes();
        match phase {
            Phase::Locked(conflict) => KvError::LockUnavailable(conflict),
            Phase::Proposed => self.ambiguous(&format!(
                "range {} did not confirm the command within {} ms; nodes not heard from: {missing_nodes:?}",
                self.range_id,
                timeout.as_millis()
            )),
            Phase::Begun => KvError::Unavailable(error_detail::Unavailable {
                range_id: self.range_id,
                message: format!(
                    "no quorum or lease within {} ms; nodes not heard from: {missing_nodes:?}",
                    timeout.as_millis()
                ),
                missing_nodes,
            }),
        }
    }

    /// The nodes of voters that the leader has not heard lately; empty when this replica does not lead.
    fn missing_nodes(&self) -> Vec<u64> {
        let Some(proposer) = self.proposer.get() else { return Vec::new() };
        let status = proposer.status();
        if !status.is_leader {
            return Vec::new();
        }
        let silent = |replica: &raft_groups::ReplicaId| {
            replica.0 != self.replica_id
                && status
                    .peers
                    .get(replica)
                    .and_then(|peer| peer.heard_ago)
                    .is_none_or(|ago| ago > Duration::from_secs(2))
        };
        status.voters.iter().filter(|(replica, _)| silent(replica)).map(|(_, node)| node.0).collect()
    }
}

/// Whether the batch makes a table larger: what a full disk refuses. Ends, resolutions and removals are let through, and what
/// the system writes for itself: reads need leases on the catalog, and the reserve below the floor is there for such.
fn adds_data(batch: &BatchRequest) -> bool {
    batch
        .requests
        .iter()
        .any(|request| matches!(&request.kind, Some(RequestKind::Put(put)) if put.key.starts_with(&[keys::TABLE])))
}
