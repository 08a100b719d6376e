//! What the serial ranges answer.

use std::ops::Bound;

use bytes::Bytes;
use clock::Timestamp;
use kv::api::{
    BatchHeader, BatchRequest, BatchResponse, Counter, Done, EndTxn, Ended, KeyValue, KvError, LockStrength, NotBegun,
    Refresh, Request, RequestKind, ResolveIntents, Response, ResponseKind, Rows, Scan, SequenceSpan, Span, TxnId,
    TxnRecord, TxnStatus, Value, error_detail,
};

use super::{Intent, Ranges, Record, ended};

/// What the evaluation of one batch gathers.
struct Progress<'a> {
    header: &'a BatchHeader,
    one_phase: bool,
    write_timestamp: Timestamp,
    observed: Timestamp,
    rows_left: u64,
    ranges: Vec<u64>,
}

impl Progress<'_> {
    fn txn(&self) -> Option<TxnId> {
        self.header.txn.as_ref().map(|txn| txn.id)
    }

    fn read_timestamp(&self) -> Timestamp {
        self.header.txn.as_ref().map_or(self.header.read_timestamp, |txn| txn.read_timestamp)
    }
}

fn conflict(key: &Bytes, actual: Timestamp, other: Option<TxnId>) -> error_detail::Conflict {
    error_detail::Conflict { key: key.clone(), actual, other }
}

fn end_of(span: &Span) -> Bytes {
    if span.end.is_empty() { crate::spans::successor(&span.start) } else { span.end.clone() }
}

impl Ranges {
    pub fn evaluate(&mut self, batch: &BatchRequest) -> Result<BatchResponse, KvError> {
        let header = &batch.header;
        let one_phase =
            batch.requests.iter().any(|r| matches!(&r.kind, Some(RequestKind::EndTxn(end)) if end.one_phase));
        let mut ranges: Vec<u64> = batch.requests.iter().map(|request| self.range_of(request, header)).collect();
        ranges.sort_unstable();
        ranges.dedup();
        if one_phase && ranges.len() > 1 {
            return Err(KvError::NotOnePhase(ended("the writes are in several ranges")));
        }
        let mut progress = Progress {
            header,
            one_phase,
            write_timestamp: header.txn.as_ref().map_or(Timestamp::MIN, |txn| txn.write_timestamp),
            observed: Timestamp::MIN,
            rows_left: if header.max_rows == 0 { u64::MAX } else { header.max_rows },
            ranges,
        };
        if let Some(txn) = &header.txn
            && one_phase
            && let Some(Record { status, at, .. }) = self.records.get(&txn.id)
        {
            match status {
                TxnStatus::Committed => return Err(KvError::AlreadyCommitted(conflict(&txn.anchor, *at, None))),
                TxnStatus::Aborted => return Err(KvError::TxnAborted(ended("its record says so"))),
                TxnStatus::Pending | TxnStatus::Staging => {}
            }
        }
        let mut responses = Vec::new();
        for request in &batch.requests {
            responses.push(Response::from(self.one(request, &mut progress)?));
        }
        Ok(BatchResponse {
            read_timestamp: progress.read_timestamp(),
            responses,
            write_timestamp: progress.write_timestamp,
            observed_timestamp: progress.observed,
            ranges: progress.ranges,
        })
    }

    fn range_of(&self, request: &Request, header: &BatchHeader) -> u64 {
        let anchor = || header.txn.as_ref().map(|txn| txn.anchor.clone()).unwrap_or_default();
        let key = match request.kind.as_ref().expect("tests send what they know") {
            RequestKind::Get(get) => get.key.clone(),
            RequestKind::Scan(scan) => scan.start.clone(),
            RequestKind::Put(put) => put.key.clone(),
            RequestKind::Delete(delete) => delete.key.clone(),
            RequestKind::Refresh(refresh) => refresh.span.start.clone(),
            RequestKind::ResolveIntents(resolve) => resolve.span.start.clone(),
            RequestKind::ReleaseLocks(release) => release.span.start.clone(),
            _ => anchor(),
        };
        1 + self.boundaries.iter().filter(|boundary| **boundary <= key).count() as u64
    }

