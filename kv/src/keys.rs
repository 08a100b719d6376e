//! The map of the keyspace, and the constructors of its keys.
//!
//! ```text
//!   \x01 i <range id> <what>         by range ID: applied state, lease, threshold, statistics     plain engine keys
//!   \x01 k <key> <what> …            by key: range descriptor, transaction records                plain engine keys
//!   \x02 <end key>                   directory: end key of a range → its descriptor               versioned
//!   \x03 <kind> …                    system: liveness, nodes, counters, settings, rules, jobs,    versioned
//!                                    ranges by their IDs
//!   \x04 <table> <index> …           rows and index entries                                       versioned
//! ```
//!
//! Ranges tile `[MIN, MAX)`, that is everything from the directory on. Local keys (`\x01`) are not addressed
//! themselves: those by key belong to whatever range holds that key ([`addressing`]), those by range ID to that range's
//! replica alone. A split moves neither.
//!
//! The module knows nothing of versions: see [`crate::mvcc::key`] for what a versioned key looks like in the engine.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bytes::Bytes;

use crate::api::{Span, TxnId};
use crate::encoding;

/// First byte of keys that belong to a range but lie outside its span.
pub const LOCAL: u8 = 0x01;
/// First byte of the directory.
pub const META: u8 = 0x02;
/// First byte of system keys.
pub const SYSTEM: u8 = 0x03;
/// First byte of rows and index entries.
pub const TABLE: u8 = 0x04;

/// The first key that ranges hold.
pub const MIN: &[u8] = &[META];
/// Above every key that ranges hold. Descriptors write an empty end for it.
pub const MAX: &[u8] = &[0xff];

/// What a range keeps under its ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum RangeLocal {
    /// Position of the last applied entry, and the membership as of it.
    AppliedState = b'a',
    /// The closed timestamp.
    ClosedTimestamp = b'c',
    /// The descriptor this replica was last known by; also the mark that the replica exists.
    Replica = b'd',
    /// The garbage collection threshold.
    GcThreshold = b'g',
    /// The lease.
    Lease = b'l',
    /// Statistics.
    Stats = b's',
    /// A tombstone: the replica was removed, with the first replica ID that may come back.
    Removed = b't',
    /// The right side of a split that has no replica here, whose data is still to be cleared.
    Leftover = b'u',
    /// Aborted transactions that may still send requests; followed by the transaction ID.
    AbortSpan = b'x',
    /// A snapshot on its way in.
    Staging = b'z',
}

/// `\x01 i <range id>`: the prefix of everything kept under the range's ID.
pub fn range_id_prefix(range_id: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(32);
    key.extend_from_slice(&[LOCAL, b'i']);
    key.extend_from_slice(&range_id.to_be_bytes());
    key
}

/// `\x01 i <range id> <what>`.
pub fn range_local(range_id: u64, what: RangeLocal) -> Bytes {
    let mut key = range_id_prefix(range_id);
    key.push(what as u8);
    key.into()
}

/// The abort-span entry of a transaction in a range.
pub fn abort_span(range_id: u64, txn: TxnId) -> Bytes {
    let mut key = range_id_prefix(range_id);
    key.push(RangeLocal::AbortSpan as u8);
    key.extend_from_slice(&txn.to_bytes());
    key.into()
}

/// The range ID and the rest of a key made by [`range_id_prefix`] and its kin.
pub fn decode_range_local(key: &[u8]) -> Option<(u64, &[u8])> {
    let rest = key.strip_prefix(&[LOCAL, b'i'])?;
    let (id, rest) = rest.split_at_checked(8)?;
    Some((u64::from_be_bytes(id.try_into().ok()?), rest))
}

/// `\x01 k <key>`: the prefix of what is kept by key. These prefixes sort as their keys do.
pub fn key_local_prefix(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 24);
    out.extend_from_slice(&[LOCAL, b'k']);
    encoding::put_bytes_raw(&mut out, key);
    out
}

/// Where the descriptor of the range that starts at `start` is kept.
pub fn range_descriptor(start: &[u8]) -> Bytes {
    let mut key = key_local_prefix(start);
    key.push(b'd');
    key.into()
}

/// Where the record of a transaction anchored at `anchor` is kept.
pub fn txn_record(anchor: &[u8], txn: TxnId) -> Bytes {
    let mut key = key_local_prefix(anchor);
    key.push(b't');
    key.extend_from_slice(&txn.to_bytes());
    key.into()
}

/// The anchor and transaction of a key made by [`txn_record`].
pub fn decode_txn_record(key: &[u8]) -> Option<(Vec<u8>, TxnId)> {
    let mut rest = key.strip_prefix(&[LOCAL, b'k'])?;
    let anchor = encoding::take_bytes_raw(&mut rest).ok()?;
    let id = rest.strip_prefix(b"t")?;
    Some((anchor, TxnId::from_bytes(id.try_into().ok()?)))
}

