//! Snapshots on their way, chunk by chunk.
//!
//! ```text
//!   Begin(vote, applied state) ─▶ sink       Chunk 0, 1, 2 … ─▶ staged       Finish ─▶ openraft ─▶ switched to
//! ```
//!
//! Every chunk is acknowledged once staged, which is the backpressure: one is on its way at a time. The
//! checksum runs on from chunk to chunk, so that a lost, doubled or damaged one is noticed at the next. A
//! sending that breaks off is begun anew; its receiver drops what it staged. Where none is begun anew, because the log suffices by
//! now or another node leads, the receiver drops it once it has heard nothing for long.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::errors::{NetworkError as RaftNetworkError, StreamingError};
use openraft::network::RPCTypes;
use openraft::raft::SnapshotResponse;
use openraft::storage::Snapshot;
use openraft::{ErrorSubject, ErrorVerb, StorageError};
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::machine::{SnapshotHandle, state_of};
use super::peer::{PeerClient, time_for_bytes};
use super::types::{LeaderId, SnapshotMeta, Types, Vote};
use super::wire::{SnapshotAnswer, SnapshotChunk, SnapshotHead, SnapshotRequest, SnapshotStep, SnapshotTail};
use crate::network::{Class, MESSAGE_BYTES_MAX};
use crate::state_machine::{SnapshotSink, StateMachine};
use crate::{GroupConfig, NodeId, ReplicaId};

/// Sends a snapshot to another replica and waits until it is installed.
pub(super) async fn send(
    client: &PeerClient,
    vote: Vote,
    snapshot: Snapshot<LeaderId, u64, u64, SnapshotHandle>,
) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
    let SnapshotHandle::Outgoing(mut source, in_use) = snapshot.snapshot else {
        return Err(read_error(&snapshot.meta, io::Error::other("the snapshot is not one to send")));
    };
    let sending = Sending { client, transfer_id: client.context.random.next_u64() };
    let head = SnapshotHead::new(&vote, state_of(&snapshot.meta));
    if let Some(higher) = sending.step(SnapshotStep::Begin(head)).await? {
        return Ok(SnapshotResponse::new(higher));
    }
    let (mut sequence, mut running_checksum) = (0, 0);
    while let Some(data) =
        source.next_chunk().await.map_err(|error| read_error(&snapshot.meta, io::Error::other(error)))?
    {
        running_checksum = crc32c::crc32c_append(running_checksum, &data);
        sending.step(SnapshotStep::Chunk(SnapshotChunk { sequence, running_checksum, data })).await?;
        sequence += 1;
    }
    drop(source);
    drop(in_use);
    let tail = SnapshotTail { chunks: sequence, running_checksum };
    match sending.step(SnapshotStep::Finish(tail)).await? {
        Some(vote) => Ok(SnapshotResponse::new(vote)),
        None => Err(RaftNetworkError::from_string("the end of the snapshot was not answered").into()),
    }
}

fn read_error(meta: &SnapshotMeta, error: io::Error) -> StreamingError<Types> {
    let subject = ErrorSubject::Snapshot(Some(meta.signature()));
    StorageError::from_io_error(subject, ErrorVerb::Read, error).into()
}

struct Sending<'a> {
    client: &'a PeerClient,
    transfer_id: u64,
}

impl Sending<'_> {
    async fn step(&self, step: SnapshotStep) -> Result<Option<Vote>, StreamingError<Types>> {
        let (client, context) = (self.client, &self.client.context);
        let timeout = match &step {
            SnapshotStep::Begin(_) => Duration::from_millis(context.config.snapshot_chunk_timeout_ms),
            SnapshotStep::Chunk(chunk) => {
                Duration::from_millis(context.config.snapshot_chunk_timeout_ms)
                    + time_for_bytes(chunk.data.len() as u64)
            }
            SnapshotStep::Finish(_) => Duration::from_millis(context.config.snapshot_install_timeout_ms),
        };
        let request = SnapshotRequest {
            group: context.group.0,
            to_replica: client.target,
            from_replica: context.replica.0,
            transfer_id: self.transfer_id,
            step: Some(step),
        };
        let body = Bytes::from(request.encode_to_vec());
        let answer = context.transport.call(client.node, Class::Bulk, body, timeout).await;
        let answer = answer.map_err(|error| client.rpc_error(RPCTypes::InstallSnapshot, timeout, error))?;
        let answer = SnapshotAnswer::decode(answer)
            .map_err(|error| StreamingError::from(RaftNetworkError::<Types>::new(&error)))?;
        Ok(answer.vote.map(Vote::from))
    }
}

/// A sender that has not been heard of for so long has given up: twice what its largest chunk may take.
pub(super) fn sender_patience(config: &GroupConfig) -> Duration {
    2 * (Duration::from_millis(config.snapshot_chunk_timeout_ms) + time_for_bytes(MESSAGE_BYTES_MAX as u64))
}

/// The snapshot one replica is receiving: one at a time, from the newest leader that sends one.
#[derive(Default)]
pub(crate) struct Receiver {
    incoming: Mutex<Option<Slot>>,
    begun: Notify,
}

