//! Savepoints: places in a transaction that its writes can be taken back to.
//!
//! ```text
//!   sequence   1   2   3   4   5   6      writes, in the buffer or as intents
//!                  ▲ savepoint    │
//!                  └──────────────┘       rolled back to: the buffer restored, 3 to 5 ignored wherever they are intents
//! ```
//!
//! Intents are not touched: readers of the transaction, and whoever resolves what it left, skip the ignored numbers, which every
//! request and the record carry. So a write that arrives late cannot come back.
//!
//! Names, and which of them shadows which, are the caller's business. Source: CockroachDB's `ignored_seqnums`.

use kv::api::SequenceSpan;

use super::{State, Transaction};
use crate::Error;

/// A place to go back to; see [`Transaction::savepoint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Savepoint {
    /// Its place among the savepoints that stand, from 0.
    depth: usize,
    /// The newest write before it.
    sequence: u32,
}

impl Transaction {
    /// Sets a savepoint, above those that stand.
    ///
    /// # Errors
    /// When nothing but a rewind or a rollback is left, or not even that.
    pub fn savepoint(&self) -> Result<Savepoint, Error> {
        let cap_bytes = self.core.settings.read_span_bytes;
        let mut state = self.state.lock();
        state.check_active()?;
        let depth = state.buffer.set_savepoint();
        state.begin_statement(cap_bytes);
        Ok(Savepoint { depth, sequence: state.meta.sequence })
    }

    /// Undoes what was written since the savepoint. It stays; those above it are gone. What was read, and locked, stays so.
    ///
    /// # Errors
    /// The error that ended the transaction, when it cannot go on: a conflict is not undone by going back over its effects.
    ///
    /// # Panics
    /// When the savepoint is gone.
    pub fn roll_back_to(&self, savepoint: Savepoint) -> Result<(), Error> {
        let cap_bytes = self.core.settings.read_span_bytes;
        let mut state = self.state.lock();
        if let Some(conflict) = state.must_rewind.take() {
            // The client has seen rows that do not hold at the snapshot the transaction has moved to.
            state.failure.get_or_insert(Error::Retry(conflict));
        }
        state.check_active()?;
        state.buffer.roll_back_to(savepoint.depth);
        if !state.intents.is_empty() {
            state.ignore_above(savepoint.sequence);
        }
        state.begin_statement(cap_bytes);
        Ok(())
    }

    /// Forgets the savepoint and those above it; what was written since stays.
    ///
    /// # Errors
    /// As [`Transaction::savepoint`].
    ///
    /// # Panics
    /// When the savepoint is gone.
    pub fn release(&self, savepoint: Savepoint) -> Result<(), Error> {
        let cap_bytes = self.core.settings.read_span_bytes;
        let mut state = self.state.lock();
        state.check_active()?;
        state.buffer.release(savepoint.depth);
        state.begin_statement(cap_bytes);
        Ok(())
    }
}

impl State {
    /// Writes above a sequence number, so far, do not count.
    pub(super) fn ignore_above(&mut self, above: u32) {
        let through = self.meta.sequence;
        let ignored = &mut self.meta.ignored;
        ignored.retain(|span| span.above < above);
        match ignored.last_mut() {
            Some(last) if last.through >= above => last.through = through,
            _ if above < through => ignored.push(SequenceSpan { above, through }),
            _ => {}
        }
    }
}
