//! What nodes say to each other to compare replicas: see [`crate::consistency`].

use bytes::Bytes;
use prost::Message;

use crate::consistency::{CheckStatus, Digest};
use crate::replica::CheckAnswer;

/// See [`NodeRequestKind::CheckRange`](super::NodeRequestKind::CheckRange).
#[derive(Clone, Copy, PartialEq, Message)]
pub struct CheckRange {
    /// Which range.
    #[prost(uint64, tag = "1")]
    pub range_id: u64,
}

/// What a check of a range came to.
#[derive(Clone, PartialEq, Message)]
pub struct RangeChecked {
    /// Those that answered are alike.
    #[prost(bool, tag = "1")]
    pub is_alike: bool,
    /// All answered.
    #[prost(bool, tag = "2")]
    pub is_whole: bool,
    /// In words for people.
    #[prost(string, tag = "3")]
    pub detail: String,
}

impl RangeChecked {
    /// The same, in one.
    pub fn status(&self) -> CheckStatus {
        match (self.is_alike, self.is_whole) {
            (false, _) => CheckStatus::Inconsistent,
            (true, false) => CheckStatus::Indeterminate,
            (true, true) => CheckStatus::Consistent,
        }
    }

    /// As it goes over the wire.
    pub fn of(status: CheckStatus, detail: String) -> Self {
        let (is_alike, is_whole) = (status != CheckStatus::Inconsistent, status == CheckStatus::Consistent);
        RangeChecked { is_alike, is_whole, detail }
    }
}

/// See [`NodeRequestKind::AskCheck`](super::NodeRequestKind::AskCheck).
#[derive(Clone, Copy, PartialEq, Message)]
pub struct AskCheck {
    /// Of which range.
    #[prost(uint64, tag = "1")]
    pub range_id: u64,
    /// Which replica is meant: no successor of it knows of the check.
    #[prost(uint64, tag = "2")]
    pub replica_id: u64,
    /// Which check.
    #[prost(fixed64, tag = "3")]
    pub check_id: u64,
}

/// How far a replica is with a check. Neither begun nor refused nor computed: it does not know of it.
#[derive(Clone, PartialEq, Message)]
pub struct CheckState {
    /// It is at it.
    #[prost(bool, tag = "1")]
    pub is_begun: bool,
    /// The index of the check's entry.
    #[prost(uint64, tag = "2")]
    pub index: u64,
    /// What it came to there.
    #[prost(message, optional, tag = "3")]
    pub digest: Option<Digest>,
    /// Why it does not compute it.
    #[prost(string, optional, tag = "4")]
    pub refused: Option<String>,
}

impl From<CheckAnswer> for CheckState {
    fn from(answer: CheckAnswer) -> Self {
        match answer {
            CheckAnswer::Unknown => CheckState::default(),
            CheckAnswer::Begun => CheckState { is_begun: true, ..CheckState::default() },
            CheckAnswer::Computed(index, digest) => CheckState { index, digest: Some(digest), ..CheckState::default() },
            CheckAnswer::Refused(words) => CheckState { refused: Some(words), ..CheckState::default() },
        }
    }
}

impl From<CheckState> for CheckAnswer {
    fn from(state: CheckState) -> Self {
        match state {
            CheckState { digest: Some(digest), index, .. } => CheckAnswer::Computed(index, digest),
            CheckState { refused: Some(words), .. } => CheckAnswer::Refused(words),
            CheckState { is_begun: true, .. } => CheckAnswer::Begun,
            _ => CheckAnswer::Unknown,
        }
    }
}

/// See [`NodeRequestKind::ReadChecked`](super::NodeRequestKind::ReadChecked).
#[derive(Clone, PartialEq, Message)]
pub struct ReadChecked {
    /// Whose snapshot.
    #[prost(message, required, tag = "1")]
    pub check: AskCheck,
    /// From which key of the engine on.
    #[prost(bytes = "bytes", tag = "2")]
    pub start: Bytes,
    /// Up to which, exclusive; empty for the end.
    #[prost(bytes = "bytes", tag = "3")]
    pub end: Bytes,
    /// How many entries at most.
    #[prost(uint64, tag = "4")]
    pub entries_max: u64,
    /// With the entries, not their digest alone.
    #[prost(bool, tag = "5")]
    pub with_entries: bool,
}