struct Slot {
    from: (NodeId, ReplicaId),
    term: u64,
    /// When its sender was last heard of.
    heard: Instant,
    incoming: Arc<tokio::sync::Mutex<Incoming>>,
}

struct Incoming {
    transfer_id: u64,
    head: SnapshotHead,
    /// Gone once handed over, or after a failure.
    sink: Option<Box<dyn SnapshotSink>>,
    chunks: u64,
    running_checksum: u32,
}

/// A snapshot that has arrived whole.
pub(crate) struct Received {
    pub vote: Vote,
    pub meta: SnapshotMeta,
    pub sink: Box<dyn SnapshotSink>,
}

impl Receiver {
    /// Begins to receive, dropping what was begun before, unless that comes from a newer leader.
    pub async fn begin(
        &self,
        from: (NodeId, ReplicaId),
        transfer_id: u64,
        head: SnapshotHead,
        state_machine: &dyn StateMachine,
    ) -> Result<(), String> {
        head.meta().map_err(|error| error.to_string())?;
        let term = head.vote.term;
        {
            let mut slot = self.incoming.lock();
            if slot.as_ref().is_some_and(|slot| slot.term > term) {
                return Err("a newer leader is sending a snapshot".to_owned());
            }
            *slot = None;
        }
        let sink = state_machine.begin_install(head.applied_state()).await.map_err(|error| error.to_string())?;
        let incoming = Incoming { transfer_id, head, sink: Some(sink), chunks: 0, running_checksum: 0 };
        let incoming = Arc::new(tokio::sync::Mutex::new(incoming));
        *self.incoming.lock() = Some(Slot { from, term, heard: now(), incoming });
        self.begun.notify_one();
        Ok(())
    }

    /// Stages one chunk. One that came twice is acknowledged again.
    pub async fn chunk(&self, from: (NodeId, ReplicaId), transfer_id: u64, chunk: SnapshotChunk) -> Result<(), String> {
        let incoming = self.find(from)?;
        let mut incoming = incoming.lock().await;
        incoming.check_transfer(transfer_id)?;
        if chunk.sequence + 1 == incoming.chunks && chunk.running_checksum == incoming.running_checksum {
            return Ok(());
        }
        let running_checksum = crc32c::crc32c_append(incoming.running_checksum, &chunk.data);
        if chunk.sequence != incoming.chunks || chunk.running_checksum != running_checksum {
            return Err(format!("chunk {} does not continue chunk {}", chunk.sequence, incoming.chunks));
        }
        // Taken out while it works, so that a failure leaves nothing to go on with.
        let mut sink = incoming.sink.take().ok_or("the snapshot has failed before")?;
        sink.write_chunk(chunk.data).await.map_err(|error| error.to_string())?;
        incoming.sink = Some(sink);
        incoming.chunks += 1;
        incoming.running_checksum = running_checksum;
        Ok(())
    }

    /// Takes out a snapshot that has arrived whole.
    pub async fn finish(
        &self,
        from: (NodeId, ReplicaId),
        transfer_id: u64,
        tail: SnapshotTail,
    ) -> Result<Received, String> {
        let incoming = self.find(from)?;
        let mut incoming = incoming.lock().await;
        incoming.check_transfer(transfer_id)?;
        if (tail.chunks, tail.running_checksum) != (incoming.chunks, incoming.running_checksum) {
            return Err(format!("{} chunks arrived of {}", incoming.chunks, tail.chunks));
        }
        let mut sink = incoming.sink.take().ok_or("the snapshot has failed before")?;
        *self.incoming.lock() = None;
        // Once it is handed over, a refusal would end the group.
        sink.prepare().await.map_err(|error| error.to_string())?;
        let meta = incoming.head.meta().map_err(|error| error.to_string())?;
        Ok(Received { vote: incoming.head.vote.into(), meta, sink })
    }

    /// Drops what was received so far.
    pub fn clear(&self) {
        *self.incoming.lock() = None;
    }

    /// Drops each snapshot whose sender has not been heard of for so long: it has given up, and what is staged and
    /// claimed would stay. Never returns.
    pub async fn drop_abandoned(&self, patience: Duration) {
        loop {
            let heard = self.incoming.lock().as_ref().map(|slot| slot.heard);
            let Some(heard) = heard else {
                self.begun.notified().await;
                continue;
            };
            tokio::time::sleep_until(heard + patience).await;
            drop(self.incoming.lock().take_if(|slot| slot.heard == heard));
        }
    }

    fn find(&self, from: (NodeId, ReplicaId)) -> Result<Arc<tokio::sync::Mutex<Incoming>>, String> {
        let mut slot = self.incoming.lock();
        match slot.as_mut() {
            Some(slot) if slot.from == from => {
                slot.heard = now();
                Ok(slot.incoming.clone())
            }
            _ => Err("no snapshot was begun, or another one since".to_owned()),
        }
    }
}

impl Incoming {
    fn check_transfer(&self, transfer_id: u64) -> Result<(), String> {
        if self.transfer_id == transfer_id { Ok(()) } else { Err("another snapshot was begun since".to_owned()) }
    }
}

#[allow(clippy::disallowed_methods, reason = "measures what has elapsed; virtual under simulation")]
fn now() -> Instant {
    Instant::now()
}
