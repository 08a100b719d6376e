//! What nodes say to each other about where replicas and leases should be.

use clock::Timestamp;
use prost::Message;

/// See [`NodeRequestKind::Explain`](super::NodeRequestKind::Explain).
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Explain {
    /// Which range.
    #[prost(uint64, tag = "1")]
    pub range_id: u64,
}

/// See [`NodeAnswerKind::Explained`](super::NodeAnswerKind::Explained).
#[derive(Clone, PartialEq, Message)]
pub struct Explained {
    /// What the node did about the range lately, oldest first, and, if it leads the range, what it would do now.
    #[prost(message, repeated, tag = "1")]
    pub decisions: Vec<Explanation>,
}

/// One decision about a range.
#[derive(Clone, PartialEq, Message)]
pub struct Explanation {
    /// When it was begun; `None` for what would be done now.
    #[prost(message, optional, tag = "1")]
    pub at: Option<Timestamp>,
    /// What is done.
    #[prost(string, tag = "2")]
    pub action: String,
    /// Why.
    #[prost(string, tag = "3")]
    pub reason: String,
}
