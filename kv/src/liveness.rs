//! Which nodes there are, where they listen, and which of them live.
//!
//! ```text
//!   \x03 n <node> ─▶ NodeDescriptor {address, locality}        written when the node starts
//!   \x03 l <node> ─▶ NodeStatus {heartbeat, capacity, …}       written every liveness_interval_ms
//!   \x03 m <node> ─▶ NodeMembership {membership}               written when an operator decommissions the node
//! ```
//!
//! Safety never rests on these records: leases live in timestamp space, and Raft counts its own votes. They
//! steer placement, and name the missing nodes in errors.

mod registry;

use std::fmt;
use std::str::FromStr;

use clock::Timestamp;

pub use registry::{Member, Registry, write_descriptor, write_membership, write_status};

/// The counter that node IDs come from.
pub const NODE_ID_COUNTER: &str = "node-id";

/// Where a node stands: tiers from the widest to the narrowest, `region=eu,zone=a`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Message)]
pub struct Locality {
    /// The tiers, widest first.
    #[prost(message, repeated, tag = "1")]
    pub tiers: Vec<Tier>,
}

/// One tier of a locality.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Message)]
pub struct Tier {
    /// What kind of place: `region`, `zone`.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Which one.
    #[prost(string, tag = "2")]
    pub value: String,
}

impl Locality {
    /// The value of the named tier.
    pub fn tier(&self, name: &str) -> Option<&str> {
        self.tiers.iter().find(|tier| tier.name == name).map(|tier| tier.value.as_str())
    }

    /// How many leading tiers both have in common.
    pub fn common_tiers(&self, other: &Locality) -> usize {
        self.tiers.iter().zip(&other.tiers).take_while(|(a, b)| a == b).count()
    }
}

impl fmt::Display for Locality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, tier) in self.tiers.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{}={}", tier.name, tier.value)?;
        }
        Ok(())
    }
}

/// The text is no locality.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a locality such as region=eu,zone=a, found {0:?}")]
pub struct InvalidLocality(String);

impl FromStr for Locality {
    type Err = InvalidLocality;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidLocality(text.to_owned());
        let mut tiers = Vec::new();
        for tier in text.split(',').map(str::trim).filter(|tier| !tier.is_empty()) {
            let (name, value) = tier.split_once('=').ok_or_else(invalid)?;
            if name.is_empty() || value.is_empty() {
                return Err(invalid());
            }
            tiers.push(Tier { name: name.to_owned(), value: value.to_owned() });
        }
        Ok(Locality { tiers })
    }
}

/// Who a node is, as it said when it started.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NodeDescriptor {
    /// Identity; allocated by the cluster, never reused.
    #[prost(uint64, tag = "1")]
    pub node_id: u64,
    /// Where its peers reach it.
    #[prost(string, tag = "2")]
    pub address: String,
    /// Where clients reach it.
    #[prost(string, tag = "3")]
    pub sql_address: String,
    /// Where it stands.
    #[prost(message, required, tag = "4")]
    pub locality: Locality,
    /// When its process started, by its own clock; a newer descriptor replaces an older one.
    #[prost(message, required, tag = "5")]
    pub started: Timestamp,
    /// The version of the program.
    #[prost(string, tag = "6")]
    pub version: String,
}

/// That a node lives, and what room it has.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NodeStatus {
    /// Which node.
    #[prost(uint64, tag = "1")]
    pub node_id: u64,
    /// When it said so, by its own clock.
    #[prost(message, required, tag = "2")]
    pub heartbeat: Timestamp,
    /// Free room on its disk, in bytes.
    #[prost(uint64, tag = "3")]
    pub free_bytes: u64,
    /// How many replicas it holds.
    #[prost(uint64, tag = "4")]
    pub replicas: u64,
    /// How many leases it holds.
    #[prost(uint64, tag = "5")]
    pub leases: u64,
    /// It refuses writes, since its disk is full.
    #[prost(bool, tag = "6")]
    pub disk_full: bool,
    /// It is about to stop: give it nothing.
    #[prost(bool, tag = "7")]
    pub draining: bool,
    /// How many of its replicas are still on their way to it.
    #[prost(uint64, tag = "8")]
    pub receiving: u64,
    /// Bytes of keys and values that its replicas hold.
    #[prost(uint64, tag = "9")]
    pub bytes: u64,
    /// Requests a second that it serves under its leases.
    #[prost(uint64, tag = "10")]
    pub requests: u64,
}

/// Whether a node is to stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Membership {
    /// It is.
    Active = 0,
    /// It is to go: its replicas move to other nodes, and it gets no new ones. It serves until they are gone.
    Decommissioning = 1,
    /// It has gone, for good: its ID is never used again.
    Decommissioned = 2,
}

impl Membership {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Membership::Active => "active",
            Membership::Decommissioning => "decommissioning",
            Membership::Decommissioned => "decommissioned",
        }
    }
}

/// What operators decided about a node. One without a record is active.
#[derive(Clone, PartialEq, prost::Message)]
pub struct NodeMembership {
    /// Which node.
    #[prost(uint64, tag = "1")]
    pub node_id: u64,
    /// What they decided.
    #[prost(enumeration = "Membership", tag = "2")]
    pub membership: i32,
}

#[cfg(test)]
mod tests;
