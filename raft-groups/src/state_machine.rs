//! What a group replicates: the seam between the log and the data.
//!
//! ```text
//!   committed entries ─▶ apply ─▶ effects ⧺ applied state, in one engine batch
//!   peer too far behind: open_snapshot ─▶ chunks ─▶ network ─▶ begin_install ─▶ write_chunk… ─▶ finish
//! ```
//!
//! Invariants: `applied_with_effects` (the applied state is in the batch of the effects it speaks of, so
//! that neither is found without the other after a crash); `purged_is_durable` (the log loses an entry only
//! after [`StateMachine::make_durable`] has returned for it); `install_rolls_forward` (an interrupted
//! [`SnapshotSink::finish`] is completed by the next start, or has no effect).
//!
//! It knows nothing of keys.

use async_trait::async_trait;
use bytes::Bytes;

use crate::LogPosition;
use crate::group::GroupStatus;

/// What the state machine holds of the log, kept beside the data it describes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppliedState {
    /// The newest entry applied; `None` before the first.
    pub last_applied: Option<LogPosition>,
    /// The newest membership applied, in this crate's own encoding; empty before the first.
    pub membership: Bytes,
}

/// What a committed entry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// Nothing: a new leader's first entry.
    Blank,
    /// A command of [`crate::Group::propose`].
    Command(Bytes),
    /// A new membership, to be kept as [`AppliedState::membership`].
    Membership(Bytes),
}

/// A committed entry. Each moves [`AppliedState::last_applied`] to its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedEntry {
    /// Where it stands in the log.
    pub position: LogPosition,
    /// What it asks for.
    pub kind: EntryKind,
}

/// Why the state machine did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StateMachineError {
    /// It cannot go on: what it holds may be anything.
    #[error("the state machine failed: {0}")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It did nothing, and holds what it held: what was asked for may be asked again later.
    #[error("the state machine refused: {0}")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StateMachineError {
    /// A failure, of any error or message.
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        StateMachineError::Failed(error.into())
    }

    /// A refusal, with any error or message.
    pub fn refused(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        StateMachineError::Refused(error.into())
    }
}

/// The data of one replica. Calls for one group never overlap, except that a snapshot is read, or
/// staged, while entries are applied.
#[async_trait]
pub trait StateMachine: Send + Sync + 'static {
    /// What the data holds of the log, as read at start.
    ///
    /// # Errors
    /// When the engine fails.
    fn applied_state(&self) -> Result<AppliedState, StateMachineError>;

    /// Applies consecutive entries, each exactly once in the life of the data. Need not sync.
    ///
    /// # Errors
    /// When the engine fails; the group then stops.
    async fn apply(&self, entries: Vec<CommittedEntry>) -> Result<(), StateMachineError>;

    /// Returns once everything applied so far survives power loss (the engine's sync). Called before the
    /// log is purged; many groups may ask at once.
    ///
    /// # Errors
    /// When the engine fails.
    async fn make_durable(&self) -> Result<(), StateMachineError>;

    /// A consistent view of the data with its applied state, opened cheaply and read later.
    ///
    /// # Errors
    /// When the engine fails.
    fn open_snapshot(&self) -> Result<Box<dyn SnapshotSource>, StateMachineError>;

    /// Begins to stage a snapshot beside the live data. A sink dropped unfinished has no effect.
    ///
    /// # Errors
    /// When the engine fails, or has no room.
    async fn begin_install(&self, state: AppliedState) -> Result<Box<dyn SnapshotSink>, StateMachineError>;

    /// Told on each change of term, leader or membership. Must not block.
    fn leadership(&self, status: &GroupStatus);
}

/// A view of one replica's data, read in chunks.
#[async_trait]
pub trait SnapshotSource: Send + Sync {
    /// What the view holds of the log.
    fn applied_state(&self) -> AppliedState;

    /// The next chunk (about a megabyte, at most 32 MiB), `None` after the last.
    ///
    /// # Errors
    /// When the engine fails.
    async fn next_chunk(&mut self) -> Result<Option<Bytes>, StateMachineError>;
}

/// A snapshot being staged.
#[async_trait]
pub trait SnapshotSink: Send + Sync {
    /// Stages the next chunk; chunks come in order, each once.
    ///
    /// # Errors
    /// When the engine fails, or has no room; the snapshot is then dropped.
    async fn write_chunk(&mut self, chunk: Bytes) -> Result<(), StateMachineError>;

    /// The last chunk was written. Whatever could stand in the way of [`SnapshotSink::finish`] is found here, where it costs no
    /// more than sending the snapshot again, and kept away from then on.
    ///
    /// # Errors
    /// When the snapshot cannot be taken, now or ever; it is then dropped.
    async fn prepare(&mut self) -> Result<(), StateMachineError>;

    /// Makes the staged data durable and replaces the live data with it. After this the log below the
    /// snapshot is purged, so the data must survive power loss. REQUIRES: it is prepared.
    ///
    /// # Errors
    /// When the engine fails; the group then ends. After a refusal, too, but may then be started anew.
    async fn finish(self: Box<Self>) -> Result<(), StateMachineError>;
}
