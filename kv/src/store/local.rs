//! What a store keeps about itself, and about replicas it no longer has.
//!
//! ```text
//!   \x01 s i                       StoreIdentity: the cluster, the node, the format
//!   \x01 s h                       Hints: where the first range was, and who was there
//!   \x01 s f                       Fencings: how often in a row the node's clock was fenced
//!   \x01 s x                       Condemned: that the store is not to be trusted
//!   \x01 i <range> t               Tombstone: which replica IDs are spent
//!   \x01 i <range> u               Leftover: the right side of a split, to be cleared
//! ```

use bytes::Bytes;
use prost::Message;

use crate::descriptor::RangeDescriptor;
use crate::engine::{EngineError, Reader, WriteBatch};
use crate::keys::{self, RangeLocal};

/// The format of what is on disk and on the wire; a node refuses others.
pub const FORMAT_VERSION: u32 = 1;

/// Where a store keeps its identity. It sorts outside all ranges, and outside everything kept by range.
const IDENTITY_KEY: &[u8] = b"\x01si";

/// Where a store keeps what its node knew last.
const HINTS_KEY: &[u8] = b"\x01sh";

/// Where a store keeps how often its node's clock was fenced.
const FENCINGS_KEY: &[u8] = b"\x01sf";

/// Where a store keeps that it is not to be trusted.
const CONDEMNED_KEY: &[u8] = b"\x01sx";

/// Whose store this is.
#[derive(Clone, PartialEq, Message)]
pub struct StoreIdentity {
    /// See [`FORMAT_VERSION`].
    #[prost(uint32, tag = "1")]
    pub format_version: u32,
    /// The cluster, upper half.
    #[prost(fixed64, tag = "2")]
    pub cluster_id_high: u64,
    /// The cluster, lower half.
    #[prost(fixed64, tag = "3")]
    pub cluster_id_low: u64,
    /// The node.
    #[prost(uint64, tag = "4")]
    pub node_id: u64,
    /// The bound M on clock errors that the cluster was bootstrapped with, in nanoseconds.
    #[prost(uint64, tag = "5")]
    pub max_clock_error_ns: u64,
}

impl StoreIdentity {
    /// An identity in the present format.
    pub fn new(cluster_id: u128, node_id: u64, max_clock_error_ns: u64) -> Self {
        StoreIdentity {
            format_version: FORMAT_VERSION,
            cluster_id_high: (cluster_id >> 64) as u64,
            cluster_id_low: cluster_id as u64,
            node_id,
            max_clock_error_ns,
        }
    }

    /// The cluster.
    pub fn cluster_id(&self) -> u128 {
        (u128::from(self.cluster_id_high) << 64) | u128::from(self.cluster_id_low)
    }

    /// The identity of a store; `None` for a new one.
    ///
    /// # Errors
    /// When the engine fails, or the store is of another format.
    pub fn load(reader: &dyn Reader) -> Result<Option<Self>, EngineError> {
        let Some(identity) = load::<StoreIdentity>(reader, IDENTITY_KEY)? else { return Ok(None) };
        if identity.format_version != FORMAT_VERSION {
            let found = identity.format_version;
            let message = format!("the store has format {found}, this program reads format {FORMAT_VERSION}");
            return Err(EngineError::Corrupt(message));
        }
        Ok(Some(identity))
    }

    /// Keeps it.
    pub fn save(&self, batch: &mut WriteBatch) {
        batch.put(IDENTITY_KEY, self.encode_to_vec());
    }
}

/// What a node knew last of the cluster: how it finds the others after a restart.
#[derive(Clone, PartialEq, Message)]
pub struct Hints {
    /// The first range.
    #[prost(message, optional, tag = "1")]
    pub first_range: Option<RangeDescriptor>,
    /// The nodes.
    #[prost(message, repeated, tag = "2")]
    pub nodes: Vec<crate::liveness::NodeDescriptor>,
    /// The cluster's settings.
    #[prost(message, repeated, tag = "3")]
    pub settings: Vec<crate::settings::SettingRow>,
}

impl Hints {
    /// What was kept; nothing in a new store.
    ///
    /// # Errors
    /// When the engine fails.
    pub fn load(reader: &dyn Reader) -> Result<Self, EngineError> {
        Ok(load(reader, HINTS_KEY)?.unwrap_or_default())
    }

    /// Keeps them.
    pub fn save(&self, batch: &mut WriteBatch) {
        batch.put(HINTS_KEY, self.encode_to_vec());
    }
}

/// How often in a row the node's clock was fenced: so much longer it waits before it answers again.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Fencings {
    /// How often.
    #[prost(uint32, tag = "1")]
    pub in_a_row: u32,
    /// When it was last, by the clock that was fenced, in nanoseconds since the Unix epoch.
    #[prost(fixed64, tag = "2")]
    pub last_ns: u64,
}

