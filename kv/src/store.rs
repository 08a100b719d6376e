//! Everything a node keeps on one disk: its replicas, by range.
//!
//! ```text
//!   start ─▶ engine: records of replicas ─▶ finish what a crash interrupted (installs, removals) ─▶ replica + group each
//!
//!   message for an absent group ─▶ a replica without data, which its leader sends a snapshot
//!   split applied               ─▶ the right replica, on top of the votes already cast for it
//!   descriptor without us       ─▶ log stopped, data cleared, tombstone: that replica ID never returns
//! ```
//!
//! Replicas come and go one at a time (`lifecycle`), by a worker of their own, since application asks for it and may
//! not wait. What they leave is cleared beside that ([`chores`]), and nobody else's until it is ([`claims`]).
//!
//! Invariants: `one_replica_per_range`; `replica_ids_never_return` (a replica ID below the tombstone's is refused);
//! `range_tiling` on this store (replicas with data do not overlap); `span_claimed`.
//!
//! It knows nothing of other nodes but that its replicas have peers there.

mod chores;
mod claims;
mod data;
mod disk;
mod events;
mod failure;
mod lifecycle;
mod local;
mod log;
mod snapshot;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use clock::{Hlc, Random, Tasks};
use parking_lot::RwLock;
use raft_groups::{Group, GroupHost, ReplicaId};
use tokio::sync::{Notify, mpsc};

pub use disk::DiskGuard;
pub use lifecycle::StoreError;
pub use local::{FORMAT_VERSION, Fencings, Hints, StoreIdentity};
pub use snapshot::is_half_installed;

use self::claims::Claims;
use self::failure::Failure;
use self::lifecycle::Work;
use self::log::Log;
use crate::Settings;
use crate::api::{BatchRequest, BatchResponse, KvError, error_detail};
use crate::consistency::CheckLimits;
use crate::descriptor::RangeDescriptor;
use crate::engine::{Engine, EngineError, EngineWriter, WriteBatch};
use crate::replica::Replica;
use crate::router::{LocalRanges, Router};

/// What a store is made of.
pub struct StoreParts {
    /// The node it belongs to.
    pub node_id: u64,
    /// Where data is kept.
    pub engine: Arc<dyn Engine>,
    /// Where logs are kept.
    pub host: Arc<GroupHost>,
    /// The way to other ranges; it learns what the replicas here know.
    pub router: Arc<Router>,
    /// The node's clock.
    pub hlc: Arc<Hlc>,
    /// Where its tasks run.
    pub tasks: Tasks,
    /// Its stream of random numbers.
    pub random: Random,
    /// The numbers.
    pub settings: Settings,
    /// The room that is left.
    pub disk: Arc<DiskGuard>,
    /// What checks of its replicas may take.
    pub limits: Arc<CheckLimits>,
}

/// The replicas of one node. Share it in an `Arc`.
pub struct Store {
    parts: StoreParts,
    /// The way of all replicas to the engine.
    writer: Arc<EngineWriter>,
    held: RwLock<BTreeMap<u64, Held>>,
    claims: Claims,
    /// Where what is cleared is cleared.
    chores: Tasks,
    /// Why the store cannot go on, once it cannot.
    failure: Failure,
    work: mpsc::UnboundedSender<Work>,
    /// REQUIRES to be held while a replica is created, replaced or destroyed, and to be open for that.
    lifecycle: tokio::sync::Mutex<Lifecycle>,
    /// Told when placement or the directory may have something to do.
    pub(crate) changed: Notify,
    this: Weak<Store>,
}

/// Whether replicas may come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lifecycle {
    Open,
    /// The store has stopped, for good.
    Closed,
}

/// A replica with its log.
#[derive(Clone)]
pub struct Held {
    /// The replica.
    pub replica: Arc<Replica>,
    /// Its group.
    pub group: Group,
    /// What the replica knows its group by.
    log: Arc<Log>,
}

impl Held {
    /// The nodes of the voters that answer: this one, and those that it has heard of within so long. Only the group's leader
    /// knows; `None` for others.
    pub fn live_voters(&self, within: Duration) -> Option<Vec<u64>> {
        let status = self.group.status();
        let own = self.group.replica_id();
        let is_live = |replica: &ReplicaId| {
            let heard = status.peers.get(replica).and_then(|peer| peer.heard_ago);
            *replica == own || heard.is_some_and(|ago| ago <= within)
        };
        let live = status.voters.iter().filter(|(replica, _)| is_live(replica)).map(|(_, node)| node.0);
        status.is_leader.then(|| live.collect())
    }

