//! How much a range holds, kept exactly by deltas.

use clock::Timestamp;

use super::key;
use super::value::VersionRef;
use crate::engine::{EngineError, Reader};

/// Counts and sizes of what a span holds. Sizes are of keys as given and of values as encoded, before compression.
///
/// A key is *live* when its newest committed version is not a tombstone. Intents count apart, until they are resolved.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct MvccStats {
    /// Keys with a version or an intent.
    #[prost(int64, tag = "1")]
    pub key_count: i64,
    /// Bytes of those keys, each once, and of the timestamps of versions.
    #[prost(int64, tag = "2")]
    pub key_bytes: i64,
    /// Committed versions, tombstones included.
    #[prost(int64, tag = "3")]
    pub version_count: i64,
    /// Bytes of committed values.
    #[prost(int64, tag = "4")]
    pub value_bytes: i64,
    /// Live keys.
    #[prost(int64, tag = "5")]
    pub live_count: i64,
    /// Bytes of live keys with their newest version.
    #[prost(int64, tag = "6")]
    pub live_bytes: i64,
    /// Intents.
    #[prost(int64, tag = "7")]
    pub intent_count: i64,
    /// Bytes of intents, the values they replaced included.
    #[prost(int64, tag = "8")]
    pub intent_bytes: i64,
}

impl MvccStats {
    /// Bytes in all.
    pub fn total_bytes(&self) -> i64 {
        self.key_bytes + self.value_bytes + self.intent_bytes
    }

    /// Bytes that only readers of the past can see.
    pub fn garbage_bytes(&self) -> i64 {
        self.key_bytes + self.value_bytes - self.live_bytes
    }

    /// Adds another span's statistics, or a delta.
    pub fn add(&mut self, other: &MvccStats) {
        self.combine(other, 1);
    }

    /// Takes another span's statistics away.
    pub fn subtract(&mut self, other: &MvccStats) {
        self.combine(other, -1);
    }

    fn combine(&mut self, other: &MvccStats, sign: i64) {
        self.key_count += sign * other.key_count;
        self.key_bytes += sign * other.key_bytes;
        self.version_count += sign * other.version_count;
        self.value_bytes += sign * other.value_bytes;
        self.live_count += sign * other.live_count;
        self.live_bytes += sign * other.live_bytes;
        self.intent_count += sign * other.intent_count;
        self.intent_bytes += sign * other.intent_bytes;
    }

    /// A key is now there (`sign` 1), or no more (-1).
    pub(super) fn key(&mut self, sign: i64, key_len: usize) {
        self.key_count += sign;
        self.key_bytes += sign * key_len as i64;
    }

    /// A version is now there, or no more.
    pub(super) fn version(&mut self, sign: i64, value_len: usize) {
        self.version_count += sign;
        self.key_bytes += sign * key::VERSION_SUFFIX_LEN as i64;
        self.value_bytes += sign * value_len as i64;
    }

    /// A version that makes its key live is now the newest, or no more. `value_len` is that of the encoded value.
    pub(super) fn live(&mut self, sign: i64, key_len: usize, value_len: usize) {
        self.live_count += sign;
        self.live_bytes += sign * (key_len + key::VERSION_SUFFIX_LEN + value_len) as i64;
    }

    /// An intent is now there, or no more.
    pub(super) fn intent(&mut self, sign: i64, intent_len: usize) {
        self.intent_count += sign;
        self.intent_bytes += sign * intent_len as i64;
    }
}

/// One engine entry of a walk over versioned keys.
pub(super) struct Entry<'a> {
    /// Bytes up to and including the terminator; changes exactly when the key does.
    pub prefix: &'a [u8],
    /// Whether the key differs from the entry before.
    pub first_of_key: bool,
    /// `None` for the intent.
    pub timestamp: Option<Timestamp>,
    /// The engine key.
    pub engine_key: &'a [u8],
    /// The engine value.
    pub value: &'a [u8],
}

/// Walks the engine entries of keys in `[start, end)` in order, until `visit` returns false.
pub(super) fn walk(
    reader: &dyn Reader,
    start: &[u8],
    end: &[u8],
    mut visit: impl FnMut(&Entry<'_>) -> Result<bool, EngineError>,
) -> Result<(), EngineError> {
    let (from, to) = key::span(start, end);
    let mut cursor = reader.cursor(&from, &to, false);
    let mut prefix: Vec<u8> = Vec::new();
    while cursor.advance()? {
        let engine_key = cursor.key();
        let first_of_key = prefix.is_empty() || !engine_key.starts_with(&prefix);
        if first_of_key {
            let length = key::prefix_len(engine_key)?;
            prefix.clear();
            prefix.extend_from_slice(&engine_key[..length]);
        }
        let timestamp = key::suffix_timestamp(engine_key, prefix.len())?;
        let entry = Entry { prefix: &prefix, first_of_key, timestamp, engine_key, value: cursor.value() };
        if !visit(&entry)? {
            break;
        }
    }
    Ok(())
}

/// Counts what stands on the keys in `[start, end)`; an empty `end` is the end of the keyspace. Reads all of it.
///
/// # Errors
/// [`EngineError`] when the store cannot be read.
pub fn compute_stats(reader: &dyn Reader, start: &[u8], end: &[u8]) -> Result<MvccStats, EngineError> {
    let mut stats = MvccStats::default();
    let mut newest_is_ahead = true;
    let mut key_len = 0;
    walk(reader, start, end, |entry| {
        if entry.first_of_key {
            key_len = key::unescaped(entry.prefix).len();
            stats.key(1, key_len);
            newest_is_ahead = true;
        }
        if entry.timestamp.is_none() {
            stats.intent(1, entry.value.len());
            return Ok(true);
        }
        stats.version(1, entry.value.len());
        if newest_is_ahead && !VersionRef::decode(entry.value)?.is_tombstone() {
            stats.live(1, key_len, entry.value.len());
        }
        newest_is_ahead = false;
        Ok(true)
    })?;
    Ok(stats)
}
