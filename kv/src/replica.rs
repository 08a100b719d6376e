//! One copy of a range, and, on the leaseholder, the place where its requests are served.
//!
//! ```text
//!   send ─▶ lease check ▶ latches ▶ lock table ▶ evaluate ─┬▶ read: answer
//!                                                          └▶ write: lease check on the final timestamp ▶ propose
//!   log ─▶ apply: effects ⧺ applied state, one engine batch ─▶ the waiting request is answered, its latches leave
//! ```
//!
//! - [`Replica::send`] is the leaseholder's side ([`mod@send`], [`wait`], [`propose`], [`lease`]).
//! - [`raft_groups::StateMachine`] is every copy's side ([`mod@apply`]).
//!
//! Invariants: `propose_once` (a command is handed to the log at most once; what is retried is the request, and only
//! when its command certainly cannot apply); `latches_until_fate` (latches leave only after the command applied
//! here, or a newer lease sequence did, under which it cannot; or with the lease, when a snapshot hides what became of it); `read_protected`, `lease_disjointness` and
//! `applied_with_effects` in the modules they belong to. Bounds and threshold are read from the same engine
//! snapshot as the data: both change only under the write half of the view's lock, which spans the engine's write.
//!
//! Lock order: `lease` before `proposals`; `view` is taken alone. None is held over an `await`.
//!
//! A replica knows nothing of other ranges; what it needs of them (pushes, resolution) goes through its
//! [`Sender`]. Who holds it learns of changes through [`ReplicaEvents`].

pub mod admin;
mod apply;
mod audit;
mod check;
mod clean;
mod events;
pub(crate) mod extent;
mod lease;
mod load;
mod local;
mod propose;
mod proposer;
mod resolve;
mod send;
pub mod state;
mod touched;
mod wait;

use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use clock::mutation::{self, Mutant};
use clock::{Hlc, Random, Tasks, Timestamp};
use parking_lot::{Mutex, RwLock};
use raft_groups::LogPosition;

pub use audit::{RecordStatus, checksum as audit_checksum, record_status};
pub use check::CheckAnswer;
pub use events::{NoEvents, ReplicaEvents};
pub use load::Served;
pub use local::{first_range_state, local_range};
pub use proposer::{LocalProposer, Proposer};
pub use state::{RangeState, ReplicaRecord};

use crate::api::{KvError, Sender, error_detail};
use crate::concurrency::latches::Latches;
use crate::concurrency::lock_table::{LockHolder, LockTable};
use crate::concurrency::timestamp_cache::TimestampCache;
use crate::concurrency::waits::Waits;
use crate::consistency::CheckLimits;
use crate::descriptor::RangeDescriptor;
use crate::engine::{Engine, EngineError, EngineWriter, Reader};
use crate::mvcc::MvccStats;
use crate::settings::Settings;
use lease::LeaseState;
use propose::Proposals;

/// What a replica is made of.
#[derive(Clone)]
pub struct ReplicaContext {
    /// The range whose replica the engine holds.
    pub range_id: u64,
    /// This node.
    pub node_id: u64,
    /// Where the data is.
    pub engine: Arc<dyn Engine>,
    /// The way to write to it from Raft's threads.
    pub writer: Arc<EngineWriter>,
    /// This node's clock.
    pub hlc: Arc<Hlc>,
    /// Where tasks are started.
    pub tasks: Tasks,
    /// Randomness for proposal IDs.
    pub random: Random,
    /// The numbers.
    pub settings: Arc<Settings>,
    /// The way to other ranges: pushes, resolution.
    pub sender: Arc<dyn Sender>,
    /// Who holds the replica.
    pub events: Arc<dyn ReplicaEvents>,
    /// What checks may take.
    pub limits: Arc<CheckLimits>,
}

/// Why a replica cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// The store holds no replica of the range.
    #[error("the store holds no replica of range {0}")]
    NoReplica(u64),
    /// A snapshot is half-way in place.
    #[error("a snapshot of range {0} is being installed")]
    HalfInstalled(u64),
    /// The engine failed.
    #[error("the replica's state cannot be read")]
    Engine(#[from] EngineError),
    /// The clock cannot be used.
    #[error("the clock does not answer")]
    Clock(#[from] clock::HlcError),
}

/// What requests are checked against: changes only together with the data.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RangeView {
    pub descriptor: RangeDescriptor,
    pub gc_threshold: Timestamp,
    /// Neighbours this replica knows of: the right sides of its splits, newest first.
    pub split_off: Vec<RangeDescriptor>,
    /// A snapshot is about to take the place of the data, or half-way there.
    pub switching: bool,
    pub destroyed: bool,
}

impl RangeView {
    /// Whether nothing may be read under it.
    pub fn is_closed(&self) -> bool {
        self.switching || self.destroyed
    }
}

