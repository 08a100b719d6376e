//! The end without a commit.

use super::{Phase, State, Transaction};
use crate::cleanup::{Ending, Leftovers};

impl Transaction {
    /// Rolls back, and returns when the client may be told. Intents and locks go in the background. Does nothing to a transaction
    /// that has ended.
    pub async fn rollback(&self) {
        if self.state.lock().phase == Phase::Active {
            self.end(Phase::RolledBack, Ending::RollBack);
            // What did not happen promises nothing that a wrong clock could break.
            let _ = self.wait_for_effect().await;
        }
    }
}

impl Drop for Transaction {
    /// Whoever held it went away: so do its locks. A commit that was cut short is rolled back, unless the record says that it
    /// happened.
    fn drop(&mut self) {
        let phase = self.state.get_mut().phase;
        match phase {
            Phase::Active => self.end(Phase::RolledBack, Ending::RollBack),
            Phase::Committing => {
                // The request may be on its way: only the record knows.
                self.state.get_mut().has_record = true;
                self.end(Phase::RolledBack, Ending::RollBack);
            }
            Phase::Committed | Phase::RolledBack | Phase::Unknown => {}
        }
    }
}

impl State {
    /// What is to be cleaned up, taken out of the state.
    pub(super) fn take_leftovers(&mut self) -> Leftovers {
        let leftovers = Leftovers {
            meta: self.meta.clone(),
            intents: self.intents.to_sorted(),
            locks: self.locks.to_sorted(),
            has_record: self.has_record || !self.intents.is_empty(),
        };
        self.intents.clear();
        self.locks.clear();
        leftovers
    }
}
