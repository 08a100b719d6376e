//! What a store clears, beside everything else it does: it may take long, and nothing waits for it but who wants the same span.
//!
//! ```text
//!   replica destroyed ─▶ tombstone that names its span ─┐                      ┌▶ log destroyed, tombstone without the span
//!   right side without a replica ─▶ leftover ───────────┼▶ cleared, by pieces ─┼▶ leftover forgotten
//!   snapshot given up ─▶ its staging ───────────────────┘                      └▶ nothing
//! ```
//!
//! A chore that is interrupted is done again from the start: by the store's next life. Until it is through, its span stays
//! claimed.

use raft_groups::GroupId;

use super::data::{self, EngineSpan};
use super::local::{Leftover, Tombstone};
use super::{Store, StoreError};
use crate::engine::WriteBatch;

/// Something to be cleared.
#[derive(Debug)]
pub(super) enum Chore {
    /// What a removed replica left, as its tombstone says.
    Removal { range_id: u64 },
    /// The right side of a split.
    Leftover { range_id: u64 },
    /// What was staged of a snapshot.
    Staged { staged: EngineSpan },
}

impl Store {
    /// Does it in a task of its own. REQUIRES: its span is claimed.
    pub(super) fn begin_chore(&self, chore: Chore) {
        // A store that is gone has no chores: its next life finds them.
        let Some(store) = self.this.upgrade() else { return };
        self.chores.spawn("clear", async move {
            let what = format!("{chore:?}");
            if let Err(error) = store.do_chore(chore).await {
                store.failure.tell_error(&what, &error);
            }
        });
    }

    async fn do_chore(&self, chore: Chore) -> Result<(), StoreError> {
        match chore {
            Chore::Removal { range_id } => self.complete_removal(range_id).await,
            Chore::Leftover { range_id } => self.clear_leftover(range_id).await,
            Chore::Staged { staged } => Ok(self.steps().clear_all(&[staged]).await?),
        }
    }

    /// Clears what a removed replica left. Doing it twice is doing it once, until the tombstone says it is done.
    async fn complete_removal(&self, range_id: u64) -> Result<(), StoreError> {
        let steps = self.steps();
        let tombstone = Tombstone::load(&*steps.engine.snapshot(), range_id)?;
        if let Some(Tombstone { uncleared: Some(descriptor), next_replica_id }) = tombstone {
            let mut spans = data::key_spans(&descriptor);
            spans.push(data::id_span(range_id));
            steps.clear(&spans).await?;
            steps.sync().await?;
            self.parts.host.remove_group(GroupId(range_id)).await?;
            let mut batch = WriteBatch::new();
            Tombstone { next_replica_id, uncleared: None }.save(range_id, &mut batch);
            steps.run(move |engine| engine.write(batch)).await?;
        }
        self.claims.cleared(range_id);
        Ok(())
    }

    async fn clear_leftover(&self, range_id: u64) -> Result<(), StoreError> {
        let steps = self.steps();
        let leftover = Leftover::load(&*steps.engine.snapshot(), range_id)?;
        if let Some(Leftover { descriptor }) = leftover {
            steps.clear(&data::key_spans(&descriptor)).await?;
            let mut batch = WriteBatch::new();
            Leftover::forget(range_id, &mut batch);
            steps.run(move |engine| engine.write(batch)).await?;
        }
        self.claims.leftover_cleared(range_id);
        Ok(())
    }
}
