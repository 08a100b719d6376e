//! A commit whose answer was lost: asked again until it is known what became of it.
//!
//! ```text
//!   send it again ─┬─ committed, or committed already ─▶ committed
//!                  ├─ no answer ─▶ again, until the bound ─▶ Ambiguous (40003)
//!                  └─ refused ─▶ that proves nothing about the first attempt: roll back ─┬─ rolled back ─▶ the refusal stands
//!                                                                                       └─ committed already ─▶ committed
//! ```
//!
//! A rollback that was recorded is the proof that no earlier attempt can commit any more; one that is refused because the record
//! says committed is the proof that one has.

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
                Err(refused) => return self.prove_rolled_back(one_phase, &header, refused).await,
            }
        }
    }

    async fn prove_rolled_back(
        &self,
        one_phase: bool,
        header: &BatchHeader,
        refused: KvError,
    ) -> Result<Committed, Error> {
        let mut pause = FIRST_PAUSE;
        loop {
            let intents = self.state.lock().intents.to_sorted();
            let end = EndTxn { intents, ..EndTxn::default() };
            match self.core.send(header.clone(), vec![RequestKind::EndTxn(end).into()]).await {
                Ok(_) => {
                    return Err(match refused {
                        KvError::NotOnePhase(_) => Error::Retry(Box::new(Conflict::unclear(&refused))),
                        other => Error::from(other).in_the_present(),
                    });
                }
                Err(KvError::AlreadyCommitted(detail)) => {
                    return Ok(Committed::already(detail.actual, one_phase));
                }
                Err(_) => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
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
