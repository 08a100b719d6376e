//! All the Raft groups of one node.
//!
//! Invariant: `one_replica_per_group` (a node runs at most one replica of a group at a time).

use std::sync::Arc;

use crate::group::{Group, GroupError};
use crate::state_machine::StateMachine;
use crate::{GroupId, NodeId, ReplicaId};

/// How the groups of a node behave.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// How often a leader is heard of.
    pub heartbeat_ms: u64,
    /// A follower that has not heard of a leader for a random time in `[min, max)` stands for election.
    pub election_ms_min: u64,
    /// See `election_ms_min`.
    pub election_ms_max: u64,
    /// The log is compacted after this many entries were applied since the last time.
    pub compact_after_entries: u64,
    /// Applied entries kept for followers that lag a little.
    pub keep_entries: u64,
    /// Largest number of entries in one message between replicas.
    pub entries_per_message: u64,
    /// How long one chunk of a snapshot, or the installation at its end, may take.
    pub snapshot_chunk_timeout_ms: u64,
}

impl Default for GroupConfig {
    fn default() -> Self {
        GroupConfig {
            heartbeat_ms: 200,
            election_ms_min: 600,
            election_ms_max: 1_200,
            compact_after_entries: 10_000,
            keep_entries: 5_000,
            entries_per_message: 256,
            snapshot_chunk_timeout_ms: 30_000,
        }
    }
}

/// The Raft groups of one node, on its shared log.
pub struct GroupHost {
    node: NodeId,
}

impl GroupHost {
    /// This node.
    pub fn node_id(&self) -> NodeId {
        self.node
    }

    /// Starts this node's replica of a group from its log and its applied state. A group with neither waits
    /// to be sent a snapshot by its leader; see [`crate::group::initial_state`] for the first replicas of a new one.
    ///
    /// # Errors
    /// When the log or the state machine cannot be read, or a replica of the group already runs here.
    pub async fn start_group(
        &self,
        group: GroupId,
        _replica: ReplicaId,
        _state_machine: Arc<dyn StateMachine>,
    ) -> Result<Group, GroupError> {
        Err(GroupError::NoSuchGroup(group))
    }

    /// The running group of this ID.
    pub fn group(&self, _group: GroupId) -> Option<Group> {
        None
    }

    /// The IDs of all running groups, in order.
    pub fn groups(&self) -> Vec<GroupId> {
        Vec::new()
    }

    /// Stops a group but keeps its log.
    ///
    /// # Errors
    /// [`GroupError::NoSuchGroup`].
    pub async fn stop_group(&self, group: GroupId) -> Result<(), GroupError> {
        Err(GroupError::NoSuchGroup(group))
    }

    /// Stops a group, if it runs, and destroys its log. The caller has made sure that the engine's removal of its data
    /// is durable.
    ///
    /// # Errors
    /// When the log fails.
    pub async fn remove_group(&self, group: GroupId) -> Result<(), GroupError> {
        Err(GroupError::NoSuchGroup(group))
    }

    /// Stops all groups.
    pub async fn shutdown(&self) {}
}
