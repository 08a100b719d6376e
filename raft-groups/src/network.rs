//! The seam of the network: requests and answers between nodes.
//!
//! ```text
//!   caller ─▶ Transport::call(to, class, body, timeout) ─▶ frame {timestamp, body} ─▶ Handler of the class
//!      ◀───────────────────────── answer or refusal, and the peer's timestamp ◀──────────────┘
//! ```
//!
//! A node has one stream per peer and [`Class`], so that a snapshot delays no heartbeat. Every frame
//! carries its sender's HLC timestamp, errors included; it is absorbed on arrival, and a frame from too
//! far ahead is refused unread. Requests are neither ordered nor delivered once: each may be lost, come
//! late, or be handled without its answer reaching the caller.
//!
//! [`GrpcTransport`] is the production one, [`SimNetwork`] its simulated twin. The seam knows nothing of
//! what the bodies say.

mod endpoint;
mod frame;
mod grpc;
mod sim;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

pub use grpc::{GrpcConfig, GrpcTransport};
pub use sim::{LinkFaults, Observer, Passage, SimNetwork, SimTransport, Stage};

use crate::NodeId;

/// Largest body of one frame, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// What a message is about; each class has streams of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Raft's votes, heartbeats and entries.
    Raft,
    /// Requests to ranges, and the cluster's own housekeeping.
    Kv,
    /// Snapshots.
    Bulk,
}

impl Class {
    /// All classes, in the order of their numbers on the wire.
    pub const ALL: [Class; 3] = [Class::Raft, Class::Kv, Class::Bulk];

    /// The class's number on the wire.
    pub fn index(self) -> usize {
        self as usize
    }
}

/// Why a call brought no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NetworkError {
    /// The request did not reach the peer's handler.
    #[error("{node} is unreachable: {reason}")]
    Unreachable {
        /// The peer.
        node: NodeId,
        /// What stood in the way.
        reason: String,
    },
    /// No answer in time; the request may have been handled.
    #[error("{node} did not answer within {timeout_ms} ms")]
    Timeout {
        /// The peer.
        node: NodeId,
        /// How long the caller waited.
        timeout_ms: u64,
    },
    /// The connection broke after the request was sent; it may have been handled.
    #[error("the connection to {node} broke: {reason}")]
    Lost {
        /// The peer.
        node: NodeId,
        /// What broke it.
        reason: String,
    },
    /// The peer's handler refused the request.
    #[error("{node} refused: {reason}")]
    Refused {
        /// The peer.
        node: NodeId,
        /// The handler's words.
        reason: String,
    },
    /// The request is above [`MESSAGE_BYTES_MAX`].
    #[error("a message of {bytes} bytes exceeds the limit of {MESSAGE_BYTES_MAX} bytes")]
    TooLarge {
        /// The body's size.
        bytes: usize,
    },
    /// One of the two clocks is wrong, or this node's clock refuses to go on.
    #[error("clocks disagree with {node}: {reason}")]
    Clock {
        /// The peer.
        node: NodeId,
        /// The clock's words.
        reason: String,
        /// It was the answer's timestamp that was refused: the request has been handled.
        was_handled: bool,
    },
}

impl NetworkError {
    /// Whether the peer may have handled the request all the same.
    pub fn may_have_been_handled(&self) -> bool {
        matches!(
            self,
            NetworkError::Timeout { .. } | NetworkError::Lost { .. } | NetworkError::Clock { was_handled: true, .. }
        )
    }
}

/// Answers the requests of one class.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Answers one request, or refuses it in words for people.
    ///
    /// Requests of one stream are begun in the order of their arrival: what a handler does before its first
    /// wait, it does in that order. It must not block there.
    async fn handle(&self, from: NodeId, class: Class, body: Bytes) -> Result<Bytes, String>;
}

/// One node's end of the network.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Sends a request and waits for its answer, at most for `timeout`. A call to the node itself goes
    /// straight to its handler.
    ///
    /// # Errors
    /// [`NetworkError`], which also says whether the request may have been handled.
    async fn call(&self, to: NodeId, class: Class, body: Bytes, timeout: Duration) -> Result<Bytes, NetworkError>;

    /// The same to an address whose node is not known yet (a node that wants to join).
    ///
    /// # Errors
    /// As [`Transport::call`]; the node in the error is `NodeId(0)`.
    async fn call_address(
        &self,
        address: &str,
        class: Class,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, NetworkError>;

    /// Says where a peer listens. A changed address closes the streams to the former one.
    fn set_address(&self, node: NodeId, address: String);

    /// Answers requests of a class by `handler`, replacing an earlier one.
    fn register(&self, class: Class, handler: Arc<dyn Handler>);

    /// Says who this node is, once it knows; a zero cluster is "none yet". A peer of another cluster is refused.
    fn set_identity(&self, cluster_id: u128, node: NodeId);

    /// Who this node is; `NodeId(0)` before it knows.
    fn node_id(&self) -> NodeId;
}
