//! Requests of other replicas, answered.

use openraft::storage::Snapshot;

use super::Group;
use super::machine::SnapshotHandle;
use super::wire::{RaftCall, RaftOutcome, SnapshotAnswer, SnapshotStep};
use crate::{NodeId, ReplicaId};

impl Group {
    /// Answers a request of Raft itself. The request has reached the group's own queue before the first wait.
    pub(crate) async fn serve(&self, call: RaftCall) -> Result<RaftOutcome, String> {
        let raft = &self.inner.raft;
        match call {
            RaftCall::Append(append) => {
                let response = raft.append_entries(append.try_into()?).await;
                response.map(RaftOutcome::from).map_err(|error| error.to_string())
            }
            RaftCall::Vote(ask) => {
                let response = raft.vote(ask.into()).await;
                response.map(|response| RaftOutcome::from_vote(&response)).map_err(|error| error.to_string())
            }
            RaftCall::PreVote(ask) => {
                let response = raft.pre_vote(ask.into()).await;
                response.map(|response| RaftOutcome::from_vote(&response)).map_err(|error| error.to_string())
            }
            RaftCall::Transfer(transfer) => {
                let response = raft.handle_transfer_leader(transfer.into()).await;
                response.map(|response| RaftOutcome::from_transfer(&response)).map_err(|error| error.to_string())
            }
        }
    }

    /// Answers one step of receiving a snapshot.
    pub(crate) async fn serve_snapshot(
        &self,
        from: (NodeId, ReplicaId),
        transfer_id: u64,
        step: SnapshotStep,
    ) -> Result<SnapshotAnswer, String> {
        let receiver = &self.inner.receiver;
        match step {
            SnapshotStep::Begin(head) => {
                receiver.begin(from, transfer_id, head, self.inner.state_machine.as_ref()).await?;
                Ok(SnapshotAnswer { vote: None })
            }
            SnapshotStep::Chunk(chunk) => {
                receiver.chunk(from, transfer_id, chunk).await?;
                Ok(SnapshotAnswer { vote: None })
            }
            SnapshotStep::Finish(tail) => {
                let received = receiver.finish(from, transfer_id, tail).await?;
                let snapshot = Snapshot { meta: received.meta, snapshot: SnapshotHandle::Incoming(received.sink) };
                let response = self.inner.raft.install_full_snapshot(received.vote, snapshot).await;
                let response = response.map_err(|fatal| fatal.to_string())?;
                Ok(SnapshotAnswer { vote: Some((&response.vote).into()) })
            }
        }
    }
}