/// The engine span `[start, end)` of what is kept by key for keys in `[start, end)`; an empty `end` is the end of the keyspace.
pub fn key_local_span(start: &[u8], end: &[u8]) -> (Bytes, Bytes) {
    let upper = if end.is_empty() { vec![LOCAL, b'k' + 1] } else { key_local_prefix(end) };
    (key_local_prefix(start).into(), upper.into())
}

/// The engine span of everything kept under a range's ID.
pub fn range_id_span(range_id: u64) -> (Bytes, Bytes) {
    let end = match range_id.checked_add(1) {
        Some(next) => range_id_prefix(next),
        None => vec![LOCAL, b'i' + 1],
    };
    (range_id_prefix(range_id).into(), end.into())
}

/// The directory's key for the range that ends at `end`; an empty `end` is the end of the keyspace.
pub fn meta(end: &[u8]) -> Bytes {
    let mut key = Vec::with_capacity(end.len() + 1);
    key.push(META);
    key.extend_from_slice(if end.is_empty() { MAX } else { end });
    key.into()
}

/// Where a scan of the directory starts to find first the descriptor of the range that holds `key`.
pub fn meta_scan_start(key: &[u8]) -> Bytes {
    let mut start = Vec::with_capacity(key.len() + 2);
    start.push(META);
    start.extend_from_slice(key);
    start.push(0);
    start.into()
}

/// Where the directory keeps a range's newest descriptor by the range's ID.
pub fn range_entry(range_id: u64) -> Bytes {
    system(b'r', range_id)
}

/// The end of the directory.
pub fn meta_end() -> Bytes {
    Bytes::from_static(&[SYSTEM])
}

fn system(kind: u8, id: u64) -> Bytes {
    let mut key = vec![SYSTEM, kind];
    encoding::put_u64(&mut key, id);
    key.into()
}

/// The liveness record of a node.
pub fn node_liveness(node_id: u64) -> Bytes {
    system(b'l', node_id)
}

/// The descriptor and store status of a node.
pub fn node_status(node_id: u64) -> Bytes {
    system(b'n', node_id)
}

/// What operators decided about a node.
pub fn node_membership(node_id: u64) -> Bytes {
    system(b'm', node_id)
}

/// The state of a job.
pub fn job(job_id: u64) -> Bytes {
    system(b'j', job_id)
}

/// A counter from which IDs are allocated.
pub fn counter(name: &str) -> Bytes {
    [&[SYSTEM, b'c'], name.as_bytes()].concat().into()
}

/// A cluster setting.
pub fn setting(name: &str) -> Bytes {
    [&[SYSTEM, b's'], name.as_bytes()].concat().into()
}

/// A placement rule.
pub fn placement_rule(name: &str) -> Bytes {
    [&[SYSTEM, b'p'], name.as_bytes()].concat().into()
}

/// The span of all system keys of a kind (`b'l'`, `b'n'`, `b'j'`, `b'c'`, `b's'`, `b'p'`, `b'r'`).
pub fn system_span(kind: u8) -> Span {
    Span { start: vec![SYSTEM, kind].into(), end: vec![SYSTEM, kind + 1].into() }
}

/// `\x04 <table>`: the prefix of all indexes of a table.
pub fn table_prefix(table_id: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(48);
    key.push(TABLE);
    encoding::put_u64(&mut key, table_id);
    key
}

/// `\x04 <table> <index>`: the prefix of all entries of an index.
pub fn index_prefix(table_id: u64, index_id: u64) -> Vec<u8> {
    let mut key = table_prefix(table_id);
    encoding::put_u64(&mut key, index_id);
    key
}

/// The table, the index and the rest of a key that begins with [`index_prefix`].
pub fn decode_index_prefix(key: &[u8]) -> Option<(u64, u64, &[u8])> {
    let mut rest = key.strip_prefix(&[TABLE])?;
    let table_id = encoding::take_u64(&mut rest).ok()?;
    let index_id = encoding::take_u64(&mut rest).ok()?;
    Some((table_id, index_id, rest))
}

/// The key by which a key is routed: itself, or for one kept by key the key it is kept by. `None` for keys under a range ID,
/// which are not routed.
pub fn addressing(key: &[u8]) -> Option<Cow<'_, [u8]>> {
    match key {
        [LOCAL, b'k', rest @ ..] => {
            let mut rest = rest;
            encoding::take_bytes_raw(&mut rest).ok().map(Cow::Owned)
        }
        [LOCAL, ..] => None,
        _ => Some(Cow::Borrowed(key)),
    }
}

/// The least key above `key`.
pub fn next(key: &[u8]) -> Bytes {
    [key, &[0]].concat().into()
}

/// The least key above every key that begins with `prefix`; empty (the end of the keyspace) when there is none.
pub fn prefix_end(prefix: &[u8]) -> Bytes {
    let kept = prefix.iter().rposition(|byte| *byte != 0xff).map_or(0, |last| last + 1);
    let mut end = prefix[..kept].to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end.into()
}

/// The bounds `[start, end)` of a span, one-key spans included.
pub fn bounds(span: &Span) -> (Bytes, Bytes) {
    let end = if span.end.is_empty() { next(&span.start) } else { span.end.clone() };
    (span.start.clone(), end)
}
