//! Every copy's side: committed commands become data, alike on each replica.
//!
//! ```text
//!   entries ─▶ judged against the applied lease and generation ─▶ effects ⧺ applied record ⧺ statistics ─▶ engine, one batch
//!                                                                    └ then: lease, proposals settled, events
//! ```
//!
//! Several entries share an engine batch; a split ends one, so that the right side begins with what the left had then, and so does a
//! check, so that every replica looks at what it had at that entry. The engine may block, so none of this is done on the thread that
//! runs it: see [`crate::engine::EngineWriter`].
//! Invariants: `applied_with_effects`, `deterministic_application`, `log_order` (entries apply in the order of their
//! positions, each once).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clock::Timestamp;
use clock::mutation::{self, Mutant};
use prost::Message;
use raft_groups::{
    AppliedState, CommittedEntry, EntryKind, GroupStatus, NodeId, ReplicaId, SnapshotSink, SnapshotSource,
    StateMachine, StateMachineError, initial_state,
};

use super::propose::Fate;
use super::state::RangeState;
use super::{RangeView, Replica};
use crate::command::{Check, Command, Condemn, DescriptorChange, Split, Trigger};
use crate::descriptor::RangeDescriptor;
use crate::engine::{EngineError, WriteBatch};
use crate::lease::LeaseChange;

/// How long a replica without room waits before it looks again.
const ROOM_PAUSE: Duration = Duration::from_millis(100);

/// How long a replica waits for an engine that is behind before it looks again.
const BEHIND_PAUSE: Duration = Duration::from_millis(20);

/// What applying a command means for this process, once the engine has the effects.
enum After {
    Settle(u64, Fate),
    Lease(u64, LeaseChange),
    Split(Box<Split>),
    Descriptor,
    Check(Check),
    Condemn(String),
}

/// Entries on their way into one engine batch.
struct Staged {
    state: RangeState,
    batch: WriteBatch,
    view_changes: bool,
    after: Vec<After>,
}

#[async_trait]
impl StateMachine for Replica {
    fn applied_state(&self) -> Result<AppliedState, StateMachineError> {
        Ok(self.applied.lock().applied.clone())
    }

    async fn apply(&self, entries: Vec<CommittedEntry>) -> Result<(), StateMachineError> {
        self.until_room().await?;
        let mut staged = self.begin_staging();
        for entry in entries {
            let position = entry.position;
            assert!(
                staged.state.applied.last_applied.is_none_or(|last| last.index < position.index),
                "log_order: entry {position:?} was to be applied after {:?}",
                staged.state.applied.last_applied
            );
            staged.state.applied.last_applied = Some(position);
            match entry.kind {
                EntryKind::Blank => {}
                EntryKind::Membership(_) if mutation::is(Mutant::MembershipForgotten) => {}
                EntryKind::Membership(membership) => staged.state.applied.membership = membership,
                EntryKind::Command(bytes) => {
                    let command = Command::decode(bytes).map_err(StateMachineError::new)?;
                    let ends_batch = self.stage(&mut staged, command).await?;
                    if ends_batch {
                        self.flush(staged).await?;
                        staged = self.begin_staging();
                    }
                }
            }
        }
        self.flush(staged).await
    }

    async fn make_durable(&self) -> Result<(), StateMachineError> {
        let engine = self.engine.clone();
        self.tasks.blocking(move || engine.sync()).await.map_err(StateMachineError::new)
    }

    fn open_snapshot(&self) -> Result<Box<dyn SnapshotSource>, StateMachineError> {
        self.events.open_snapshot(&self.handle())
    }

    async fn begin_install(&self, state: AppliedState) -> Result<Box<dyn SnapshotSink>, StateMachineError> {
        self.events.begin_install(&self.handle(), state).await
    }

    fn leadership(&self, status: &GroupStatus) {
        self.changed.notify_waiters();
        if let Some(replica) = self.this.upgrade() {
            self.events.leadership(&replica, status);
        }
    }
}

impl Replica {
    /// Waits while a write could fail for want of space: an engine does not survive that.
    async fn until_room(&self) -> Result<(), StateMachineError> {
        while !self.events.has_room() {
            if self.is_shut_down() {
                return Err(StateMachineError::refused("the replica was closed while it waited for space"));
            }
            tokio::time::sleep(ROOM_PAUSE).await;
        }
        Ok(())
    }

