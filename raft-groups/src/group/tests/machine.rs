//! A state machine that remembers the commands it was given, with an engine's crash semantics.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use parking_lot::Mutex;

use crate::{
    AppliedState, CommittedEntry, EntryKind, GroupStatus, SnapshotSink, SnapshotSource, StateMachine, StateMachineError,
};

/// Commands to a chunk of a snapshot.
const COMMANDS_PER_CHUNK: usize = 7;

/// What one replica's engine holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Data {
    pub state: AppliedState,
    /// Index and command, in order.
    pub commands: Vec<(u64, Bytes)>,
}

/// The engine: what reads see, and what a power loss leaves.
#[derive(Debug, Default)]
pub struct Store {
    pub live: Data,
    pub durable: Data,
    /// What the machine was told of its group's leadership.
    pub told: Vec<GroupStatus>,
    pub installs: u64,
    /// So many installs are refused before one is taken.
    pub refusals: u64,
    /// What becomes of the next batch.
    pub next_apply: NextApply,
}

/// What becomes of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NextApply {
    #[default]
    Works,
    Fails,
    Panics,
}

#[derive(Clone)]
pub struct Machine {
    pub store: Arc<Mutex<Store>>,
}

impl Machine {
    pub fn new(state: AppliedState) -> Self {
        let data = Data { state, commands: Vec::new() };
        Machine { store: Arc::new(Mutex::new(Store { live: data.clone(), durable: data, ..Store::default() })) }
    }

    /// The machine as found after a power loss, or after a kill that left the page cache alone.
    pub fn after_crash(&self, power_loss: bool) -> Machine {
        let store = self.store.lock();
        let live = if power_loss { store.durable.clone() } else { store.live.clone() };
        Machine { store: Arc::new(Mutex::new(Store { live, durable: store.durable.clone(), ..Store::default() })) }
    }

    pub fn commands(&self) -> Vec<Bytes> {
        self.store.lock().live.commands.iter().map(|(_, command)| command.clone()).collect()
    }
}

#[async_trait]
impl StateMachine for Machine {
    fn applied_state(&self) -> Result<AppliedState, StateMachineError> {
        Ok(self.store.lock().live.state.clone())
    }

    async fn apply(&self, entries: Vec<CommittedEntry>) -> Result<(), StateMachineError> {
        let mut store = self.store.lock();
        match store.next_apply {
            NextApply::Works => {}
            NextApply::Fails => return Err(StateMachineError::new("the engine is broken")),
            NextApply::Panics => panic!("the engine is a mess"),
        }
        for entry in entries {
            let expected = store.live.state.last_applied.map_or(0, |last| last.index + 1);
            assert_eq!(entry.position.index, expected, "entries are applied in order, each once");
            match entry.kind {
                EntryKind::Blank => {}
                EntryKind::Command(command) => store.live.commands.push((entry.position.index, command)),
                EntryKind::Membership(membership) => store.live.state.membership = membership,
            }
            store.live.state.last_applied = Some(entry.position);
        }
        Ok(())
    }

    async fn make_durable(&self) -> Result<(), StateMachineError> {
        let mut store = self.store.lock();
        store.durable = store.live.clone();
        Ok(())
    }

    fn open_snapshot(&self) -> Result<Box<dyn SnapshotSource>, StateMachineError> {
        let data = self.store.lock().live.clone();
        let chunks = data.commands.chunks(COMMANDS_PER_CHUNK).map(encode).collect();
        Ok(Box::new(Source { state: data.state, chunks }))
    }

    async fn begin_install(&self, state: AppliedState) -> Result<Box<dyn SnapshotSink>, StateMachineError> {
        Ok(Box::new(Sink { store: self.store.clone(), data: Data { state, commands: Vec::new() } }))
    }

    fn leadership(&self, status: &GroupStatus) {
        self.store.lock().told.push(status.clone());
    }
}

struct Source {
    state: AppliedState,
    chunks: VecDeque<Bytes>,
}

#[async_trait]
impl SnapshotSource for Source {
    fn applied_state(&self) -> AppliedState {
        self.state.clone()
    }

    async fn next_chunk(&mut self) -> Result<Option<Bytes>, StateMachineError> {
        Ok(self.chunks.pop_front())
    }
}

struct Sink {
    store: Arc<Mutex<Store>>,
    data: Data,
}

#[async_trait]
impl SnapshotSink for Sink {
    async fn write_chunk(&mut self, chunk: Bytes) -> Result<(), StateMachineError> {
        self.data.commands.extend(decode(chunk));
        Ok(())
    }

    async fn prepare(&mut self) -> Result<(), StateMachineError> {
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<(), StateMachineError> {
        let mut store = self.store.lock();
        if store.refusals > 0 {
            store.refusals -= 1;
            return Err(StateMachineError::refused("not now"));
        }
        store.live = self.data.clone();
        store.durable = self.data;
        store.installs += 1;
        Ok(())
    }
}

fn encode(commands: &[(u64, Bytes)]) -> Bytes {
    let mut chunk = BytesMut::new();
    for (index, command) in commands {
        chunk.put_u64(*index);
        chunk.put_u64(command.len() as u64);
        chunk.put_slice(command);
    }
    chunk.freeze()
}

fn decode(mut chunk: Bytes) -> Vec<(u64, Bytes)> {
    let mut commands = Vec::new();
    while chunk.has_remaining() {
        let (index, len) = (chunk.get_u64(), chunk.get_u64());
        commands.push((index, chunk.split_to(len as usize)));
    }
    commands
}
