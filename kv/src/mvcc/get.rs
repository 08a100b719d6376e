//! The point read: the hottest path of the database. A look for the intent, one seek among the versions, and one copy of the value.
//!
//! The intent is asked for by its key instead of being met on the way to the versions: a row that is written often has left
//! many removed intents behind, and a log-structured merge tree steps over each of them.

use bytes::Bytes;
use clock::Timestamp;
use clock::mutation::{self, Mutant};

use super::value::{Intent, VersionRef};
use super::{FoundIntent, ReadAt, key};
use crate::engine::{Cursor, EngineError, Reader};

/// What a point read found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GetOutcome {
    /// The value; `None` when the key does not exist at the read timestamp. Void when `blocked` or `uncertain` is set.
    pub value: Option<Bytes>,
    /// The timestamp of the committed version that was seen, a tombstone's too; `MIN` for none.
    pub observed: Timestamp,
    /// Another transaction's intent at or below the read timestamp.
    pub blocked: Option<FoundIntent>,
    /// The newest uncertain version or intent. To be sure, read again at or above it.
    pub uncertain: Option<Timestamp>,
}

/// Reads a key.
///
/// # Errors
/// [`EngineError`] when the store cannot be read.
pub fn get(reader: &dyn Reader, key: &[u8], at: &ReadAt<'_>) -> Result<GetOutcome, EngineError> {
    let prefix = key::prefix(key);
    let mut outcome = GetOutcome::default();
    if let Some(intent) = reader.get(&prefix)? {
        match judge(&intent, at)? {
            Verdict::Pass => {}
            Verdict::Blocked(txn) => {
                outcome.blocked = Some(FoundIntent { key: Bytes::copy_from_slice(key), txn });
            }
            Verdict::Uncertain(timestamp) => outcome.uncertain = Some(timestamp),
            Verdict::OwnVisible(value) => {
                outcome.value = value;
                return Ok(outcome);
            }
        }
    }
    let (start, end) = key::versions_of_prefix(&prefix, at.read_timestamp.max(at.uncertainty_limit));
    let mut cursor = reader.cursor(&start, &end, false);
    while cursor.advance()? {
        let timestamp = key::version_timestamp(cursor.key(), prefix.len())?;
        if timestamp <= at.read_timestamp {
            outcome.observed = timestamp;
            outcome.value = value_of(&*cursor)?;
            break;
        }
        if timestamp <= at.uncertainty_limit && VersionRef::decode(cursor.value())?.is_relaxed() {
            outcome.uncertain = outcome.uncertain.max(Some(timestamp));
        }
    }
    Ok(outcome)
}

/// The value under the cursor, to keep.
fn value_of(cursor: &dyn Cursor) -> Result<Option<Bytes>, EngineError> {
    if VersionRef::decode(cursor.value())?.is_tombstone() {
        return Ok(None);
    }
    Ok(Some(cursor.value_bytes().slice(1..)))
}

/// What an intent is to a reader.
pub(super) enum Verdict {
    /// Nothing: it lies above the reader, or belongs to an epoch or sequence of its own that does not count.
    Pass,
    /// The reader's own write, which stands above everything committed.
    OwnVisible(Option<Bytes>),
    /// In the way.
    Blocked(crate::api::TxnMeta),
    /// Possibly committed before the reader began.
    Uncertain(Timestamp),
}

/// Judges an intent by its engine value.
pub(super) fn judge(encoded: &[u8], at: &ReadAt<'_>) -> Result<Verdict, EngineError> {
    let intent = Intent::decode_from(encoded)?;
    if let Some(own) = at.txn.filter(|txn| txn.id == intent.txn.id) {
        return Ok(match intent.own_value(own) {
            Some(value) => Verdict::OwnVisible(value.cloned()),
            None => Verdict::Pass,
        });
    }
    let timestamp = intent.write_timestamp();
    if timestamp <= at.read_timestamp && !mutation::is(Mutant::IntentPassedOver) {
        return Ok(Verdict::Blocked(intent.txn));
    }
    if timestamp <= at.uncertainty_limit && intent.txn.relaxed {
        return Ok(Verdict::Uncertain(timestamp));
    }
    Ok(Verdict::Pass)
}

/// The timestamp of the newest committed version of a key, tombstones included.
///
/// # Errors
/// [`EngineError`] when the store cannot be read.
pub fn newest_version(reader: &dyn Reader, key: &[u8]) -> Result<Option<Timestamp>, EngineError> {
    let prefix = key::prefix(key);
    let (start, end) = key::versions_of_prefix(&prefix, Timestamp::MAX);
    let mut cursor = reader.cursor(&start, &end, false);
    if cursor.advance()? { key::version_timestamp(cursor.key(), prefix.len()).map(Some) } else { Ok(None) }
}
