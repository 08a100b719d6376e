//! How a replica hands commands to its log.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use raft_groups::{
    CommittedEntry, EntryKind, Group, GroupError, GroupStatus, LogPosition, NodeId, ProposeError, ReplicaId,
    StateMachine,
};

use super::Replica;

/// A log, as a replica sees it.
#[async_trait]
pub trait Proposer: Send + Sync + 'static {
    /// Appends a command, if this replica leads in the term; `Ok` once it is applied here.
    ///
    /// # Errors
    /// [`ProposeError`], which says whether the command may yet apply.
    async fn propose(&self, command: Bytes, term: u64) -> Result<(), ProposeError>;

    /// Where the group stands.
    fn status(&self) -> GroupStatus;

    /// The term, if this replica leads in it.
    fn leader_term(&self) -> Option<u64>;

    /// Whether, as leader, this replica has heard from a quorum within `window`.
    fn heard_quorum_within(&self, window: Duration) -> bool;

    /// Hands leadership to another voter.
    ///
    /// # Errors
    /// [`GroupError`]; leadership may yet move.
    async fn transfer_leadership(&self, to: ReplicaId) -> Result<(), GroupError>;
}

#[async_trait]
impl Proposer for Group {
    async fn propose(&self, command: Bytes, term: u64) -> Result<(), ProposeError> {
        Group::propose(self, command, term).await
    }

    fn status(&self) -> GroupStatus {
        Group::status(self)
    }

    fn leader_term(&self) -> Option<u64> {
        Group::leader_term(self)
    }

    fn heard_quorum_within(&self, window: Duration) -> bool {
        Group::heard_quorum_within(self, window)
    }

    async fn transfer_leadership(&self, to: ReplicaId) -> Result<(), GroupError> {
        Group::transfer_leadership(self, to).await
    }
}

/// A log of one replica that keeps nothing: each command applies at once. For ranges that live in one process only,
/// in memory.
pub struct LocalProposer {
    node: NodeId,
    replica_id: ReplicaId,
    replica: OnceLock<Weak<Replica>>,
    last: Mutex<LogPosition>,
    turn: tokio::sync::Mutex<()>,
}

/// The one term of a [`LocalProposer`].
const LOCAL_TERM: u64 = 1;

impl LocalProposer {
    /// The proposer of a replica, set as such.
    pub fn attach(replica: &Arc<Replica>) -> Arc<Self> {
        let last = replica.applied_position().unwrap_or_default();
        let proposer = Arc::new(LocalProposer {
            node: NodeId(replica.node_id()),
            replica_id: ReplicaId(replica.replica_id()),
            replica: OnceLock::from(Arc::downgrade(replica)),
            last: Mutex::new(last),
            turn: tokio::sync::Mutex::new(()),
        });
        replica.set_proposer(proposer.clone());
        proposer
    }
}

#[async_trait]
impl Proposer for LocalProposer {
    async fn propose(&self, command: Bytes, term: u64) -> Result<(), ProposeError> {
        if term != LOCAL_TERM {
            return Err(ProposeError::NotLeader { leader: Some((self.replica_id, self.node)) });
        }
        let replica = self.replica.get().and_then(Weak::upgrade).ok_or(ProposeError::ShuttingDown)?;
        let _turn = self.turn.lock().await;
        let position = {
            let mut last = self.last.lock();
            *last = LogPosition { term: LOCAL_TERM, leader: 0, index: last.index + 1 };
            *last
        };
        let entry = CommittedEntry { position, kind: EntryKind::Command(command) };
        replica.apply(vec![entry]).await.map_err(|_| ProposeError::Unknown)
    }

    fn status(&self) -> GroupStatus {
        let last = *self.last.lock();
        GroupStatus {
            term: LOCAL_TERM,
            leader: Some(self.replica_id),
            is_leader: true,
            last_applied: Some(last),
            last_log: Some(last.index),
            voters: [(self.replica_id, self.node)].into(),
            ..GroupStatus::default()
        }
    }

    fn leader_term(&self) -> Option<u64> {
        Some(LOCAL_TERM)
    }

    fn heard_quorum_within(&self, _window: Duration) -> bool {
        true
    }

    async fn transfer_leadership(&self, _to: ReplicaId) -> Result<(), GroupError> {
        Err(GroupError::Membership("a local range has one replica".to_owned()))
    }
}