/// One copy of a range.
pub struct Replica {
    range_id: u64,
    replica_id: u64,
    node_id: u64,
    engine: Arc<dyn Engine>,
    writer: Arc<EngineWriter>,
    hlc: Arc<Hlc>,
    tasks: Tasks,
    random: Random,
    settings: Arc<Settings>,
    sender: Arc<dyn Sender>,
    events: Arc<dyn ReplicaEvents>,
    proposer: OnceLock<Arc<dyn Proposer>>,
    this: Weak<Replica>,

    view: RwLock<Arc<RangeView>>,
    applied: Mutex<RangeState>,
    lease: Mutex<LeaseState>,
    /// Rings when the lease, the leadership or the replica's existence changed.
    changed: tokio::sync::Notify,
    proposals: Mutex<Proposals>,

    latches: Arc<Latches>,
    locks: LockTable,
    reads: TimestampCache,
    waits: Waits,
    upkeep: clean::Upkeep,
    touched: touched::Touched,
    load: load::LoadMeter,
    checks: check::Checks,
    limits: Arc<CheckLimits>,
}

impl Replica {
    /// Opens the replica that the engine holds of the range. It serves once it has a [proposer](Replica::set_proposer)
    /// and a lease.
    ///
    /// # Errors
    /// [`ReplicaError`].
    pub fn open(context: ReplicaContext) -> Result<Arc<Replica>, ReplicaError> {
        let ReplicaContext { range_id, node_id, engine, writer, hlc, tasks, random, settings, sender, events, limits } =
            context;
        let reader = engine.snapshot();
        let (record, state) = RangeState::load(&*reader, range_id)?.ok_or(ReplicaError::NoReplica(range_id))?;
        drop(reader);
        // Everything this node served before lies below: reads of a former life, and of the range this one was
        // split from.
        let mut low_water = hlc.now()?;
        let mut lease = LeaseState::new(state.lease);
        if mutation::is(Mutant::LeaseSurvivesRestart) && state.lease.holder == record.replica_id {
            lease = LeaseState::held_from_former_life(state.lease);
            low_water = Timestamp::MIN;
        }
        let view = RangeView {
            descriptor: state.descriptor.clone(),
            gc_threshold: state.gc_threshold,
            split_off: Vec::new(),
            switching: false,
            destroyed: false,
        };
        Ok(Arc::new_cyclic(|this| Replica {
            range_id,
            replica_id: record.replica_id,
            node_id,
            engine,
            writer,
            hlc,
            tasks,
            random,
            settings,
            sender,
            events,
            proposer: OnceLock::new(),
            this: this.clone(),
            view: RwLock::new(Arc::new(view)),
            lease: Mutex::new(lease),
            applied: Mutex::new(state),
            changed: tokio::sync::Notify::new(),
            proposals: Mutex::new(Proposals::default()),
            latches: Arc::new(Latches::default()),
            locks: LockTable::default(),
            reads: TimestampCache::new(low_water),
            waits: Waits::default(),
            upkeep: clean::Upkeep::default(),
            touched: touched::Touched::default(),
            load: load::LoadMeter::default(),
            checks: check::Checks::default(),
            limits,
        }))
    }

    /// Gives the replica its log. Later calls have no effect.
    pub fn set_proposer(&self, proposer: Arc<dyn Proposer>) {
        let _ = self.proposer.set(proposer);
        self.changed.notify_waiters();
    }

    /// The log, once it is set.
    pub fn proposer(&self) -> Option<&Arc<dyn Proposer>> {
        self.proposer.get()
    }

    /// The range.
    pub fn range_id(&self) -> u64 {
        self.range_id
    }

    /// Which copy of the range this is.
    pub fn replica_id(&self) -> u64 {
        self.replica_id
    }

    /// The node it is on.
    pub fn node_id(&self) -> u64 {
        self.node_id
    }

    /// Bounds and replicas, as applied here.
    pub fn descriptor(&self) -> RangeDescriptor {
        self.view.read().descriptor.clone()
    }

    /// Statistics of the data, as applied here.
    pub fn stats(&self) -> MvccStats {
        self.applied.lock().stats
    }

    /// What was applied: descriptor, position, lease, threshold, statistics.
    pub fn state(&self) -> RangeState {
        self.applied.lock().clone()
    }

    /// The newest entry applied here.
    pub fn applied_position(&self) -> Option<LogPosition> {
        self.applied.lock().applied.last_applied
    }

    /// The garbage collection threshold, as applied here.
    pub fn gc_threshold(&self) -> Timestamp {
        self.view.read().gc_threshold
    }

    /// Lets go of what was read before the timestamp; writes stand above that from now on, wherever they are.
    pub fn forget_reads_before(&self, cutoff: Timestamp) {
        self.reads.forget_before(cutoff);
    }

