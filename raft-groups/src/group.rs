//! One Raft group on this node: what the rest of the system may ask of it.
//!
//! ```text
//!   propose(command, term) ─▶ log (synced here, and on followers at the same time) ─▶ committed ─▶ applied ─▶ Ok
//! ```
//!
//! Invariants: `proposal_fence` (a proposal enters the log only while this replica leads in the very term
//! the caller names, so that nothing proposed under an older lease is appended later); `own_log_synced`
//! (an entry is applied here only once this node's own log has synced it); `stopped_is_still` (once a group has stopped,
//! nothing of it reads or writes its log or its state machine, so that both may be removed or opened anew).
//!
//! The Raft itself is openraft's; nothing outside this folder names its types.

mod codec;
mod compaction;
mod describe;
mod durability;
mod end;
mod log_store;
mod machine;
mod peer;
mod runtime;
mod serve;
mod snapshot;
mod start;
mod status;
mod types;
mod wire;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, Fatal, ForwardToLeader, RaftError};
use openraft::raft::ClientWriteResponse;
use openraft::vote::RaftLeaderId;
use openraft::{ChangeMembers, Instant, RaftMetrics, RaftTypeConfig, ServerState};
use parking_lot::Mutex;
use tokio::sync::oneshot;

pub use codec::initial_state;
pub use describe::describe_message;
pub use end::GroupEnd;
pub(crate) use start::{GroupParts, raft_config, start};
pub use status::{GroupStatus, PeerProgress};
pub(crate) use wire::{RaftAnswer, RaftRequest, SnapshotRequest};

use self::durability::InUse;
use self::end::EndCause;
use self::log_store::SyncedMark;
use self::machine::Machine;
use self::snapshot::Receiver;
use self::types::{Answer, Command, Types};
use crate::state_machine::StateMachine;
use crate::wal::{GroupLog, LogSize};
use crate::{GroupId, LogPosition, NodeId, ReplicaId};

/// What became of a proposal that was not seen to apply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// The command was certainly not appended: this replica does not lead in the term the caller named.
    #[error("this replica does not lead the group in the term asked for")]
    NotLeader {
        /// Who does, as far as known.
        leader: Option<(ReplicaId, NodeId)>,
    },
    /// The command may yet apply.
    #[error("the fate of the proposal is unknown")]
    Unknown,
    /// The group stops on this node. The command was not appended.
    #[error("the group is shutting down on this node")]
    ShuttingDown,
}

/// Why a group operation other than a proposal failed.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// This node has no such group.
    #[error("this node has no replica of {0}")]
    NoSuchGroup(GroupId),
    /// A replica of the group runs here already, or is starting or stopping.
    #[error("this node already runs a replica of {0}")]
    AlreadyRuns(GroupId),
    /// This replica does not lead.
    #[error("this replica does not lead the group")]
    NotLeader {
        /// Who does, as far as known.
        leader: Option<(ReplicaId, NodeId)>,
    },
    /// The membership asked for is not possible now.
    #[error("the membership cannot change: {0}")]
    Membership(String),
    /// Not reached in time.
    #[error("{what} took longer than {timeout_ms} ms")]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// How long.
        timeout_ms: u64,
    },
    /// The group stopped on this node.
    #[error("the group has stopped on this node: {0}")]
    Stopped(String),
}

/// A handle on one group of this node; clones are the same group.
#[derive(Clone)]
pub struct Group {
    inner: Arc<Inner>,
}

/// How long a worker of a stopped group may wait for the log before it is told not to.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

type Raft = openraft::Raft<Types, Machine>;
type WriteError = RaftError<Types, ClientWriteError<Types>>;

