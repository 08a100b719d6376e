//! What nodes say to each other beside Raft: one request and one answer message, of class `Kv`.

mod check;
mod describe;
mod explain;
mod nodes;

use bytes::Bytes;
use clock::Timestamp;
use prost::Message;

pub use check::{AskCheck, CheckRange, CheckState, RangeChecked, ReadChecked};
pub use describe::describe;
pub use explain::{Explain, Explained, Explanation};
pub use nodes::{Drained, MembershipSet, NodeList, NodeRecord, SetMembership};

use crate::api::{BatchRequest, BatchResponse, WireError};
use crate::consistency::Piece;
use crate::descriptor::RangeDescriptor;
use crate::liveness::{Locality, NodeDescriptor};
use crate::settings::SettingRow;

/// A request from node to node.
#[derive(Clone, PartialEq, Message)]
pub struct NodeRequest {
    /// Which one. `None` comes only from a newer or broken peer.
    #[prost(oneof = "NodeRequestKind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16")]
    pub kind: Option<NodeRequestKind>,
}

/// The kinds of request.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum NodeRequestKind {
    /// A batch for a range of which the node holds a replica.
    #[prost(message, tag = "1")]
    Batch(BatchRequest),
    /// Are you there?
    #[prost(message, tag = "2")]
    Ping(Ping),
    /// A process without an identity asks for one.
    #[prost(message, tag = "3")]
    Join(Join),
    /// Where is the first range, and who is there?
    #[prost(message, tag = "4")]
    Discover(Discover),
    /// A node started, or moved.
    #[prost(message, tag = "5")]
    Announce(Announce),
    /// Replicas of a range below this ID are no members any more.
    #[prost(message, tag = "6")]
    Removed(Removed),
    /// How large is your replica of a range?
    #[prost(message, tag = "7")]
    Measure(Measure),
    /// A node that waits for a cluster shall found one.
    #[prost(message, tag = "8")]
    Init(Ping),
    /// What time is it?
    #[prost(message, tag = "9")]
    ReadClock(Ping),
    /// Compare the replicas of a range that you lead.
    #[prost(message, tag = "10")]
    CheckRange(CheckRange),
    /// What did your replica come to in a check?
    #[prost(message, tag = "11")]
    AskCheck(AskCheck),
    /// What does a part of what your replica held at a check look like?
    #[prost(message, tag = "12")]
    ReadChecked(ReadChecked),
    /// Which nodes are there, and how do they do?
    #[prost(message, tag = "13")]
    ListNodes(Ping),
    /// Decommission a node, or take it back.
    #[prost(message, tag = "14")]
    SetMembership(SetMembership),
    /// Take no more clients, and hand your leases over.
    #[prost(message, tag = "15")]
    Drain(Ping),
    /// What did you decide about a range, and why?
    #[prost(message, tag = "16")]
    Explain(Explain),
}

/// An answer from node to node.
#[derive(Clone, PartialEq, Message)]
pub struct NodeAnswer {
    /// Which one.
    #[prost(oneof = "NodeAnswerKind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14")]
    pub kind: Option<NodeAnswerKind>,
}

/// The kinds of answer.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum NodeAnswerKind {
    /// To a batch that was evaluated.
    #[prost(message, tag = "1")]
    Batch(BatchResponse),
    /// Why not.
    #[prost(message, tag = "2")]
    Error(WireError),
    /// To a join.
    #[prost(message, tag = "3")]
    Joined(Joined),
    /// To a discovery, and to an announcement.
    #[prost(message, tag = "4")]
    Known(Known),
    /// To what has no other answer.
    #[prost(message, tag = "5")]
    Done(Pong),
    /// To a measurement.
    #[prost(message, tag = "6")]
    Measured(Measured),
    /// To the question for the time.
    #[prost(message, tag = "7")]
    Clock(ClockReading),
    /// To a check of a range.
    #[prost(message, tag = "8")]
    RangeChecked(RangeChecked),
    /// To a question about a check.
    #[prost(message, tag = "9")]
    Check(CheckState),
    /// To a question about a part of it.
    #[prost(message, tag = "10")]
    Piece(Piece),
    /// To the question for the nodes.
    #[prost(message, tag = "11")]
    Nodes(NodeList),
    /// To a change of a node's membership.
    #[prost(message, tag = "12")]
    MembershipSet(MembershipSet),
    /// To a drain.
    #[prost(message, tag = "13")]
    Drained(Drained),
    /// To the question why.
    #[prost(message, tag = "14")]
    Explained(Explained),
}

/// See [`NodeRequestKind::Ping`].
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Ping {}

/// See [`NodeAnswerKind::Done`].
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Pong {}

