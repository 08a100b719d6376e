//! Savepoints: places in a transaction that its writes can be taken back to.
//!
//! ```text
//!   sequence   1   2   3   4   5   6      writes, in the buffer or as intents
//!                  ▲ savepoint    │
//!                  └──────────────┘       rolled back to: the buffer restored, 3 to 5 ignored wherever they are intents
//! ```
//!
//! Readers of the transaction, and whoever resolves what it left, skip the ignored numbers, which every request and the record
//! carry. So a write that arrives late cannot come back. Intents in which nothing else is left are removed, as are locks, so that
//! others need not wait for them; that is a courtesy, which nothing relies on.
//!
//! Names, and which of them shadows which, are the caller's business. Source: CockroachDB's `ignored_seqnums`.

use clock::Timestamp;
use kv::api::{ReleaseLocks, Request, RequestKind, ResolveIntents, SequenceSpan, Span, TxnStatus};

use super::{State, Transaction};
use crate::Error;

/// Locks released in one batch.
const RELEASED_A_BATCH: usize = 1_000;

/// A place to go back to; see [`Transaction::savepoint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Savepoint {
    /// Its place among the savepoints that stand, from 0.
    depth: usize,
    /// The newest write before it.
    sequence: u32,
}

/// What a transaction holds, though it has gone back to before it came to hold it.
#[derive(Debug)]
#[must_use = "others wait for it"]
pub struct StillHeld(Vec<Request>);

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
        state.locks.set_savepoint();
        state.intents.set_savepoint();
        state.begin_statement(cap_bytes);
        Ok(Savepoint { depth, sequence: state.meta.sequence })
    }

    /// Undoes what was written since the savepoint. It stays; those above it are gone. What was read stays read. What was locked,
    /// and not before, be it by an intent, is held until [`Transaction::release_held`], or the end of the transaction.
    ///
    /// # Errors
    /// The error that ended the transaction, when it cannot go on: a conflict is not undone by going back over its effects.
    ///
    /// # Panics
    /// When the savepoint is gone.
    pub fn roll_back_to(&self, savepoint: Savepoint) -> Result<StillHeld, Error> {
        self.go_back_to(savepoint).map(StillHeld)
    }

    /// Releases what going back to a savepoint has left, if the ranges answer. It may be dropped before it is through: what it has
    /// not released by then stays until the end of the transaction.
    pub async fn release_held(&self, StillHeld(held): StillHeld) {
        // What a span holds may be too much for one command. The range cuts it into pieces then, if it stands alone.
        let alone = |request: &Request| matches!(&request.kind, Some(RequestKind::ResolveIntents(resolve)) if !resolve.span.end.is_empty());
        let (spans, points): (Vec<Request>, Vec<Request>) = held.into_iter().partition(alone);
        for batch in points.chunks(RELEASED_A_BATCH).chain(spans.chunks(1)) {
            if let Err(error) = self.core.send(self.core.header(None), batch.to_vec()).await {
                // Reads under them are refreshed like any others: that they stay costs others time, and nothing else.
                tracing::debug!(%error, "locks stay until the end of their transaction");
                break;
            }
        }
    }

    /// Goes back, and answers how what is held since is released.
    fn go_back_to(&self, savepoint: Savepoint) -> Result<Vec<Request>, Error> {
        let cap_bytes = self.core.settings.read_span_bytes;
        let mut state = self.state.lock();
        let state = &mut *state;
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
        let cap_bytes = self.core.settings.intent_span_bytes;
        let locked = state.locks.roll_back_to(savepoint.depth, cap_bytes);
        let written = state.intents.roll_back_to(savepoint.depth, cap_bytes);
        state.all_written &= written.is_empty();
        let meta = &state.meta;
        let release = |span: Span| RequestKind::ReleaseLocks(ReleaseLocks { txn: meta.id, span }).into();
        // Where nothing is left that counts, the intent goes.
        let clear = |span: Span| {
            let resolve = ResolveIntents {
                span,
                txn: meta.id,
                epoch: meta.epoch,
                status: TxnStatus::Pending as i32,
                timestamp: Timestamp::MIN,
                ignored: meta.ignored.clone(),
            };
            RequestKind::ResolveIntents(resolve).into()
        };
        Ok(locked.into_iter().map(release).chain(written.into_iter().map(clear)).collect())
    }

    /// Forgets the savepoint and those above it; what was written since stays.
    ///
    /// # Errors
    /// As [`Transaction::savepoint`].
    ///
    /// # Panics
    /// When the savepoint is gone.
    pub fn release(&self, savepoint: Savepoint) -> Result<(), Error> {
        let mut state = self.state.lock();
        state.check_active()?;
        state.buffer.release(savepoint.depth);
        let cap_bytes = self.core.settings.intent_span_bytes;
        state.locks.release(savepoint.depth, cap_bytes);
        state.intents.release(savepoint.depth, cap_bytes);
        state.begin_statement(self.core.settings.read_span_bytes);
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
