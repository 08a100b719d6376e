//! One range that lives in this process alone, over the whole keyspace: for tests of everything above, and for tools.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use clock::{Hlc, Random, Tasks};
use raft_groups::{NodeId, ReplicaId, initial_state};

use super::state::RangeState;
use super::{LocalProposer, NoEvents, Replica, ReplicaContext};
use crate::api::{BatchRequest, BatchResponse, KvError, RequestKind, Sender};
use crate::consistency::CheckLimits;
use crate::descriptor::{RangeDescriptor, ReplicaDescriptor, ReplicaRole};
use crate::engine::{Engine, EngineWriter, MemoryEngine, WriteBatch};
use crate::keys;
use crate::settings::Settings;

/// The way from a replica back to itself.
#[derive(Default)]
struct Loop {
    replica: OnceLock<Arc<Replica>>,
}

#[async_trait]
impl Sender for Loop {
    async fn send(&self, batch: BatchRequest) -> Result<BatchResponse, KvError> {
        let splits = |request: &crate::api::Request| matches!(request.kind, Some(RequestKind::SplitRange(_)));
        if batch.requests.iter().any(splits) {
            return Err(super::invalid("a local range cannot be split"));
        }
        let Some(replica) = self.replica.get().cloned() else {
            return Err(super::invalid("the range is not open yet"));
        };
        replica.send(batch).await
    }
}

/// The state of the first range: the whole keyspace, with one replica on each of the nodes.
pub fn first_range_state(range_id: u64, nodes: &[u64]) -> RangeState {
    let replica = |(at, node): (usize, &u64)| ReplicaDescriptor {
        replica_id: at as u64 + 1,
        node_id: *node,
        role: ReplicaRole::Voter as i32,
        replaces: 0,
    };
    let replicas: Vec<ReplicaDescriptor> = nodes.iter().enumerate().map(replica).collect();
    let voters: Vec<(ReplicaId, NodeId)> =
        replicas.iter().map(|replica| (ReplicaId(replica.replica_id), NodeId(replica.node_id))).collect();
    let descriptor = RangeDescriptor {
        range_id,
        start: keys::MIN.into(),
        end: bytes::Bytes::new(),
        generation: 1,
        next_replica_id: replicas.len() as u64 + 1,
        replicas,
    };
    RangeState { descriptor, applied: initial_state(&voters), ..RangeState::default() }
}

/// A sender over one unreplicated range that spans the whole keyspace, in memory. It knows transactions, locks, pushes and
/// deadlocks as any range does; it cannot be split.
///
/// # Panics
/// When the clock's ceiling cannot be persisted.
pub fn local_range(hlc: Arc<Hlc>, tasks: Tasks, random: Random, settings: Settings) -> Arc<dyn Sender> {
    let engine: Arc<dyn Engine> = Arc::new(MemoryEngine::new());
    let state = first_range_state(1, &[1]);
    let mut batch = WriteBatch::new();
    state.write_all(1, &mut batch);
    engine.write(batch).expect("memory takes every batch");
    let sender = Arc::new(Loop::default());
    let limits = Arc::new(CheckLimits::of(&settings));
    let context = ReplicaContext {
        range_id: 1,
        node_id: 1,
        writer: EngineWriter::new(engine.clone(), tasks.clone()),
        engine,
        hlc,
        tasks,
        random,
        settings: Arc::new(settings),
        sender: sender.clone(),
        events: Arc::new(NoEvents),
        limits,
    };
    let replica = Replica::open(context).expect("a range that was just written can be opened");
    LocalProposer::attach(&replica);
    assert!(sender.replica.set(replica).is_ok(), "a loop is closed once");
    sender
}
