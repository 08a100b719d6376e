//! What the engine has persisted of a group, which bounds what its log may forget (`purged_is_durable`).
//!
//! Whatever part of openraft may still touch the group's state or its log shares it, so that its end is theirs.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::state_machine::{StateMachine, StateMachineError};

/// Tracks up to where the applied entries survive power loss.
pub(crate) struct Durability {
    state_machine: Arc<dyn StateMachine>,
    /// The index after the last applied entry that is durable.
    next: AtomicU64,
    /// Closes its channel when it goes.
    _in_use: mpsc::Sender<()>,
}

/// Tells when nothing touches a stopped group's state or log any more.
pub(crate) struct InUse(mpsc::Receiver<()>);

impl InUse {
    /// Returns once the last user is gone.
    pub async fn ended(&mut self) {
        // Nothing is ever sent.
        let _ = self.0.recv().await;
    }
}

impl Durability {
    pub fn new(state_machine: Arc<dyn StateMachine>) -> (Arc<Self>, InUse) {
        let (in_use, ended) = mpsc::channel(1);
        let durability = Durability { state_machine, next: AtomicU64::new(0), _in_use: in_use };
        (Arc::new(durability), InUse(ended))
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