    fn one(&mut self, request: &Request, progress: &mut Progress<'_>) -> Result<ResponseKind, KvError> {
        match request.kind.as_ref().expect("tests send what they know") {
            RequestKind::Get(get) => {
                let value = self.read(&get.key, progress, get.lock())?;
                self.note_read(Span { start: get.key.clone(), end: Bytes::new() }, progress);
                Ok(ResponseKind::Value(Value { value }))
            }
            RequestKind::Scan(scan) => self.scan(scan, progress),
            RequestKind::Put(put) if put.invisible => {
                let at = progress.write_timestamp;
                self.versions.entry(put.key.clone()).or_default().insert(at, Some(put.value.clone()));
                Ok(ResponseKind::Done(Done {}))
            }
            RequestKind::Put(put) => self.write(&put.key, Some(put.value.clone()), put.sequence, progress),
            RequestKind::Delete(delete) => self.write(&delete.key, None, delete.sequence, progress),
            RequestKind::EndTxn(end) => self.end(end, progress),
            RequestKind::Refresh(refresh) => self.refresh(refresh, progress),
            RequestKind::HeartbeatTxn(_) => {
                let txn = progress.header.txn.clone().expect("a heartbeat is of a transaction");
                let pending = Record { status: TxnStatus::Pending, at: txn.write_timestamp, ignored: Vec::new() };
                let status = self.records.entry(txn.id).or_insert(pending).status as i32;
                Ok(ResponseKind::Record(TxnRecord { txn, status, exists: true, ..TxnRecord::default() }))
            }
            RequestKind::ResolveIntents(resolve) => {
                self.resolve(resolve);
                Ok(ResponseKind::Done(Done {}))
            }
            RequestKind::ReleaseLocks(release) => {
                let (start, end) = (release.span.start.clone(), end_of(&release.span));
                self.locks.retain(|key, holder| *holder != release.txn || *key < start || *key >= end);
                Ok(ResponseKind::Done(Done {}))
            }
            RequestKind::Increment(increment) => Ok(ResponseKind::Counter(Counter { value: increment.by })),
            _ => Ok(ResponseKind::Done(Done {})),
        }
    }

    fn note_read(&mut self, span: Span, progress: &Progress<'_>) {
        if !progress.header.historical {
            self.reads.push((span, progress.read_timestamp(), progress.txn()));
        }
    }

    /// Another's intent that is committed becomes a version; one that is not stands in the way when it lies low enough.
    fn meet_intent(&mut self, key: &Bytes, progress: &Progress<'_>, up_to: Timestamp) -> Result<(), KvError> {
        let Some(intent) = self.intents.get(key) else { return Ok(()) };
        if Some(intent.txn.id) == progress.txn() {
            return Ok(());
        }
        let (id, at) = (intent.txn.id, intent.txn.write_timestamp);
        match self.records.get(&id).cloned() {
            Some(Record { status: TxnStatus::Committed, at, ignored }) => {
                self.settle(key, TxnStatus::Committed, at, &ignored);
                Ok(())
            }
            Some(Record { status: TxnStatus::Aborted, .. }) => {
                self.settle(key, TxnStatus::Aborted, at, &[]);
                Ok(())
            }
            _ if at <= up_to => Err(KvError::LockUnavailable(conflict(key, at, Some(id)))),
            _ => Ok(()),
        }
    }