    /// Waits while the engine has writers wait for its flushes.
    async fn until_caught_up(&self) {
        loop {
            let engine = self.engine.clone();
            if !self.tasks.blocking(move || engine.is_behind()).await {
                return;
            }
            tokio::time::sleep(BEHIND_PAUSE).await;
        }
    }

    fn begin_staging(&self) -> Staged {
        let state = self.applied.lock().clone();
        Staged { state, batch: WriteBatch::new(), view_changes: false, after: Vec::new() }
    }

    /// Judges a command against the applied state and stages its effects; whether the batch must end with it.
    async fn stage(&self, staged: &mut Staged, mut command: Command) -> Result<bool, StateMachineError> {
        let proposal = command.proposal;
        if let Some(Trigger::Lease(change)) = command.trigger {
            match staged.state.lease.check_change(&change) {
                Ok(lease) => {
                    staged.state.lease = lease;
                    staged.state.write_lease(&mut staged.batch);
                    staged.after.push(After::Lease(proposal, change));
                }
                Err(refusal) => {
                    tracing::debug!(range = self.range_id, %refusal, "a lease change was rejected");
                    staged.after.push(After::Settle(proposal, Fate::Rejected));
                }
            }
            return Ok(false);
        }
        let stale = match &command.trigger {
            Some(Trigger::Descriptor(change)) => change.expected_generation != staged.state.descriptor.generation,
            Some(Trigger::Split(split)) => split.left.generation != staged.state.descriptor.generation + 1,
            _ => false,
        };
        let other_lease = command.lease_sequence != staged.state.lease.sequence;
        if stale || (other_lease && !mutation::is(Mutant::LeaseSequenceIgnored)) {
            staged.after.push(After::Settle(proposal, Fate::Rejected));
            return Ok(false);
        }
        self.audit_application(command.lease_sequence, staged.state.lease.sequence);
        if mutation::is(Mutant::ReplicaDiverges) && self.node_id == 3 && proposal.is_multiple_of(64) {
            command.batch.ops.pop();
        }
        self.touched.note(&command.batch);
        staged.batch.append(command.batch);
        if let Some(delta) = &command.stats_delta {
            staged.state.stats.add(delta);
        }
        let ends_batch = matches!(command.trigger, Some(Trigger::Split(_) | Trigger::Check(_)));
        match command.trigger {
            Some(Trigger::GcThreshold(gc)) => {
                staged.state.gc_threshold = staged.state.gc_threshold.max(gc.threshold);
                staged.state.write_gc_threshold(&mut staged.batch);
                staged.view_changes = true;
            }
            Some(Trigger::Descriptor(change)) => self.stage_descriptor(staged, change),
            Some(Trigger::Split(split)) => self.stage_split(staged, split).await?,
            // First of all that follows: nothing may come between its entry and its snapshot.
            Some(Trigger::Check(check)) => staged.after.insert(0, After::Check(check)),
            Some(Trigger::Condemn(condemn)) => self.stage_condemn(staged, condemn),
            Some(Trigger::Lease(_)) | None => {}
        }
        staged.after.push(After::Settle(proposal, Fate::Applied));
        Ok(ends_batch)
    }

    /// Remembers that this replica cannot be trusted, in the batch that says that it applied that.
    fn stage_condemn(&self, staged: &mut Staged, Condemn { replicas, words }: Condemn) {
        if replicas.contains(&self.replica_id) {
            self.events.condemn(self.range_id, &words, &mut staged.batch);
            staged.after.push(After::Condemn(words));
        }
    }

    fn stage_descriptor(&self, staged: &mut Staged, change: DescriptorChange) {
        staged.state.descriptor = change.descriptor;
        staged.state.write_descriptor(self.replica_id, &mut staged.batch);
        staged.view_changes = true;
        staged.after.push(After::Descriptor);
    }

