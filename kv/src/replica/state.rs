//! What a replica keeps in the engine about itself.
//!
//! ```text
//!   \x01 i <range> d    ReplicaRecord: which replica this is, and its descriptor (not replicated: differs by replica)
//!   \x01 i <range> a    AppliedRecord: position and membership of what was applied
//!   \x01 i <range> l s g   lease, statistics, threshold
//!   \x01 k <start> d    the descriptor, as the range replicates it
//! ```
//!
//! Invariant: `applied_with_effects` (the applied record is written in the batch of the effects it speaks of).

use bytes::Bytes;
use clock::Timestamp;
use prost::Message;
use raft_groups::{AppliedState, LogPosition};

use crate::descriptor::RangeDescriptor;
use crate::engine::{EngineError, Reader, WriteBatch};
use crate::keys::{self, RangeLocal};
use crate::lease::Lease;
use crate::mvcc::MvccStats;

/// Which replica a store holds of a range; the mark that it exists.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReplicaRecord {
    /// The replica.
    #[prost(uint64, tag = "1")]
    pub replica_id: u64,
    /// The range, as of what was applied.
    #[prost(message, required, tag = "2")]
    pub descriptor: RangeDescriptor,
}

/// What was applied.
#[derive(Clone, PartialEq, prost::Message)]
struct AppliedRecord {
    #[prost(bool, tag = "1")]
    any: bool,
    #[prost(uint64, tag = "2")]
    term: u64,
    #[prost(uint64, tag = "3")]
    leader: u64,
    #[prost(uint64, tag = "4")]
    index: u64,
    #[prost(bytes = "bytes", tag = "5")]
    membership: Bytes,
}

/// Everything applied of a range beside its data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RangeState {
    /// Bounds and replicas.
    pub descriptor: RangeDescriptor,
    /// What of the log is in the data.
    pub applied: AppliedState,
    /// The newest lease; sequence 0 for none yet.
    pub lease: Lease,
    /// Nothing can be read below.
    pub gc_threshold: Timestamp,
    /// Statistics of the data.
    pub stats: MvccStats,
}

impl RangeState {
    /// Reads the state of a range; `None` when the store holds no replica of it.
    ///
    /// # Errors
    /// When the engine fails, or what it holds cannot be decoded.
    pub fn load(reader: &dyn Reader, range_id: u64) -> Result<Option<(ReplicaRecord, RangeState)>, EngineError> {
        let Some(record) = get::<ReplicaRecord>(reader, range_id, RangeLocal::Replica)? else { return Ok(None) };
        let applied = get::<AppliedRecord>(reader, range_id, RangeLocal::AppliedState)?.unwrap_or_default();
        let position = LogPosition { term: applied.term, leader: applied.leader, index: applied.index };
        let state = RangeState {
            descriptor: record.descriptor.clone(),
            applied: AppliedState { last_applied: applied.any.then_some(position), membership: applied.membership },
            lease: get(reader, range_id, RangeLocal::Lease)?.unwrap_or_default(),
            gc_threshold: get(reader, range_id, RangeLocal::GcThreshold)?.unwrap_or_default(),
            stats: get(reader, range_id, RangeLocal::Stats)?.unwrap_or_default(),
        };
        Ok(Some((record, state)))
    }

    /// Everything about a replica, for its first batch: at bootstrap, and for the right side of a split.
    pub fn write_all(&self, replica_id: u64, batch: &mut WriteBatch) {
        self.write_descriptor(replica_id, batch);
        self.write_applied(batch);
        self.write_lease(batch);
        self.write_gc_threshold(batch);
    }

    /// The descriptor, in both places.
    pub fn write_descriptor(&self, replica_id: u64, batch: &mut WriteBatch) {
        let record = ReplicaRecord { replica_id, descriptor: self.descriptor.clone() };
        put(batch, self.descriptor.range_id, RangeLocal::Replica, &record);
        batch.put(keys::range_descriptor(&self.descriptor.start), self.descriptor.encode_to_vec());
    }

    /// What was applied, and the statistics.
    pub fn write_applied(&self, batch: &mut WriteBatch) {
        let position = self.applied.last_applied.unwrap_or_default();
        let record = AppliedRecord {
            any: self.applied.last_applied.is_some(),
            term: position.term,
            leader: position.leader,
            index: position.index,
            membership: self.applied.membership.clone(),
        };
        put(batch, self.descriptor.range_id, RangeLocal::AppliedState, &record);
        put(batch, self.descriptor.range_id, RangeLocal::Stats, &self.stats);
    }

    /// The lease.
    pub fn write_lease(&self, batch: &mut WriteBatch) {
        put(batch, self.descriptor.range_id, RangeLocal::Lease, &self.lease);
    }

    /// The threshold.
    pub fn write_gc_threshold(&self, batch: &mut WriteBatch) {
        put(batch, self.descriptor.range_id, RangeLocal::GcThreshold, &self.gc_threshold);
    }
}

fn get<M: Message + Default>(reader: &dyn Reader, range_id: u64, what: RangeLocal) -> Result<Option<M>, EngineError> {
    let Some(bytes) = reader.get(&keys::range_local(range_id, what))? else { return Ok(None) };
    let decoded =
        M::decode(bytes).map_err(|error| EngineError::Corrupt(format!("{what:?} of range {range_id}: {error}")))?;
    Ok(Some(decoded))
}

fn put(batch: &mut WriteBatch, range_id: u64, what: RangeLocal, message: &impl Message) {
    batch.put(keys::range_local(range_id, what), message.encode_to_vec());
}