struct Inner {
    group: GroupId,
    replica: ReplicaId,
    raft: Raft,
    log: GroupLog,
    metrics: openraft::type_config::alias::WatchReceiverOf<Types, RaftMetrics<Types>>,
    state_machine: Arc<dyn StateMachine>,
    /// What its state machine said of why it ended.
    cause: EndCause,
    receiver: Receiver,
    election_ms_max: u64,
    synced: SyncedMark,
    in_use: tokio::sync::Mutex<InUse>,
    /// Cleared when the group stops, so that the watcher of its leadership ends.
    watcher: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl Group {
    /// The group's ID.
    pub fn id(&self) -> GroupId {
        self.inner.group
    }

    /// This node's replica of it.
    pub fn replica_id(&self) -> ReplicaId {
        self.inner.replica
    }

    /// Replicates a command. `Ok` once it is applied here. Waits as long as it takes: a leader cut off from
    /// its followers neither applies nor discards what it has appended.
    ///
    /// # Errors
    /// [`ProposeError`], which says whether the command may yet apply.
    pub async fn propose(&self, command: Bytes, term: u64) -> Result<(), ProposeError> {
        let (outcome_to, outcome) = oneshot::channel();
        let leader = <Types as RaftTypeConfig>::LeaderId::new(term, 0).to_committed();
        let request = self.inner.raft.write(Command(command)).responder(Answer(outcome_to)).with_leader(leader);
        if request.await.is_err() {
            return Err(ProposeError::ShuttingDown);
        }
        match outcome.await {
            Ok(Ok(_applied)) => Ok(()),
            Ok(Err(ClientWriteError::ForwardToLeader(forward))) => {
                Err(ProposeError::NotLeader { leader: leader_of(&forward) })
            }
            // Appended, and then displaced here by another leader's entries; or the group stopped.
            _ => Err(ProposeError::Unknown),
        }
    }

    /// Where the group stands, as this replica sees it.
    pub fn status(&self) -> GroupStatus {
        let metrics = self.inner.metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let node =
            |replica: u64| (ReplicaId(replica), NodeId(membership.get_node(&replica).copied().unwrap_or_default()));
        let is_leader = metrics.state == ServerState::Leader;
        let mut status = GroupStatus {
            term: metrics.current_term,
            leader: metrics.current_leader.map(ReplicaId),
            is_leader,
            last_applied: metrics.last_applied.as_ref().map(types::position),
            last_log: metrics.last_log_index,
            voters: membership.voter_ids().map(node).collect(),
            learners: membership.learner_ids().map(node).collect(),
            is_joint: membership.get_joint_config().len() > 1,
            peers: Default::default(),
        };
        if is_leader {
            for (replica, matched) in metrics.replication.iter().flatten() {
                let peer = status.peers.entry(ReplicaId(*replica)).or_default();
                peer.matched = matched.as_ref().map(|matched| matched.index());
            }
            for (replica, heard) in metrics.heartbeat.iter().flatten() {
                let peer = status.peers.entry(ReplicaId(*replica)).or_default();
                peer.heard_ago = heard.map(|heard| heard.elapsed());
            }
        }
        status
    }

    /// How long the group's log is on this node.
    pub fn log_size(&self) -> LogSize {
        self.inner.log.size()
    }

    /// Term, if this replica leads in it. Cheaper than [`Group::status`].
    pub fn leader_term(&self) -> Option<u64> {
        let metrics = self.inner.metrics.borrow_watched();
        (metrics.state == ServerState::Leader).then_some(metrics.current_term)
    }

    /// The leader and its node, if this replica knows them. Cheaper than [`Group::status`].
    pub fn leader(&self) -> Option<(ReplicaId, NodeId)> {
        let metrics = self.inner.metrics.borrow_watched();
        let leader = metrics.current_leader?;
        let node = *metrics.membership_config.membership().get_node(&leader)?;
        Some((ReplicaId(leader), NodeId(node)))
    }

    /// Whether, as leader, this replica has heard from a quorum within `window`.
    pub fn heard_quorum_within(&self, window: Duration) -> bool {
        let metrics = self.inner.metrics.borrow_watched();
        if metrics.state != ServerState::Leader {
            return false;
        }
        let sets = metrics.membership_config.membership().get_joint_config();
        let is_quorum_alone = sets.iter().all(|set| set.len() == 1 && set.contains(&self.inner.replica.0));
        is_quorum_alone || metrics.last_quorum_acked.is_some_and(|acked| acked.elapsed() <= window)
    }

    /// Returns once the status fulfils a condition; looks again at each change.
    ///
    /// # Errors
    /// [`GroupError::Stopped`].
    pub async fn wait_until(&self, mut condition: impl FnMut(&GroupStatus) -> bool) -> Result<(), GroupError> {
        let mut metrics = self.inner.metrics.clone();
        loop {
            metrics.borrow_and_update();
            if condition(&self.status()) {
                return Ok(());
            }
            if metrics.changed().await.is_err() {
                return Err(GroupError::Stopped("it was shut down".to_owned()));
            }
        }
    }

    /// Stands for election at once instead of at the next timeout (a new group, the right side of a split).
    ///
    /// # Errors
    /// [`GroupError::Stopped`].
    pub async fn campaign(&self) -> Result<(), GroupError> {
        self.inner.raft.trigger().elect(false).await.map_err(stopped)
    }

    /// Adds a learner; returns once the membership is committed, not once the learner has caught up
    /// (its match index in [`GroupStatus`] tells).
    ///
    /// # Errors
    /// [`GroupError::NotLeader`], [`GroupError::Membership`], [`GroupError::Stopped`].
    pub async fn add_learner(&self, replica: ReplicaId, node: NodeId) -> Result<(), GroupError> {
        changed(self.inner.raft.add_learner(replica.0, node.0, false).await)
    }

    /// Makes exactly these replicas, members already, the voters, through joint consensus. Voters left out
    /// are removed.
    ///
    /// # Errors
    /// As [`Group::add_learner`].
    pub async fn change_voters(&self, voters: &[ReplicaId]) -> Result<(), GroupError> {
        let voters: BTreeSet<u64> = voters.iter().map(|replica| replica.0).collect();
        changed(self.inner.raft.change_membership(voters, false).await)
    }

    /// Removes a learner.
    ///
    /// # Errors
    /// As [`Group::add_learner`].
    pub async fn remove_learner(&self, replica: ReplicaId) -> Result<(), GroupError> {
        let removal = ChangeMembers::RemoveNodes(BTreeSet::from([replica.0]));
        changed(self.inner.raft.change_membership(removal, false).await)
    }

    /// Hands leadership to a voter; returns once this replica sees another leader.
    ///
    /// # Errors
    /// [`GroupError::NotLeader`], [`GroupError::Timeout`] (nothing changed, or not yet), [`GroupError::Stopped`].
    pub async fn transfer_leadership(&self, to: ReplicaId) -> Result<(), GroupError> {
        if self.leader_term().is_none() {
            return Err(GroupError::NotLeader { leader: self.leader() });
        }
        self.inner.raft.trigger().transfer_leader(to.0).await.map_err(stopped)?;
        let own = self.inner.replica;
        let timeout_ms = 2 * self.inner.election_ms_max;
        let moved = self.wait_until(|status| status.leader.is_some_and(|leader| leader != own));
        match tokio::time::timeout(Duration::from_millis(timeout_ms), moved).await {
            Ok(moved) => moved,
            Err(_) => Err(GroupError::Timeout { what: "the transfer of leadership", timeout_ms }),
        }
    }

    /// Makes the state machine durable and purges the log below it.
    ///
    /// # Errors
    /// [`GroupError::Stopped`].
    pub async fn compact(&self) -> Result<(), GroupError> {
        let Some(applied) = self.status().last_applied else { return Ok(()) };
        self.make_durable_to(applied).await?;
        self.purge_to(applied.index).await
    }

    /// Makes the state machine durable up to the position at least, and lets openraft know.
    async fn make_durable_to(&self, applied: LogPosition) -> Result<(), GroupError> {
        let mut metrics = self.inner.metrics.clone();
        let mut former = None;
        loop {
            let built = metrics.borrow_and_update().snapshot.as_ref().map(types::position);
            if built >= Some(applied) {
                return Ok(());
            }
            // Asked for again when one was under way, of less, and is through.
            if former != Some(built) {
                former = Some(built);
                self.inner.raft.trigger().snapshot().await.map_err(stopped)?;
            }
            if metrics.changed().await.is_err() {
                return Err(GroupError::Stopped("it was shut down".to_owned()));
            }
        }
    }

    async fn purge_to(&self, index: u64) -> Result<(), GroupError> {
        self.inner.raft.trigger().purge_log(index).await.map_err(stopped)
    }

    /// Returns once the group's core has ended, whoever ended it, with the reason if nobody stopped it.
    pub(crate) async fn ended(&self) -> GroupEnd {
        let mut metrics = self.inner.metrics.clone();
        let words = loop {
            if let Err(fatal) = &metrics.borrow_and_update().running_state {
                break fatal.to_string();
            }
            if metrics.changed().await.is_err() {
                break "its core is gone".to_owned();
            }
        };
        self.inner.cause.noted().unwrap_or(GroupEnd::Failed(words))
    }

    /// Whether both are handles on the same life of the group.
    pub(crate) fn is_same(&self, other: &Group) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Stops the group on this node; returns once nothing of it touches its log or its state machine any more
    /// (`stopped_is_still`). Its log stays.
    pub(crate) async fn shutdown(&self) {
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::error!(group = %self.inner.group, %error, "the group did not stop cleanly");
        }
        if let Some(watcher) = self.inner.watcher.lock().take() {
            watcher.abort();
        }
        self.inner.receiver.clear();
        // openraft's workers end by themselves after its core, once they are through with what they are at.
        let mut in_use = self.inner.in_use.lock().await;
        if tokio::time::timeout(STOP_PATIENCE, in_use.ended()).await.is_err() {
            // One may wait for a sync that a full or failed disk does not give.
            self.inner.synced.fail();
            in_use.ended().await;
        }
    }
}

fn leader_of(forward: &ForwardToLeader<Types>) -> Option<(ReplicaId, NodeId)> {
    Some((ReplicaId(forward.leader_id?), NodeId(forward.leader_node?)))
}

fn stopped(fatal: Fatal<Types>) -> GroupError {
    GroupError::Stopped(fatal.to_string())
}

fn changed(result: Result<ClientWriteResponse<Types>, WriteError>) -> Result<(), GroupError> {
    match result {
        Ok(_) => Ok(()),
        Err(RaftError::Fatal(fatal)) => Err(stopped(fatal)),
        Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
            Err(GroupError::NotLeader { leader: leader_of(&forward) })
        }
        Err(RaftError::APIError(error)) => Err(GroupError::Membership(error.to_string())),
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Group({} {})", self.inner.group, self.inner.replica)
    }
}
