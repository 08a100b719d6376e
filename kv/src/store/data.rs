//! Everything a range keeps in the engine, as spans: to copy it, to clear it.
//!
//! ```text
//!   \x01 i <range> …      by ID, less what is the replica's own (record, tombstone, staging)
//!   \x01 k start … end    by key: descriptor, transaction records
//!   start … end           versions and intents
//! ```

use bytes::Bytes;

use crate::descriptor::RangeDescriptor;
use crate::engine::{Engine, EngineError, Reader, WriteBatch};
use crate::keys::{self, RangeLocal};
use crate::mvcc;

/// Keys deleted, or copied, in one batch.
const BATCH_KEYS: usize = 4_096;

/// Bytes in one batch.
const BATCH_BYTES: usize = 1 << 20;

/// An engine span `[start, end)`; an empty end is the end of the keyspace.
pub(super) type EngineSpan = (Bytes, Bytes);

/// What is kept under the range's ID.
pub(super) fn id_span(range_id: u64) -> EngineSpan {
    keys::range_id_span(range_id)
}

/// What is kept by key. Empty for a replica that has no bounds yet.
pub(super) fn key_spans(descriptor: &RangeDescriptor) -> Vec<EngineSpan> {
    if descriptor.replicas.is_empty() {
        return Vec::new();
    }
    let (start, end) = mvcc::key::span(&descriptor.start, &descriptor.end);
    vec![keys::key_local_span(&descriptor.start, &descriptor.end), (start.into(), end.into())]
}

/// Whether a key under the range's ID belongs to the replica, not to the range.
pub(super) fn is_own(key: &[u8]) -> bool {
    let own = [RangeLocal::Replica as u8, RangeLocal::Removed as u8, RangeLocal::Staging as u8];
    keys::decode_range_local(key).is_some_and(|(_, rest)| rest.first().is_some_and(|what| own.contains(what)))
}

/// The next entries of a span from `start` on, up to a batch's worth, less those that are the replica's own; and where
/// to go on, `None` at the end.
pub(super) fn page(
    reader: &dyn Reader,
    start: &[u8],
    end: &[u8],
) -> Result<(Vec<(Bytes, Bytes)>, Option<Bytes>), EngineError> {
    let mut cursor = reader.cursor(start, end, false);
    let (mut entries, mut bytes) = (Vec::new(), 0);
    while cursor.advance()? {
        if is_own(cursor.key()) {
            continue;
        }
        if entries.len() >= BATCH_KEYS || bytes >= BATCH_BYTES {
            return Ok((entries, Some(Bytes::copy_from_slice(cursor.key()))));
        }
        bytes += cursor.key().len() + cursor.value().len();
        entries.push((Bytes::copy_from_slice(cursor.key()), cursor.value_bytes()));
    }
    Ok((entries, None))
}

/// The keys of a span, up to a batch's worth. With `own`, those that are the replica's own too.
fn keys_of(reader: &dyn Reader, span: &EngineSpan, own: bool) -> Result<Vec<Bytes>, EngineError> {
    let mut cursor = reader.cursor(&span.0, &span.1, false);
    let mut keys = Vec::new();
    while keys.len() < BATCH_KEYS && cursor.advance()? {
        if own || !is_own(cursor.key()) {
            keys.push(Bytes::copy_from_slice(cursor.key()));
        }
    }
    Ok(keys)
}

/// Deletes everything in the spans, batch by batch, except what is the replica's own.
///
/// # Errors
/// When the engine fails; part may then be deleted.
pub(super) fn clear(engine: &dyn Engine, spans: &[EngineSpan]) -> Result<(), EngineError> {
    clear_all(engine, spans, false)
}

/// Deletes everything in the spans, batch by batch.
///
/// # Errors
/// As [`clear`].
pub(super) fn clear_all(engine: &dyn Engine, spans: &[EngineSpan], own: bool) -> Result<(), EngineError> {
    for span in spans {
        loop {
            let keys = keys_of(&*engine.snapshot(), span, own)?;
            let is_last = keys.len() < BATCH_KEYS;
            let mut batch = WriteBatch::new();
            keys.into_iter().for_each(|key| batch.delete(key));
            if !batch.is_empty() {
                engine.write(batch)?;
            }
            if is_last {
                break;
            }
        }
    }
    Ok(())
}

/// All keys of the spans if they are few, for one atomic batch; `None` if they are many.
pub(super) fn few_keys(reader: &dyn Reader, spans: &[EngineSpan]) -> Result<Option<Vec<Bytes>>, EngineError> {
    let mut all = Vec::new();
    for span in spans {
        let keys = keys_of(reader, span, false)?;
        if keys.len() >= BATCH_KEYS {
            return Ok(None);
        }
        all.extend(keys);
    }
    Ok(Some(all))
}
