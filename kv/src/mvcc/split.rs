//! Where to split a range.

use bytes::Bytes;

use super::key;
use super::stats::walk;
use crate::engine::{EngineError, Reader};

/// The first key in `(start, end)` at which at least `left_bytes` lie to its left, moved to the start of its row by `row_start`
/// (the identity where each key is a row of its own). `None` when no key will do: the range holds less, or one row.
///
/// # Errors
/// [`EngineError`] when the store cannot be read.
pub fn find_split_key(
    reader: &dyn Reader,
    start: &[u8],
    end: &[u8],
    left_bytes: u64,
    row_start: &dyn Fn(&Bytes) -> Bytes,
) -> Result<Option<Bytes>, EngineError> {
    let mut bytes = 0u64;
    let mut split_key = None;
    let mut first: Option<Bytes> = None;
    walk(reader, start, end, |entry| {
        if entry.first_of_key {
            let key = if first.is_none() || bytes >= left_bytes {
                Some(row_start(&key::unescaped(entry.prefix)))
            } else {
                None
            };
            // At the first key of all there would be nothing to its left.
            let first = first.get_or_insert_with(|| key.clone().unwrap_or_default());
            split_key = key.filter(|key| bytes >= left_bytes && key > first && &key[..] > start);
            if split_key.is_some() {
                return Ok(false);
            }
        }
        bytes += (entry.engine_key.len() + entry.value.len()) as u64;
        Ok(true)
    })?;
    Ok(split_key)
}
