//! What replicas tell their store, and ask of it.

use std::sync::Arc;

use async_trait::async_trait;
use clock::mutation::{self, Mutant};
use raft_groups::{AppliedState, GroupStatus, SnapshotSink, SnapshotSource, StateMachineError};

use super::Store;
use super::lifecycle::Work;
use super::local::Tombstone;
use super::snapshot::{InstallHost, RangeSink, RangeSource, SinkState};
use crate::command::Split;
use crate::descriptor::RangeDescriptor;
use crate::lease::Lease;
use crate::replica::{Replica, ReplicaEvents};

#[async_trait]
impl ReplicaEvents for Store {
    fn may_create(&self, right: &RangeDescriptor) -> bool {
        let Some(own) = right.replicas.iter().find(|replica| replica.node_id == self.parts.node_id) else {
            return false;
        };
        let reader = self.parts.engine.snapshot();
        let is_spent = match Tombstone::load(&*reader, right.range_id) {
            Ok(tombstone) => tombstone.is_some_and(|tombstone| own.replica_id < tombstone.next_replica_id),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a tombstone cannot be read");
                true
            }
        };
        let has_later = self.held(right.range_id).is_some_and(|held| held.replica.replica_id() > own.replica_id);
        !is_spent && !has_later
    }

    fn split_applied(&self, left: &Arc<Replica>, split: &Split, leaseholder: bool) {
        tracing::info!(left = left.range_id(), right = split.right.range_id, "range split");
        self.parts.router.learn(&split.left);
        self.parts.router.learn(&split.right);
        let right = split.right.clone();
        if self.may_create(&right) {
            self.ask(Work::StartRight { right, campaign: leaseholder });
        } else {
            self.ask(Work::DropRight { right });
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
            return Err(StateMachineError::new(words));
        }
        let host = self.this.upgrade().ok_or_else(|| StateMachineError::new("the store is shutting down"))?;
        Ok(Box::new(RangeSink {
            engine: self.parts.engine.clone(),
            host: Arc::new(Install { store: host, replica: replica.clone() }),
            replica_id: replica.replica_id(),
            range_id: replica.range_id(),
            install_id: self.parts.random.next_u64(),
            batch_bytes: self.parts.settings.snapshot_batch_bytes,
            state: SinkState::default(),
        }))
    }

    fn disk_full(&self) -> Option<String> {
        self.parts.disk.is_full()
    }
}

/// An install in a store.
struct Install {
    store: Arc<Store>,
    replica: Arc<Replica>,
}

impl InstallHost for Install {
    fn former(&self) -> RangeDescriptor {
        self.replica.descriptor()
    }

    fn may_install(&self, descriptor: &RangeDescriptor) -> Result<(), String> {
        let replica_id = self.replica.replica_id();
        if !descriptor.replicas.iter().any(|replica| replica.replica_id == replica_id) {
            return Err(format!("the snapshot of range {} knows no replica {replica_id}", descriptor.range_id));
        }
        match self.store.overlapping(descriptor).first() {
            None => Ok(()),
            Some(_) if mutation::is(Mutant::SnapshotOverSplit) => Ok(()),
            Some(other) => Err(format!(
                "range {} overlaps range {} of generation {}, whose split is still to be applied here",
                descriptor.range_id, other.range_id, other.generation
            )),
        }
    }

    fn installed(&self, descriptor: &RangeDescriptor) {
        tracing::info!(range = descriptor.range_id, generation = descriptor.generation, "snapshot installed");
        if let Err(error) = self.replica.reload() {
            tracing::error!(error = &error as &dyn std::error::Error, "an installed snapshot cannot be read");
        }
        self.store.parts.router.learn(descriptor);
        self.store.changed.notify_one();
    }
}
