//! The network, as openraft wants it: requests to one other replica of the group.
//!
//! Appends are pipelined: up to [`APPENDS_IN_FLIGHT`] requests are on their way at a time, answered in
//! order. What is proposed while all are on their way goes with the next one, which batches by itself
//! under load. A request that overtook another and met a gap is not a conflict, and is sent again.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::Stream;
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{
    NetworkError as RaftNetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable,
};
use openraft::network::{RPCOption, RPCTypes, RaftNetworkFactory, v2::RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::storage::Snapshot;
use openraft::{EntryPayload, OptionalSend};
use prost::Message;

use super::machine::SnapshotHandle;
use super::snapshot;
use super::types::{Entry, LeaderId, LogId, Types, Vote};
use super::wire::{RaftAnswer, RaftCall, RaftOutcome, RaftRequest};
use crate::host::GroupConfig;
use crate::network::{Class, NetworkError, Transport};
use crate::{GroupId, NodeId, ReplicaId};

/// Appends to one replica that may be on their way at a time.
const APPENDS_IN_FLIGHT: usize = 4;

/// The slowest way of entries to a follower's disk that is waited for, in bytes a second: one that is given up too early is sent again
/// whole, and again, for as long as the way is that slow.
const APPEND_BYTES_A_SECOND: u64 = 4 << 20;

/// What all clients of one replica share.
pub(crate) struct PeerContext {
    pub group: GroupId,
    pub replica: ReplicaId,
    pub transport: Arc<dyn Transport>,
    pub random: clock::Random,
    pub config: GroupConfig,
}

/// Makes clients for the other replicas.
pub(crate) struct PeerFactory(pub Arc<PeerContext>);

/// Talks to one other replica.
#[derive(Clone)]
pub(crate) struct PeerClient {
    pub context: Arc<PeerContext>,
    pub target: u64,
    pub node: NodeId,
}

type RpcResult<T> = Result<T, RPCError<Types>>;

impl RaftNetworkFactory<Types> for PeerFactory {
    type Network = PeerClient;

    async fn new_client(&mut self, target: u64, node: &u64) -> PeerClient {
        PeerClient { context: self.0.clone(), target, node: NodeId(*node) }
    }
}

impl PeerClient {
    async fn call(&self, kind: RPCTypes, call: RaftCall, timeout: Duration) -> RpcResult<RaftOutcome> {
        let request = RaftRequest {
            group: self.context.group.0,
            to_replica: self.target,
            from_replica: self.context.replica.0,
            call: Some(call),
        };
        let body = Bytes::from(request.encode_to_vec());
        let answer = self.context.transport.call(self.node, Class::Raft, body, timeout).await;
        let answer = answer.map_err(|error| self.rpc_error(kind, timeout, error))?;
        let answer = RaftAnswer::decode(answer).map_err(|error| unreachable(error.to_string()))?;
        answer.outcome.ok_or_else(|| unreachable("the answer is empty"))
    }

    pub(super) fn rpc_error(&self, action: RPCTypes, timeout: Duration, error: NetworkError) -> RPCError<Types> {
        match error {
            NetworkError::Timeout { .. } => {
                RPCError::Timeout(Timeout { action, id: self.context.replica.0, target: self.target, timeout })
            }
            NetworkError::Lost { .. } => RPCError::Network(RaftNetworkError::new(&error)),
            _ => RPCError::Unreachable(Unreachable::new(&error)),
        }
    }

    /// How long an append without entries may take, which waits for the follower's disk all the same.
    fn append_timeout(&self, option: &RPCOption) -> Duration {
        option.soft_ttl().max(Duration::from_millis(self.context.config.election_ms_min))
    }

    async fn append(
        &self,
        request: AppendEntriesRequest<Types>,
        timeout: Duration,
    ) -> RpcResult<AppendEntriesResponse<Types>> {
        let timeout = timeout + time_for(&request);
        let outcome = self.call(RPCTypes::AppendEntries, RaftCall::Append(request.into()), timeout).await?;
        outcome.into_append().ok_or_else(|| unreachable("the answer is of another kind"))
    }
}

/// How much longer an append may take for what it carries.
fn time_for(request: &AppendEntriesRequest<Types>) -> Duration {
    let bytes = |entry: &Entry| match &entry.payload {
        EntryPayload::Normal(command) => command.0.len() as u64,
        _ => 0,
    };
    time_for_bytes(request.entries.iter().map(bytes).sum())
}

/// How long so many bytes may be on their way to another node's disk.
pub(super) fn time_for_bytes(bytes: u64) -> Duration {
    Duration::from_millis(bytes * 1_000 / APPEND_BYTES_A_SECOND)
}

fn unreachable(reason: impl ToString) -> RPCError<Types> {
    RPCError::Unreachable(Unreachable::from_string(reason))
}

/// Follows one session of pipelined appends.
struct Session {
    matched: Option<LogId>,
    is_over: bool,
}

impl Session {
    /// Judges the answer to a request for `(previous, last]`; answers come in the order of their requests.
    fn take(
        &mut self,
        previous: Option<LogId>,
        last: Option<LogId>,
        response: RpcResult<AppendEntriesResponse<Types>>,
    ) -> RpcResult<StreamAppendResult<Types>> {
        let result = match response? {
            AppendEntriesResponse::Conflict => match previous {
                // An earlier request of the session was accepted up to here: this one overtook it.
                Some(previous) if Some(previous) > self.matched || self.matched.is_none() => {
                    Err(StreamAppendError::Conflict(previous))
                }
                _ => {
                    return Err(RPCError::Network(RaftNetworkError::from_string("appends overtook each other")));
                }
            },
            response => response.into_stream_result(previous, last),
        };
        if let Ok(matched) = &result {
            self.matched = self.matched.max(*matched);
            // After a partial success the session begins anew from there.
            self.is_over = *matched != last;
        }
        Ok(result)
    }
}

impl RaftNetworkV2<Types> for PeerClient {
    type SnapshotData = SnapshotHandle;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> RpcResult<AppendEntriesResponse<Types>> {
        self.append(request, option.soft_ttl()).await
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, RpcResult<BoxStream<'s, RpcResult<StreamAppendResult<Types>>>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        let client = self.clone();
        let timeout = self.append_timeout(&option);
        let answers = input
            .map(move |request| {
                let previous = request.prev_log_id;
                let last = request.entries.last().map(|entry| entry.log_id).or(previous);
                let client = client.clone();
                async move { (previous, last, client.append(request, timeout).await) }
            })
            .buffered(APPENDS_IN_FLIGHT);
        let session = Session { matched: None, is_over: false };
        let results = answers.scan(session, |session, (previous, last, response)| {
            if session.is_over {
                return std::future::ready(None);
            }
            let result = session.take(previous, last, response);
            session.is_over |= !matches!(result, Ok(Ok(_)));
            std::future::ready(Some(result))
        });
        let results: BoxStream<'s, _> = Box::pin(results);
        Box::pin(std::future::ready(Ok(results)))
    }

    async fn vote(&mut self, request: VoteRequest<Types>, option: RPCOption) -> RpcResult<VoteResponse<Types>> {
        let outcome = self.call(RPCTypes::Vote, RaftCall::Vote((&request).into()), option.soft_ttl()).await?;
        outcome.into_vote().ok_or_else(|| unreachable("the answer is of another kind"))
    }

    async fn pre_vote(&mut self, request: VoteRequest<Types>, option: RPCOption) -> RpcResult<VoteResponse<Types>> {
        let outcome = self.call(RPCTypes::Vote, RaftCall::PreVote((&request).into()), option.soft_ttl()).await?;
        outcome.into_vote().ok_or_else(|| unreachable("the answer is of another kind"))
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot<LeaderId, u64, u64, SnapshotHandle>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let sending = snapshot::send(self, vote, snapshot);
        tokio::select! {
            biased;
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = sending => sent,
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> RpcResult<TransferLeaderResponse<Types>> {
        let call = RaftCall::Transfer((&request).into());
        let outcome = self.call(RPCTypes::TransferLeader, call, option.soft_ttl()).await?;
        outcome.into_transfer(&request).ok_or_else(|| unreachable("the answer is of another kind"))
    }
}
