//! The commit.
//!
//! ```text
//!   nothing written ─▶ done, without a request
//!   writes in one range ─▶ [puts, EndTxn one phase] ─────────────────────────────────▶ commit wait ─▶ answer
//!   over ranges ─▶ intents, all ranges at once ─▶ EndTxn at the anchor (the record) ─▶ commit wait ─▶ answer
//!                                                                      └▶ intents resolved meanwhile
//! ```
//!
//! Commit wait runs from the moment the timestamp was chosen, hence beside replication: what is left of it when the range has
//! answered is slept. Parallel commit has its place in [`Transaction::two_phases`]: the record would be written STAGING beside
//! the intents.

mod settle;

use clock::mutation::{self, Mutant};
use clock::{HlcError, Timestamp};
use kv::api::{
    BatchHeader, BatchResponse, EndTxn, KvError, Request, RequestKind, ResponseKind, RetryReason, TxnStatus,
};

use super::refresh::Attempts;
use super::{Phase, Transaction};
use crate::cleanup::{self, Ending};
use crate::{Conflict, Error};

/// What a commit came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitOutcome {
    /// When it happened. For a transaction that wrote nothing: its snapshot.
    pub commit_timestamp: Timestamp,
    /// Whether it took one phase, or wrote nothing.
    pub one_phase: bool,
    /// Whether there was anything to write.
    pub wrote: bool,
    /// The identifiers of the ranges that took part in the transaction, in order.
    pub ranges: Vec<u64>,
}

/// How the record ended.
#[derive(Clone, Copy, Debug)]
struct Committed {
    timestamp: Timestamp,
    one_phase: bool,
    /// The end reached the ranges in which all of the transaction's locks lie.
    locks_released: bool,
}

impl Committed {
    /// As an earlier attempt, or a retry on the way, has left it.
    fn already(timestamp: Timestamp, one_phase: bool) -> Self {
        Committed { timestamp, one_phase, locks_released: false }
    }
}

/// A request that may have committed, for sending it again.
struct Sent {
    one_phase: bool,
    header: BatchHeader,
    requests: Vec<Request>,
    /// When it was first sent.
    at: tokio::time::Instant,
}

impl Sent {
    #[allow(clippy::disallowed_methods, reason = "measures how long a client waits; virtual under simulation")]
    fn new(one_phase: bool, header: BatchHeader, requests: Vec<Request>) -> Sent {
        Sent { one_phase, header, requests, at: tokio::time::Instant::now() }
    }
}

/// How often a commit in one phase is tried; readers far nearer to the range than this gateway could push it for ever.
const PUSHED_COMMITS_MAX: u32 = 3;

impl Transaction {
    /// Commits, and returns when the client may be told: after commit wait. When it fails, the transaction is rolled back, and
    /// the error, too, may be told.
    ///
    /// Must not be dropped before it returns; if it is, the transaction is rolled back unless it has committed.
    ///
    /// # Errors
    /// Any [`Error`] but `StatementRetry`. Only after [`Error::Ambiguous`] may it have committed.
    pub async fn commit(&self) -> Result<CommitOutcome, Error> {
        if self.is_finished() {
            return Err(Error::Finished);
        }
        match self.try_commit().await {
            Ok(outcome) => {
                if let Err(fenced) = self.wait_for_effect().await {
                    return Err(Error::Ambiguous(format!("it cannot be said yet that it did: {fenced}")));
                }
                self.audit_acknowledgement();
                Ok(outcome)
            }
            Err(error) => {
                let error = match error {
                    Error::StatementRetry(conflict) => Error::Retry(conflict),
                    other => other,
                };
                let phase = if matches!(error, Error::Ambiguous(_)) { Phase::Unknown } else { Phase::RolledBack };
                self.end(phase, Ending::RollBack);
                // What failed promises nothing that a wrong clock could break.
                let _ = self.wait_for_effect().await;
                Err(error)
            }
        }
    }

    async fn try_commit(&self) -> Result<CommitOutcome, Error> {
        self.finish_bulk().await?;
        let (wrote, spilled) = {
            let mut state = self.state.lock();
            state.check_active()?;
            state.phase = Phase::Committing;
            let spilled = !state.intents.is_empty();
            (spilled || !state.buffer.is_empty(), spilled)
        };
        if !wrote {
            return Ok(self.commit_reads());
        }
        self.catch_up().await?;
        let in_one = if spilled { None } else { self.one_phase().await? };
        let committed = match in_one {
            Some(committed) => committed,
            None => Box::pin(self.two_phases()).await?,
        };
        let ranges = {
            let mut state = self.state.lock();
            assert!(
                committed.timestamp >= state.meta.read_timestamp,
                "external_consistency: {} commits below its snapshot at {}",
                committed.timestamp,
                state.meta.read_timestamp
            );
            state.observed = state.observed.max(committed.timestamp);
            if committed.locks_released {
                state.locks.clear();
            }
            state.ranges.clone()
        };
        self.end(Phase::Committed, Ending::Committed(committed.timestamp));
        Ok(CommitOutcome { commit_timestamp: committed.timestamp, one_phase: committed.one_phase, wrote: true, ranges })
    }

    /// Nothing was written: the reads hold at the snapshot, and that is all there is to it.
    fn commit_reads(&self) -> CommitOutcome {
        let outcome = {
            let mut state = self.state.lock();
            if state.loaded {
                state.observed = state.observed.max(state.meta.write_timestamp);
            }
            let commit_timestamp = state.meta.read_timestamp;
            CommitOutcome { commit_timestamp, one_phase: true, wrote: state.loaded, ranges: state.ranges.clone() }
        };
        self.end(Phase::Committed, Ending::RollBack);
        outcome
    }

