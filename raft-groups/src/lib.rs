//! Many Raft groups on one shared log.
//!
//! ```text
//!   Group::propose ─▶ openraft ─┬▶ shared write-ahead log ─▶ disk seam      (one sync for many groups)
//!                               └▶ network seam ─▶ the group's other replicas
//!                     committed ─▶ StateMachine::apply
//! ```
//!
//! The crate holds the seams of network and disk with their simulated twins, and everything that knows
//! of openraft. It knows nothing of keys or transactions.

pub mod disk;
pub mod group;
mod host;
mod ids;
pub mod network;
mod position;
pub mod state_machine;
pub mod wal;

pub use group::{
    Group, GroupEnd, GroupError, GroupStatus, PeerProgress, ProposeError, describe_message, initial_state,
};
pub use host::{AbsentGroupCallback, GroupConfig, GroupEndCallback, GroupHost};
pub use ids::{GroupId, NodeId, ReplicaId};
pub use network::{
    Class, GrpcConfig, GrpcTransport, Handler, LinkFaults, NetworkError, Passage, SimNetwork, SimTransport, Stage,
    Transport,
};
pub use position::LogPosition;
pub use state_machine::{
    AppliedState, CommittedEntry, EntryKind, SnapshotSink, SnapshotSource, StateMachine, StateMachineError,
};
pub use wal::{GroupLog, LogEntry, LogSize, LogState, Wal, WalError, WalOptions};