    /// Derives the right side: statistics, lease, threshold and the first applied state, alike on every replica.
    async fn stage_split(&self, staged: &mut Staged, split: Split) -> Result<(), StateMachineError> {
        let left = &mut staged.state;
        left.descriptor = split.left.clone();
        left.stats.subtract(&split.right_stats);
        left.write_descriptor(self.replica_id, &mut staged.batch);
        if self.events.before_split(&split.right, &mut staged.batch).await? {
            let voters: Vec<(ReplicaId, NodeId)> =
                split.right.voters().map(|replica| (ReplicaId(replica.replica_id), NodeId(replica.node_id))).collect();
            let right = RangeState {
                descriptor: split.right.clone(),
                applied: initial_state(&voters),
                // Received: its holder serves under a sequence of its own, acquired in the right group's term.
                lease: crate::lease::Lease { term: 0, ..left.lease },
                gc_threshold: left.gc_threshold,
                stats: split.right_stats,
            };
            let own = split.right.replicas.iter().find(|replica| replica.node_id == self.node_id);
            if let Some(own) = own {
                right.write_all(own.replica_id, &mut staged.batch);
            }
        }
        staged.view_changes = true;
        staged.after.push(After::Split(Box::new(split)));
        Ok(())
    }

    /// Hands the batch to the engine, where that may block, and then tells everyone.
    async fn flush(&self, staged: Staged) -> Result<(), StateMachineError> {
        let Staged { state, mut batch, view_changes, after } = staged;
        state.write_applied(&mut batch);
        assert!(!batch.is_empty(), "applied_with_effects: a batch carries what it applied");
        if view_changes {
            let splits = after.iter().filter_map(|after| match after {
                After::Split(split) => Some(split.right.clone()),
                _ => None,
            });
            let (replica, descriptor, gc_threshold) = (self.handle(), state.descriptor.clone(), state.gc_threshold);
            let rights: Vec<RangeDescriptor> = splits.collect();
            self.until_caught_up().await;
            let write = move || replica.write_with_view(batch, descriptor, gc_threshold, rights);
            self.tasks.blocking(write).await.map_err(StateMachineError::new)?;
        } else {
            self.writer.write(batch).await.map_err(StateMachineError::new)?;
        }
        *self.applied.lock() = state;
        after.into_iter().for_each(|after| self.after(after));
        Ok(())
    }

    /// Writes a batch and changes the view with it, in the eyes of all readers at once. Blocks, and readers with it. REQUIRES:
    /// the engine has caught up.
    fn write_with_view(
        &self,
        batch: WriteBatch,
        descriptor: RangeDescriptor,
        gc_threshold: Timestamp,
        rights: Vec<RangeDescriptor>,
    ) -> Result<(), EngineError> {
        let mut view = self.view.write();
        self.engine.write(batch)?;
        let mut split_off = view.split_off.clone();
        rights.into_iter().for_each(|right| split_off.insert(0, right));
        split_off.truncate(8);
        *view = Arc::new(RangeView { descriptor, gc_threshold, split_off, ..(**view).clone() });
        Ok(())
    }

    fn after(&self, after: After) {
        match after {
            After::Settle(proposal, fate) => self.settle(proposal, fate),
            After::Lease(proposal, change) => self.after_lease(proposal, &change),
            After::Split(split) => {
                let leaseholder = self.lease.lock().held().is_some();
                self.locks.clear_from(&split.right.start);
                self.events.split_applied(&self.handle(), &split, leaseholder);
            }
            After::Descriptor => {
                let descriptor = self.descriptor();
                let member = descriptor.replicas.iter().any(|replica| replica.replica_id == self.replica_id);
                let replica = self.handle();
                self.events.descriptor_changed(&replica, &descriptor);
                if !member {
                    self.events.removed(&replica);
                }
            }
            After::Check(check) => self.check_applied(&check),
            After::Condemn(words) => self.events.condemned(self.range_id, &words),
        }
    }

    fn after_lease(&self, proposal: u64, change: &LeaseChange) {
        let ours = self.is_open(proposal);
        let mut state = self.lease.lock();
        let moved = change.lease.sequence != state.applied.sequence;
        let was_held = state.held().is_some();
        state.apply(change, ours, self.replica_id);
        let held = state.held().is_some();
        drop(state);
        // Before those of earlier sequences are rejected, of which this change was one.
        self.settle(proposal, Fate::Applied);
        if moved {
            if held && !mutation::is(Mutant::ReadsForgottenWithLease) {
                // Everything served by former holders lies below the start.
                self.reads.raise_low_water(change.lease.start);
            }
            if was_held && !held {
                self.locks.clear_from(&[]);
            }
            // Whatever was evaluated under an earlier sequence is rejected from here on.
            self.reject_proposals_below(change.lease.sequence);
            self.events.lease_changed(&self.handle(), &change.lease, held);
        }
        self.changed.notify_waiters();
    }
}
