//! What the engine has persisted of a group, which bounds what its log may forget (`purged_is_durable`).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::state_machine::{StateMachine, StateMachineError};

/// Tracks up to where the applied entries survive power loss.
pub(crate) struct Durability {
    state_machine: Arc<dyn StateMachine>,
    /// The index after the last applied entry that is durable.
    next: AtomicU64,
}

impl Durability {
    pub fn new(state_machine: Arc<dyn StateMachine>) -> Self {
        Durability { state_machine, next: AtomicU64::new(0) }
    }

    /// Makes everything applied so far durable, and remembers that.
    pub async fn make_durable(&self) -> Result<(), StateMachineError> {
        let applied = self.state_machine.applied_state()?.last_applied;
        self.state_machine.make_durable().await?;
        self.note(applied.map_or(0, |last| last.index + 1));
        Ok(())
    }

    /// Everything below `next` is durable (a snapshot was installed).
    pub fn note(&self, next: u64) {
        self.next.fetch_max(next, Ordering::AcqRel);
    }

    /// Returns once the entry at `index` is durable.
    pub async fn require(&self, index: u64) -> Result<(), io::Error> {
        if self.next.load(Ordering::Acquire) <= index {
            self.make_durable().await.map_err(io::Error::other)?;
        }
        if self.next.load(Ordering::Acquire) <= index {
            return Err(io::Error::other(format!("the log was to forget entry {index} before it was applied")));
        }
        Ok(())
    }
}
