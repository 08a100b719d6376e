//! What replicas tell their store, and ask of it.

use std::sync::Arc;

use async_trait::async_trait;
use raft_groups::{AppliedState, GroupStatus, SnapshotSink, SnapshotSource, StateMachineError};

use super::Store;
use super::chores::Chore;
use super::data::EngineSpan;
use super::lifecycle::Work;
use super::local::{Condemned, Leftover, Tombstone};
use super::snapshot::{InstallHost, RangeSink, RangeSource, SinkState};
use crate::command::Split;
use crate::descriptor::RangeDescriptor;
use crate::engine::{EngineError, WriteBatch};
use crate::lease::Lease;
use crate::replica::{Replica, ReplicaEvents};

#[async_trait]
impl ReplicaEvents for Store {
    async fn before_split(&self, right: &RangeDescriptor, batch: &mut WriteBatch) -> Result<bool, StateMachineError> {
        let own = right.replicas.iter().find(|replica| replica.node_id == self.parts.node_id);
        let is_born = match own {
            Some(own) => self.begin_birth(right.range_id, own.replica_id).await.map_err(StateMachineError::new)?,
            None => false,
        };
        if !is_born {
            Leftover { descriptor: right.clone() }.save(batch);
        }
        Ok(is_born)
    }

    fn split_applied(&self, left: &Arc<Replica>, split: &Split, leaseholder: bool) {
        tracing::info!(left = left.range_id(), right = split.right.range_id, "range split");
        self.parts.router.learn(&split.left);
        self.parts.router.learn(&split.right);
        let right = split.right.clone();
        let own = right.replicas.iter().find(|replica| replica.node_id == self.parts.node_id);
        let own_id = own.map_or(0, |own| own.replica_id);
        if self.claims.split(&split.left, &right, own_id) {
            self.ask(Work::StartRight { range_id: right.range_id, campaign: leaseholder });
        } else {
            self.begin_chore(Chore::Leftover { range_id: right.range_id });
        }
        self.changed.notify_one();
    }

    fn descriptor_changed(&self, _replica: &Arc<Replica>, descriptor: &RangeDescriptor) {
        self.parts.router.learn(descriptor);
        self.changed.notify_one();
    }

    fn removed(&self, replica: &Arc<Replica>) {
        self.ask(Work::Destroy {
            range_id: replica.range_id(),
            replica_id: replica.replica_id(),
            next_replica_id: self.first_unspent(&replica.descriptor()),
        });
    }

    fn lease_changed(&self, _replica: &Arc<Replica>, _lease: &Lease, _ours: bool) {
        self.changed.notify_one();
    }

    fn leadership(&self, _replica: &Arc<Replica>, _status: &GroupStatus) {
        self.changed.notify_one();
    }

    fn open_snapshot(&self, replica: &Arc<Replica>) -> Result<Box<dyn SnapshotSource>, StateMachineError> {
        Ok(Box::new(RangeSource::open(&*self.parts.engine, replica.range_id())?))
    }

    async fn begin_install(
        &self,
        replica: &Arc<Replica>,
        _state: AppliedState,
    ) -> Result<Box<dyn SnapshotSink>, StateMachineError> {
        if let Some(words) = self.parts.disk.is_full() {
            return Err(StateMachineError::refused(words));
        }
        let store = self.this.upgrade().ok_or_else(|| StateMachineError::refused("the store is shutting down"))?;
        let install_id = self.parts.random.next_u64();
        Ok(Box::new(RangeSink {
            steps: self.steps(),
            host: Arc::new(Install { store, replica: replica.clone(), install_id }),
            replica_id: replica.replica_id(),
            range_id: replica.range_id(),
            install_id,
            batch_bytes: self.parts.settings.snapshot_batch_bytes,
            state: SinkState::default(),
        }))
    }

    fn condemn(&self, range_id: u64, words: &str, batch: &mut WriteBatch) {
        Condemned { range_id, words: words.to_owned() }.save(batch);
    }

    fn condemned(&self, range_id: u64, words: &str) {
        let words = Condemned { range_id, words: words.to_owned() }.in_words();
        // Without a store there is nothing that could serve.
        let Some(store) = self.this.upgrade() else { return };
        self.parts.tasks.spawn("condemned", async move {
            store.all().iter().for_each(|(_, held)| held.replica.drop_lease());
            // Its next life must know, whatever ends this one. Should that fail, it is told as well.
            let _ = store.sync_engine().await;
            store.failure.tell(|| words);
        });
    }

    fn has_room(&self) -> bool {
        self.parts.disk.has_room()
    }

    fn engine_failed(&self, error: &EngineError) {
        // What does not decode is one record; what cannot be read may be anything.
        if matches!(error, EngineError::Storage(_)) {
            self.failure.tell_error("the storage engine cannot be read", error);
        }
    }

    fn disk_full(&self) -> Option<String> {
        self.parts.disk.is_full()
    }
}

impl Store {
    /// Whether a split may write the state of its right side's replica here.
    async fn begin_birth(&self, range_id: u64, replica_id: u64) -> Result<bool, EngineError> {
        if !self.claims.begin_birth(range_id, replica_id).await {
            return Ok(false);
        }
        // Only now, when nothing removes a replica of it any more.
        let is_spent = Tombstone::is_spent(&*self.parts.engine.snapshot(), range_id, replica_id)?;
        if is_spent {
            self.claims.give_up_birth(range_id);
        }
        Ok(!is_spent)
    }
}

/// An install in a store.
struct Install {
    store: Arc<Store>,
    replica: Arc<Replica>,
    install_id: u64,
}

impl InstallHost for Install {
    fn former(&self) -> RangeDescriptor {
        self.replica.descriptor()
    }

    fn claim(&self, descriptor: &RangeDescriptor) -> Result<(), String> {
        let replica_id = self.replica.replica_id();
        if !descriptor.replicas.iter().any(|replica| replica.replica_id == replica_id) {
            return Err(format!("the snapshot of range {} knows no replica {replica_id}", descriptor.range_id));
        }
        let has_data = !self.replica.descriptor().replicas.is_empty();
        self.store.claims.begin_install(replica_id, has_data, self.install_id, descriptor)
    }

    fn begin_switch(&self, descriptor: &RangeDescriptor) -> Result<(), String> {
        self.store.claims.switch(self.install_id, descriptor)?;
        self.replica.begin_switch();
        Ok(())
    }

    fn installed(&self, descriptor: &RangeDescriptor) -> Result<(), StateMachineError> {
        tracing::info!(range = descriptor.range_id, generation = descriptor.generation, "snapshot installed");
        self.replica.reload().map_err(StateMachineError::new)?;
        self.store.claims.installed(descriptor);
        self.store.parts.router.learn(descriptor);
        self.store.changed.notify_one();
        Ok(())
    }

    fn abandoned(&self, range_id: u64, staged: Option<EngineSpan>) {
        self.store.claims.abandon(range_id, self.install_id);
        if let Some(staged) = staged {
            self.store.begin_chore(Chore::Staged { staged });
        }
    }
}
