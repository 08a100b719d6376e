//! Transaction records: heartbeat, push, query.
//!
//! ```text
//!            none ──heartbeat──▶ PENDING ──EndTxn──▶ COMMITTED
//!             │                     └────────push───▶ ABORTED (a tombstone)
//!             ├──EndTxn─────────────────────────────▶ COMMITTED
//!             └──push of a silent one───────────────▶ ABORTED
//! ```
//!
//! A record is created only by its coordinator, or as a tombstone by a pusher. A coordinator creates none once somebody may have
//! ended its transaction, and that may have been forgotten since:
//!
//! ```text
//!   first lock or intent ────▶ ended by a pusher ────▶ tombstone forgotten        now
//!           └───────────── record_retention ─────────────┘                         └ no record is created any more
//! ```
//!
//! That it began or read later does not help: a coordinator that stalled refreshes its snapshot first. A transaction that holds
//! nothing was in nobody's way, and is only bound by how long its commit may be under way, which is counted from its snapshot.
//!
//! A push of a transaction without a record is remembered in the timestamp cache at the record's key; a record created later
//! starts above it.
//!
//! A pusher that finds no record after that long ends the transaction too, but its tombstone proves less:
//!
//! ```text
//!   committed ──▶ intents resolved ──▶ record forgotten ──▶ pushed by one that had met an intent long before: PRESUMED aborted
//! ```
//!
//! The pusher may go on: where the transaction committed, no leaseholder has an intent of it any more that could be taken for an
//! aborted one. Its coordinator, should it still ask, is not told that nothing happened.
//!
//! Invariants: `forgotten_is_final` (no transaction commits, or goes on, whose end may have been forgotten), `push_stands` (what a
//! pusher is told stays so).

use bytes::Bytes;
use clock::Timestamp;
use clock::mutation::{self, Mutant};
use prost::Message;
use std::time::Duration;

use super::{Evaluation, Refusal};
use crate::api::*;
use crate::concurrency::timestamp_cache::ReadMark;
use crate::engine::{EngineError, Reader};
use crate::keys;

/// Heartbeats that a coordinator may miss before its transaction may be aborted.
const MISSED_HEARTBEATS: u64 = 5;

/// A transaction record as it stands in the engine, under the anchor and the transaction's ID.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StoredRecord {
    /// Where it stands.
    #[prost(enumeration = "TxnStatus", tag = "1")]
    pub status: i32,
    /// The epoch it speaks of.
    #[prost(uint32, tag = "2")]
    pub epoch: u32,
    /// The commit timestamp, or where its writes stand, pushes included.
    #[prost(message, required, tag = "3")]
    pub write_timestamp: Timestamp,
    /// When its coordinator was last heard of; pending records only.
    #[prost(message, optional, tag = "4")]
    pub heartbeat: Option<Timestamp>,
    /// Where intents may be left, once it ended.
    #[prost(message, repeated, tag = "5")]
    pub intents: Vec<Span>,
    /// What it was begun with.
    #[prost(uint32, tag = "6")]
    pub priority: u32,
    /// When it ended; finished records only.
    #[prost(message, optional, tag = "7")]
    pub ended: Option<Timestamp>,
    /// Its writes that do not count, although it committed.
    #[prost(message, repeated, tag = "8")]
    pub ignored: Vec<SequenceSpan>,
    /// It was aborted by a pusher that found no record, after so long that one of a commit might have been forgotten.
    #[prost(bool, tag = "9")]
    pub presumed: bool,
}

/// Access to records by key.
pub(crate) struct TxnRecordStore;

impl TxnRecordStore {
    /// The record of a transaction.
    pub fn load(reader: &dyn Reader, anchor: &[u8], id: TxnId) -> Result<Option<StoredRecord>, EngineError> {
        match reader.get(&keys::txn_record(anchor, id))? {
            Some(bytes) => TxnRecordStore::decode(bytes).map(Some),
            None => Ok(None),
        }
    }

    /// A record from its bytes.
    pub fn decode(bytes: Bytes) -> Result<StoredRecord, EngineError> {
        StoredRecord::decode(bytes)
            .map_err(|error| EngineError::Corrupt(format!("a transaction record does not decode: {error}")))
    }
}

