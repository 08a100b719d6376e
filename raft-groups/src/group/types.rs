//! openraft's types, chosen; and how they map to this crate's own.
//!
//! A Raft node is a replica (its ID never returns), a Raft "node" record is the number of the node it lives
//! on. Terms have one leader at most (openraft's standard mode), so that a term alone names a leader and a
//! lease can be tied to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use openraft::impls::{InlineBatch, leader_id_std};
use openraft::raft::responder::Responder;
use openraft::vote::RaftLeaderId;
use openraft::{EntryPayload, Membership, OptionalSend, RaftTypeConfig};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio::sync::oneshot;

use super::codec::{Member, MembershipRecord, PositionRecord, VoterSet};
use super::runtime::GroupRuntime;
use crate::LogPosition;

/// The types all groups share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Types {}

impl RaftTypeConfig for Types {
    type D = Command;
    type R = ();
    type NodeId = u64;
    type Node = u64;
    type Term = u64;
    type LeaderId = leader_id_std::LeaderId<u64, u64>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = EntryPayload<Command, u64, u64>;
    type Entry = openraft::impls::Entry<LeaderId, Self::Payload>;
    type AsyncRuntime = GroupRuntime;
    type Responder<T>
        = Answer<T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

pub(crate) type LeaderId = <leader_id_std::LeaderId<u64, u64> as RaftLeaderId>::Committed;
pub(crate) type LogId = openraft::type_config::alias::LogIdOf<Types>;
pub(crate) type Vote = openraft::type_config::alias::VoteOf<Types>;
pub(crate) type Entry = openraft::type_config::alias::EntryOf<Types>;
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<Types>;

/// A command as the log carries it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Command(pub Bytes);

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command of {} bytes", self.0.len())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

// openraft asks for serde; nothing is kept or sent this way.
impl Serialize for Command {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Command(Bytes::from(Vec::<u8>::deserialize(deserializer)?)))
    }
}

/// Brings a proposal's outcome to its proposer, who may have left.
pub(crate) struct Answer<T>(pub oneshot::Sender<T>);

impl<T> Responder<Types, T> for Answer<T>
where
    T: OptionalSend + 'static,
{
    fn on_complete(self, result: T) {
        // The proposer may have given up waiting.
        let _ = self.0.send(result);
    }
}

pub(crate) fn position(log_id: &LogId) -> LogPosition {
    LogPosition { term: log_id.committed_leader_id().term, leader: 0, index: log_id.index() }
}

pub(crate) fn log_id(position: LogPosition) -> LogId {
    LogId::new(
        openraft::impls::leader_id_std::LeaderId::new(position.term, position.leader).to_committed(),
        position.index,
    )
}

/// Encodes a vote for the log.
pub(crate) fn encode_vote(vote: &Vote) -> Bytes {
    Bytes::from(prost::Message::encode_to_vec(&VoteRecord::from(vote)))
}

/// Reads a vote back.
pub(crate) fn decode_vote(bytes: Bytes) -> Result<Vote, prost::DecodeError> {
    <VoteRecord as prost::Message>::decode(bytes).map(Vote::from)
}

/// A vote: for whom in which term, and whether a quorum granted it.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct VoteRecord {
    #[prost(uint64, tag = "1")]
    pub term: u64,
    #[prost(uint64, tag = "2")]
    pub voted_for: u64,
    #[prost(bool, tag = "3")]
    pub is_granted: bool,
}

impl From<&Vote> for VoteRecord {
    fn from(vote: &Vote) -> Self {
        VoteRecord { term: vote.leader_id.term, voted_for: vote.leader_id.voted_for, is_granted: vote.committed }
    }
}

impl From<VoteRecord> for Vote {
    fn from(record: VoteRecord) -> Self {
        let leader_id = <<Types as RaftTypeConfig>::LeaderId as RaftLeaderId>::new(record.term, record.voted_for);
        Vote { leader_id, committed: record.is_granted }
    }
}

/// A membership as it is kept and sent.
pub(crate) fn membership_record(position: Option<LogPosition>, membership: &Membership<u64, u64>) -> MembershipRecord {
    let voter_sets = membership.get_joint_config();
    MembershipRecord {
        position: position.map(PositionRecord::from),
        voter_sets: voter_sets.iter().map(|set| VoterSet { replicas: set.iter().copied().collect() }).collect(),
        members: membership.nodes().map(|(replica, node)| Member { replica: *replica, node: *node }).collect(),
    }
}

/// Reads a membership back; refuses one whose voters are not all members.
pub(crate) fn stored_membership(record: &MembershipRecord) -> Result<StoredMembership, String> {
    let position = record.position.map(|position| log_id(position.into()));
    let sets: Vec<BTreeSet<u64>> = record.voter_sets.iter().map(|set| set.replicas.iter().copied().collect()).collect();
    let members: BTreeMap<u64, u64> = record.members.iter().map(|member| (member.replica, member.node)).collect();
    if sets.is_empty() && members.is_empty() {
        return Ok(StoredMembership::new(position, Membership::default()));
    }
    let membership = Membership::new(sets, members).map_err(|error| error.to_string())?;
    Ok(StoredMembership::new(position, membership))
}

/// The same from bytes; no bytes are no membership yet.
pub(crate) fn decode_membership(bytes: &Bytes) -> Result<StoredMembership, String> {
    let record = <MembershipRecord as prost::Message>::decode(bytes.clone()).map_err(|error| error.to_string())?;
    stored_membership(&record)
}

const BLANK: u8 = 0;
const COMMAND: u8 = 1;
const MEMBERSHIP: u8 = 2;

/// An entry taken apart, as the log and the wire carry it.
pub(crate) struct EntryParts {
    pub position: LogPosition,
    pub kind: u8,
    pub data: Bytes,
}

impl From<Entry> for EntryParts {
    fn from(entry: Entry) -> Self {
        let position = position(&entry.log_id);
        let (kind, data) = match entry.payload {
            EntryPayload::Blank => (BLANK, Bytes::new()),
            EntryPayload::Normal(Command(command)) => (COMMAND, command),
            EntryPayload::Membership(membership) => {
                let record = membership_record(Some(position), &membership);
                (MEMBERSHIP, Bytes::from(prost::Message::encode_to_vec(&record)))
            }
        };
        EntryParts { position, kind, data }
    }
}

impl EntryParts {
    /// Puts the entry together again.
    pub fn into_entry(self) -> Result<Entry, String> {
        let parts = self;
        let payload = match parts.kind {
            BLANK => EntryPayload::Blank,
            COMMAND => EntryPayload::Normal(Command(parts.data)),
            MEMBERSHIP => EntryPayload::Membership(decode_membership(&parts.data)?.membership().clone()),
            other => return Err(format!("the entry at {} is of unknown kind {other}", parts.position)),
        };
        Ok(Entry { log_id: log_id(parts.position), payload })
    }
}
