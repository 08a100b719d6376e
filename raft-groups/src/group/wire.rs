//! What replicas say to each other: prost messages, and their openraft counterparts.

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use prost::{Message, Oneof};

use super::codec::PositionRecord;
use super::types::{EntryParts, LogId, SnapshotMeta, Types, Vote, VoteRecord, log_id, position};
use crate::state_machine::AppliedState;

/// A request from one replica to another of its group.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RaftRequest {
    #[prost(uint64, tag = "1")]
    pub group: u64,
    #[prost(uint64, tag = "2")]
    pub to_replica: u64,
    #[prost(uint64, tag = "3")]
    pub from_replica: u64,
    #[prost(oneof = "RaftCall", tags = "4, 5, 6, 7")]
    pub call: Option<RaftCall>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum RaftCall {
    #[prost(message, tag = "4")]
    Append(Append),
    #[prost(message, tag = "5")]
    Vote(VoteAsk),
    #[prost(message, tag = "6")]
    PreVote(VoteAsk),
    #[prost(message, tag = "7")]
    Transfer(Transfer),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Append {
    #[prost(message, required, tag = "1")]
    pub vote: VoteRecord,
    #[prost(message, optional, tag = "2")]
    pub previous: Option<PositionRecord>,
    #[prost(message, optional, tag = "3")]
    pub leader_commit: Option<PositionRecord>,
    #[prost(message, repeated, tag = "4")]
    pub entries: Vec<EntryRecord>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct EntryRecord {
    #[prost(message, required, tag = "1")]
    pub position: PositionRecord,
    #[prost(uint32, tag = "2")]
    pub kind: u32,
    #[prost(bytes = "bytes", tag = "3")]
    pub data: Bytes,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct VoteAsk {
    #[prost(message, required, tag = "1")]
    pub vote: VoteRecord,
    #[prost(message, optional, tag = "2")]
    pub last: Option<PositionRecord>,
    #[prost(bool, tag = "3")]
    pub is_transfer: bool,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Transfer {
    #[prost(message, required, tag = "1")]
    pub from_leader: VoteRecord,
    #[prost(uint64, tag = "2")]
    pub to_replica: u64,
    #[prost(message, optional, tag = "3")]
    pub last: Option<PositionRecord>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RaftAnswer {
    #[prost(oneof = "RaftOutcome", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub outcome: Option<RaftOutcome>,
}

#[derive(Clone, Copy, PartialEq, Oneof)]
pub(crate) enum RaftOutcome {
    #[prost(message, tag = "1")]
    Appended(Nothing),
    #[prost(message, tag = "2")]
    AppendedUpTo(MaybePosition),
    #[prost(message, tag = "3")]
    Conflict(Nothing),
    #[prost(message, tag = "4")]
    HigherVote(VoteRecord),
    #[prost(message, tag = "5")]
    Vote(VoteAnswer),
    #[prost(message, tag = "6")]
    TransferAccepted(Nothing),
    #[prost(message, tag = "7")]
    TransferRejected(TransferRejection),
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Nothing {}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct MaybePosition {
    #[prost(message, optional, tag = "1")]
    pub position: Option<PositionRecord>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct VoteAnswer {
    #[prost(message, required, tag = "1")]
    pub vote: VoteRecord,
    #[prost(bool, tag = "2")]
    pub is_granted: bool,
    #[prost(message, optional, tag = "3")]
    pub last: Option<PositionRecord>,
}

/// Why the target of a transfer does not stand for election: its vote, or its log, is another.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct TransferRejection {
    #[prost(message, optional, tag = "1")]
    pub vote: Option<VoteRecord>,
    #[prost(message, optional, tag = "2")]
    pub log: Option<PositionRecord>,
}

/// One step of sending a snapshot.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SnapshotRequest {
    #[prost(uint64, tag = "1")]
    pub group: u64,
    #[prost(uint64, tag = "2")]
    pub to_replica: u64,
    #[prost(uint64, tag = "3")]
    pub from_replica: u64,
    /// Tells one sending from another.
    #[prost(uint64, tag = "4")]
    pub transfer_id: u64,
    #[prost(oneof = "SnapshotStep", tags = "5, 6, 7")]
    pub step: Option<SnapshotStep>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum SnapshotStep {
    #[prost(message, tag = "5")]
    Begin(SnapshotHead),
    #[prost(message, tag = "6")]
    Chunk(SnapshotChunk),
    #[prost(message, tag = "7")]
    Finish(SnapshotTail),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SnapshotHead {
    #[prost(message, required, tag = "1")]
    pub vote: VoteRecord,
    #[prost(message, optional, tag = "2")]
    pub last: Option<PositionRecord>,
    #[prost(bytes = "bytes", tag = "3")]
    pub membership: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SnapshotChunk {
    /// From 0.
    #[prost(uint64, tag = "1")]
    pub sequence: u64,
    /// CRC-32C of the data, continued from the chunk before.
    #[prost(fixed32, tag = "2")]
    pub running_checksum: u32,
    #[prost(bytes = "bytes", tag = "3")]
    pub data: Bytes,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct SnapshotTail {
    #[prost(uint64, tag = "1")]
    pub chunks: u64,
    #[prost(fixed32, tag = "2")]
    pub running_checksum: u32,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct SnapshotAnswer {
    /// The receiver's vote, once installed or turned down for it.
    #[prost(message, optional, tag = "1")]
    pub vote: Option<VoteRecord>,
}

pub(crate) fn position_record(log_id: &LogId) -> PositionRecord {
    position(log_id).into()
}

fn from_record(record: PositionRecord) -> LogId {
    log_id(record.into())
}

impl From<AppendEntriesRequest<Types>> for Append {
    fn from(request: AppendEntriesRequest<Types>) -> Self {
        let record = |entry| {
            let parts = EntryParts::from(entry);
            EntryRecord { position: parts.position.into(), kind: u32::from(parts.kind), data: parts.data }
        };
        Append {
            vote: (&request.vote).into(),
            previous: request.prev_log_id.as_ref().map(position_record),
            leader_commit: request.leader_commit.as_ref().map(position_record),
            entries: request.entries.into_iter().map(record).collect(),
        }
    }
}

impl TryFrom<Append> for AppendEntriesRequest<Types> {
    type Error = String;

    fn try_from(append: Append) -> Result<Self, String> {
        let entry = |record: EntryRecord| {
            let kind = u8::try_from(record.kind).map_err(|_| format!("entry kind {}", record.kind))?;
            EntryParts { position: record.position.into(), kind, data: record.data }.into_entry()
        };
        Ok(AppendEntriesRequest {
            vote: append.vote.into(),
            prev_log_id: append.previous.map(from_record),
            entries: append.entries.into_iter().map(entry).collect::<Result<_, String>>()?,
            leader_commit: append.leader_commit.map(from_record),
        })
    }
}

impl From<&VoteRequest<Types>> for VoteAsk {
    fn from(request: &VoteRequest<Types>) -> Self {
        VoteAsk {
            vote: (&request.vote).into(),
            last: request.last_log_id.as_ref().map(position_record),
            is_transfer: request.leadership_transfer,
        }
    }
}

impl From<VoteAsk> for VoteRequest<Types> {
    fn from(ask: VoteAsk) -> Self {
        let mut request = VoteRequest::new(ask.vote.into(), ask.last.map(from_record));
        request.leadership_transfer = ask.is_transfer;
        request
    }
}

impl From<&TransferLeaderRequest<Types>> for Transfer {
    fn from(request: &TransferLeaderRequest<Types>) -> Self {
        Transfer {
            from_leader: request.from_leader().into(),
            to_replica: *request.to_node_id(),
            last: request.last_log_id().map(position_record),
        }
    }
}

impl From<Transfer> for TransferLeaderRequest<Types> {
    fn from(transfer: Transfer) -> Self {
        TransferLeaderRequest::new(transfer.from_leader.into(), transfer.to_replica, transfer.last.map(from_record))
    }
}

impl From<AppendEntriesResponse<Types>> for RaftOutcome {
    fn from(response: AppendEntriesResponse<Types>) -> Self {
        match response {
            AppendEntriesResponse::Success => RaftOutcome::Appended(Nothing {}),
            AppendEntriesResponse::PartialSuccess(upto) => {
                RaftOutcome::AppendedUpTo(MaybePosition { position: upto.as_ref().map(position_record) })
            }
            AppendEntriesResponse::Conflict => RaftOutcome::Conflict(Nothing {}),
            AppendEntriesResponse::HigherVote(vote) => RaftOutcome::HigherVote((&vote).into()),
        }
    }
}

impl RaftOutcome {
    pub fn into_append(self) -> Option<AppendEntriesResponse<Types>> {
        match self {
            RaftOutcome::Appended(_) => Some(AppendEntriesResponse::Success),
            RaftOutcome::AppendedUpTo(upto) => {
                Some(AppendEntriesResponse::PartialSuccess(upto.position.map(from_record)))
            }
            RaftOutcome::Conflict(_) => Some(AppendEntriesResponse::Conflict),
            RaftOutcome::HigherVote(vote) => Some(AppendEntriesResponse::HigherVote(vote.into())),
            _ => None,
        }
    }

    pub fn into_vote(self) -> Option<VoteResponse<Types>> {
        match self {
            RaftOutcome::Vote(answer) => {
                let vote: Vote = answer.vote.into();
                Some(VoteResponse::new(vote, answer.last.map(from_record), answer.is_granted))
            }
            _ => None,
        }
    }

    pub fn from_vote(response: &VoteResponse<Types>) -> Self {
        RaftOutcome::Vote(VoteAnswer {
            vote: (&response.vote).into(),
            is_granted: response.vote_granted,
            last: response.last_log_id.as_ref().map(position_record),
        })
    }

    pub fn from_transfer(response: &Result<(), TransferLeaderError<Types>>) -> Self {
        match response {
            Ok(()) => RaftOutcome::TransferAccepted(Nothing {}),
            Err(TransferLeaderError::VoteChanged { actual, .. }) => {
                RaftOutcome::TransferRejected(TransferRejection { vote: Some(actual.into()), log: None })
            }
            Err(TransferLeaderError::LogNotFlushed { actual, .. }) => {
                let log = actual.as_ref().map(position_record);
                RaftOutcome::TransferRejected(TransferRejection { vote: None, log })
            }
        }
    }

    /// The answer to `request`.
    pub fn into_transfer(
        self,
        request: &TransferLeaderRequest<Types>,
    ) -> Option<Result<(), TransferLeaderError<Types>>> {
        match self {
            RaftOutcome::TransferAccepted(_) => Some(Ok(())),
            RaftOutcome::TransferRejected(TransferRejection { vote: Some(vote), .. }) => {
                Some(Err(TransferLeaderError::VoteChanged { expected: *request.from_leader(), actual: vote.into() }))
            }
            RaftOutcome::TransferRejected(TransferRejection { vote: None, log }) => {
                let expected = request.last_log_id().copied();
                Some(Err(TransferLeaderError::LogNotFlushed { expected, actual: log.map(from_record) }))
            }
            _ => None,
        }
    }
}

impl SnapshotHead {
    pub fn new(vote: &Vote, state: AppliedState) -> Self {
        SnapshotHead { vote: vote.into(), last: state.last_applied.map(Into::into), membership: state.membership }
    }

    pub fn applied_state(&self) -> AppliedState {
        AppliedState { last_applied: self.last.map(Into::into), membership: self.membership.clone() }
    }

    pub fn meta(&self) -> Result<SnapshotMeta, std::io::Error> {
        super::machine::meta_of(&self.applied_state())
    }
}
