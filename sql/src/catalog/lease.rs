//! What a node promises about the catalog it uses, as stored.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::SqlError;

/// A node's lease on the catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lease {
    /// Which life of the node it is.
    pub incarnation: u64,
    /// It uses this version, and newer ones.
    pub version: u64,
    /// Until when, in nanoseconds since the Unix epoch by the cluster's clocks.
    pub expiration_ns: u64,
    /// Tables that running transactions still use as of an older version: table and version.
    pub pins: Vec<(u32, u64)>,
}

impl Lease {
    pub fn encode(&self) -> Result<Bytes, SqlError> {
        serde_json::to_vec(self)
            .map(Bytes::from)
            .map_err(|error| SqlError::internal(format!("a catalog lease cannot be encoded: {error}")))
    }

    pub fn decode(value: &[u8]) -> Result<Lease, SqlError> {
        serde_json::from_slice(value)
            .map_err(|error| SqlError::internal(format!("a catalog lease cannot be read: {error}")))
    }

    /// Whether the node has seen `version` and no transaction on it uses one of the tables as of before.
    pub fn has_reached(&self, version: u64, tables: &[u32]) -> bool {
        self.version >= version && !self.pins.iter().any(|(table, pinned)| *pinned < version && tables.contains(table))
    }
}