impl Evaluation<'_> {
    pub(super) fn put_record(&mut self, anchor: &[u8], id: TxnId, record: &StoredRecord) {
        self.overlay.put(keys::txn_record(anchor, id), record.encode_to_vec());
    }

    /// Refuses to create a record for a transaction whose end may have been forgotten (`forgotten_is_final`). `holds` tells that
    /// it has left something behind in earlier batches, whether or not its coordinator says since when.
    pub(super) fn check_remembered(&self, txn: &TxnMeta, holds: bool) -> Result<(), Refusal> {
        let retention = Duration::from_millis(self.input.settings.record_retention_ms);
        let since = match txn.held_since {
            _ if mutation::is(Mutant::RetentionFromSnapshot) => txn.begin_timestamp.max(txn.read_timestamp),
            Some(since) => since,
            None if holds => txn.begin_timestamp,
            None => txn.begin_timestamp.max(txn.read_timestamp),
        };
        if since.plus(retention) >= self.input.now {
            return Ok(());
        }
        Err(forgotten("it lasted longer than records are kept, and has none"))
    }

    /// A record that does not exist yet starts above every push that was remembered.
    pub(super) fn first_timestamp_of_record(&self, txn: &TxnMeta, holds: bool) -> Result<Timestamp, Refusal> {
        self.check_remembered(txn, holds)?;
        let record_key = keys::txn_record(&txn.anchor, txn.id);
        let at = txn.write_timestamp.max(txn.read_timestamp);
        Ok(self.input.cache.first_writable(&record_key, at, Some(txn.id)))
    }

    pub(super) fn heartbeat_txn(&mut self, heartbeat: &HeartbeatTxn) -> Result<ResponseKind, Refusal> {
        let txn = self.txn.expect("the shape of the batch was checked");
        let now = heartbeat.now.min(self.input.now).max(txn.begin_timestamp);
        let record = match TxnRecordStore::load(&self.overlay, &txn.anchor, txn.id)? {
            Some(record) if record.status() != TxnStatus::Pending => {
                return Ok(self.answer(txn, &record, true));
            }
            Some(record) => StoredRecord {
                heartbeat: record.heartbeat.max(Some(now)),
                epoch: record.epoch.max(txn.epoch),
                ..record
            },
            None => StoredRecord {
                status: TxnStatus::Pending as i32,
                epoch: txn.epoch,
                write_timestamp: self.first_timestamp_of_record(txn, true)?,
                heartbeat: Some(now),
                intents: Vec::new(),
                priority: txn.priority,
                ..StoredRecord::default()
            },
        };
        self.put_record(&txn.anchor, txn.id, &record);
        Ok(self.answer(txn, &record, true))
    }

    pub(super) fn query_txn(&mut self, query: &QueryTxn) -> Result<ResponseKind, Refusal> {
        let now = self.input.now;
        if let Some(edge) = &query.note {
            let until = now.plus(Duration::from_millis(self.input.settings.request_timeout_ms));
            self.input.waits.note(query.id, edge, now, until);
        }
        let record = TxnRecordStore::load(&self.overlay, &query.anchor, query.id)?;
        let exists = record.is_some();
        let txn = TxnMeta { id: query.id, anchor: query.anchor.clone(), ..TxnMeta::default() };
        let answer = self.answer(&txn, &record.unwrap_or_default(), exists);
        let ResponseKind::Record(mut answer) = answer else { return Ok(answer) };
        answer.waits = self.input.waits.of(query.id, now);
        Ok(ResponseKind::Record(answer))
    }

    pub(super) fn push_txn(&mut self, push: &PushTxn) -> Result<ResponseKind, Refusal> {
        let pushee = &push.pushee;
        if pushee.anchor.is_empty() {
            return Err(Refusal::Error(crate::replica::invalid("a pushed transaction has an anchor")));
        }
        let found = TxnRecordStore::load(&self.overlay, &pushee.anchor, pushee.id)?;
        if let Some(record) = found.as_ref().filter(|record| record.status() != TxnStatus::Pending) {
            return Ok(self.answer(pushee, record, true));
        }
        let heard = found.as_ref().and_then(|record| record.heartbeat).unwrap_or(Timestamp::MIN);
        let heard = heard.max(pushee.begin_timestamp).max(push.last_active);
        let patience = Duration::from_millis(self.input.settings.txn_heartbeat_ms * MISSED_HEARTBEATS);
        let silent = heard.plus(patience) < self.input.now;
        let outranked = push.pusher.as_ref().is_some_and(|pusher| pusher.priority > pushee.priority);
        let wants_end = push.push_to.is_min();
        if push.force || silent || (outranked && wants_end) {
            return Ok(self.abort_pushee(pushee, found));
        }
        if outranked {
            return Ok(self.move_pushee(pushee, found, push.push_to));
        }
        let exists = found.is_some();
        let record = found.unwrap_or_else(|| self.record_to_be(pushee));
        Ok(self.answer(pushee, &record, exists))
    }

    fn abort_pushee(&mut self, pushee: &TxnMeta, found: Option<StoredRecord>) -> ResponseKind {
        let retention = Duration::from_millis(self.input.settings.record_retention_ms);
        let presumed = found.is_none() && pushee.begin_timestamp.plus(retention) < self.input.now;
        let former = found.unwrap_or_else(|| self.record_to_be(pushee));
        let record = StoredRecord {
            status: TxnStatus::Aborted as i32,
            heartbeat: None,
            ended: Some(self.input.now),
            epoch: former.epoch.max(pushee.epoch),
            presumed,
            ..former
        };
        if !mutation::is(Mutant::AbortWithoutTombstone) {
            self.put_record(&pushee.anchor, pushee.id, &record);
        }
        self.answer(pushee, &record, true)
    }

    fn move_pushee(&mut self, pushee: &TxnMeta, found: Option<StoredRecord>, push_to: Timestamp) -> ResponseKind {
        let to = push_to.next();
        match found {
            Some(record) => {
                let record = StoredRecord { write_timestamp: record.write_timestamp.max(to), ..record };
                self.put_record(&pushee.anchor, pushee.id, &record);
                self.answer(pushee, &record, true)
            }
            None => {
                let record_key = keys::txn_record(&pushee.anchor, pushee.id);
                if !mutation::is(Mutant::PushForgotten) {
                    self.input.cache.add_key(&record_key, ReadMark { timestamp: push_to, owner: None });
                }
                let record = self.record_to_be(pushee);
                let record = StoredRecord { write_timestamp: record.write_timestamp.max(to), ..record };
                self.answer(pushee, &record, false)
            }
        }
    }

    fn record_to_be(&self, txn: &TxnMeta) -> StoredRecord {
        StoredRecord {
            status: TxnStatus::Pending as i32,
            epoch: txn.epoch,
            write_timestamp: txn.write_timestamp,
            priority: txn.priority,
            ..StoredRecord::default()
        }
    }

    pub(super) fn answer(&self, txn: &TxnMeta, record: &StoredRecord, exists: bool) -> ResponseKind {
        let txn = TxnMeta {
            epoch: record.epoch.max(txn.epoch),
            write_timestamp: record.write_timestamp,
            priority: txn.priority.max(record.priority),
            ignored: record.ignored.clone(),
            ..txn.clone()
        };
        ResponseKind::Record(TxnRecord {
            txn,
            status: record.status,
            heartbeat: record.heartbeat.unwrap_or(Timestamp::MIN),
            intents: record.intents.clone(),
            exists,
            waits: Vec::new(),
            presumed_at: record.ended.filter(|_| record.presumed),
        })
    }
}