impl Fencings {
    /// Those of a store; none in a new one.
    ///
    /// # Errors
    /// When the engine fails.
    pub fn load(reader: &dyn Reader) -> Result<Self, EngineError> {
        Ok(load(reader, FENCINGS_KEY)?.unwrap_or_default())
    }

    /// Keeps them.
    pub fn save(&self, batch: &mut WriteBatch) {
        batch.put(FENCINGS_KEY, self.encode_to_vec());
    }
}

/// That a replica here was found to hold what its peers do not: nothing of the store is to be trusted any more.
#[derive(Clone, PartialEq, Message)]
pub struct Condemned {
    /// Of which range.
    #[prost(uint64, tag = "1")]
    pub range_id: u64,
    /// What was found.
    #[prost(string, tag = "2")]
    pub words: String,
}

impl Condemned {
    /// Why the store is not to be trusted, if it is not.
    ///
    /// # Errors
    /// When the engine fails.
    pub fn load(reader: &dyn Reader) -> Result<Option<Self>, EngineError> {
        load(reader, CONDEMNED_KEY)
    }

    /// Keeps it.
    pub fn save(&self, batch: &mut WriteBatch) {
        batch.put(CONDEMNED_KEY, self.encode_to_vec());
    }

    /// What to do about it.
    pub fn in_words(&self) -> String {
        format!(
            "this node's replica of range {} is not what a majority of its replicas is ({}): its data is not to be trusted. Start a \
             new node with an empty data directory in its place, and keep this one for those who look for the cause",
            self.range_id, self.words
        )
    }
}

/// Which replica IDs of a range are spent on this store, and what is still to be cleared of the last one.
#[derive(Clone, PartialEq, Message)]
pub struct Tombstone {
    /// The first replica ID that may come back.
    #[prost(uint64, tag = "1")]
    pub next_replica_id: u64,
    /// The data that is still to be removed; `None` once it is.
    #[prost(message, optional, tag = "2")]
    pub uncleared: Option<RangeDescriptor>,
}

impl Tombstone {
    /// The tombstone of a range, if a replica of it was ever removed here.
    ///
    /// # Errors
    /// When the engine fails.
    pub fn load(reader: &dyn Reader, range_id: u64) -> Result<Option<Self>, EngineError> {
        load(reader, &keys::range_local(range_id, RangeLocal::Removed))
    }

    /// Whether a replica of a range was removed here, or a later one was, so that it must not come back.
    ///
    /// # Errors
    /// When the engine fails.
    pub fn is_spent(reader: &dyn Reader, range_id: u64, replica_id: u64) -> Result<bool, EngineError> {
        Ok(Self::load(reader, range_id)?.is_some_and(|tombstone| replica_id < tombstone.next_replica_id))
    }

    /// Keeps it.
    pub fn save(&self, range_id: u64, batch: &mut WriteBatch) {
        batch.put(keys::range_local(range_id, RangeLocal::Removed), self.encode_to_vec());
    }
}

/// The right side of a split that has no replica here: its data is still to be cleared.
#[derive(Clone, PartialEq, Message)]
pub struct Leftover {
    /// The right side.
    #[prost(message, required, tag = "1")]
    pub descriptor: RangeDescriptor,
}

impl Leftover {
    /// What is left over of a range, if anything is.
    ///
    /// # Errors
    /// When the engine fails.
    pub fn load(reader: &dyn Reader, range_id: u64) -> Result<Option<Self>, EngineError> {
        load(reader, &keys::range_local(range_id, RangeLocal::Leftover))
    }

    /// Keeps it.
    pub fn save(&self, batch: &mut WriteBatch) {
        batch.put(keys::range_local(self.descriptor.range_id, RangeLocal::Leftover), self.encode_to_vec());
    }

    /// It is cleared.
    pub fn forget(range_id: u64, batch: &mut WriteBatch) {
        batch.delete(keys::range_local(range_id, RangeLocal::Leftover));
    }
}

fn load<M: Message + Default>(reader: &dyn Reader, key: &[u8]) -> Result<Option<M>, EngineError> {
    let Some(bytes) = reader.get(key)? else { return Ok(None) };
    M::decode(bytes).map(Some).map_err(|error| EngineError::Corrupt(format!("{key:?}: {error}")))
}

/// The IDs of all ranges of which the store keeps anything, in order.
///
/// # Errors
/// When the engine fails.
pub fn range_ids(reader: &dyn Reader) -> Result<Vec<u64>, EngineError> {
    let mut ids = Vec::new();
    let mut start = keys::range_id_prefix(0);
    let end = Bytes::from_static(&[keys::LOCAL, b'i' + 1]);
    loop {
        let found = {
            let mut cursor = reader.cursor(&start, &end, false);
            if cursor.advance()? { keys::decode_range_local(cursor.key()).map(|(id, _)| id) } else { None }
        };
        let Some(id) = found else { return Ok(ids) };
        ids.push(id);
        let Some(next) = id.checked_add(1) else { return Ok(ids) };
        start = keys::range_id_prefix(next);
    }
}
