//! The state machine, as openraft wants it.
//!
//! A snapshot is a handle, never data: building one makes the engine durable and notes how far that goes;
//! the view to send from is opened when it is sent; a received one is already staged when it gets here.

use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use clock::mutation::{self, Mutant};
use futures::{FutureExt, Stream, StreamExt};
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use openraft::{EntryPayload, OptionalSend};
use prost::Message;

use super::compaction::Applied;
use super::durability::Durability;
use super::end::EndCause;
use super::log_store::{LogStore, SyncedMark};
use super::types::{
    Command, Entry, LeaderId, LogId, SnapshotMeta, StoredMembership, Types, decode_membership, log_id,
    membership_record, position,
};
use crate::ReplicaId;
use crate::state_machine::{
    AppliedState, CommittedEntry, EntryKind, SnapshotSink, SnapshotSource, StateMachine, StateMachineError,
};
use crate::wal::{GroupLog, LogSize};

/// Entries applied in one engine batch at most.
const APPLY_ENTRIES_MAX: usize = 256;

/// A snapshot on its way from or to a state machine.
pub(crate) enum SnapshotHandle {
    /// A view to send. While it is open, the state machine is in use.
    Outgoing(Box<dyn SnapshotSource>, Arc<Durability>),
    /// A staged one to install.
    Incoming(Box<dyn SnapshotSink>),
    /// One that was built: there is nothing to carry.
    Built,
}

/// A group's state machine behind openraft's interface. Fields drop in order: what says that it is in use goes last.
pub(crate) struct Machine {
    replica: ReplicaId,
    state_machine: Arc<dyn StateMachine>,
    log: GroupLog,
    synced: SyncedMark,
    applied: Arc<Applied>,
    durability: Arc<Durability>,
    cause: EndCause,
    /// Whether openraft has been told what is durable; before, it must not take the applied state for a snapshot.
    has_built: bool,
}

/// Builds a snapshot beside the applying of entries.
pub(crate) struct SnapshotBuilder {
    state_machine: Arc<dyn StateMachine>,
    durability: Arc<Durability>,
    cause: EndCause,
}

impl Machine {
    pub fn new(
        replica: ReplicaId,
        state_machine: Arc<dyn StateMachine>,
        log: &LogStore,
        applied: Arc<Applied>,
        cause: EndCause,
    ) -> Self {
        let (synced, durability) = (log.synced(), log.durability());
        Machine { replica, state_machine, log: log.log(), synced, applied, durability, cause, has_built: false }
    }

    async fn apply_batch(&self, batch: Vec<CommittedEntry>) -> Result<(), io::Error> {
        let Some(last) = batch.last() else { return Ok(()) };
        if !mutation::is(Mutant::AppliedBeforeSync) {
            self.synced.wait_for(last.position.index).await?;
        }
        self.audit(last.position.index);
        let size = |entry: &CommittedEntry| match &entry.kind {
            EntryKind::Blank => 0,
            EntryKind::Command(command) => command.len() as u64,
            EntryKind::Membership(membership) => membership.len() as u64,
        };
        let more = LogSize { entries: batch.len() as u64, bytes: batch.iter().map(size).sum() };
        self.guard(self.state_machine.apply(batch)).await?;
        self.applied.note(more);
        Ok(())
    }

    /// An error, or a panic, ends the group's core: left to itself, a worker that panics is missed by nobody.
    async fn guard(&self, work: impl Future<Output = Result<(), StateMachineError>>) -> Result<(), io::Error> {
        match AssertUnwindSafe(work).catch_unwind().await {
            Ok(done) => done.map_err(|error| self.cause.note(error)),
            Err(panic) => Err(self.cause.note_panic(&*panic)),
        }
    }
}

impl Machine {
    /// Tells how far entries are about to be applied, and how far the log itself has synced them.
    fn audit(&self, index: u64) {
        if tracing::enabled!(target: "audit", tracing::Level::TRACE) {
            let synced = self.log.synced().map_or(0, |last| last.index);
            let (range, replica) = (self.log.group().0, self.replica.0);
            tracing::trace!(target: "audit", event = "applies", range, replica, index, synced);
        }
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = SnapshotHandle;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let state = self.state_machine.applied_state().map_err(io::Error::other)?;
        meta_of(&state).map(|meta| (meta.last_log_id, meta.last_membership))
    }

    async fn apply<S>(&mut self, entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let mut chunks = entries.ready_chunks(APPLY_ENTRIES_MAX);
        while let Some(chunk) = chunks.next().await {
            let mut batch = Vec::with_capacity(chunk.len());
            let mut responders = Vec::new();
            for item in chunk {
                let (entry, responder) = item?;
                batch.push(committed_entry(entry));
                responders.extend(responder);
            }
            self.apply_batch(batch).await?;
            for responder in responders {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<SnapshotBuilder> {
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        self.has_built = true;
        let (state_machine, durability, cause) =
            (self.state_machine.clone(), self.durability.clone(), self.cause.clone());
        SnapshotBuilder { state_machine, durability, cause }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotHandle) -> Result<(), io::Error> {
        let SnapshotHandle::Incoming(sink) = snapshot else {
            return Err(io::Error::other("only a received snapshot can be installed"));
        };
        self.guard(sink.finish()).await?;
        self.has_built = true;
        self.durability.note(meta.last_log_id.as_ref().map_or(0, |last| last.index() + 1));
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<Snapshot<LeaderId, u64, u64, SnapshotHandle>>, io::Error> {
        if !self.has_built {
            return Ok(None);
        }
        let source = self.state_machine.open_snapshot().map_err(|error| self.cause.note(error))?;
        let meta = meta_of(&source.applied_state())?;
        Ok(Some(Snapshot { meta, snapshot: SnapshotHandle::Outgoing(source, self.durability.clone()) }))
    }
}

impl RaftSnapshotBuilder<Types> for SnapshotBuilder {
    type SnapshotData = SnapshotHandle;

    async fn build_snapshot(&mut self) -> Result<Snapshot<LeaderId, u64, u64, SnapshotHandle>, io::Error> {
        // Read before the sync: what is applied after it may not be covered by it.
        let state = self.state_machine.applied_state().map_err(|error| self.cause.note(error))?;
        self.durability.make_durable().await.map_err(|error| self.cause.note(error))?;
        Ok(Snapshot { meta: meta_of(&state)?, snapshot: SnapshotHandle::Built })
    }
}

/// What openraft knows a snapshot by.
pub(crate) fn meta_of(state: &AppliedState) -> Result<SnapshotMeta, io::Error> {
    let last_membership = decode_membership(&state.membership)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("the applied membership: {error}")))?;
    Ok(SnapshotMeta { last_log_id: state.last_applied.map(log_id), last_membership })
}

/// The inverse of [`meta_of`].
pub(crate) fn state_of(meta: &SnapshotMeta) -> AppliedState {
    let set_at = meta.last_membership.log_id().as_ref().map(position);
    let record = membership_record(set_at, meta.last_membership.membership());
    AppliedState {
        last_applied: meta.last_log_id.as_ref().map(position),
        membership: Bytes::from(record.encode_to_vec()),
    }
}

fn committed_entry(entry: Entry) -> CommittedEntry {
    let position = position(&entry.log_id());
    let kind = match entry.payload {
        EntryPayload::Blank => EntryKind::Blank,
        EntryPayload::Normal(Command(command)) => EntryKind::Command(command),
        EntryPayload::Membership(membership) => {
            EntryKind::Membership(Bytes::from(membership_record(Some(position), &membership).encode_to_vec()))
        }
    };
    CommittedEntry { position, kind }
}