/// The refusal of a coordinator whose transaction may have ended either way.
pub(super) fn forgotten(message: &str) -> Refusal {
    Refusal::Error(KvError::Forgotten(error_detail::Ended { message: message.to_owned(), other: None }))
}

/// A record that is to go.
#[derive(Clone, Debug)]
pub(crate) struct OldRecord {
    /// Where it stands.
    pub key: Bytes,
    anchor: Bytes,
    id: TxnId,
    record: StoredRecord,
}

/// What a walk over records found.
#[derive(Debug)]
pub(crate) struct OldRecords {
    /// Those to go.
    pub records: Vec<OldRecord>,
    /// When the oldest of those that stay ended, or was heard of; `MAX` if none stays.
    pub oldest_left: Timestamp,
    /// Where to go on, when there were too many.
    pub resume: Option<Bytes>,
}

/// Looks in an engine span for records of transactions that ended before a time, or were last heard of before it: at most so many.
pub(crate) fn find_old_records(
    reader: &dyn Reader,
    from: &[u8],
    to: &[u8],
    before: Timestamp,
    max: usize,
) -> Result<OldRecords, EngineError> {
    let mut found = OldRecords { records: Vec::new(), oldest_left: Timestamp::MAX, resume: None };
    if from >= to {
        return Ok(found);
    }
    let mut cursor = reader.cursor(from, to, false);
    while cursor.advance()? {
        let Some((anchor, id)) = keys::decode_txn_record(cursor.key()) else { continue };
        if found.records.len() >= max {
            found.resume = Some(Bytes::copy_from_slice(cursor.key()));
            break;
        }
        let record = TxnRecordStore::decode(cursor.value_bytes())?;
        let lived_until = record.ended.or(record.heartbeat).unwrap_or(Timestamp::MIN);
        if lived_until < before {
            let key = Bytes::copy_from_slice(cursor.key());
            found.records.push(OldRecord { key, anchor: anchor.into(), id, record });
        } else {
            found.oldest_left = found.oldest_left.min(lived_until);
        }
    }
    Ok(found)
}

impl OldRecord {
    /// Whether the transaction has ended, so that the record never changes again.
    pub fn has_ended(&self) -> bool {
        self.record.ended.is_some()
    }

    /// What must be done before the record may go: intents are resolved; a transaction that nobody has ended is pushed, which
    /// gives it an end to be remembered first.
    pub fn settling(&self) -> Vec<Request> {
        let OldRecord { anchor, id, record, .. } = self;
        if !self.has_ended() {
            let txn = TxnMeta { id: *id, anchor: anchor.clone(), ..TxnMeta::default() };
            let (epoch, priority, write_timestamp) = (record.epoch, record.priority, record.write_timestamp);
            let pushee = TxnMeta { epoch, priority, write_timestamp, ..txn };
            return vec![RequestKind::PushTxn(PushTxn { pushee, ..PushTxn::default() }).into()];
        }
        let resolve = |span: &Span| {
            let resolve = ResolveIntents {
                span: span.clone(),
                txn: *id,
                epoch: record.epoch,
                status: record.status,
                timestamp: record.write_timestamp,
                ignored: record.ignored.clone(),
            };
            RequestKind::ResolveIntents(resolve).into()
        };
        record.intents.iter().map(resolve).collect()
    }
}
