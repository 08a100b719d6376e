//! Which keys a batch touches, and how: what to latch, what to look up in the lock table, and where it must be routed.

use bytes::Bytes;
use clock::Timestamp;

use crate::api::*;
use crate::concurrency::latches::{LatchAccess, LatchSpan};
use crate::concurrency::lock_table::{LockAccess, LockSpan};
use crate::descriptor::RangeDescriptor;
use crate::keys;

/// What a batch touches.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Declared {
    pub latches: Vec<LatchSpan>,
    pub locks: Vec<LockSpan>,
    /// It may write.
    pub writes: bool,
}

/// The key or span by which a request is addressed; the end is `None` for one key.
fn addressed(kind: &RequestKind) -> (&[u8], Option<&[u8]>) {
    fn of(span: &Span) -> (&[u8], Option<&[u8]>) {
        (&span.start, (!span.end.is_empty()).then_some(&span.end[..]))
    }
    match kind {
        RequestKind::Get(get) => (&get.key, None),
        RequestKind::Scan(scan) => (&scan.start, Some(&scan.end)),
        RequestKind::Put(put) => (&put.key, None),
        RequestKind::Delete(delete) => (&delete.key, None),
        RequestKind::EndTxn(_) | RequestKind::HeartbeatTxn(_) => (&[], None),
        RequestKind::Refresh(refresh) => of(&refresh.span),
        RequestKind::PushTxn(push) => (&push.pushee.anchor, None),
        RequestKind::QueryTxn(query) => (&query.anchor, None),
        RequestKind::ResolveIntents(resolve) => of(&resolve.span),
        RequestKind::QueryIntent(query) => (&query.key, None),
        RequestKind::RecoverTxn(recover) => (&recover.txn.anchor, None),
        RequestKind::ReleaseLocks(release) => of(&release.span),
        RequestKind::ClearSpan(clear) => of(&clear.span),
        RequestKind::CollectGarbage(collect) => (&collect.key, None),
        RequestKind::SplitRange(split) => (&split.key, None),
        RequestKind::TransferLease(transfer) => (&transfer.key, None),
        RequestKind::Increment(increment) => (&increment.key, None),
        RequestKind::EnterRange(enter) => (&enter.key, None),
    }
}

/// Whether every request of the batch lies within the range.
pub(crate) fn is_within(batch: &BatchRequest, range: &RangeDescriptor) -> bool {
    batch.requests.iter().filter_map(|request| request.kind.as_ref()).all(|kind| {
        let anchor = batch.header.txn.as_ref().map_or(&[][..], |txn| &txn.anchor);
        match (kind, addressed(kind)) {
            (RequestKind::EndTxn(_) | RequestKind::HeartbeatTxn(_), _) => range.contains(anchor),
            (_, (start, None)) => range.contains(start),
            (_, (start, Some(end))) => {
                range.contains(start) && (range.end.is_empty() || (!end.is_empty() && end <= &range.end[..]))
            }
        }
    })
}

/// Whether the batch makes sense, whatever the data.
pub(crate) fn check_shape(batch: &BatchRequest) -> Result<(), KvError> {
    let refuse = |message: &str| Err(crate::replica::invalid(message));
    let last = batch.requests.len().saturating_sub(1);
    let anchored = batch.header.txn.as_ref().is_some_and(|txn| !txn.anchor.is_empty());
    for (at, request) in batch.requests.iter().enumerate() {
        let Some(kind) = &request.kind else { return refuse("a request of an unknown kind: the sender is newer") };
        let locking = |lock: i32| lock != LockStrength::None as i32;
        let needs_txn = match kind {
            RequestKind::EndTxn(_) if at != last => return refuse("EndTxn is the last request of its batch"),
            RequestKind::EndTxn(_) | RequestKind::HeartbeatTxn(_) => true,
            RequestKind::Get(get) => locking(get.lock),
            RequestKind::Scan(scan) => locking(scan.lock),
            RequestKind::Increment(_) | RequestKind::EnterRange(_) if batch.header.txn.is_some() => {
                return refuse("counters and the directory are not part of a transaction");
            }
            RequestKind::Put(_) | RequestKind::Delete(_) => batch.header.txn.is_some(),
            _ => false,
        };
        if needs_txn && !anchored {
            return refuse("the request needs a transaction with an anchor");
        }
    }
    if batch.header.historical && (batch.header.txn.is_some() || batch.header.read_timestamp.is_min()) {
        return refuse("a historical read names its timestamp and no transaction");
    }
    Ok(())
}

