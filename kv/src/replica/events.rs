//! What a replica tells whoever holds it, and asks of it.

use std::sync::Arc;

use async_trait::async_trait;
use raft_groups::{AppliedState, GroupStatus, SnapshotSink, SnapshotSource, StateMachineError};

use super::Replica;
use crate::command::Split;
use crate::descriptor::RangeDescriptor;
use crate::engine::{EngineError, WriteBatch};
use crate::lease::Lease;

/// The holder of a replica: the store. Calls come from application, in log order; none may block.
#[async_trait]
pub trait ReplicaEvents: Send + Sync + 'static {
    /// A split is about to apply: whether its batch may write the right side's state here. Not when this node already has a
    /// later replica of it, or had one and removed it: then the batch gets what the holder must remember of that instead. Waits while a
    /// replica of it comes into being here by a message.
    /// [`ReplicaEvents::split_applied`] follows, unless the engine fails.
    ///
    /// # Errors
    /// When the engine fails.
    async fn before_split(&self, _right: &RangeDescriptor, _batch: &mut WriteBatch) -> Result<bool, StateMachineError> {
        Ok(true)
    }

    /// A split has applied, and the right side's state is in the engine (unless [`ReplicaEvents::before_split`] said no).
    /// Creates the right replica, gives it the timestamp-cache low-water mark and starts its group, which stands for
    /// election at once when `leaseholder`.
    fn split_applied(&self, _left: &Arc<Replica>, _split: &Split, _leaseholder: bool) {}

    /// A new descriptor has applied.
    fn descriptor_changed(&self, _replica: &Arc<Replica>, _descriptor: &RangeDescriptor) {}

    /// A descriptor without this replica has applied: it is to be destroyed.
    fn removed(&self, _replica: &Arc<Replica>) {}

    /// A change of the lease (not an extension) has applied.
    fn lease_changed(&self, _replica: &Arc<Replica>, _lease: &Lease, _ours: bool) {}

    /// The group's term, leader or membership changed.
    fn leadership(&self, _replica: &Arc<Replica>, _status: &GroupStatus) {}

    /// Opens a view of the replica's data for a peer that is far behind.
    ///
    /// # Errors
    /// When the engine fails, or the holder sends no snapshots.
    fn open_snapshot(&self, _replica: &Arc<Replica>) -> Result<Box<dyn SnapshotSource>, StateMachineError> {
        Err(StateMachineError::new("this replica's holder sends no snapshots"))
    }

    /// Stages a snapshot. The holder calls [`Replica::begin_switch`] before it replaces any data, and [`Replica::reload`] when it is
    /// through.
    ///
    /// # Errors
    /// When the engine fails, or the holder takes no snapshots.
    async fn begin_install(
        &self,
        _replica: &Arc<Replica>,
        _state: AppliedState,
    ) -> Result<Box<dyn SnapshotSink>, StateMachineError> {
        Err(StateMachineError::new("this replica's holder takes no snapshots"))
    }

    /// A replica is found to hold what its peers do not: the batch gets what the holder must remember of that, for ever.
    fn condemn(&self, _range_id: u64, _words: &str, _batch: &mut WriteBatch) {}

    /// The holder has remembered that. It serves nothing any more.
    fn condemned(&self, _range_id: u64, _words: &str) {}

    /// Whether the engine has room for a write. Without, what is committed waits to be applied.
    fn has_room(&self) -> bool {
        true
    }

    /// The engine could not be read: nothing the holder keeps in it can be relied on.
    fn engine_failed(&self, _error: &EngineError) {}

    /// Whether too little disk space is left to take writes; the sentence says where.
    fn disk_full(&self) -> Option<String> {
        None
    }
}

/// A holder that cares for nothing.
#[derive(Debug)]
pub struct NoEvents;

impl ReplicaEvents for NoEvents {}