    /// Requests came through a node, for this replica to serve.
    pub fn count_requests(&self, node: u64, requests: usize) {
        self.load.count(node, requests as u64);
    }

    /// Takes what was counted into what is known of the load. To be called about once a second.
    pub fn measure_load(&self, now: Timestamp) {
        if self.is_leaseholder() { self.load.fold(now) } else { self.load.forget() }
    }

    /// What it served lately as the leaseholder; nothing as any other.
    pub fn served(&self) -> Served {
        self.load.served()
    }

    /// How many keys and spans it knows to have been read.
    #[cfg(test)]
    pub(crate) fn remembered_reads(&self) -> usize {
        self.reads.remembered()
    }

    /// The lock table as text, one line a key.
    pub fn describe_locks(&self) -> Vec<String> {
        self.locks.describe()
    }

    /// A consistent view of the data with the state that belongs to it: for checksums.
    ///
    /// # Errors
    /// When the engine fails, or holds the replica no more, or only half of it.
    pub fn snapshot(&self) -> Result<(RangeState, Box<dyn Reader>), ReplicaError> {
        let view = self.view.read();
        if view.switching {
            return Err(ReplicaError::HalfInstalled(self.range_id));
        }
        self.read_state()
    }

    fn read_state(&self) -> Result<(RangeState, Box<dyn Reader>), ReplicaError> {
        let reader = self.engine.snapshot();
        let (_, state) = RangeState::load(&*reader, self.range_id)?.ok_or(ReplicaError::NoReplica(self.range_id))?;
        Ok((state, reader))
    }

    /// Serves nothing from now on until [`Replica::reload`]: the data is about to be replaced, and for a while it will be neither
    /// what it was nor what goes with other bounds and another threshold (`half_installed_is_unseen`). The lease goes, too: whoever
    /// was so far behind as to be sent a snapshot has lost it, whatever its clock says.
    pub fn begin_switch(&self) {
        let mut view = self.view.write();
        *view = Arc::new(RangeView { switching: true, ..(**view).clone() });
        drop(view);
        self.drop_lease();
    }

    /// Reads the state again after a snapshot replaced the data underneath, and serves again. REQUIRES: nothing is being applied.
    ///
    /// # Errors
    /// As [`Replica::open`]; nothing is served then.
    pub fn reload(&self) -> Result<(), ReplicaError> {
        let (state, _) = self.read_state()?;
        self.lease.lock().install(state.lease);
        *self.applied.lock() = state.clone();
        self.locks.clear_from(&[]);
        self.lose_sight_of_proposals();
        let mut view = self.view.write();
        *view = Arc::new(RangeView {
            descriptor: state.descriptor,
            gc_threshold: state.gc_threshold,
            split_off: Vec::new(),
            switching: false,
            destroyed: view.destroyed,
        });
        drop(view);
        self.changed.notify_waiters();
        Ok(())
    }

    /// Refuses every request from now on: the replica is being destroyed.
    pub fn shut_down(&self) {
        let mut view = self.view.write();
        let destroyed = RangeView { destroyed: true, ..(**view).clone() };
        *view = Arc::new(destroyed);
        drop(view);
        self.locks.clear_from(&[]);
        self.changed.notify_waiters();
    }

    /// Whether [`Replica::shut_down`] was called.
    pub fn is_shut_down(&self) -> bool {
        self.view.read().destroyed
    }

    /// Unreplicated locks from a key on, for the replica that takes that part over.
    pub fn take_over_locks(&self, locks: Vec<(Bytes, LockHolder)>) {
        for (key, holder) in locks {
            self.locks.acquire(&key, &holder.txn, holder.last_active);
        }
    }

    /// A handle on itself, for tasks that outlive the call.
    fn handle(&self) -> Arc<Replica> {
        self.this.upgrade().expect("a method runs only while somebody holds the replica")
    }

    /// Bounds, threshold and data of one moment.
    ///
    /// # Errors
    /// `NotLeaseholder` when there is nothing that may be read.
    pub(crate) fn read_view(&self) -> Result<(Arc<RangeView>, Box<dyn Reader>), KvError> {
        let view = self.view.read();
        if view.is_closed() {
            drop(view);
            return Err(self.not_leaseholder(0));
        }
        Ok((view.clone(), self.engine.snapshot()))
    }

    fn clock_now(&self) -> Result<Timestamp, KvError> {
        self.hlc.now().map_err(|error| invalid(format!("this node's clock does not answer: {error}")))
    }
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica")
            .field("range", &self.range_id)
            .field("replica", &self.replica_id)
            .finish_non_exhaustive()
    }
}

/// A request that makes no sense.
pub(crate) fn invalid(message: impl Into<String>) -> KvError {
    KvError::Invalid(error_detail::Ended { message: message.into(), other: None })
}

#[cfg(test)]
mod tests;