    /// `None` when the writes are not all in one range, or readers push the commit again and again: they wait for writes that lie there.
    async fn one_phase(&self) -> Result<Option<Committed>, Error> {
        let mut attempts = Attempts::default();
        for _ in 0..PUSHED_COMMITS_MAX {
            let (header, requests, moves) = {
                let mut state = self.state.lock();
                state.settle_anchor();
                let mut requests = state.buffer.to_requests();
                let end = EndTxn {
                    commit: true,
                    intents: Vec::new(),
                    can_forward_timestamp: state.has_read_nothing(),
                    one_phase: true,
                    all_written: false,
                };
                requests.push(RequestKind::EndTxn(end).into());
                (self.header(&state), requests, state.moves)
            };
            let sent = Sent::new(true, header, requests);
            match self.core.send(sent.header.clone(), sent.requests.clone()).await {
                Err(KvError::NotOnePhase(_)) => return Ok(None),
                answer => {
                    if let Some(committed) = self.after_commit_request(answer, sent, moves, &mut attempts).await? {
                        return Ok(Some(committed));
                    }
                }
            }
        }
        Ok(None)
    }

    async fn two_phases(&self) -> Result<Committed, Error> {
        self.write_intents(false).await?;
        let mut attempts = Attempts::default();
        loop {
            // An intent may lie above the snapshot: what was read must hold there too.
            self.catch_up().await?;
            let (header, requests, moves) = {
                let mut state = self.state.lock();
                state.has_record = true;
                let end = EndTxn {
                    commit: true,
                    intents: state.intents.to_sorted(),
                    can_forward_timestamp: state.has_read_nothing(),
                    one_phase: false,
                    all_written: state.all_written,
                };
                let header = self.core.header(Some(state.meta.clone()));
                (header, vec![Request::from(RequestKind::EndTxn(end))], state.moves)
            };
            let sent = Sent::new(false, header, requests);
            let answer = self.core.send(sent.header.clone(), sent.requests.clone()).await;
            if let Some(committed) = self.after_commit_request(answer, sent, moves, &mut attempts).await? {
                return Ok(committed);
            }
        }
    }

    /// Reads the answer to a request that may have committed. `None`: it has not, and may be sent anew.
    async fn after_commit_request(
        &self,
        answer: Result<BatchResponse, KvError>,
        sent: Sent,
        moves: u64,
        attempts: &mut Attempts,
    ) -> Result<Option<Committed>, Error> {
        let refused = match answer {
            Ok(response) => return self.read_ending(&response).map(Some),
            Err(KvError::AlreadyCommitted(detail)) => {
                return Ok(Some(Committed::already(detail.actual, sent.one_phase)));
            }
            Err(KvError::Ambiguous(detail)) if mutation::is(Mutant::LostAnswerIsFailure) => KvError::TxnAborted(detail),
            Err(KvError::Ambiguous(detail)) => {
                tracing::debug!(reason = detail.message, "the answer to a commit was lost");
                return Box::pin(self.settle(sent, detail.message)).await.map(Some);
            }
            Err(refused) => refused,
        };
        let is_unread = settle::is_unread(&refused);
        match Box::pin(self.recover(refused, moves, attempts)).await {
            Ok(()) => Ok(None),
            Err(error) if is_unread => Box::pin(self.settle_refused(&sent, error)).await.map(Some),
            Err(error) => Err(error),
        }
    }

    fn read_ending(&self, response: &BatchResponse) -> Result<Committed, Error> {
        let locks_released = {
            let mut state = self.state.lock();
            state.absorb(response);
            state.locks_lie_within(&response.ranges)
        };
        let Some(ResponseKind::Ended(ended)) = response.responses.last().and_then(|answer| answer.kind.as_ref()) else {
            return Err(Error::Ambiguous("a commit was answered by something else".into()));
        };
        match ended.status() {
            TxnStatus::Committed => {
                Ok(Committed { timestamp: ended.commit_timestamp, one_phase: ended.one_phase, locks_released })
            }
            _ => Err(Error::Retry(Box::new(Conflict {
                reason: RetryReason::Aborted,
                ..Conflict::pushed(ended.commit_timestamp)
            }))),
        }
    }

    /// Ends the transaction at the gateway, and starts cleaning up behind it.
    pub(super) fn end(&self, phase: Phase, ending: Ending) {
        let leftovers = {
            let mut state = self.state.lock();
            state.phase = phase;
            state.buffer = crate::buffer::WriteBuffer::default();
            state.reads.clear();
            state.statement_reads.clear();
            state.take_leftovers()
        };
        self.core.heartbeats.remove(leftovers.meta.id);
        if phase != Phase::Unknown {
            cleanup::start(&self.core, leftovers, ending);
        }
    }

    fn audit_acknowledgement(&self) {
        let state = self.state.lock();
        if !state.meta.relaxed && !self.historical {
            crate::audit::acknowledged(&state.meta, state.observed);
        }
    }

    /// Commit wait.
    pub(super) async fn wait_for_effect(&self) -> Result<(), HlcError> {
        let (effect, relaxed) = {
            let state = self.state.lock();
            (state.observed, state.meta.relaxed)
        };
        if !relaxed && !effect.is_min() && !mutation::is(Mutant::NoCommitWait) {
            self.core.hlc.wait_until_past(effect).await?;
        }
        Ok(())
    }
}

impl super::State {
    fn has_read_nothing(&self) -> bool {
        self.reads.is_empty() && self.statement_reads.is_empty()
    }
}
