//! A replica's way to its log, which can be taken away: the group holds the replica, so the replica must not hold the
//! group for ever.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;
use raft_groups::{Group, GroupError, GroupStatus, ProposeError, ReplicaId};

use crate::replica::Proposer;

/// The log of a replica, while its group runs.
pub(super) struct Log {
    group: RwLock<Option<Group>>,
}

impl Log {
    /// The log of a running group.
    pub fn of(group: Group) -> Self {
        Log { group: RwLock::new(Some(group)) }
    }

    /// Lets go of the group.
    pub fn detach(&self) {
        *self.group.write() = None;
    }

    fn group(&self) -> Option<Group> {
        self.group.read().clone()
    }
}

#[async_trait]
impl Proposer for Log {
    async fn propose(&self, command: Bytes, term: u64) -> Result<(), ProposeError> {
        match self.group() {
            Some(group) => group.propose(command, term).await,
            None => Err(ProposeError::ShuttingDown),
        }
    }

    fn status(&self) -> GroupStatus {
        self.group.read().as_ref().map(Group::status).unwrap_or_default()
    }

    fn leader_term(&self) -> Option<u64> {
        self.group.read().as_ref().and_then(Group::leader_term)
    }

    fn heard_quorum_within(&self, window: Duration) -> bool {
        self.group.read().as_ref().is_some_and(|group| group.heard_quorum_within(window))
    }

    async fn transfer_leadership(&self, to: ReplicaId) -> Result<(), GroupError> {
        match self.group() {
            Some(group) => group.transfer_leadership(to).await,
            None => Err(GroupError::Stopped("the replica is gone".to_owned())),
        }
    }
}
