//! Get, Scan and Refresh.

use bytes::Bytes;
use clock::mutation::{self, Mutant};

use super::{Evaluation, LaterCause, Refusal, ServedRead};
use crate::api::*;
use crate::concurrency::timestamp_cache::ReadMark;
use crate::keys;
use crate::mvcc::{self, RefreshOutcome, ScanLimits};

/// Values that one batch may read without a limit of its own: an answer is one message, which is no larger than 64 MiB.
const ANSWER_BYTES: u64 = 24 << 20;

impl Evaluation<'_> {
    pub(super) fn get(&mut self, get: &Get) -> Result<ResponseKind, Refusal> {
        if self.limit_reached() {
            return Ok(ResponseKind::NotBegun(NotBegun {}));
        }
        let found = mvcc::get(&self.overlay, &get.key, &self.read_at())?;
        if let Some(intent) = found.blocked {
            return Err(Refusal::Intents(vec![intent]));
        }
        if let Some(at) = found.uncertain {
            return Err(Refusal::Later { key: get.key.clone(), at, cause: LaterCause::Uncertain });
        }
        if get.lock != LockStrength::None as i32 {
            self.lock(&get.key)?;
        }
        self.observed = self.observed.max(found.observed);
        self.rows += u64::from(found.value.is_some());
        self.bytes += found.value.as_ref().map_or(0, |value| (get.key.len() + value.len()) as u64);
        if self.bytes > ANSWER_BYTES && self.input.batch.header.max_bytes == 0 && self.input.batch.requests.len() > 1 {
            return Err(Refusal::Error(KvError::too_large(self.bytes as usize, ANSWER_BYTES as usize)));
        }
        self.served(get.key.clone(), None);
        Ok(ResponseKind::Value(Value { value: found.value }))
    }

    pub(super) fn scan(&mut self, scan: &Scan) -> Result<ResponseKind, Refusal> {
        if self.limit_reached() {
            return Ok(ResponseKind::NotBegun(NotBegun {}));
        }
        let header = &self.input.batch.header;
        let left = |limit: u64, used: u64| if limit == 0 { 0 } else { limit - used };
        let limits =
            ScanLimits { max_rows: left(header.max_rows, self.rows), max_bytes: left(header.max_bytes, self.bytes) };
        let found = mvcc::scan(&self.overlay, &scan.start, &scan.end, scan.reverse, &self.read_at(), limits)?;
        if !found.blocked.is_empty() {
            return Err(Refusal::Intents(found.blocked));
        }
        if let Some((key, at)) = found.uncertain {
            return Err(Refusal::Later { key, at, cause: LaterCause::Uncertain });
        }
        if scan.lock != LockStrength::None as i32 {
            for row in &found.rows {
                self.lock(&row.key)?;
            }
        }
        self.observed = self.observed.max(found.observed);
        self.rows += found.rows.len() as u64;
        self.bytes += found.bytes;
        // Only what was looked at is protected.
        let (start, end) = match &found.resume {
            Some(rest) if scan.reverse => (rest.end.clone(), scan.end.clone()),
            Some(rest) => (scan.start.clone(), rest.start.clone()),
            None => (scan.start.clone(), scan.end.clone()),
        };
        self.served(start, Some(end));
        Ok(ResponseKind::Rows(Rows { rows: found.rows, resume: found.resume }))
    }

    pub(super) fn refresh(&mut self, refresh: &Refresh) -> Result<(), Refusal> {
        let (start, end) = keys::bounds(&refresh.span);
        if refresh.from < self.input.view.gc_threshold && !mutation::is(Mutant::ThresholdUnchecked) {
            let actual = self.input.view.gc_threshold;
            let conflict = error_detail::Conflict { key: start, actual, other: None };
            return Err(Refusal::Error(KvError::BelowGcThreshold(conflict)));
        }
        match mvcc::refresh(&self.overlay, &start, &end, refresh.from, self.stand.read, self.txn_id())? {
            RefreshOutcome::Unchanged => {
                let end = (!refresh.span.end.is_empty()).then_some(end);
                self.served(start, end);
                Ok(())
            }
            RefreshOutcome::Changed { key, timestamp } => {
                let conflict = error_detail::Conflict { key, actual: timestamp, other: None };
                Err(Refusal::Error(KvError::RefreshFailed(conflict)))
            }
            RefreshOutcome::Blocked(intents) => Err(Refusal::Intents(intents)),
        }
    }

    /// Takes an unreplicated lock on a key that was read: nobody may have written it since the snapshot.
    fn lock(&mut self, key: &Bytes) -> Result<(), Refusal> {
        if mutation::is(Mutant::LocksNotTaken) {
            return Ok(());
        }
        if let Some(intent) =
            mvcc::find_intent(&self.overlay, key)?.filter(|intent| Some(intent.txn.id) != self.txn_id())
        {
            return Err(Refusal::Intents(vec![mvcc::FoundIntent { key: key.clone(), txn: intent.txn }]));
        }
        let newest = mvcc::newest_version(&self.overlay, key)?;
        if let Some(actual) = newest.filter(|newest| *newest > self.stand.read) {
            // Above it, not at it: what is read under a lock is mostly written next.
            let conflict = error_detail::Conflict { key: key.clone(), actual: actual.next(), other: None };
            return Err(Refusal::Error(KvError::WriteTooOld(conflict)));
        }
        self.out.locks.push(key.clone());
        Ok(())
    }

    fn served(&mut self, start: Bytes, end: Option<Bytes>) {
        let mark = ReadMark { timestamp: self.stand.read, owner: self.txn_id() };
        self.out.reads.push(ServedRead { start, end, mark });
    }

    fn limit_reached(&self) -> bool {
        let header = &self.input.batch.header;
        (header.max_rows > 0 && self.rows >= header.max_rows)
            || (header.max_bytes > 0 && self.bytes >= header.max_bytes)
    }
}
