//! What a leaseholder served, told to whoever audits it: trace events of the target `audit`.
//!
//! ```text
//!   conclude ─▶ served: range, lease sequence, up to which timestamp
//!            └▶ read:   span, timestamp, checksum of what was answered      an auditor reads the same later, and compares
//!   answer ───▶ pushed: what a push was told of its pushee              an auditor looks at what becomes of the pushee
//!   apply ────▶ applied: the lease sequences of evaluation and of application, which must be one
//! ```
//!
//! Nobody listens in production, and then nothing is computed: see [`tracing::enabled!`].

use std::time::Duration;

use bytes::Bytes;
use clock::Timestamp;

use super::Replica;
use super::lease::HeldLease;
use crate::api::{BatchRequest, BatchResponse, RequestKind, Response, ResponseKind, TxnStatus};
use crate::evaluate::{Evaluated, TxnRecordStore};
use crate::keys;
use crate::mvcc::{self, ReadAt, ScanLimits};

impl Replica {
    /// Tells what is about to be answered under a lease. REQUIRES: the latches of the batch.
    pub(super) fn audit(&self, batch: &BatchRequest, evaluated: &Evaluated, held: HeldLease) {
        if !tracing::enabled!(target: "audit", tracing::Level::TRACE) {
            return;
        }
        let at = evaluated.final_timestamp;
        tracing::trace!(
            target: "audit",
            event = "served",
            node = self.node_id,
            range = self.range_id,
            sequence = held.sequence,
            wall_ns = at.wall_ns,
            logical = at.logical,
        );
        // A response a read: without limits, and with nothing of the transaction's own in the way, they pair up.
        let reads = &evaluated.reads;
        let whole = batch.header.max_rows == 0 && batch.header.max_bytes == 0;
        let answers: Vec<&Response> =
            evaluated.response.responses.iter().filter(|answer| rows_of(answer).is_some()).collect();
        if !whole || answers.len() != reads.len() {
            return;
        }
        for (read, answer) in reads.iter().zip(answers) {
            let end = read.end.clone().unwrap_or_else(|| keys::next(&read.start));
            let as_anybody = ReadAt::timestamp(read.mark.timestamp);
            let seen =
                mvcc::scan(&*self.engine.snapshot(), &read.start, &end, false, &as_anybody, ScanLimits::default());
            let (Ok(seen), Some((rows, checksum))) = (seen, rows_of(answer)) else { continue };
            if !seen.blocked.is_empty() || self.has_own_intent(batch, &read.start, &end) {
                continue;
            }
            tracing::trace!(
                target: "audit",
                event = "read",
                node = self.node_id,
                range = self.range_id,
                start = %Hex(&read.start),
                end = %Hex(&end),
                wall_ns = read.mark.timestamp.wall_ns,
                logical = read.mark.timestamp.logical,
                rows,
                checksum,
            );
        }
    }
}

impl Replica {
    /// Tells what pushers are told. REQUIRES: what the batch does has applied.
    pub(super) fn audit_pushes(&self, batch: &BatchRequest, response: &BatchResponse) {
        if !tracing::enabled!(target: "audit", tracing::Level::TRACE) {
            return;
        }
        for (request, answer) in batch.requests.iter().zip(&response.responses) {
            let (Some(RequestKind::PushTxn(push)), Some(ResponseKind::Record(record))) = (&request.kind, &answer.kind)
            else {
                continue;
            };
            let retention = Duration::from_millis(self.settings.record_retention_ms);
            let remembered_from = record.presumed_at.map(|presumed_at| presumed_at.minus(retention));
            let (pushee, at) = (&push.pushee, remembered_from.unwrap_or(record.txn.write_timestamp));
            let told = match TxnStatus::try_from(record.status) {
                Ok(TxnStatus::Pending) if !push.push_to.is_min() && at > push.push_to => "moved",
                Ok(TxnStatus::Aborted) if record.presumed_at.is_some() => "presumed",
                Ok(TxnStatus::Aborted) => "aborted",
                Ok(TxnStatus::Committed) => "committed",
                _ => continue,
            };
            tracing::trace!(
                target: "audit",
                event = told,
                node = self.node_id,
                start = %Hex(&keys::txn_record(&pushee.anchor, pushee.id)),
                wall_ns = at.wall_ns,
                logical = at.logical,
            );
        }
    }

    /// Tells that a command takes effect, and under which lease sequences: that of its evaluation, and the one in force here.
    pub(super) fn audit_application(&self, sequence: u64, in_force: u64) {
        tracing::trace!(
            target: "audit",
            event = "applied",
            node = self.node_id,
            range = self.range_id,
            sequence,
            in_force,
        );
    }

    /// Whether the batch's transaction has written there: at or above its read timestamp, where others do not see it yet.
    fn has_own_intent(&self, batch: &BatchRequest, start: &[u8], end: &[u8]) -> bool {
        let Some(txn) = &batch.header.txn else { return false };
        let at_the_end = ReadAt::timestamp(Timestamp::MAX);
        let seen = mvcc::scan(&*self.engine.snapshot(), start, end, false, &at_the_end, ScanLimits::default());
        seen.is_ok_and(|seen| seen.blocked.iter().any(|intent| intent.txn.id == txn.id))
    }
}

/// How many rows an answer has, and the sum of the values' checksums, whatever their order; `None` for other answers.
fn rows_of(answer: &Response) -> Option<(u64, u64)> {
    match answer.kind.as_ref()? {
        ResponseKind::Value(value) => Some(value.value.as_ref().map_or((0, 0), |value| (1, checksum(value)))),
        ResponseKind::Rows(rows) if rows.resume.is_none() => {
            let sum = rows.rows.iter().fold(0u64, |sum, row| sum.wrapping_add(checksum(&row.value)));
            Some((rows.rows.len() as u64, sum))
        }
        _ => None,
    }
}

/// What a record says, to an auditor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordStatus {
    /// What became of the transaction.
    pub status: TxnStatus,
    /// Where its writes stand.
    pub write_timestamp: Timestamp,
    /// When it ended, if it has.
    pub ended: Option<Timestamp>,
    /// It was ended for want of a record, which may have been forgotten.
    pub presumed: bool,
}

/// What a record says; `None` when it does not decode.
pub fn record_status(record: &[u8]) -> Option<RecordStatus> {
    let record = TxnRecordStore::decode(Bytes::copy_from_slice(record)).ok()?;
    let (status, presumed) = (record.status(), record.presumed);
    Some(RecordStatus { status, write_timestamp: record.write_timestamp, ended: record.ended, presumed })
}

/// The checksum of a value, as audit events sum it up: FNV-1a.
pub fn checksum(bytes: &Bytes) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

struct Hex<'a>(&'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
