//! The one message type between nodes.

use bytes::Bytes;
use clock::Timestamp;

use super::Class;
use super::endpoint::Identity;
use crate::NodeId;

/// The version of everything nodes say to each other; peers must agree on it.
pub(super) const FORMAT_VERSION: u32 = 1;

/// One message on a stream.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Frame {
    /// Which request this is, or answers; 0 in greetings.
    #[prost(uint64, tag = "1")]
    pub request_id: u64,
    /// The sender's clock.
    #[prost(message, required, tag = "2")]
    pub timestamp: Timestamp,
    /// What the frame is.
    #[prost(oneof = "Content", tags = "3, 4, 5, 6, 7")]
    pub content: Option<Content>,
}

/// What a frame is.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Content {
    /// The first frame each way.
    #[prost(message, tag = "3")]
    Greeting(Greeting),
    /// Asks.
    #[prost(bytes = "bytes", tag = "4")]
    Request(Bytes),
    /// Answers.
    #[prost(bytes = "bytes", tag = "5")]
    Answer(Bytes),
    /// The handler's refusal.
    #[prost(string, tag = "6")]
    Refusal(String),
    /// The request's timestamp was refused.
    #[prost(string, tag = "7")]
    ClockRefusal(String),
}

/// Who speaks, and what the stream is for.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Greeting {
    #[prost(uint32, tag = "1")]
    pub format_version: u32,
    #[prost(fixed64, tag = "2")]
    pub cluster_id_high: u64,
    #[prost(fixed64, tag = "3")]
    pub cluster_id_low: u64,
    #[prost(uint64, tag = "4")]
    pub node: u64,
    #[prost(uint32, tag = "5")]
    pub class: u32,
    /// Whom the speaker believes to speak to; 0 when it does not know.
    #[prost(uint64, tag = "6")]
    pub peer: u64,
}

impl Greeting {
    pub fn new(identity: Identity, class: Class, peer: NodeId) -> Self {
        Greeting {
            format_version: FORMAT_VERSION,
            cluster_id_high: (identity.cluster_id >> 64) as u64,
            cluster_id_low: identity.cluster_id as u64,
            node: identity.node.0,
            class: class.index() as u32,
            peer: peer.0,
        }
    }

    pub fn identity(&self) -> Identity {
        let cluster_id = (u128::from(self.cluster_id_high) << 64) | u128::from(self.cluster_id_low);
        Identity { cluster_id, node: NodeId(self.node) }
    }

    pub fn class(&self) -> Option<Class> {
        Class::ALL.get(self.class as usize).copied()
    }

    /// Whether this side may talk to the one that sent the greeting.
    pub fn check(&self, own: Identity) -> Result<(), String> {
        if self.format_version != FORMAT_VERSION {
            return Err(format!("the peer speaks format version {}, this node {FORMAT_VERSION}", self.format_version));
        }
        if !own.may_talk_to(self.identity()) {
            return Err(format!(
                "the peer belongs to cluster {:032x}, this node to {:032x}",
                self.identity().cluster_id,
                own.cluster_id
            ));
        }
        // Not even before it has an ID: it may have taken the place of the one that is looked for, and the stream would stay.
        if self.peer != 0 && self.peer != own.node.0 {
            return Err(format!("the peer was looking for n{}, and this is {}", self.peer, own.node));
        }
        Ok(())
    }
}
