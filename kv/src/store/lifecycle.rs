//! Replicas come and go: at start, by a message, by a split, by removal.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::RwLock;
use raft_groups::{GroupEnd, GroupId, ReplicaId, initial_state};
use tokio::sync::{Notify, mpsc};

use super::chores::Chore;
use super::claims::Claims;
use super::data::Steps;
use super::failure::{Failure, WatchedEngine};
use super::local::{self, Condemned, Leftover, Tombstone};
use super::log::Log;
use super::snapshot;
use super::{Held, Lifecycle, Store, StoreParts};
use crate::descriptor::RangeDescriptor;
use crate::engine::{EngineError, EngineWriter, WriteBatch};
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
    /// What it holds is not what other nodes hold.
    #[error("{0}")]
    Condemned(String),
    /// A group did not start or stop.
    #[error("a group could not be started or stopped")]
    Group(#[from] raft_groups::GroupError),
}

/// What the worker is asked to do.
#[derive(Clone, Debug)]
pub(super) enum Work {
    /// A message came for a replica that does not run here.
    Wanted { range_id: u64, replica_id: u64 },
    /// A split has applied.
    StartRight { range_id: u64, campaign: bool },
    /// A replica is no member any more.
    Destroy { range_id: u64, replica_id: u64, next_replica_id: u64 },
    /// A replica's group ended by itself, and may be started anew.
    Restart { range_id: u64, replica_id: u64 },
}

impl Store {
    /// Opens the store: completes what a crash interrupted, and starts all replicas.
    ///
    /// # Errors
    /// When the engine or a log cannot be read.
    pub async fn start(mut parts: StoreParts) -> Result<Arc<Store>, StoreError> {
        let failure = Failure::new();
        parts.engine = Arc::new(WatchedEngine { engine: parts.engine, failure: failure.clone() });
        let (work, worker) = mpsc::unbounded_channel();
        let store = Arc::new_cyclic(|this: &Weak<Store>| Store {
            chores: parts.tasks.scope(),
            writer: EngineWriter::new(parts.engine.clone(), parts.tasks.clone()),
            parts,
            held: RwLock::new(BTreeMap::new()),
            claims: Claims::default(),
            failure: failure.clone(),
            work,
            lifecycle: tokio::sync::Mutex::new(Lifecycle::Open),
            changed: Notify::new(),
            this: this.clone(),
        });
        let engine = &store.parts.engine;
        if let Some(condemned) = Condemned::load(&*engine.snapshot())? {
            return Err(StoreError::Condemned(condemned.in_words()));
        }
        let range_ids = local::range_ids(&*engine.snapshot())?;
        for range_id in &range_ids {
            snapshot::complete_marked(&store.steps(), *range_id).await?;
        }
        store.listen();
        let mut present = Vec::new();
        for range_id in range_ids {
            if store.take_back(range_id)? {
                present.push(range_id);
            }
        }
        for range_id in present {
            store.start_replica(range_id).await?;
        }
        store.parts.tasks.spawn("store", work_through(Arc::downgrade(&store), worker));
        store.parts.tasks.spawn("failure", give_up(failure, Arc::downgrade(&store)));
        Ok(store)
    }

    /// Hears of messages for replicas that do not run here, and of groups that ended by themselves.
    fn listen(&self) {
        let this = self.this.clone();
        self.parts.host.on_absent_group(Arc::new(move |group, replica, _from| {
            if let Some(store) = this.upgrade() {
                store.ask(Work::Wanted { range_id: group.0, replica_id: replica.0 });
            }
        }));
        let this = self.this.clone();
        self.parts.host.on_end(Arc::new(move |group, replica, end| {
            let Some(store) = this.upgrade() else { return };
            match end {
                GroupEnd::Refused(words) => {
                    tracing::warn!(range = group.0, words, "a replica's group ended, and is started again");
                    store.ask(Work::Restart { range_id: group.0, replica_id: replica.0 });
                }
                GroupEnd::Failed(words) => {
                    store.failure.tell(|| format!("the replica of {group} cannot go on: {words}"))
                }
            }
        }));
    }

    /// Claims what is here of a range, and goes on with what was to be cleared of it. Returns whether it has a replica.
    fn take_back(&self, range_id: u64) -> Result<bool, StoreError> {
        let reader = self.parts.engine.snapshot();
        let overlap = |words: String| EngineError::Corrupt(format!("range_tiling: {words}"));
        if let Some(Leftover { descriptor }) = Leftover::load(&*reader, range_id)? {
            self.claims.resume_leftover(&descriptor);
            self.begin_chore(Chore::Leftover { range_id });
        }
        let uncleared = Tombstone::load(&*reader, range_id)?.and_then(|tombstone| tombstone.uncleared);
        if let Some(descriptor) = uncleared {
            self.claims.resume_removal(&descriptor).map_err(overlap)?;
            self.begin_chore(Chore::Removal { range_id });
            return Ok(false);
        }
        let Some((record, _)) = RangeState::load(&*reader, range_id)? else { return Ok(false) };
        let descriptor = RangeDescriptor { range_id, ..record.descriptor };
        self.claims.hold(record.replica_id, &descriptor).map_err(overlap)?;
        Ok(true)
    }

