//! Getting, keeping and giving up the lease.
//!
//! ```text
//!   request at ts ─▶ ts below what may be served? ─ yes ─▶ go on (and extend in the background past half the lease)
//!                        │ no
//!                        ├ leader, lease ours in this term ─▶ extend
//!                        ├ leader, lease ours otherwise    ─▶ new sequence at once, start = Hlc::now()
//!                        ├ leader, another's lease         ─▶ wait until earliest > expiration, then new sequence
//!                        └ not leader                      ─▶ redirect
//! ```
//!
//! One change is proposed at a time; everyone who needs it waits for it. While a change by this holder is on its way,
//! nothing at or above its start is served under the former sequence; a transfer once proposed stops service for good.

use std::time::Duration;

use clock::Timestamp;
use clock::mutation::{self, Mutant};
use prost::Message;
use raft_groups::ProposeError;

use super::propose::{Fate, Pending};
use super::{Proposer, Replica};
use crate::api::{KvError, error_detail};
use crate::command::{Command, Trigger};
use crate::lease::{Lease, LeaseChange};

/// How long a request looks again for a leader before it is sent elsewhere.
const LEADER_PATIENCE: Duration = Duration::from_millis(300);
/// How long a change rests after the log refused it.
const REFUSED_PAUSE: Duration = Duration::from_millis(5);
/// How long waiting for a change goes on before the state is looked at again, should a bell be missed.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The lease as this process may use it.
#[derive(Debug)]
pub(super) struct LeaseState {
    /// As applied.
    pub applied: Lease,
    /// The sequence this process acquired, if it is the applied one.
    own: Option<u64>,
    /// Serve only below: the expiration, or less while a change is on its way.
    limit: Timestamp,
    /// Where a transfer of the applied sequence was proposed to.
    transferred_to: Option<u64>,
    /// A change is being proposed.
    changing: bool,
}

/// The right to evaluate: which sequence, in which term, and up to when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeldLease {
    pub sequence: u64,
    pub term: u64,
    /// Exclusive.
    pub limit: Timestamp,
}

impl LeaseState {
    pub fn new(applied: Lease) -> Self {
        LeaseState { applied, own: None, limit: Timestamp::MIN, transferred_to: None, changing: false }
    }

    /// What a mutant takes a lease for: its own still, although it was restarted.
    pub fn held_from_former_life(applied: Lease) -> Self {
        LeaseState { own: Some(applied.sequence), limit: applied.expiration, ..LeaseState::new(applied) }
    }

    /// Takes over a lease that came with a snapshot: never this process's own.
    pub fn install(&mut self, applied: Lease) {
        let changing = self.changing;
        *self = LeaseState { changing, ..LeaseState::new(applied) };
    }

    /// The lease, if a request at the timestamp may be served under it.
    pub fn serve(&self, at: Timestamp) -> Option<HeldLease> {
        let held = self.held()?;
        (at < held.limit || mutation::is(Mutant::LeaseNeverEnds)).then_some(held)
    }

    /// The lease, if this process holds it, whatever timestamps it still covers.
    pub fn held(&self) -> Option<HeldLease> {
        let sequence = self.own.filter(|own| *own == self.applied.sequence)?;
        Some(HeldLease { sequence, term: self.applied.term, limit: self.limit })
    }

    /// A change has applied. `ours`: this very process proposed it.
    pub fn apply(&mut self, change: &LeaseChange, ours: bool, replica: u64) {
        let next = change.lease;
        if next.sequence == self.applied.sequence {
            if self.limit == self.applied.expiration {
                self.limit = next.expiration;
            }
            self.applied = next;
            return;
        }
        let acquired = ours && next.holder == replica && next.term > 0;
        let former_end = if self.own.is_some() { self.limit } else { Timestamp::MIN };
        assert!(
            former_end <= next.start,
            "lease_disjointness: sequence {} was served up to {former_end}, {} starts at {}",
            self.applied.sequence,
            next.sequence,
            next.start
        );
        self.applied = next;
        self.own = acquired.then_some(next.sequence);
        self.limit = if acquired { next.expiration } else { Timestamp::MIN };
        self.transferred_to = None;
    }
}

