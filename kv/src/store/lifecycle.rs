//! Replicas come and go: at start, by a message, by a split, by removal.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::RwLock;
use raft_groups::{GroupId, ReplicaId, initial_state};
use tokio::sync::{Notify, mpsc};

use super::local::{self, Tombstone};
use super::log::Log;
use super::snapshot;
use super::{Held, Lifecycle, Store, StoreParts, data};
use crate::descriptor::RangeDescriptor;
use crate::engine::{EngineError, WriteBatch};
use crate::keys::{self, RangeLocal};
use crate::mvcc::MvccStats;
use crate::replica::{RangeState, Replica, ReplicaContext, ReplicaError};

/// The store cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The engine failed.
    #[error("the engine failed")]
    Engine(#[from] EngineError),
    /// A replica cannot be opened.
    #[error("a replica cannot be opened")]
    Replica(#[from] ReplicaError),
    /// A group did not start or stop.
    #[error("a group could not be started or stopped")]
    Group(#[from] raft_groups::GroupError),
}

/// What the worker is asked to do.
#[derive(Debug)]
pub(super) enum Work {
    /// A message came for a replica that does not run here.
    Wanted { range_id: u64, replica_id: u64 },
    /// A split has applied.
    StartRight { right: RangeDescriptor, campaign: bool },
    /// A split has applied whose right side has no business here: its data goes.
    DropRight { right: RangeDescriptor },
    /// A replica is no member any more.
    Destroy { range_id: u64, replica_id: u64, next_replica_id: u64 },
}

impl Store {
    /// Opens the store: completes what a crash interrupted, and starts all replicas.
    ///
    /// # Errors
    /// When the engine or a log cannot be read.
    pub async fn start(parts: StoreParts) -> Result<Arc<Store>, StoreError> {
        let (work, worker) = mpsc::unbounded_channel();
        let store = Arc::new_cyclic(|this: &Weak<Store>| Store {
            parts,
            held: RwLock::new(BTreeMap::new()),
            work,
            lifecycle: tokio::sync::Mutex::new(Lifecycle::Open),
            changed: Notify::new(),
            this: this.clone(),
        });
        let engine = &store.parts.engine;
        let range_ids = local::range_ids(&*engine.snapshot())?;
        for range_id in &range_ids {
            snapshot::complete_marked(&**engine, *range_id)?;
            store.complete_removal(*range_id).await?;
        }
        for range_id in range_ids {
            if RangeState::load(&*engine.snapshot(), range_id)?.is_some() {
                store.start_replica(range_id).await?;
            }
        }
        store.parts.tasks.spawn("store", work_through(Arc::downgrade(&store), worker));
        let this = Arc::downgrade(&store);
        store.parts.host.on_absent_group(Arc::new(move |group, replica, _from| {
            if let Some(store) = this.upgrade() {
                store.ask(Work::Wanted { range_id: group.0, replica_id: replica.0 });
            }
        }));
        Ok(store)
    }

    /// Puts the state of a new range's first replica on a node into a batch, alike for every node that holds one. `stats` are
    /// those of the rows that it begins with. To be written before [`Store::start`].
    pub fn seed(node_id: u64, descriptor: &RangeDescriptor, stats: MvccStats, batch: &mut WriteBatch) {
        let voters: Vec<_> =
            descriptor.replicas.iter().map(|replica| (replica.replica_id.into(), replica.node_id.into())).collect();
        let applied = initial_state(&voters);
        let state = RangeState { descriptor: descriptor.clone(), applied, stats, ..RangeState::default() };
        for replica in descriptor.replicas.iter().filter(|replica| replica.node_id == node_id) {
            state.write_all(replica.replica_id, batch);
        }
    }

    /// Starts the replica that the engine holds of a range, and its group. REQUIRES: `lifecycle` is held, or the store is
    /// starting.
    async fn start_replica(&self, range_id: u64) -> Result<Held, StoreError> {
        let store = self.this.upgrade().expect("the store calls this, so it lives");
        let parts = &self.parts;
        let replica = Replica::open(ReplicaContext {
            range_id,
            node_id: parts.node_id,
            engine: parts.engine.clone(),
            hlc: parts.hlc.clone(),
            tasks: parts.tasks.clone(),
            random: parts.random.fork(&format!("replica {range_id} {}", parts.random.next_u64())),
            settings: Arc::new(parts.settings.clone()),
            sender: parts.router.clone(),
            events: store,
        })?;
        let replica_id = replica.replica_id();
        let group = parts.host.start_group(GroupId(range_id), ReplicaId(replica_id), replica.clone()).await?;
        let log = Arc::new(Log::of(group.clone()));
        replica.set_proposer(log.clone());
        let held = Held { replica, group, log };
        if held.is_initialized() {
            parts.router.learn(&held.replica.descriptor());
        }
        self.held.write().insert(range_id, held.clone());
        self.changed.notify_one();
        Ok(held)
    }

    /// Stops a replica, but keeps what it holds. REQUIRES: `lifecycle` is held.
    async fn stop_replica(&self, range_id: u64) {
        let former = self.held.write().remove(&range_id);
        if let Some(former) = &former {
            former.replica.shut_down();
        }
        // It may not run: then there is nothing to stop.
        let _ = self.parts.host.stop_group(GroupId(range_id)).await;
        if let Some(former) = former {
            former.log.detach();
        }
    }

    async fn work(&self, work: Work) -> Result<(), StoreError> {
        let lifecycle = self.lifecycle.lock().await;
        if *lifecycle == Lifecycle::Closed {
            return Ok(());
        }
        match work {
            Work::Wanted { range_id, replica_id } => self.start_wanted(range_id, replica_id).await,
            Work::StartRight { right, campaign } => self.start_right(&right, campaign).await,
            Work::DropRight { right } => self.drop_right(&right),
            Work::Destroy { range_id, replica_id, next_replica_id } => {
                if self.held(range_id).is_some_and(|held| held.replica.replica_id() == replica_id) {
                    self.destroy(range_id, next_replica_id).await?;
                }
                Ok(())
            }
        }
    }

    /// A peer sent something to a replica that does not run here.
    async fn start_wanted(&self, range_id: u64, replica_id: u64) -> Result<(), StoreError> {
        if let Some(held) = self.held(range_id) {
            let own = held.replica.replica_id();
            if own < replica_id {
                // A node has one replica of a range at a time: ours was removed, and this one is its successor.
                self.destroy(range_id, replica_id).await?;
            } else {
                return Ok(());
            }
        }
        let reader = self.parts.engine.snapshot();
        if Tombstone::load(&*reader, range_id)?.is_some_and(|tombstone| replica_id < tombstone.next_replica_id) {
            return Ok(());
        }
        match RangeState::load(&*reader, range_id)? {
            // The split that made it has applied, and the worker has not come to it yet.
            Some((record, _)) if record.replica_id == replica_id => {}
            Some(_) => return Ok(()),
            None => {
                let descriptor = RangeDescriptor { range_id, ..RangeDescriptor::default() };
                let mut batch = WriteBatch::new();
                snapshot::put_record(replica_id, &descriptor, &mut batch);
                self.parts.engine.write(batch)?;
            }
        }
        self.start_replica(range_id).await.map(|_| ())
    }

    /// The right side of a split: its state is in the engine. A replica without data, which came into being by a
    /// message, gives way; its votes stay in the log.
    async fn start_right(&self, right: &RangeDescriptor, campaign: bool) -> Result<(), StoreError> {
        let range_id = right.range_id;
        if RangeState::load(&*self.parts.engine.snapshot(), range_id)?.is_none() {
            return Ok(());
        }
        let held = match self.held(range_id) {
            Some(held) if held.is_initialized() => held,
            former => {
                if former.is_some() {
                    self.stop_replica(range_id).await;
                }
                self.start_replica(range_id).await?
            }
        };
        if campaign {
            held.group.campaign().await?;
        }
        Ok(())
    }

    /// The right side's data, left behind by a split whose right replica was removed before it came to be.
    fn drop_right(&self, right: &RangeDescriptor) -> Result<(), StoreError> {
        if self.overlapping(right).is_empty() && !self.held(right.range_id).is_some_and(|held| held.is_initialized()) {
            data::clear(&*self.parts.engine, &data::key_spans(right))?;
        }
        Ok(())
    }

    /// Removes a replica with its data and its log, for good.
    async fn destroy(&self, range_id: u64, next_replica_id: u64) -> Result<(), StoreError> {
        let Some(held) = self.held(range_id) else { return Ok(()) };
        tracing::info!(range = range_id, replica = held.replica.replica_id(), "replica removed");
        let descriptor = held.replica.descriptor();
        self.stop_replica(range_id).await;
        let tombstone = Tombstone { next_replica_id, uncleared: Some(descriptor) };
        let mut batch = WriteBatch::new();
        tombstone.save(range_id, &mut batch);
        batch.delete(keys::range_local(range_id, RangeLocal::Replica));
        self.parts.engine.write(batch)?;
        self.complete_removal(range_id).await
    }

    /// Clears what a removed replica left. Doing it twice is doing it once, until the tombstone says it is done.
    async fn complete_removal(&self, range_id: u64) -> Result<(), StoreError> {
        let engine = &self.parts.engine;
        let Some(tombstone) = Tombstone::load(&*engine.snapshot(), range_id)? else { return Ok(()) };
        let Some(descriptor) = &tombstone.uncleared else { return Ok(()) };
        let mut spans = data::key_spans(descriptor);
        spans.push(data::id_span(range_id));
        data::clear(&**engine, &spans)?;
        self.sync_engine().await?;
        self.parts.host.remove_group(GroupId(range_id)).await?;
        let mut batch = WriteBatch::new();
        Tombstone { uncleared: None, ..tombstone }.save(range_id, &mut batch);
        engine.write(batch)?;
        Ok(())
    }

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// When the engine fails.
    pub async fn sync_engine(&self) -> Result<(), EngineError> {
        let engine = self.parts.engine.clone();
        self.parts.tasks.blocking(move || engine.sync()).await
    }
}

async fn work_through(store: Weak<Store>, mut worker: mpsc::UnboundedReceiver<Work>) {
    while let Some(work) = worker.recv().await {
        let Some(store) = store.upgrade() else { return };
        let what = format!("{work:?}");
        if let Err(error) = store.work(work).await {
            tracing::error!(error = &error as &dyn std::error::Error, what, "a replica could not be changed");
        }
    }
}