    /// The engine, by pieces.
    pub(super) fn steps(&self) -> Steps {
        let parts = &self.parts;
        Steps { engine: parts.engine.clone(), tasks: parts.tasks.clone(), disk: parts.disk.clone() }
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
            writer: self.writer.clone(),
            hlc: parts.hlc.clone(),
            tasks: parts.tasks.clone(),
            random: parts.random.fork(&format!("replica {range_id} {}", parts.random.next_u64())),
            settings: Arc::new(parts.settings.clone()),
            sender: parts.router.clone(),
            events: store,
            limits: parts.limits.clone(),
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
        self.claims.started(range_id);
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

    pub(super) async fn work(&self, work: Work) -> Result<(), StoreError> {
        let lifecycle = self.lifecycle.lock().await;
        if *lifecycle == Lifecycle::Closed {
            return Ok(());
        }
        match work {
            Work::Wanted { range_id, replica_id } => self.start_wanted(range_id, replica_id).await,
            Work::StartRight { range_id, campaign } => self.start_right(range_id, campaign).await,
            Work::Destroy { range_id, replica_id, next_replica_id } if self.holds(range_id, replica_id) => {
                self.destroy(range_id, next_replica_id).await
            }
            Work::Restart { range_id, replica_id } if self.holds(range_id, replica_id) => {
                self.stop_replica(range_id).await;
                self.start_replica(range_id).await.map(|_| ())
            }
            Work::Destroy { .. } | Work::Restart { .. } => Ok(()),
        }
    }

    fn holds(&self, range_id: u64, replica_id: u64) -> bool {
        self.held(range_id).is_some_and(|held| held.replica.replica_id() == replica_id)
    }

    /// A peer sent something to a replica that does not run here.
    async fn start_wanted(&self, range_id: u64, replica_id: u64) -> Result<(), StoreError> {
        if let Some(held) = self.held(range_id) {
            if held.replica.replica_id() < replica_id {
                // A node has one replica of a range at a time: ours was removed, and this one is its successor. The next message
                // finds its place cleared.
                self.destroy(range_id, replica_id).await?;
            }
            return Ok(());
        }
        let Some(_starting) = self.claims.start(range_id, replica_id) else { return Ok(()) };
        if Tombstone::is_spent(&*self.parts.engine.snapshot(), range_id, replica_id)? {
            return Ok(());
        }
        let descriptor = RangeDescriptor { range_id, ..RangeDescriptor::default() };
        let mut batch = WriteBatch::new();
        snapshot::put_record(replica_id, &descriptor, &mut batch);
        self.writer.write(batch).await?;
        // Its group's log is synced by itself: after a power loss it would be left over, with nobody to remove it.
        self.sync_engine().await?;
        self.start_replica(range_id).await.map(|_| ())
    }

    /// The right side of a split: its state is in the engine. A replica without data, which came into being by a
    /// message, gives way; its votes stay in the log.
    async fn start_right(&self, range_id: u64, campaign: bool) -> Result<(), StoreError> {
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
        if campaign && let Err(error) = held.group.campaign().await {
            // It ended at once. What becomes of it is its supervisor's; the others stand for election without it.
            tracing::warn!(range = range_id, %error, "the right side of a split does not stand for election");
        }
        Ok(())
    }

    /// Removes a replica with its data and its log, for good.
    async fn destroy(&self, range_id: u64, next_replica_id: u64) -> Result<(), StoreError> {
        let Some(held) = self.held(range_id) else { return Ok(()) };
        if !self.claims.begin_removal(range_id) {
            return Ok(());
        }
        tracing::info!(range = range_id, replica = held.replica.replica_id(), "replica removed");
        self.stop_replica(range_id).await;
        // Only now: until its group had stopped, a split or a snapshot may have changed its bounds. What a split gave to
        // another range is not this one's to clear.
        let reader = self.parts.engine.snapshot();
        let state = RangeState::load(&*reader, range_id)?;
        let descriptor = state.map(|(record, _)| record.descriptor).unwrap_or_default();
        let spent = Tombstone::load(&*reader, range_id)?.map_or(0, |tombstone| tombstone.next_replica_id);
        drop(reader);
        let uncleared = Some(RangeDescriptor { range_id, ..descriptor });
        let tombstone = Tombstone { next_replica_id: next_replica_id.max(spent), uncleared };
        let mut batch = WriteBatch::new();
        tombstone.save(range_id, &mut batch);
        batch.delete(keys::range_local(range_id, RangeLocal::Replica));
        self.writer.write(batch).await?;
        self.begin_chore(Chore::Removal { range_id });
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

/// How long the worker waits for a clock that does not answer: its ceiling may wait for room on the disk.
const CLOCK_PAUSE: Duration = Duration::from_secs(1);

async fn work_through(store: Weak<Store>, mut worker: mpsc::UnboundedReceiver<Work>) {
    while let Some(work) = worker.recv().await {
        loop {
            let Some(store) = store.upgrade() else { return };
            match store.work(work.clone()).await {
                Ok(()) => break,
                Err(StoreError::Replica(ReplicaError::Clock(error))) => {
                    tracing::warn!(%error, ?work, "a replica waits for the clock");
                }
                Err(error) => {
                    store.failure.tell_error(&format!("{work:?}"), &error);
                    break;
                }
            }
            drop(store);
            tokio::time::sleep(CLOCK_PAUSE).await;
        }
    }
}

/// Whatever a store that cannot go on holds a lease of is better served by others, who wait until it has run out.
async fn give_up(failure: Failure, store: Weak<Store>) {
    failure.wait().await;
    let Some(store) = store.upgrade() else { return };
    store.all().iter().for_each(|(_, held)| held.replica.drop_lease());
}
