//! What a versioned key looks like in the engine.
//!
//! ```text
//!   escaped key · 00 01 · !wall_ns (8) · !logical (4)       a version
//!   escaped key · 00 01                                     the intent
//!   escape: 00 → 00 ff
//! ```
//!
//! The terminator sorts below every escaped byte, so engine keys sort as keys do, then newest first; and no escaped key
//! with its terminator is a prefix of another's.

use bytes::Bytes;
use clock::Timestamp;

use crate::engine::EngineError;

const TERMINATOR: [u8; 2] = [0x00, 0x01];
const ESCAPED_ZERO: [u8; 2] = [0x00, 0xff];

/// Bytes that a version's engine key has beyond the intent's.
pub const VERSION_SUFFIX_LEN: usize = Timestamp::ENCODED_LEN;

/// Appends the engine key of the key's intent, which is also the prefix of its versions and of nothing else.
pub fn put_prefix(out: &mut Vec<u8>, key: &[u8]) {
    out.reserve(key.len() + TERMINATOR.len() + VERSION_SUFFIX_LEN + 1);
    let mut rest = key;
    while let Some(at) = rest.iter().position(|byte| *byte == 0) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&ESCAPED_ZERO);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(&TERMINATOR);
}

/// The engine key of the key's intent, and prefix of its versions.
pub fn prefix(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_prefix(&mut out, key);
    out
}

/// The engine key of a version.
pub fn version(key: &[u8], timestamp: Timestamp) -> Bytes {
    let mut out = prefix(key);
    put_timestamp(&mut out, timestamp);
    out.into()
}

/// Appends the suffix that makes an intent's engine key that of a version.
pub fn put_timestamp(out: &mut Vec<u8>, timestamp: Timestamp) {
    out.extend(timestamp.to_bytes().map(|byte| !byte));
}

/// The engine span that holds everything of the keys in `[start, end)`. An empty `end` stays empty: the end of the keyspace.
pub fn span(start: &[u8], end: &[u8]) -> (Vec<u8>, Vec<u8>) {
    (prefix(start), if end.is_empty() { Vec::new() } else { prefix(end) })
}

/// The engine span of one key's versions at or below a timestamp, newest first, given its prefix; its intent lies outside.
pub(super) fn versions_of_prefix(prefix: &[u8], newest: Timestamp) -> (Vec<u8>, Vec<u8>) {
    let mut start = Vec::with_capacity(prefix.len() + VERSION_SUFFIX_LEN);
    start.extend_from_slice(prefix);
    put_timestamp(&mut start, newest);
    (start, span_end_of_prefix(prefix))
}

/// The engine span of one key, given its prefix.
pub(super) fn span_end_of_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    *end.last_mut().expect("a prefix ends in its terminator") += 1;
    end
}

/// The length of the prefix at the front of an engine key.
pub(super) fn prefix_len(engine_key: &[u8]) -> Result<usize, EngineError> {
    let mut from = 0;
    while let Some(at) = engine_key[from..].iter().position(|byte| *byte == 0) {
        match engine_key.get(from + at + 1) {
            Some(0x01) => return Ok(from + at + 2),
            Some(0xff) => from += at + 2,
            _ => break,
        }
    }
    Err(corrupt(engine_key))
}

/// Appends the key whose prefix this is.
pub(super) fn put_unescaped(out: &mut Vec<u8>, prefix: &[u8]) {
    let mut rest = &prefix[..prefix.len() - TERMINATOR.len()];
    while let Some(at) = rest.iter().position(|byte| *byte == 0) {
        out.extend_from_slice(&rest[..=at]);
        rest = rest.get(at + 2..).unwrap_or(&[]);
    }
    out.extend_from_slice(rest);
}

/// The key whose prefix this is.
pub(super) fn unescaped(prefix: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(prefix.len());
    put_unescaped(&mut out, prefix);
    out.into()
}

/// The timestamp in what follows the prefix; `None` for the intent.
pub(super) fn suffix_timestamp(engine_key: &[u8], prefix_len: usize) -> Result<Option<Timestamp>, EngineError> {
    let suffix = &engine_key[prefix_len..];
    if suffix.is_empty() {
        return Ok(None);
    }
    let suffix: [u8; VERSION_SUFFIX_LEN] = suffix.try_into().map_err(|_| corrupt(engine_key))?;
    Ok(Some(Timestamp::from_bytes(suffix.map(|byte| !byte))))
}

/// The timestamp of a version's engine key, given the length of its prefix.
pub(super) fn version_timestamp(engine_key: &[u8], prefix_len: usize) -> Result<Timestamp, EngineError> {
    suffix_timestamp(engine_key, prefix_len)?.ok_or_else(|| corrupt(engine_key))
}

/// The key, and the timestamp for a version or `None` for an intent.
///
/// # Errors
/// [`EngineError::Corrupt`] when it is not the engine key of a versioned key.
pub fn decode(engine_key: &[u8]) -> Result<(Bytes, Option<Timestamp>), EngineError> {
    let length = prefix_len(engine_key)?;
    Ok((unescaped(&engine_key[..length]), suffix_timestamp(engine_key, length)?))
}

fn corrupt(engine_key: &[u8]) -> EngineError {
    EngineError::Corrupt(format!("{} is no versioned key", engine_key.escape_ascii()))
}