/// What to do about a lease that does not cover a request.
enum Step {
    /// A change is on its way.
    AwaitChange,
    /// The former lease has to run out first.
    AwaitExpiry(Duration),
    /// This replica is about to become leader, or nobody is.
    AwaitLeader(Option<u64>),
    /// Another node.
    Redirect(u64),
}

impl Replica {
    /// The lease, once it covers the timestamp.
    pub(super) async fn lease_for(&self, at: Timestamp) -> Result<HeldLease, KvError> {
        let mut patience = LEADER_PATIENCE;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            // Bound first: in the condition, the guard would live through the body, which locks again.
            let served = self.lease.lock().serve(at);
            if let Some(held) = served {
                self.extend_when_due(held);
                return Ok(held);
            }
            if self.is_shut_down() {
                return Err(self.not_leaseholder(0));
            }
            match self.lease_step()? {
                Step::AwaitChange => {
                    let _ = tokio::time::timeout(LOOK_AGAIN, changed).await;
                }
                Step::AwaitExpiry(duration) => {
                    let _ = tokio::time::timeout(duration, changed).await;
                }
                Step::AwaitLeader(hint) if patience.is_zero() => return Err(self.not_leaseholder(hint.unwrap_or(0))),
                Step::AwaitLeader(_) => {
                    let _ = tokio::time::timeout(LOOK_AGAIN, changed).await;
                    patience = patience.saturating_sub(LOOK_AGAIN);
                }
                Step::Redirect(node) => return Err(self.not_leaseholder(node)),
            }
        }
    }

    /// The lease, once it covers the timestamp and belongs to the term this replica leads in: what a proposal needs.
    pub(super) async fn lease_to_write(&self, at: Timestamp) -> Result<HeldLease, KvError> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let held = self.lease_for(at).await?;
            let Some(proposer) = self.proposer.get() else { return Err(self.not_leaseholder(0)) };
            match proposer.leader_term() {
                Some(term) if term == held.term => return Ok(held),
                Some(term) => {
                    self.begin_acquisition(term)?;
                    let _ = tokio::time::timeout(LOOK_AGAIN, changed).await;
                }
                // Reads may go on here until the lease runs out; writes need the leader, who then acquires.
                None => return Err(self.not_leaseholder(self.leader_node().unwrap_or(0))),
            }
        }
    }

    fn leader_node(&self) -> Option<u64> {
        let status = self.proposer.get()?.status();
        status.leader_node().map(|(_, node)| node.0).filter(|node| *node != self.node_id)
    }

    /// Whether this replica holds the lease by this node's clock, and may serve now.
    pub fn is_leaseholder(&self) -> bool {
        let now = Timestamp::new(self.hlc.interval().latest_ns, 0);
        self.lease.lock().serve(now).is_some()
    }

    /// Serves nothing more under the lease this process holds, without a word to the others, who wait until it has run out.
    pub fn drop_lease(&self) {
        let mut state = self.lease.lock();
        state.own = None;
        state.limit = Timestamp::MIN;
        drop(state);
        self.changed.notify_waiters();
    }

    /// The applied lease.
    pub fn lease(&self) -> Lease {
        self.lease.lock().applied
    }

    /// Gets the lease, or extends it, if this replica can: keeps a range's lease alive without a request.
    ///
    /// # Errors
    /// `NotLeaseholder`.
    pub async fn keep_lease(&self) -> Result<(), KvError> {
        let now = self.clock_now()?;
        self.lease_for(now).await.map(|_| ())
    }

    pub(super) fn not_leaseholder(&self, holder: u64) -> KvError {
        let view = self.view.read();
        let descriptor = (!view.destroyed).then(|| view.descriptor.clone());
        let detail = error_detail::NotLeaseholder { range_id: self.range_id, node: self.node_id, holder, descriptor };
        KvError::NotLeaseholder(detail)
    }

    /// How long a lease lasts: long enough to be renewed two clock errors early, twice over.
    fn lease_duration(&self) -> Duration {
        self.settings.lease_duration().max(4 * self.hlc.max_clock_error())
    }

    fn extend_when_due(&self, held: HeldLease) {
        let early = (self.lease_duration() / 2).max(2 * self.hlc.max_clock_error() + Duration::from_millis(50));
        let latest = Timestamp::new(self.hlc.interval().latest_ns, 0);
        if latest.plus(early) < held.limit {
            return;
        }
        if self.proposer.get().and_then(|proposer| proposer.leader_term()) == Some(held.term) {
            let _ = self.begin_extension();
        }
    }

    fn lease_step(&self) -> Result<Step, KvError> {
        let Some(proposer) = self.proposer.get() else { return Ok(Step::AwaitLeader(None)) };
        let Some(term) = proposer.leader_term() else { return Ok(self.step_of_follower(&**proposer)) };
        let (lease, held, transferred_to, changing) = {
            let state = self.lease.lock();
            (state.applied, state.held(), state.transferred_to, state.changing)
        };
        if let Some(target) = transferred_to {
            return Ok(Step::Redirect(target));
        }
        if changing {
            return Ok(Step::AwaitChange);
        }
        if held.is_some_and(|held| held.term == term && held.limit == lease.expiration) {
            self.begin_extension()?;
            return Ok(Step::AwaitChange);
        }
        if lease.sequence > 0 && lease.holder != self.replica_id {
            let earliest_ns = self.hlc.interval().earliest_ns;
            if earliest_ns <= lease.expiration.wall_ns && !mutation::is(Mutant::LeaseOverlaps) {
                return Ok(Step::AwaitExpiry(Duration::from_nanos(lease.expiration.wall_ns - earliest_ns + 1)));
            }
        }
        self.begin_acquisition(term)?;
        Ok(Step::AwaitChange)
    }

    fn step_of_follower(&self, proposer: &dyn Proposer) -> Step {
        let status = proposer.status();
        let lease = self.lease.lock().applied;
        let latest = Timestamp::new(self.hlc.interval().latest_ns, 0);
        let leader = status.leader.filter(|leader| leader.0 != self.replica_id);
        let leader_node = leader.and_then(|leader| status.node_of(leader)).map(|node| node.0);
        if lease.holder == self.replica_id || leader_node.is_none() {
            // Received by transfer: leadership follows. Otherwise an election is on.
            return Step::AwaitLeader(leader_node);
        }
        let holder = if lease.sequence > 0 && latest < lease.expiration { Some(lease.node) } else { leader_node };
        Step::Redirect(holder.unwrap_or(0))
    }

    fn begin_extension(&self) -> Result<(), KvError> {
        let now = self.clock_now()?;
        let mut state = self.lease.lock();
        let Some(held) = state.held().filter(|held| !state.changing && held.limit == state.applied.expiration) else {
            return Ok(());
        };
        let expiration = now.plus(self.lease_duration()).max(state.applied.expiration);
        let lease = Lease { expiration, ..state.applied };
        state.changing = true;
        drop(state);
        self.spawn_lease_change(held.sequence, lease, held.term, None);
        Ok(())
    }

    /// Takes a new sequence. REQUIRES: this replica leads in `term`, and holds the applied lease or its
    /// clock's `earliest` has passed the expiration.
    fn begin_acquisition(&self, term: u64) -> Result<(), KvError> {
        let mut state = self.lease.lock();
        if state.changing || state.transferred_to.is_some() {
            return Ok(());
        }
        let former = state.applied;
        // The order matters: first nothing more is served, then the start is taken, above all that was served.
        let restore = std::mem::replace(&mut state.limit, Timestamp::MIN);
        let now = match self.clock_now() {
            Ok(now) => now,
            Err(error) => {
                state.limit = restore;
                return Err(error);
            }
        };
        let own = former.sequence > 0 && former.holder == self.replica_id;
        let may_overlap = own || mutation::is(Mutant::LeaseOverlaps);
        let start = if may_overlap { now.max(former.start) } else { now.max(former.expiration) };
        state.limit = restore.min(start);
        state.changing = true;
        drop(state);
        let lease = Lease {
            sequence: former.sequence + 1,
            holder: self.replica_id,
            node: self.node_id,
            start,
            expiration: start.plus(self.lease_duration()),
            term,
        };
        self.spawn_lease_change(former.sequence, lease, term, Some(restore));
        Ok(())
    }

    /// Proposes a change in the background. `restore`: the limit to go back to when it certainly cannot apply.
    fn spawn_lease_change(&self, expected_sequence: u64, lease: Lease, term: u64, restore: Option<Timestamp>) {
        let replica = self.handle();
        self.tasks.spawn("lease change", async move {
            let change = LeaseChange { expected_sequence, proposer: replica.replica_id, lease };
            let fate = replica.propose_lease_change(change, term).await;
            tracing::debug!(range = replica.range_id, ?fate, sequence = lease.sequence, "lease change proposed");
            if fate == Fate::Rejected && replica.lease().sequence == expected_sequence {
                // Refused at the door: a new leader takes nothing before a quorum has answered it.
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
            let mut state = replica.lease.lock();
            state.changing = false;
            if let (Fate::Rejected, Some(restore), true) = (fate, restore, state.applied.sequence == expected_sequence)
            {
                state.limit = restore;
            }
            drop(state);
            replica.changed.notify_waiters();
        });
    }

    /// Gives the lease to another replica, and leadership with it.
    pub(super) async fn transfer_lease(&self, target_node: u64) -> Result<(), KvError> {
        if target_node == self.node_id {
            return self.keep_lease().await;
        }
        let Some(proposer) = self.proposer.get().cloned() else { return Err(self.not_leaseholder(0)) };
        let target = self.descriptor().replicas.into_iter().find(|replica| replica.node_id == target_node);
        let Some(target) = target.filter(|replica| proposer.status().voters.contains_key(&replica.replica_id.into()))
        else {
            return Err(super::invalid(format!("node {target_node} holds no voting replica of the range")));
        };
        let now = self.clock_now()?;
        self.lease_for(now).await?;
        let (change, term) = {
            let mut state = self.lease.lock();
            let Some(held) = state.held().filter(|_| state.transferred_to.is_none()) else {
                return Err(self.not_leaseholder(0));
            };
            // Stop serving, then take the start. Whatever becomes of the proposal, this sequence is over here.
            if !mutation::is(Mutant::TransferKeepsServing) {
                state.limit = Timestamp::MIN;
                state.transferred_to = Some(target_node);
            }
            let start = self.clock_now()?.max(state.applied.start);
            let lease = Lease {
                sequence: held.sequence + 1,
                holder: target.replica_id,
                node: target_node,
                start,
                expiration: start.plus(self.lease_duration()),
                term: 0,
            };
            let change = LeaseChange { expected_sequence: held.sequence, proposer: self.replica_id, lease };
            (change, held.term)
        };
        let fate = self.propose_lease_change(change, term).await;
        if fate != Fate::Applied {
            // The sequence is dead for this process. As its holder it takes a new one, should it still lead.
            let mut state = self.lease.lock();
            if state.applied.sequence == change.expected_sequence {
                state.own = None;
                state.transferred_to = None;
            }
            drop(state);
            self.changed.notify_waiters();
            return Err(self.not_leaseholder(0));
        }
        if let Err(error) = proposer.transfer_leadership(target.replica_id.into()).await {
            tracing::info!(range = self.range_id, %error, "the lease was transferred, leadership not yet");
        }
        Ok(())
    }

    async fn propose_lease_change(&self, change: LeaseChange, term: u64) -> Fate {
        let proposal = self.random.next_u64();
        let trigger = Some(Trigger::Lease(change));
        let command = Command { proposal, lease_sequence: change.expected_sequence, trigger, ..Command::default() };
        let Some(proposer) = self.proposer.get().cloned() else { return Fate::Rejected };
        let fate = self.register(proposal, Pending::of_lease_change(change.expected_sequence));
        match proposer.propose(command.encode_to_vec().into(), term).await {
            Ok(()) | Err(ProposeError::Unknown) => {}
            Err(ProposeError::NotLeader { .. } | ProposeError::ShuttingDown) => self.settle(proposal, Fate::Rejected),
        }
        // Unknown: decided by the log, at the latest by the next change that applies.
        match tokio::time::timeout(self.lease_duration(), fate).await {
            Ok(Ok(fate)) => fate,
            Ok(Err(_)) | Err(_) => Fate::Unknown,
        }
    }
}
