//! What a range is: its bounds, and who holds copies of it.

use bytes::Bytes;

/// A range's identity, bounds and replicas.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RangeDescriptor {
    /// Identity; never reused.
    #[prost(uint64, tag = "1")]
    pub range_id: u64,
    /// First key, inclusive.
    #[prost(bytes = "bytes", tag = "2")]
    pub start: Bytes,
    /// End, exclusive. Empty stands for the end of the keyspace.
    #[prost(bytes = "bytes", tag = "3")]
    pub end: Bytes,
    /// Rises with each change of bounds or replicas.
    #[prost(uint64, tag = "4")]
    pub generation: u64,
    /// The copies.
    #[prost(message, repeated, tag = "5")]
    pub replicas: Vec<ReplicaDescriptor>,
    /// The replica ID the next copy gets. Replica IDs are never reused within a range.
    #[prost(uint64, tag = "6")]
    pub next_replica_id: u64,
}

/// One copy of a range.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct ReplicaDescriptor {
    /// Which copy; unique within the range for all time.
    #[prost(uint64, tag = "1")]
    pub replica_id: u64,
    /// The node that holds it.
    #[prost(uint64, tag = "2")]
    pub node_id: u64,
    /// What it takes part in.
    #[prost(enumeration = "ReplicaRole", tag = "3")]
    pub role: i32,
    /// Of a learner: the voter that leaves once this copy votes, so that whoever leads by then knows; 0 for none.
    #[prost(uint64, tag = "4")]
    pub replaces: u64,
}

/// What a replica takes part in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ReplicaRole {
    /// It votes, and counts for the quorum.
    Voter = 0,
    /// It only receives the log.
    Learner = 1,
}

impl RangeDescriptor {
    /// Whether the key lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= &self.start[..] && (self.end.is_empty() || key < &self.end[..])
    }

    /// The copies that vote.
    pub fn voters(&self) -> impl Iterator<Item = &ReplicaDescriptor> {
        self.replicas.iter().filter(|replica| replica.role() == ReplicaRole::Voter)
    }
}
