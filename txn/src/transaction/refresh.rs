//! Conflicts: the snapshot moves forward if what was read still holds there.
//!
//! ```text
//!   conflict at C ─▶ refresh every span to max(C, W) ─┬─ unchanged ─▶ send the request again, at the new snapshot
//!                                                     └─ changed ─▶ refresh the earlier statements' spans alone
//!                                                          ├─ unchanged ─▶ StatementRetry
//!                                                          └─ changed ───▶ Retry (40001)
//! ```

use clock::Timestamp;
use clock::mutation::{self, Mutant};
use kv::api::{KvError, Refresh, Request, RequestKind, RetryReason, Span, TxnMeta, error_detail};

use super::{Phase, State, Transaction};
use crate::{Conflict, Error};

/// Counts the attempts at one request: a bound, so that a fault elsewhere cannot make an endless loop of it.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    made: u32,
    lost: u32,
    /// Full times of a request that went by in waiting for a lock.
    waits: u32,
}

const MAX_ATTEMPTS: u32 = 100;
/// Attempts at an idempotent request whose answer was lost.
const MAX_LOST_ANSWERS: u32 = 5;

/// What is to be refreshed, and to where.
struct Move {
    meta: TxnMeta,
    from: Timestamp,
    earlier: Vec<Span>,
    statement: Vec<Span>,
    /// Insertions into both sets: if more came meanwhile, they are refreshed too.
    inserted: u64,
    may_retry_statement: bool,
}

impl Transaction {
    /// Makes good what a range refused, as far as that is possible: `Ok` means that the request is to be sent again.
    ///
    /// `moves` tells at which snapshot the request was sent.
    pub(super) async fn recover(&self, error: KvError, moves: u64, attempts: &mut Attempts) -> Result<(), Error> {
        if matches!(error, KvError::LockUnavailable(_)) && self.waits_on(attempts) {
            return Ok(());
        }
        attempts.made += 1;
        attempts.lost += u32::from(matches!(error, KvError::Ambiguous(_)));
        let conflict = match error {
            KvError::WriteTooOld(detail) => Conflict::new(RetryReason::WriteTooOld, detail),
            KvError::Uncertain(detail) => Conflict::new(RetryReason::Uncertain, detail),
            KvError::CommitPushed(detail) => Conflict::new(RetryReason::CommitPushed, detail),
            // Reads and intents may be sent twice. A commit's ambiguity never comes here.
            KvError::Ambiguous(_) if attempts.lost < MAX_LOST_ANSWERS => return Ok(()),
            KvError::Ambiguous(detail) => return Err(unanswered(detail).into()),
            other => return Err(self.fail(other.into())),
        };
        if self.historical || attempts.made >= MAX_ATTEMPTS {
            return Err(self.fail(Error::Retry(Box::new(conflict))));
        }
        self.advance(conflict, moves).await
    }

    /// Whether to wait on for a lock after a request's time went by. A limit shorter than that ended the wait itself.
    fn waits_on(&self, attempts: &mut Attempts) -> bool {
        attempts.waits += 1;
        let waited = self.core.settings.request_timeout * attempts.waits;
        self.state.lock().lock_timeout.is_none_or(|limit| waited < limit)
    }

    /// Moves the snapshot up to the write timestamp, before a commit.
    pub(super) async fn catch_up(&self) -> Result<(), Error> {
        let (behind, moves) = {
            let state = self.state.lock();
            let behind = state.meta.write_timestamp > state.meta.read_timestamp;
            (behind.then(|| Conflict::pushed(state.meta.write_timestamp)), state.moves)
        };
        match behind {
            Some(conflict) => Box::pin(self.advance(conflict, moves)).await,
            None => Ok(()),
        }
    }

