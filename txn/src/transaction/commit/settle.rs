//! A commit whose answer was lost, or says nothing of it: asked again until it is known what became of it.
//!
//! ```text
//!   refused unread: roll back, as below
//!   send it again ─┬─ committed, or committed already ─▶ committed
//!                  ├─ no answer ─▶ again, until the bound ─▶ Ambiguous (40003)
//!                  └─ refused ─▶ that proves nothing about the first attempt: roll back ─┬─ rolled back ─▶ the refusal stands
//!                                                                                       ├─ committed already ─▶ committed
//!                                                                                       └─ forgotten ─▶ Ambiguous (40003)
//! ```
//!
//! A request may arrive twice. One that is refused before it is evaluated ([`is_unread`] lists the reasons) does not tell what its twin
//! came to, or will: that one may not have met the obstacle. A rollback that was recorded is the proof that no earlier attempt can commit
//! any more; one that is refused because the record says committed is the proof that one has. Where the record may have been forgotten
//! there is no proof either way, and asking again does not help.

use std::time::Duration;

use kv::api::{BatchHeader, EndTxn, KvError, Request, RequestKind};

use super::{Committed, Sent, Transaction};
use crate::{Conflict, Error};

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Transaction {
    /// Finds out what became of a commit whose answer was lost.
    ///
    /// # Errors
    /// Why it did not commit; [`Error::Ambiguous`] when that is not known within the bound.
    pub(super) async fn settle(&self, sent: Sent, lost: String) -> Result<Committed, Error> {
        let bound = self.core.settings.ambiguous_commit_bound;
        let asking = self.ask_until_known(sent.one_phase, sent.header, sent.requests);
        match tokio::time::timeout_at(sent.at + bound, asking).await {
            Ok(known) => known,
            Err(_) => Err(Error::Ambiguous(format!("{lost}; nobody could say within {bound:?} what became of it"))),
        }
    }

    async fn ask_until_known(
        &self,
        one_phase: bool,
        header: BatchHeader,
        requests: Vec<Request>,
    ) -> Result<Committed, Error> {
        let mut pause = FIRST_PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            match self.core.send(header.clone(), requests.clone()).await {
                Ok(response) => return self.read_ending(&response),
                Err(KvError::AlreadyCommitted(detail)) => {
                    return Ok(Committed::already(detail.actual, one_phase));
                }
                Err(error) if proves_nothing(&error) => {}
                Err(refused) => {
                    return match self.roll_back(one_phase, &header).await {
                        Proof::Committed(committed) => Ok(committed),
                        Proof::RolledBack => Err(match refused {
                            KvError::NotOnePhase(_) => Error::Retry(Box::new(Conflict::unclear(&refused))),
                            other => Error::from(other).in_the_present(),
                        }),
                        Proof::Forgotten(why) => Err(Error::Ambiguous(why)),
                    };
                }
            }
        }
    }

    /// Sees to it that a commit that was refused unread stays refused.
    ///
    /// # Errors
    /// The refusal, once it is certain; [`Error::Ambiguous`] when it is not within the bound.
    pub(super) async fn settle_refused(&self, sent: &Sent, refused: Error) -> Result<Committed, Error> {
        let bound = self.core.settings.ambiguous_commit_bound;
        match tokio::time::timeout(bound, self.roll_back(sent.one_phase, &sent.header)).await {
            Ok(Proof::Committed(committed)) => Ok(committed),
            Ok(Proof::RolledBack) => Err(refused),
            Ok(Proof::Forgotten(why)) => Err(Error::Ambiguous(format!("{refused}; {why}"))),
            Err(_) => Err(Error::Ambiguous(format!("{refused}; nobody could say within {bound:?} what became of it"))),
        }
    }

    /// Records that the transaction is rolled back, however long that takes; or tells how it had committed.
    async fn roll_back(&self, one_phase: bool, header: &BatchHeader) -> Proof {
        let mut pause = FIRST_PAUSE;
        loop {
            let intents = self.state.lock().intents.to_sorted();
            let end = EndTxn { intents, ..EndTxn::default() };
            match self.core.send(header.clone(), vec![RequestKind::EndTxn(end).into()]).await {
                Ok(_) => return Proof::RolledBack,
                Err(KvError::AlreadyCommitted(detail)) => {
                    return Proof::Committed(Committed::already(detail.actual, one_phase));
                }
                Err(KvError::Forgotten(detail)) => return Proof::Forgotten(detail.message),
                Err(_) => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// What a rollback proves about the commits that were sent before it.
enum Proof {
    /// None of them can happen any more.
    RolledBack,
    /// One of them has.
    Committed(Committed),
    /// Nobody can tell any more, and why: the transaction is older than records are kept.
    Forgotten(String),
}

/// Whether a commit was refused before it was evaluated, by a range that serves: a copy of it may fare otherwise.
pub(super) fn is_unread(error: &KvError) -> bool {
    matches!(
        error,
        KvError::DiskFull(_)
            | KvError::Deadlock(_)
            | KvError::LockUnavailable(_)
            | KvError::BelowGcThreshold(_)
            | KvError::Invalid(_)
    )
}

fn proves_nothing(error: &KvError) -> bool {
    matches!(
        error,
        KvError::Ambiguous(_)
            | KvError::Unavailable(_)
            | KvError::NotLeaseholder(_)
            | KvError::DiskFull(_)
            | KvError::Forgotten(_)
    )
}
