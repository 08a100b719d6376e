//! The range directory: which range holds a key.
//!
//! ```text
//!   \x02 ⧺ end key ─▶ RangeDescriptor           "\x02\xff" stands for the end of the keyspace
//!
//!   key k ─▶ the first entry above \x02 ⧺ k  is the range that contains k
//!
//!   \x03 r ⧺ range ID ─▶ RangeDescriptor        the same by ID, for who knows nothing else of a range
//! ```
//!
//! The directory lives in the first range `[\x02, \x04)`, which is never split; its descriptor travels with each
//! node's hello and is kept by every node. All others are looked up here.
//!
//! Invariants: an entry may lag, never lie: it was true at its generation, and generations only rise (the ranges that end at
//! one key, one after the other, count on from each other). The left side of a split is entered before the right one, so
//! that no key falls into a gap.

use bytes::Bytes;
use prost::Message;

use crate::api::{BatchHeader, BatchRequest, EnterRange, Get, KvError, RequestKind, ResponseKind, Scan, Sender};
use crate::descriptor::RangeDescriptor;
use crate::keys;

/// The range that holds the directory and the system keys.
pub const FIRST_RANGE_ID: u64 = 1;

/// The range that holds all rows until it is split.
pub const DATA_RANGE_ID: u64 = 2;

/// How many entries a lookup brings along.
const LOOKUP_ENTRIES: u64 = 16;

/// The first entry at or above `start` (see [`keys::meta_scan_start`] and [`keys::meta`]), and some that follow.
///
/// # Errors
/// As any read; `Invalid` for an entry that cannot be read.
pub async fn lookup(sender: &dyn Sender, start: Bytes, timeout_ms: u64) -> Result<Vec<RangeDescriptor>, KvError> {
    let scan = Scan { start, end: keys::meta_end(), ..Scan::default() };
    let header = BatchHeader { max_rows: LOOKUP_ENTRIES, timeout_ms, ..BatchHeader::default() };
    let batch = BatchRequest { header, requests: vec![RequestKind::Scan(scan).into()] };
    let response = sender.send(batch).await?;
    let Some(ResponseKind::Rows(rows)) = response.responses.into_iter().next().and_then(|r| r.kind) else {
        return Err(KvError::invalid("the directory answered a scan with something else"));
    };
    rows.rows.into_iter().map(|row| decode(row.value)).collect()
}

/// The entry of a range, by its ID.
///
/// # Errors
/// As [`lookup`].
pub async fn find(sender: &dyn Sender, range_id: u64, timeout_ms: u64) -> Result<Option<RangeDescriptor>, KvError> {
    let get = Get { key: keys::range_entry(range_id), ..Get::default() };
    let header = BatchHeader { timeout_ms, ..BatchHeader::default() };
    let response = sender.send(BatchRequest { header, requests: vec![RequestKind::Get(get).into()] }).await?;
    let Some(ResponseKind::Value(entry)) = response.responses.into_iter().next().and_then(|r| r.kind) else {
        return Err(KvError::invalid("the directory answered a read with something else"));
    };
    match entry.value {
        Some(value) => decode(value).map(Some),
        None => search(sender, range_id, timeout_ms).await,
    }
}

/// The same for a range that was entered last when entries were not kept by ID yet: reads the directory through.
async fn search(sender: &dyn Sender, range_id: u64, timeout_ms: u64) -> Result<Option<RangeDescriptor>, KvError> {
    let mut start = keys::meta_scan_start(keys::MIN);
    loop {
        let entries = lookup(sender, start, timeout_ms).await?;
        let Some(last) = entries.last() else { return Ok(None) };
        start = keys::next(&keys::meta(&last.end));
        if let Some(found) = entries.into_iter().find(|entry| entry.range_id == range_id) {
            return Ok(Some(found));
        }
    }
}

fn decode(value: Bytes) -> Result<RangeDescriptor, KvError> {
    RangeDescriptor::decode(value).map_err(|error| KvError::invalid(format!("unreadable directory entry: {error}")))
}

/// Brings the directory up to what a leaseholder knows of its range. Nothing newer is undone, however late it comes.
///
/// # Errors
/// As any write. A failed repair is harmless, and tried again later.
pub async fn repair(sender: &dyn Sender, descriptor: &RangeDescriptor, timeout_ms: u64) -> Result<(), KvError> {
    let enter = EnterRange { key: keys::meta(&descriptor.end), descriptor: descriptor.clone() };
    let header = BatchHeader { timeout_ms, ..BatchHeader::default() };
    sender.send(BatchRequest { header, requests: vec![RequestKind::EnterRange(enter).into()] }).await.map(|_| ())
}
