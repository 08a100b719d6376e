//! Commands on their way: from proposal to application, or to the proof that they cannot apply.
//!
//! ```text
//!   propose ─▶ registered under its ID with its latches ─▶ log ─▶ applied here   ─▶ answered, latches leave
//!                                       │                    └▶ rejected by sequence ─▶ the same, may be tried again
//!                                       └ certainly not appended ─▶ the same
//!                                       └ fate unknown ─▶ kept until a newer lease sequence applies
//! ```
//!
//! Who waits may give up (its client is gone, its time is up): the registered command keeps the latches.
//! Invariants: `propose_once`, `latches_until_fate`.

use std::collections::BTreeMap;

use clock::mutation::{self, Mutant};
use prost::Message;
use raft_groups::ProposeError;
use tokio::sync::oneshot;

use super::Replica;
use super::lease::HeldLease;
use crate::api::KvError;
use crate::command::Command;
use crate::concurrency::latches::LatchGuard;
use crate::evaluate::LockUpdate;

/// A command larger than this is refused; the log carries up to 64 MiB a message.
const COMMAND_LIMIT_BYTES: usize = 48 << 20;

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It applied.
    Applied,
    /// It did not, and never will.
    Rejected,
    /// Not known in time.
    Unknown,
}

/// A command whose fate is open.
#[derive(Debug)]
pub(super) struct Pending {
    lease_sequence: u64,
    latches: Option<LatchGuard>,
    lock_updates: Vec<LockUpdate>,
    done: Option<oneshot::Sender<Fate>>,
}

impl Pending {
    pub fn of_lease_change(lease_sequence: u64) -> Self {
        Pending { lease_sequence, latches: None, lock_updates: Vec::new(), done: None }
    }
}

/// The commands of this replica whose fate is open, by proposal ID.
#[derive(Debug, Default)]
pub(super) struct Proposals {
    open: BTreeMap<u64, Pending>,
}

/// How long a mutant waits to hear of a proposal.
const MUTANT_PATIENCE: std::time::Duration = std::time::Duration::from_millis(200);

impl Replica {
    /// Replicates a command under its latches; returns what became of it.
    pub(super) async fn propose(
        &self,
        mut command: Command,
        held: HeldLease,
        latches: LatchGuard,
        lock_updates: Vec<LockUpdate>,
    ) -> Result<Fate, KvError> {
        let Some(proposer) = self.proposer.get().cloned() else { return Ok(Fate::Rejected) };
        command.proposal = self.random.next_u64();
        command.lease_sequence = held.sequence;
        let bytes = command.encode_to_vec();
        if bytes.len() > COMMAND_LIMIT_BYTES {
            return Err(KvError::too_large(bytes.len(), COMMAND_LIMIT_BYTES));
        }
        let proposal = command.proposal;
        drop(command);
        let pending = Pending { lease_sequence: held.sequence, latches: Some(latches), lock_updates, done: None };
        let mut fate = self.register(proposal, pending);
        let replica = self.handle();
        // A task of its own, so that a client that goes away does not take the proposal with it half-way.
        self.tasks.spawn("propose", async move {
            match proposer.propose(bytes.into(), held.term).await {
                Ok(()) => {}
                Err(ProposeError::Unknown) => {
                    tracing::debug!(range = replica.range_id, proposal, "the fate of a proposal is unknown");
                }
                Err(ProposeError::NotLeader { .. } | ProposeError::ShuttingDown) => {
                    replica.settle(proposal, Fate::Rejected);
                }
            }
        });
        if mutation::is(Mutant::SilenceIsRejection) {
            if let Ok(told) = tokio::time::timeout(MUTANT_PATIENCE, &mut fate).await {
                return Ok(told.unwrap_or(Fate::Unknown));
            }
            self.settle(proposal, Fate::Rejected);
        }
        Ok(fate.await.unwrap_or(Fate::Unknown))
    }

    /// Enters a command whose fate is open. REQUIRES: it was not handed to the log yet.
    pub(super) fn register(&self, proposal: u64, mut pending: Pending) -> oneshot::Receiver<Fate> {
        let (done, fate) = oneshot::channel();
        pending.done = Some(done);
        let former = self.proposals.lock().open.insert(proposal, pending);
        assert!(former.is_none(), "propose_once: proposal {proposal:x} is on its way already");
        fate
    }

    /// Whether this process proposed it, and its fate is open.
    pub(super) fn is_open(&self, proposal: u64) -> bool {
        self.proposals.lock().open.contains_key(&proposal)
    }

    /// The fate of a command is known: its locks change hands, its latches leave, and who waits is told.
    pub(super) fn settle(&self, proposal: u64, fate: Fate) {
        let Some(pending) = self.proposals.lock().open.remove(&proposal) else { return };
        self.finish(pending, fate);
    }

    /// No command evaluated under a sequence below this can apply any more.
    pub(super) fn reject_proposals_below(&self, sequence: u64) {
        let rejected: Vec<Pending> = {
            let mut proposals = self.proposals.lock();
            let (keep, gone) = std::mem::take(&mut proposals.open)
                .into_iter()
                .partition(|(_, pending): &(u64, Pending)| pending.lease_sequence >= sequence);
            proposals.open = keep;
            let gone: BTreeMap<u64, Pending> = gone;
            gone.into_values().collect()
        };
        for pending in rejected {
            self.finish(pending, Fate::Rejected);
        }
    }

    /// A snapshot took the place of the entries that would have told what became of the commands on their way: it may
    /// contain their effects. Their latches leave all the same, since this process holds no lease any more, and under the next
    /// one it gets none of them can apply.
    pub(super) fn lose_sight_of_proposals(&self) {
        let open = std::mem::take(&mut self.proposals.lock().open);
        for pending in open.into_values() {
            self.finish(pending, Fate::Unknown);
        }
    }

    fn finish(&self, pending: Pending, fate: Fate) {
        assert!(
            fate != Fate::Unknown || self.lease.lock().held().is_none(),
            "latches_until_fate: latches of a command that may yet apply were to be left"
        );
        if fate == Fate::Applied {
            for update in &pending.lock_updates {
                self.update_locks(update);
            }
        }
        drop(pending.latches);
        if let Some(done) = pending.done {
            let _ = done.send(fate);
        }
    }

    /// Tells the lock table what an evaluated request came to.
    pub(super) fn update_locks(&self, update: &LockUpdate) {
        match update {
            LockUpdate::Txn { txn } => self.locks.update_span(&[], &[], *txn, true, clock::Timestamp::MIN),
            LockUpdate::Key { key, txn, ended, timestamp } => self.locks.update(key, *txn, *ended, *timestamp),
            LockUpdate::Span { start, end, txn, ended, timestamp } => {
                self.locks.update_span(start, end, *txn, *ended, *timestamp);
            }
            LockUpdate::Intent { key, txn } => self.locks.release_replicated(key, *txn),
            LockUpdate::Release { start, end, txn } => self.locks.release_unreplicated(start, end, *txn),
        }
    }
}
