//! How memberships are kept and sent: prost, so that a later release reads what this one wrote.

use bytes::Bytes;
use prost::Message;

use crate::state_machine::AppliedState;
use crate::{LogPosition, NodeId, ReplicaId};

/// A membership with the position of the entry that set it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct MembershipRecord {
    /// Where it was set; nothing before the first.
    #[prost(message, optional, tag = "1")]
    pub position: Option<PositionRecord>,
    /// One set of voters, or two while it is joint.
    #[prost(message, repeated, tag = "2")]
    pub voter_sets: Vec<VoterSet>,
    /// All members, learners too.
    #[prost(message, repeated, tag = "3")]
    pub members: Vec<Member>,
}

/// A set of voters.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct VoterSet {
    #[prost(uint64, repeated, tag = "1")]
    pub replicas: Vec<u64>,
}

/// A member and where it lives.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Member {
    #[prost(uint64, tag = "1")]
    pub replica: u64,
    #[prost(uint64, tag = "2")]
    pub node: u64,
}

/// A [`LogPosition`].
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct PositionRecord {
    #[prost(uint64, tag = "1")]
    pub term: u64,
    #[prost(uint64, tag = "2")]
    pub leader: u64,
    #[prost(uint64, tag = "3")]
    pub index: u64,
}

impl From<LogPosition> for PositionRecord {
    fn from(position: LogPosition) -> Self {
        PositionRecord { term: position.term, leader: position.leader, index: position.index }
    }
}

impl From<PositionRecord> for LogPosition {
    fn from(record: PositionRecord) -> Self {
        LogPosition { term: record.term, leader: record.leader, index: record.index }
    }
}

/// The applied state with which all first replicas of a new group start, alike on each of them: as if an
/// entry at index 0 had set this membership.
pub fn initial_state(voters: &[(ReplicaId, NodeId)]) -> AppliedState {
    let mut members: Vec<Member> =
        voters.iter().map(|(replica, node)| Member { replica: replica.0, node: node.0 }).collect();
    members.sort_by_key(|member| member.replica);
    let start = LogPosition { term: 0, leader: 0, index: 0 };
    let record = MembershipRecord {
        position: Some(start.into()),
        voter_sets: vec![VoterSet { replicas: members.iter().map(|member| member.replica).collect() }],
        members,
    };
    AppliedState { last_applied: Some(start), membership: Bytes::from(record.encode_to_vec()) }
}
