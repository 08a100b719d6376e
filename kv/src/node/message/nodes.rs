//! What operators ask of the nodes.

use prost::Message;

use crate::liveness::{Membership, NodeDescriptor, NodeStatus};

/// See [`super::NodeRequestKind::SetMembership`].
#[derive(Clone, Copy, PartialEq, Message)]
pub struct SetMembership {
    /// Which node.
    #[prost(uint64, tag = "1")]
    pub node_id: u64,
    /// Whether it is to stay.
    #[prost(enumeration = "Membership", tag = "2")]
    pub membership: i32,
}

/// See [`super::NodeAnswerKind::MembershipSet`].
#[derive(Clone, Copy, PartialEq, Message)]
pub struct MembershipSet {
    /// How many replicas the node has, by the directory.
    #[prost(uint64, tag = "1")]
    pub replicas: u64,
}

/// See [`super::NodeAnswerKind::Drained`].
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Drained {
    /// How many leases are still here.
    #[prost(uint64, tag = "1")]
    pub leases: u64,
}

/// See [`super::NodeAnswerKind::Nodes`].
#[derive(Clone, PartialEq, Message)]
pub struct NodeList {
    /// All of them, by ID.
    #[prost(message, repeated, tag = "1")]
    pub nodes: Vec<NodeRecord>,
}

/// One node, as another one knows it.
#[derive(Clone, PartialEq, Message)]
pub struct NodeRecord {
    /// Who it is.
    #[prost(message, required, tag = "1")]
    pub descriptor: NodeDescriptor,
    /// What it said last.
    #[prost(message, optional, tag = "2")]
    pub status: Option<NodeStatus>,
    /// Whether it was heard of lately.
    #[prost(bool, tag = "3")]
    pub live: bool,
    /// Whether it is to stay.
    #[prost(enumeration = "Membership", tag = "4")]
    pub membership: i32,
}