/// See [`NodeAnswerKind::Clock`]: an interval that contains true time, if the node's clock is as good as it says.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct ClockReading {
    /// In nanoseconds since the Unix epoch.
    #[prost(fixed64, tag = "1")]
    pub earliest_ns: u64,
    /// In nanoseconds since the Unix epoch.
    #[prost(fixed64, tag = "2")]
    pub latest_ns: u64,
}

/// See [`NodeRequestKind::Join`].
#[derive(Clone, PartialEq, Message)]
pub struct Join {
    /// Where the new node will be reached.
    #[prost(string, tag = "1")]
    pub address: String,
    /// Where it stands.
    #[prost(message, required, tag = "2")]
    pub locality: Locality,
    /// The format of its messages and its disk; must be the cluster's.
    #[prost(uint32, tag = "3")]
    pub format_version: u32,
}

/// See [`NodeAnswerKind::Joined`].
#[derive(Clone, PartialEq, Message)]
pub struct Joined {
    /// The cluster, upper half.
    #[prost(fixed64, tag = "1")]
    pub cluster_id_high: u64,
    /// The cluster, lower half.
    #[prost(fixed64, tag = "2")]
    pub cluster_id_low: u64,
    /// Who the new node is from now on.
    #[prost(uint64, tag = "3")]
    pub node_id: u64,
    /// The bound M on clock errors that the cluster was bootstrapped with, in nanoseconds.
    #[prost(uint64, tag = "4")]
    pub max_clock_error_ns: u64,
    /// What the new node needs to find the rest.
    #[prost(message, required, tag = "5")]
    pub known: Known,
}

/// See [`NodeRequestKind::Discover`].
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Discover {}

/// What a node knows of the cluster.
#[derive(Clone, PartialEq, Message)]
pub struct Known {
    /// The newest descriptor of the first range it knows.
    #[prost(message, optional, tag = "1")]
    pub first_range: Option<RangeDescriptor>,
    /// The nodes it knows, itself included.
    #[prost(message, repeated, tag = "2")]
    pub nodes: Vec<NodeDescriptor>,
    /// The cluster's settings.
    #[prost(message, repeated, tag = "3")]
    pub settings: Vec<SettingRow>,
}

/// See [`NodeRequestKind::Announce`].
#[derive(Clone, PartialEq, Message)]
pub struct Announce {
    /// Who started.
    #[prost(message, required, tag = "1")]
    pub node: NodeDescriptor,
}

/// See [`NodeRequestKind::Removed`].
#[derive(Clone, PartialEq, Message)]
pub struct Removed {
    /// The range, as its leaseholder knows it.
    #[prost(message, required, tag = "1")]
    pub descriptor: RangeDescriptor,
}

/// See [`NodeRequestKind::Measure`].
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Measure {
    /// Which range.
    #[prost(uint64, tag = "1")]
    pub range_id: u64,
}

/// See [`NodeAnswerKind::Measured`].
#[derive(Clone, PartialEq, Message)]
pub struct Measured {
    /// The node that holds the lease, 0 for unknown.
    #[prost(uint64, tag = "1")]
    pub leaseholder: u64,
    /// Bytes of keys and values.
    #[prost(uint64, tag = "2")]
    pub bytes: u64,
    /// Live keys.
    #[prost(uint64, tag = "3")]
    pub keys: u64,
    /// The descriptor of the replica; `None` when the node has none.
    #[prost(message, optional, tag = "4")]
    pub descriptor: Option<RangeDescriptor>,
    /// Until when the lease runs.
    #[prost(message, required, tag = "5")]
    pub lease_expiration: Timestamp,
    /// The nodes of the voters that answer, if the replica leads; none otherwise.
    #[prost(uint64, repeated, tag = "6")]
    pub live_voters: Vec<u64>,
    /// Requests a second that the replica serves as the leaseholder; 0 for any other.
    #[prost(double, tag = "7")]
    pub requests: f64,
}

impl NodeRequest {
    /// The request as it goes over the wire.
    pub fn encode_kind(kind: NodeRequestKind) -> Bytes {
        Bytes::from(NodeRequest { kind: Some(kind) }.encode_to_vec())
    }
}

impl NodeAnswer {
    /// The answer as it goes over the wire.
    pub fn encode_kind(kind: NodeAnswerKind) -> Bytes {
        Bytes::from(NodeAnswer { kind: Some(kind) }.encode_to_vec())
    }
}

impl Joined {
    /// The cluster.
    pub fn cluster_id(&self) -> u128 {
        (u128::from(self.cluster_id_high) << 64) | u128::from(self.cluster_id_low)
    }
}
