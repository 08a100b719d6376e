//! The tables that a transaction has locked to change them.
//!
//! ```text
//!   ask ─▶ TableLocks ─┬─ release ─▶ unlocked, or being unlocked beside the caller
//!                      ├─ forget  ─▶ the commit took the locks away
//!                      └─ dropped (cancelled, timed out, its client or its task gone) ─▶ being unlocked
//! ```
//!
//! Invariant (`locks_have_owner`): a lock on a table stands only while a value of this type in the same process says so; it exists
//! before the lock is asked for, because whoever asks may be stopped before it hears that it has it. Each lock has a holder of its own, so
//! that what removes one lock late does not remove the next one.

use std::sync::Arc;
use std::time::Duration;

use clock::Tasks;

use crate::catalog::{CatalogManager, Pin, Table, TableLock};
use crate::error::SqlError;
use crate::node::Shared;

/// How long whoever lets go of locks waits until others know: a failed statement or a rollback that goes on waiting for a range
/// without a quorum would have outlived its time.
const RELEASE_PATIENCE: Duration = Duration::from_secs(1);

/// How long it rests between two attempts to unlock tables.
const UNLOCK_PAUSE: Duration = Duration::from_secs(1);

/// Locks on tables. Whoever lets go of them unlocks the tables.
#[derive(Default)]
pub(crate) struct TableLocks {
    held: Vec<(u32, TableLock)>,
    keeper: Option<Keeper>,
}

/// What unlocks tables.
#[derive(Clone)]
struct Keeper {
    manager: Arc<CatalogManager>,
    tasks: Tasks,
}

impl TableLocks {
    /// A lock on a table that is going to be asked for.
    pub fn ask(shared: &Shared, table: u32) -> TableLocks {
        let keeper = Keeper { manager: shared.manager.clone(), tasks: shared.tasks.clone() };
        TableLocks { held: vec![(table, shared.new_lock())], keeper: Some(keeper) }
    }

    /// Takes the lock that is to be asked for; as [`CatalogManager::lock_table`].
    pub async fn take(&self, table: &Table, own: &Pin, lock_timeout: Option<Duration>) -> Result<(), SqlError> {
        match (&self.keeper, self.held.last()) {
            (Some(keeper), Some((_, lock))) => keeper.manager.lock_table(table, lock, own, lock_timeout).await,
            _ => Err(SqlError::internal("no lock is to be asked for")),
        }
    }

    /// Takes over the locks of another.
    pub fn join(&mut self, mut more: TableLocks) {
        self.held.append(&mut more.held);
        self.keeper = self.keeper.take().or(more.keeper.take());
    }

    /// The tables, in the order in which they were locked.
    pub fn tables(&self) -> impl Iterator<Item = u32> {
        self.held.iter().map(|(table, _)| *table)
    }

    pub fn len(&self) -> usize {
        self.held.len()
    }

    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub fn contains(&self, table: u32) -> bool {
        self.tables().any(|held| held == table)
    }

    /// Whether this is one of the locks.
    pub fn holds(&self, table: u32, lock: &TableLock) -> bool {
        self.held.iter().any(|(held, own)| *held == table && own == lock)
    }

    /// The locks stand no more: a commit has taken them away.
    pub fn forget(mut self) {
        self.held.clear();
    }

    /// Unlocks the tables; beside the caller if that takes more than one attempt, or a moment.
    pub async fn release(mut self) {
        if let Some(keeper) = &self.keeper
            && !self.held.is_empty()
        {
            match tokio::time::timeout(RELEASE_PATIENCE, Box::pin(keeper.manager.unlock_tables(&self.held))).await {
                Ok(Ok(())) => self.held.clear(),
                Ok(Err(error)) => tracing::warn!(%error, "tables are not unlocked yet"),
                Err(_) => tracing::warn!("tables are not unlocked yet: the catalog does not answer"),
            }
        }
    }
}

impl Drop for TableLocks {
    fn drop(&mut self) {
        let held = std::mem::take(&mut self.held);
        let Some(Keeper { manager, tasks }) = self.keeper.take() else { return };
        if held.is_empty() {
            return;
        }
        // Nobody else may remove the lock of a node that lives: it has to go, however long that takes.
        tasks.spawn("unlock tables", async move {
            while let Err(error) = manager.unlock_tables(&held).await {
                tracing::debug!(%error, "tables are not unlocked yet");
                tokio::time::sleep(UNLOCK_PAUSE).await;
            }
        });
    }
}
