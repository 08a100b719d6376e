//! The end of a transaction.
//!
//! ```text
//!   one phase:   writes as committed versions ⧺ outcome record                      one command
//!   two phases:  intents, here and elsewhere, in earlier batches; then EndTxn:
//!                COMMITTED record ⧺ intents of this range resolved, where it knows the keys   one command
//!                the coordinator resolves the others, named in the record, behind
//! ```
//!
//! Every commit, one-phase too, leaves its record in its batch. Looking at it first is what makes a retry idempotent:
//! a commit that is found done says so ([`KvError::AlreadyCommitted`]) and writes nothing.

use bytes::Bytes;
use clock::Timestamp;
use clock::mutation::{self, Mutant};

use super::declare::is_span_within;
use super::records::{StoredRecord, TxnRecordStore, forgotten};
use super::{Evaluation, LaterCause, LockUpdate, Refusal};
use crate::api::*;
use crate::engine::{EngineError, Reader};
use crate::mvcc::{self, Resolution};

/// Intents that are resolved in the batch of the end itself; those beyond, and spans, are left to the coordinator.
const RESOLVED_AT_ONCE: usize = 4_096;
/// Bytes of values after which no more of them are.
const RESOLVED_BYTES: usize = 4 << 20;

/// The end that a batch contains.
pub(super) fn of(batch: &BatchRequest) -> Option<&EndTxn> {
    match batch.requests.last()?.kind.as_ref()? {
        RequestKind::EndTxn(end) => Some(end),
        _ => None,
    }
}

/// Whether the batch is a commit that is done already. REQUIRES: its latches, so that no earlier attempt is on its way.
pub(crate) fn find_outcome(batch: &BatchRequest, reader: &dyn Reader) -> Result<Option<KvError>, EngineError> {
    let (Some(EndTxn { commit: true, .. }), Some(txn)) = (of(batch), &batch.header.txn) else { return Ok(None) };
    if mutation::is(Mutant::CommitTwice) {
        return Ok(None);
    }
    let record = TxnRecordStore::load(reader, &txn.anchor, txn.id)?;
    Ok(record.filter(|record| record.status() == TxnStatus::Committed).map(|record| {
        let actual = record.write_timestamp;
        KvError::AlreadyCommitted(error_detail::Conflict { key: txn.anchor.clone(), actual, other: None })
    }))
}

