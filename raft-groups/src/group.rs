//! One Raft group on this node: what the rest of the system may ask of it.
//!
//! ```text
//!   propose(command, term) ─▶ log (synced here, and on followers at the same time) ─▶ committed ─▶ applied ─▶ Ok
//! ```
//!
//! Invariants: `proposal_fence` (a proposal enters the log only while this replica leads in the very term
//! the caller names, so that nothing proposed under an older lease is appended later); `own_log_synced`
//! (an entry is applied here only once this node's own log has synced it).
//!
//! The Raft itself is openraft's; nothing outside this folder names its types.

mod codec;
mod status;

use std::time::Duration;

use bytes::Bytes;

pub use codec::initial_state;
pub use status::{GroupStatus, PeerProgress};

use crate::{GroupId, NodeId, ReplicaId};

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
#[derive(Clone, Debug)]
pub struct Group {
    group: GroupId,
    replica: ReplicaId,
}

impl Group {
    /// The group's ID.
    pub fn id(&self) -> GroupId {
        self.group
    }

    /// This node's replica of it.
    pub fn replica_id(&self) -> ReplicaId {
        self.replica
    }

    /// Replicates a command. `Ok` once it is applied here.
    ///
    /// # Errors
    /// [`ProposeError`], which says whether the command may yet apply.
    pub async fn propose(&self, _command: Bytes, _term: u64) -> Result<(), ProposeError> {
        Err(ProposeError::ShuttingDown)
    }

    /// Where the group stands, as this replica sees it. Cheap enough for each request.
    pub fn status(&self) -> GroupStatus {
        GroupStatus::default()
    }

    /// Term, if this replica leads in it. Cheaper than [`Group::status`].
    pub fn leader_term(&self) -> Option<u64> {
        None
    }

    /// Whether, as leader, this replica has heard from a quorum within `window`.
    pub fn heard_quorum_within(&self, _window: Duration) -> bool {
        false
    }

    /// Stands for election at once instead of at the next timeout (a new group, the right side of a split).
    ///
    /// # Errors
    /// [`GroupError::Stopped`].
    pub async fn campaign(&self) -> Result<(), GroupError> {
        Err(GroupError::NoSuchGroup(self.group))
    }

    /// Adds a learner; returns once the membership is committed, not once the learner has caught up
    /// (its match index in [`GroupStatus`] tells).
    ///
    /// # Errors
    /// [`GroupError::NotLeader`], [`GroupError::Membership`], [`GroupError::Stopped`].
    pub async fn add_learner(&self, _replica: ReplicaId, _node: NodeId) -> Result<(), GroupError> {
        Err(GroupError::NoSuchGroup(self.group))
    }

    /// Makes exactly these replicas, members already, the voters, through joint consensus. Voters left out
    /// are removed.
    ///
    /// # Errors
    /// As [`Group::add_learner`].
    pub async fn change_voters(&self, _voters: &[ReplicaId]) -> Result<(), GroupError> {
        Err(GroupError::NoSuchGroup(self.group))
    }

    /// Removes a learner.
    ///
    /// # Errors
    /// As [`Group::add_learner`].
    pub async fn remove_learner(&self, _replica: ReplicaId) -> Result<(), GroupError> {
        Err(GroupError::NoSuchGroup(self.group))
    }

    /// Hands leadership to a voter; returns once this replica sees another leader.
    ///
    /// # Errors
    /// [`GroupError::NotLeader`], [`GroupError::Timeout`] (nothing changed, or not yet), [`GroupError::Stopped`].
    pub async fn transfer_leadership(&self, _to: ReplicaId) -> Result<(), GroupError> {
        Err(GroupError::NoSuchGroup(self.group))
    }

    /// Makes the state machine durable and purges the log below it.
    ///
    /// # Errors
    /// [`GroupError::Stopped`].
    pub async fn compact(&self) -> Result<(), GroupError> {
        Err(GroupError::NoSuchGroup(self.group))
    }
}