    fn read(&mut self, key: &Bytes, progress: &mut Progress<'_>, lock: LockStrength) -> Result<Option<Bytes>, KvError> {
        let at = progress.read_timestamp();
        let locks = lock == LockStrength::Exclusive;
        self.meet_intent(key, progress, if locks { Timestamp::MAX } else { at })?;
        if let (true, Some(txn)) = (locks, progress.txn()) {
            if let Some(holder) = self.locks.get(key).filter(|holder| **holder != txn) {
                return Err(KvError::LockUnavailable(conflict(key, at, Some(*holder))));
            }
            self.newer_version(key, at)?;
            self.locks.insert(key.clone(), txn);
        }
        if let (Some(intent), Some(txn)) = (self.intents.get(key), &progress.header.txn)
            && intent.txn.id == txn.id
            && let Some(value) = intent.newest(txn.sequence, &txn.ignored)
        {
            return Ok(value.clone());
        }
        let newest = self.versions.get(key).and_then(|versions| versions.range(..=at).next_back());
        progress.observed = progress.observed.max(newest.map_or(Timestamp::MIN, |(at, _)| *at));
        Ok(newest.and_then(|(_, value)| value.clone()))
    }

    fn newer_version(&self, key: &Bytes, at: Timestamp) -> Result<(), KvError> {
        match self.versions.get(key).and_then(|versions| versions.last_key_value()) {
            Some((newest, _)) if *newest > at => {
                let other = self.writers.get(&(key.clone(), *newest)).copied();
                Err(KvError::WriteTooOld(conflict(key, newest.next(), other)))
            }
            _ => Ok(()),
        }
    }

    fn scan(&mut self, scan: &Scan, progress: &mut Progress<'_>) -> Result<ResponseKind, KvError> {
        if progress.rows_left == 0 {
            return Ok(ResponseKind::NotBegun(NotBegun {}));
        }
        let range = (Bound::Included(scan.start.clone()), Bound::Excluded(scan.end.clone()));
        let mut keys: Vec<Bytes> = self.versions.range(range.clone()).map(|(key, _)| key.clone()).collect();
        keys.extend(self.intents.range(range).map(|(key, _)| key.clone()));
        keys.sort();
        keys.dedup();
        if scan.reverse {
            keys.reverse();
        }
        let (mut rows, mut resume) = (Vec::new(), None);
        for key in keys {
            let Some(value) = self.read(&key, progress, scan.lock())? else { continue };
            if progress.rows_left == 0 {
                let last: &KeyValue = rows.last().expect("a limit is at least one row");
                resume = Some(if scan.reverse {
                    Span { start: scan.start.clone(), end: last.key.clone() }
                } else {
                    Span { start: crate::spans::successor(&last.key), end: scan.end.clone() }
                });
                break;
            }
            progress.rows_left -= 1;
            rows.push(KeyValue { key, value });
        }
        self.note_read(Span { start: scan.start.clone(), end: scan.end.clone() }, progress);
        Ok(ResponseKind::Rows(Rows { rows, resume }))
    }

    fn write(
        &mut self,
        key: &Bytes,
        value: Option<Bytes>,
        sequence: u32,
        progress: &mut Progress<'_>,
    ) -> Result<ResponseKind, KvError> {
        let txn = progress.header.txn.clone().expect("tests write in transactions");
        self.meet_intent(key, progress, Timestamp::MAX)?;
        if let Some(holder) = self.locks.get(key).filter(|holder| **holder != txn.id) {
            return Err(KvError::LockUnavailable(conflict(key, txn.read_timestamp, Some(*holder))));
        }
        self.newer_version(key, txn.read_timestamp)?;
        let read_by_others = self
            .reads
            .iter()
            .filter(|(span, _, reader)| *reader != Some(txn.id) && span.start <= *key && *key < end_of(span));
        let newest_read = read_by_others.map(|(_, at, _)| *at).max().unwrap_or(Timestamp::MIN);
        if newest_read >= progress.write_timestamp {
            progress.write_timestamp = newest_read.next();
        }
        let mut txn = txn;
        txn.write_timestamp = progress.write_timestamp;
        let mut writes = self.intents.remove(key).map(|intent| intent.writes).unwrap_or_default();
        writes.insert(sequence, value);
        self.intents.insert(key.clone(), Intent { txn, writes });
        Ok(ResponseKind::Done(Done {}))
    }

