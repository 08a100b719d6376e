//! Where a group stands, as one of its replicas sees it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{LogPosition, NodeId, ReplicaId};

/// A group as one replica sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupStatus {
    /// The newest term this replica knows of.
    pub term: u64,
    /// The leader of that term, if known.
    pub leader: Option<ReplicaId>,
    /// Whether this replica leads in `term`.
    pub is_leader: bool,
    /// The newest entry this replica has applied.
    pub last_applied: Option<LogPosition>,
    /// The index of the newest entry in this replica's log.
    pub last_log: Option<u64>,
    /// The voters of the newest membership in this replica's log, old and new ones while it is joint.
    pub voters: BTreeMap<ReplicaId, NodeId>,
    /// Its learners.
    pub learners: BTreeMap<ReplicaId, NodeId>,
    /// Whether the membership is on its way from one set of voters to another.
    pub is_joint: bool,
    /// As leader: how far each replica is; empty otherwise.
    pub peers: BTreeMap<ReplicaId, PeerProgress>,
}

/// What a leader knows of one replica.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerProgress {
    /// The newest entry known to be in its synced log.
    pub matched: Option<u64>,
    /// How long ago it was last heard; `None` if never in this term.
    pub heard_ago: Option<Duration>,
}

impl GroupStatus {
    /// The node of a member.
    pub fn node_of(&self, replica: ReplicaId) -> Option<NodeId> {
        self.voters.get(&replica).or_else(|| self.learners.get(&replica)).copied()
    }

    /// The leader with its node, if both are known.
    pub fn leader_node(&self) -> Option<(ReplicaId, NodeId)> {
        let leader = self.leader?;
        Some((leader, self.node_of(leader)?))
    }
}