    /// Whether it votes, by its own descriptor.
    pub fn is_voter(&self) -> bool {
        let descriptor = self.replica.descriptor();
        descriptor.voters().any(|replica| replica.replica_id == self.replica.replica_id())
    }

    /// Whether it has data; one without waits for a snapshot.
    pub fn is_initialized(&self) -> bool {
        !self.replica.descriptor().replicas.is_empty()
    }
}

impl Store {
    /// The node it belongs to.
    pub fn node_id(&self) -> u64 {
        self.parts.node_id
    }

    /// The engine below it.
    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.parts.engine
    }

    /// Writes to the engine from where nothing may block.
    pub(crate) async fn write(&self, batch: WriteBatch) -> Result<(), EngineError> {
        self.writer.write(batch).await
    }

    /// The room that is left.
    pub fn disk(&self) -> &Arc<DiskGuard> {
        &self.parts.disk
    }

    /// The replica of a range.
    pub fn held(&self, range_id: u64) -> Option<Held> {
        self.held.read().get(&range_id).cloned()
    }

    /// All replicas, by range ID.
    pub fn all(&self) -> Vec<(u64, Held)> {
        self.held.read().iter().map(|(range, held)| (*range, held.clone())).collect()
    }

    /// A peer says that a range has this descriptor. If it has none of our replica of it, that one goes.
    pub fn told_of_removal(&self, descriptor: &RangeDescriptor) {
        let Some(held) = self.held(descriptor.range_id) else { return };
        let replica_id = held.replica.replica_id();
        let is_member = descriptor.replicas.iter().any(|replica| replica.replica_id == replica_id);
        if !is_member && replica_id < descriptor.next_replica_id {
            let next_replica_id = self.first_unspent(descriptor);
            self.ask(Work::Destroy { range_id: descriptor.range_id, replica_id, next_replica_id });
        }
    }

    /// The lowest replica ID that may still come here: that of this node's replica, if the range has one here again. Were that
    /// spent too, its messages would be dropped for ever.
    fn first_unspent(&self, descriptor: &RangeDescriptor) -> u64 {
        let own = descriptor.replicas.iter().find(|replica| replica.node_id == self.parts.node_id);
        own.map_or(descriptor.next_replica_id, |replica| replica.replica_id)
    }

    /// Stops all replicas, and starts none any more. What they hold stays.
    pub async fn shutdown(&self) {
        self.parts.disk.close();
        let mut lifecycle = self.lifecycle.lock().await;
        *lifecycle = Lifecycle::Closed;
        self.chores.stop().await;
        // First no more requests, then no more log.
        let held = std::mem::take(&mut *self.held.write());
        held.values().for_each(|held| held.replica.shut_down());
        self.parts.host.shutdown().await;
        held.values().for_each(|held| held.log.detach());
    }

    /// Why the store cannot go on: its engine failed, or one of its replicas' groups did. `None` while it can.
    pub fn failure(&self) -> Option<String> {
        self.failure.told()
    }

    /// Returns once the store cannot go on, with the reason: its process must end.
    pub async fn failed(&self) -> String {
        self.failure.wait().await
    }

    /// The node that the store belongs to cannot go on.
    pub(crate) fn fail(&self, words: String) {
        self.failure.tell(|| words);
    }

    fn ask(&self, work: Work) {
        // Without a worker the store is shutting down.
        let _ = self.work.send(work);
    }
}

impl Store {
    /// Has the replica here serve a batch that came through a node, this one or another.
    ///
    /// # Errors
    /// Any [`KvError`].
    pub async fn serve(&self, from: u64, batch: BatchRequest) -> Result<BatchResponse, KvError> {
        let range_id = batch.header.range_id;
        match self.held(range_id) {
            Some(held) if held.is_initialized() => {
                held.replica.count_requests(from, batch.requests.len());
                held.replica.send(batch).await
            }
            _ => {
                let detail =
                    error_detail::NotLeaseholder { range_id, node: self.parts.node_id, holder: 0, descriptor: None };
                Err(KvError::NotLeaseholder(detail))
            }
        }
    }
}

#[async_trait]
impl LocalRanges for Store {
    async fn send_local(&self, batch: BatchRequest) -> Result<BatchResponse, KvError> {
        self.serve(self.parts.node_id, batch).await
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("node_id", &self.parts.node_id).finish_non_exhaustive()
    }
}