    fn end(&mut self, end: &EndTxn, progress: &mut Progress<'_>) -> Result<ResponseKind, KvError> {
        let txn = progress.header.txn.clone().expect("an end is of a transaction");
        match self.records.get(&txn.id) {
            Some(Record { status: TxnStatus::Committed, at, .. }) => {
                return Err(KvError::AlreadyCommitted(conflict(&txn.anchor, *at, None)));
            }
            Some(Record { status: TxnStatus::Aborted, .. }) if end.commit => {
                return Err(KvError::TxnAborted(ended("its record says so")));
            }
            _ => {}
        }
        let (mut status, at) = (TxnStatus::Aborted, progress.write_timestamp);
        if end.commit {
            if at > txn.read_timestamp && !end.can_forward_timestamp {
                return Err(KvError::CommitPushed(conflict(&txn.anchor, at, None)));
            }
            status = TxnStatus::Committed;
        }
        let ignored = txn.ignored.clone();
        self.records.insert(txn.id, Record { status, at, ignored: ignored.clone() });
        if progress.one_phase {
            let whole = Span { start: Bytes::new(), end: Bytes::from_static(&[0xff]) };
            let status = status as i32;
            self.resolve(&ResolveIntents { span: whole, txn: txn.id, epoch: 0, status, timestamp: at, ignored });
            self.locks.retain(|_, holder| *holder != txn.id);
        }
        Ok(ResponseKind::Ended(Ended { status: status as i32, commit_timestamp: at, one_phase: progress.one_phase }))
    }

    fn refresh(&mut self, refresh: &Refresh, progress: &mut Progress<'_>) -> Result<ResponseKind, KvError> {
        let to = progress.read_timestamp();
        let (start, end) = (refresh.span.start.clone(), end_of(&refresh.span));
        let keys: Vec<Bytes> = self.intents.range(start.clone()..end.clone()).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.meet_intent(&key, progress, to)?;
        }
        for (key, versions) in self.versions.range(start..end) {
            if let Some((at, _)) = versions.range((Bound::Excluded(refresh.from), Bound::Included(to))).next_back() {
                let other = self.writers.get(&(key.clone(), *at)).copied();
                return Err(KvError::RefreshFailed(conflict(key, *at, other)));
            }
        }
        self.note_read(refresh.span.clone(), progress);
        Ok(ResponseKind::Done(Done {}))
    }

    fn resolve(&mut self, resolve: &ResolveIntents) {
        let (start, end) = (resolve.span.start.clone(), end_of(&resolve.span));
        let keys: Vec<Bytes> = self.intents.range(start..end).map(|(key, _)| key.clone()).collect();
        for key in keys.iter().filter(|key| self.intents[*key].txn.id == resolve.txn).cloned().collect::<Vec<_>>() {
            self.settle(&key, resolve.status(), resolve.timestamp, &resolve.ignored);
        }
    }

    fn settle(&mut self, key: &Bytes, status: TxnStatus, at: Timestamp, ignored: &[SequenceSpan]) {
        let Some(intent) = self.intents.remove(key) else { return };
        if status == TxnStatus::Pending {
            if intent.newest(u32::MAX, ignored).is_some() {
                self.intents.insert(key.clone(), intent);
            }
            return;
        }
        self.locks.retain(|locked, holder| locked != key || *holder != intent.txn.id);
        if status == TxnStatus::Committed
            && let Some(value) = intent.newest(u32::MAX, ignored)
        {
            self.versions.entry(key.clone()).or_default().insert(at, value.clone());
            self.writers.insert((key.clone(), at), intent.txn.id);
        }
    }
}
