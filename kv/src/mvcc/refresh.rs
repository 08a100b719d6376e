//! Refresh: whether what was read at one timestamp would read the same at a later one.

use bytes::Bytes;
use clock::Timestamp;

use super::stats::walk;
use super::value::Intent;
use super::{FoundIntent, key};
use crate::api::TxnId;
use crate::engine::{EngineError, Reader};

/// Intents after which a refresh stops looking.
const MAX_BLOCKED: usize = 64;

/// Whether a span is as it was.
#[derive(Clone, Debug, PartialEq)]
pub enum RefreshOutcome {
    /// Nothing was written to it.
    Unchanged,
    /// Something was.
    Changed {
        /// Where.
        key: Bytes,
        /// The version met.
        timestamp: Timestamp,
    },
    /// Other transactions' intents may yet commit in between; nothing committed was met.
    Blocked(Vec<FoundIntent>),
}

/// Checks that nothing was written to `[start, end)` in `(from, to]`, save by `txn` itself. An empty `end` is the end of the
/// keyspace. REQUIRES: `from` at or above the garbage collection threshold.
///
/// # Errors
/// [`EngineError`] when the store cannot be read.
pub fn refresh(
    reader: &dyn Reader,
    start: &[u8],
    end: &[u8],
    from: Timestamp,
    to: Timestamp,
    txn: Option<TxnId>,
) -> Result<RefreshOutcome, EngineError> {
    if start.len() + 1 == end.len() && end.starts_with(start) && end.ends_with(&[0]) {
        return refresh_key(reader, start, from, to, txn);
    }
    let mut blocked = Vec::new();
    let mut changed = None;
    walk(reader, start, end, |entry| {
        match entry.timestamp {
            None => {
                let intent = Intent::decode_from(entry.value)?;
                if Some(intent.txn.id) != txn && intent.write_timestamp() <= to {
                    blocked.push(FoundIntent { key: key::unescaped(entry.prefix), txn: intent.txn });
                }
            }
            Some(timestamp) if timestamp > from && timestamp <= to => {
                changed = Some(RefreshOutcome::Changed { key: key::unescaped(entry.prefix), timestamp });
            }
            Some(_) => {}
        }
        Ok(changed.is_none() && blocked.len() < MAX_BLOCKED)
    })?;
    Ok(match changed {
        Some(changed) => changed,
        None if blocked.is_empty() => RefreshOutcome::Unchanged,
        None => RefreshOutcome::Blocked(blocked),
    })
}

/// The same for one key, as a point read goes about it.
fn refresh_key(
    reader: &dyn Reader,
    key: &[u8],
    from: Timestamp,
    to: Timestamp,
    txn: Option<TxnId>,
) -> Result<RefreshOutcome, EngineError> {
    let prefix = key::prefix(key);
    let (start, end) = key::versions_of_prefix(&prefix, to);
    let mut cursor = reader.cursor(&start, &end, false);
    if cursor.advance()? {
        let timestamp = key::version_timestamp(cursor.key(), prefix.len())?;
        if timestamp > from {
            return Ok(RefreshOutcome::Changed { key: Bytes::copy_from_slice(key), timestamp });
        }
    }
    if let Some(encoded) = reader.get(&prefix)? {
        let intent = Intent::decode_from(&encoded)?;
        if Some(intent.txn.id) != txn && intent.write_timestamp() <= to {
            let found = FoundIntent { key: Bytes::copy_from_slice(key), txn: intent.txn };
            return Ok(RefreshOutcome::Blocked(vec![found]));
        }
    }
    Ok(RefreshOutcome::Unchanged)
}
