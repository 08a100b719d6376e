//! One process of the cluster: a store, a router, and what keeps them healthy.
//!
//! ```text
//!   Node::start ─▶ identity (former life, bootstrap, or join) ─▶ store ─▶ router ─▶ loops: liveness, placement, disk
//!   Node::sender ─▶ the router
//!   Node::admin  ─▶ ranges, nodes, splits, lease transfers, status
//! ```

pub mod message;

use async_trait::async_trait;
use bytes::Bytes;

use crate::api::{KvError, Span};
use crate::descriptor::RangeDescriptor;
use crate::liveness::{NodeDescriptor, NodeStatus};

/// One range as the directory and its leaseholder describe it.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeInfo {
    /// Bounds and replicas.
    pub descriptor: RangeDescriptor,
    /// The node that holds the lease, as far as is known.
    pub leaseholder: Option<u64>,
    /// Bytes of keys and values, live and not; `None` when the leaseholder did not answer.
    pub bytes: Option<u64>,
    /// Live keys; `None` when the leaseholder did not answer.
    pub keys: Option<u64>,
}

/// One node as the cluster knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeInfo {
    /// Who it is.
    pub descriptor: NodeDescriptor,
    /// What it last said; `None` before its first heartbeat.
    pub status: Option<NodeStatus>,
    /// Whether it was heard of lately.
    pub live: bool,
}

/// What this node says about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusInfo {
    /// The cluster.
    pub cluster_id: u128,
    /// This node.
    pub node_id: u64,
    /// How many replicas it holds.
    pub replicas: usize,
    /// How many leases it holds.
    pub leases: usize,
    /// How many ranges it leads have fewer live voters than they should.
    pub underreplicated: usize,
    /// It refuses writes, since its disk is full.
    pub disk_full: bool,
    /// Free room on its disk, in bytes.
    pub free_bytes: u64,
}

/// What people, and SQL on their behalf, ask of the cluster beside data.
#[async_trait]
pub trait Admin: Send + Sync + 'static {
    /// The ranges that overlap a span, in key order.
    ///
    /// # Errors
    /// `Unavailable` when the directory does not answer.
    async fn ranges(&self, span: Span) -> Result<Vec<RangeInfo>, KvError>;

    /// The nodes of the cluster, by ID.
    fn nodes(&self) -> Vec<NodeInfo>;

    /// Splits the range that contains the key at the key. Returns the new right range, 0 when the key is a boundary already.
    ///
    /// # Errors
    /// As any write.
    async fn split_at(&self, key: Bytes) -> Result<u64, KvError>;

    /// Moves the lease (and the leadership) of the range that contains the key to a node.
    ///
    /// # Errors
    /// As any write; `Invalid` when the node holds no voting replica.
    async fn transfer_lease(&self, key: Bytes, node: u64) -> Result<(), KvError>;

    /// This node.
    fn status(&self) -> StatusInfo;
}