impl Evaluation<'_> {
    /// Looks at the record before anything is written.
    pub(super) fn prepare_end(&mut self) -> Result<(), Refusal> {
        let (Some(end), Some(txn)) = (of(self.input.batch), self.txn) else { return Ok(()) };
        self.record = TxnRecordStore::load(&self.overlay, &txn.anchor, txn.id)?;
        let status = self.record.as_ref().map(StoredRecord::status);
        match (status, end.commit) {
            (Some(TxnStatus::Committed), true) if mutation::is(Mutant::CommitTwice) => {
                self.record = None;
                Ok(())
            }
            (Some(TxnStatus::Committed), _) => {
                let actual = self.record.as_ref().map_or(Timestamp::MIN, |record| record.write_timestamp);
                let conflict = error_detail::Conflict { key: txn.anchor.clone(), actual, other: None };
                Err(Refusal::Error(KvError::AlreadyCommitted(conflict)))
            }
            // A commit whose answer was lost may have come before.
            (Some(TxnStatus::Aborted), _) if self.record.as_ref().is_some_and(|record| record.presumed) => {
                Err(forgotten("it is presumed aborted, after longer than records are kept"))
            }
            (Some(TxnStatus::Aborted), true) => {
                let message = "another transaction ended it, or its coordinator was silent for too long".to_owned();
                Err(Refusal::Error(KvError::TxnAborted(error_detail::Ended { message, other: None })))
            }
            (Some(TxnStatus::Staging), _) => Err(Refusal::Error(crate::replica::invalid(
                "parallel commit is not supported yet: the record is STAGING",
            ))),
            (_, true) => self.rise_to_commit(txn, end),
            // It may have committed, and that be forgotten: nothing may say otherwise.
            (None, false) => self.check_remembered(txn, !end.intents.is_empty()),
            (Some(_), false) => Ok(()),
        }
    }

    /// The commit stands above every push, of the record or remembered in its place.
    fn rise_to_commit(&mut self, txn: &TxnMeta, end: &EndTxn) -> Result<(), Refusal> {
        let pushed_to = match &self.record {
            Some(record) => record.write_timestamp,
            None => self.first_timestamp_of_record(txn, !end.one_phase)?,
        };
        if pushed_to <= self.stand.write {
            return Ok(());
        }
        if self.stand.direct {
            return Err(Refusal::Later { key: txn.anchor.clone(), at: pushed_to, cause: LaterCause::Read });
        }
        self.stand.write = pushed_to;
        Ok(())
    }

    pub(super) fn end_txn(&mut self, end: &EndTxn) -> Result<ResponseKind, Refusal> {
        let txn = self.txn.expect("the shape of the batch was checked");
        if end.commit && end.one_phase && !end.intents.is_empty() {
            let message = "it left intents in earlier batches".to_owned();
            return Err(Refusal::Error(KvError::NotOnePhase(error_detail::Ended { message, other: None })));
        }
        let commit_timestamp = self.stand.write;
        if end.commit && commit_timestamp > self.stand.read && !end.can_forward_timestamp {
            let conflict = error_detail::Conflict { key: txn.anchor.clone(), actual: commit_timestamp, other: None };
            return Err(Refusal::Error(KvError::CommitPushed(conflict)));
        }
        let status = if end.commit { TxnStatus::Committed } else { TxnStatus::Aborted };
        let intents =
            if self.stand.direct { Vec::new() } else { self.resolve_own(txn, end, status, commit_timestamp)? };
        let record = StoredRecord {
            status: status as i32,
            epoch: txn.epoch,
            write_timestamp: commit_timestamp,
            intents,
            ended: Some(self.input.now),
            ignored: txn.ignored.clone(),
            ..StoredRecord::default()
        };
        self.put_record(&txn.anchor, txn.id, &record);
        self.out.lock_updates.push(LockUpdate::Txn { txn: txn.id });
        Ok(ResponseKind::Ended(Ended { status: status as i32, commit_timestamp, one_phase: self.stand.direct }))
    }

    /// Resolves the intents that lie in this range, in the same batch; returns the spans that are left.
    fn resolve_own(
        &mut self,
        txn: &TxnMeta,
        end: &EndTxn,
        status: TxnStatus,
        timestamp: Timestamp,
    ) -> Result<Vec<Span>, Refusal> {
        let resolution = Resolution { txn: txn.id, epoch: txn.epoch, status, timestamp, ignored: txn.ignored.clone() };
        let mut left = Vec::new();
        let mut budget = RESOLVED_AT_ONCE;
        let written = std::mem::take(&mut self.written);
        for key in &written {
            mvcc::resolve_key(&mut self.overlay, &mut self.stats, key, &resolution)?;
        }
        for span in &end.intents {
            // A span is wide, and may hold few of them: walking over it is not what a commit should wait for.
            let is_point = span.end.is_empty();
            let is_enough = budget == 0 || self.overlay.put_bytes() >= RESOLVED_BYTES;
            if is_enough || !is_point || !is_span_within(span, &self.input.view.descriptor) {
                left.push(span.clone());
            } else {
                let found = mvcc::resolve_key(&mut self.overlay, &mut self.stats, &span.start, &resolution)?;
                if !found && end.commit && end.all_written && !written.contains(&span.start) {
                    return Err(self.intent_gone(&span.start));
                }
                budget -= 1;
            }
        }
        Ok(left)
    }

    /// Only whoever ended a transaction removes its intents.
    fn intent_gone(&self, key: &Bytes) -> Refusal {
        let message = format!("what it wrote to {} is gone: another transaction ended it", key.escape_ascii());
        Refusal::Error(KvError::TxnAborted(error_detail::Ended { message, other: None }))
    }
}