/// Declares what the batch touches. `read` and `write` are where it begins; writes only ever move up from there.
pub(crate) fn declare(
    batch: &BatchRequest,
    range: &RangeDescriptor,
    read: Timestamp,
    write: Timestamp,
    uncertainty_limit: Timestamp,
) -> Declared {
    let mut out = Declared::default();
    let reading = LockAccess::Read { read, uncertainty_limit };
    for kind in batch.requests.iter().filter_map(|request| request.kind.as_ref()) {
        match kind {
            RequestKind::Get(get) => {
                out.read(get.key.clone(), None, get.lock, read, reading);
            }
            RequestKind::Scan(scan) => {
                out.read(scan.start.clone(), Some(scan.end.clone()), scan.lock, read, reading);
            }
            RequestKind::Refresh(refresh) => {
                let end = (!refresh.span.end.is_empty()).then(|| refresh.span.end.clone());
                out.read(refresh.span.start.clone(), end, LockStrength::None as i32, read, reading);
            }
            RequestKind::Put(put) if put.invisible => out.latch(&put.key, None, LatchAccess::Write(write)),
            RequestKind::Put(put) => out.write(&put.key, write),
            RequestKind::Delete(delete) => out.write(&delete.key, write),
            RequestKind::Increment(increment) => out.write(&increment.key, Timestamp::MIN),
            RequestKind::EnterRange(enter) => {
                out.write(&enter.key, Timestamp::MIN);
                out.write(&keys::range_entry(enter.descriptor.range_id), Timestamp::MIN);
            }
            RequestKind::EndTxn(end) => {
                out.record(batch.header.txn.as_ref(), LatchAccess::Write(Timestamp::MIN));
                let points = end.intents.iter().filter(|span| span.end.is_empty() && is_span_within(span, range));
                points.for_each(|point| out.latch(&point.start, None, LatchAccess::Write(Timestamp::MIN)));
            }
            RequestKind::HeartbeatTxn(_) => {
                out.record(batch.header.txn.as_ref(), LatchAccess::Write(Timestamp::MIN));
            }
            RequestKind::PushTxn(push) => out.record(Some(&push.pushee), LatchAccess::Write(Timestamp::MIN)),
            RequestKind::RecoverTxn(recover) => out.record(Some(&recover.txn), LatchAccess::Write(Timestamp::MIN)),
            RequestKind::QueryTxn(query) => {
                let record = keys::txn_record(&query.anchor, query.id);
                out.latches.push(LatchSpan::key(record, LatchAccess::Read(Timestamp::MAX)));
            }
            RequestKind::QueryIntent(query) => out.latch(&query.key, None, LatchAccess::Write(Timestamp::MIN)),
            RequestKind::ResolveIntents(ResolveIntents { span, .. }) | RequestKind::ClearSpan(ClearSpan { span }) => {
                let end = (!span.end.is_empty()).then(|| span.end.clone());
                out.latch(&span.start, end, LatchAccess::Write(Timestamp::MIN));
            }
            // They latch what they need by themselves, or nothing.
            RequestKind::CollectGarbage(_)
            | RequestKind::SplitRange(_)
            | RequestKind::ReleaseLocks(_)
            | RequestKind::TransferLease(_) => {}
        }
    }
    out
}

/// Whether all of a span lies within the range.
pub(super) fn is_span_within(span: &Span, range: &RangeDescriptor) -> bool {
    let (start, end) = keys::bounds(span);
    range.contains(&start) && (range.end.is_empty() || end <= range.end)
}

impl Declared {
    fn latch(&mut self, start: &Bytes, end: Option<Bytes>, access: LatchAccess) {
        self.writes |= matches!(access, LatchAccess::Write(_));
        self.latches.push(LatchSpan { start: start.clone(), end, access });
    }

    fn read(&mut self, start: Bytes, end: Option<Bytes>, lock: i32, read: Timestamp, reading: LockAccess) {
        if lock == LockStrength::None as i32 {
            self.latches.push(LatchSpan { start: start.clone(), end: end.clone(), access: LatchAccess::Read(read) });
            self.locks.push(LockSpan { start, end, access: reading });
        } else {
            // Locking excludes writers and other lockers, but no reader.
            let access = LatchAccess::Write(Timestamp::MAX);
            self.latches.push(LatchSpan { start: start.clone(), end: end.clone(), access });
            self.locks.push(LockSpan { start, end, access: LockAccess::Write });
        }
    }

    fn write(&mut self, key: &Bytes, write: Timestamp) {
        self.latch(key, None, LatchAccess::Write(write));
        self.locks.push(LockSpan { start: key.clone(), end: None, access: LockAccess::Write });
    }

    fn record(&mut self, txn: Option<&TxnMeta>, access: LatchAccess) {
        if let Some(txn) = txn {
            self.latch(&keys::txn_record(&txn.anchor, txn.id), None, access);
        }
    }
}