    /// Moves the snapshot to the conflict's timestamp or above, unless somebody else did since `moves`.
    async fn advance(&self, mut conflict: Conflict, moves: u64) -> Result<(), Error> {
        let _turn = self.moving.lock().await;
        loop {
            let Some(planned) = self.state.lock().plan_move(&conflict, moves) else { return Ok(()) };
            let all = planned.earlier.iter().chain(&planned.statement);
            match self.refresh(&planned, all).await {
                Ok(()) => {
                    if self.state.lock().move_to(&planned) {
                        return Ok(());
                    }
                }
                Err(KvError::RefreshFailed(found)) => {
                    conflict.blame(found);
                    if planned.may_retry_statement {
                        match self.refresh(&planned, planned.earlier.iter()).await {
                            Ok(()) => return Err(self.state.lock().retry_statement(&planned, conflict)),
                            Err(KvError::RefreshFailed(found)) => conflict.blame(found),
                            Err(other) => return Err(self.fail(other.into())),
                        }
                    }
                    return Err(self.fail(Error::Retry(Box::new(conflict))));
                }
                Err(other) => return Err(self.fail(other.into())),
            }
        }
    }

    async fn refresh<'a>(&self, planned: &Move, spans: impl Iterator<Item = &'a Span>) -> Result<(), KvError> {
        let refresh =
            |span: &Span| Request::from(RequestKind::Refresh(Refresh { span: span.clone(), from: planned.from }));
        let requests: Vec<Request> = spans.map(refresh).collect();
        if requests.is_empty() || mutation::is(Mutant::RefreshSkipped) {
            return Ok(());
        }
        let mut lost = 0;
        loop {
            match self.core.send(self.core.header(Some(planned.meta.clone())), requests.clone()).await {
                Ok(response) => {
                    self.state.lock().absorb(&response);
                    return Ok(());
                }
                Err(KvError::Ambiguous(detail)) => {
                    lost += 1;
                    if lost == MAX_LOST_ANSWERS {
                        return Err(unanswered(detail));
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Remembers an error after which only a rollback is left.
    pub(super) fn fail(&self, error: Error) -> Error {
        let error = if self.historical { error } else { error.in_the_present() };
        if error.is_fatal() {
            self.state.lock().failure.get_or_insert(error.clone());
        }
        error
    }
}

/// Whether it happened does not matter: it would only have to happen again.
fn unanswered(detail: error_detail::Ended) -> KvError {
    KvError::Unavailable(error_detail::Unavailable { range_id: 0, message: detail.message, missing_nodes: Vec::new() })
}

impl Conflict {
    /// Takes in which key read earlier was written since, and by whom.
    fn blame(&mut self, found: error_detail::Conflict) {
        self.other = found.other.or(self.other);
        self.timestamp = found.actual;
        self.changed = Some(found.key);
    }
}

impl State {
    /// `None` when the snapshot has moved far enough since.
    fn plan_move(&mut self, conflict: &Conflict, moves: u64) -> Option<Move> {
        self.observed = self.observed.max(conflict.timestamp);
        if self.moves != moves && self.meta.read_timestamp >= conflict.timestamp {
            return None;
        }
        let from = self.meta.read_timestamp;
        let target = self.meta.write_timestamp.max(conflict.timestamp);
        let mut meta = self.meta.clone();
        (meta.read_timestamp, meta.write_timestamp) = (target, target);
        Some(Move {
            meta,
            from,
            earlier: self.reads.to_sorted(),
            statement: self.statement_reads.to_sorted(),
            inserted: self.inserted(),
            may_retry_statement: self.phase == Phase::Active
                && !self.statement_loaded
                && !self.statement_reads.is_empty(),
        })
    }

    fn inserted(&self) -> u64 {
        self.reads.inserted() + self.statement_reads.inserted()
    }

    /// False when reads have been remembered meanwhile that were not refreshed.
    fn move_to(&mut self, planned: &Move) -> bool {
        if self.inserted() != planned.inserted {
            return false;
        }
        let target = planned.meta.read_timestamp;
        assert!(target >= self.meta.read_timestamp, "a snapshot never moves back");
        self.meta.read_timestamp = target;
        self.meta.write_timestamp = self.meta.write_timestamp.max(target);
        self.moves += 1;
        true
    }

    /// Moves the snapshot although what the statement in hand has read is not valid there.
    fn retry_statement(&mut self, planned: &Move, conflict: Conflict) -> Error {
        let target = planned.meta.read_timestamp;
        self.meta.read_timestamp = target;
        self.meta.write_timestamp = self.meta.write_timestamp.max(target);
        self.moves += 1;
        let conflict = Box::new(conflict);
        self.must_rewind = Some(conflict.clone());
        Error::StatementRetry(conflict)
    }
}
