//! Writes: an intent for a transaction still under way, or a committed version at once.

use bytes::Bytes;
use clock::Timestamp;
use prost::Message;

use super::stats::MvccStats;
use super::value::{Intent, VersionRef, encode_version};
use super::{FoundIntent, key};
use crate::api::TxnMeta;
use crate::engine::{EngineError, Overlay, Reader};

/// In what form a write is left.
#[derive(Clone, Copy, Debug)]
pub enum WriteMode<'a> {
    /// As an intent, at or above the transaction's write timestamp.
    Intent {
        /// The transaction.
        txn: &'a TxnMeta,
        /// The number of the write within it.
        sequence: u32,
    },
    /// As a committed version, at exactly this timestamp.
    Committed {
        /// The commit timestamp.
        commit_timestamp: Timestamp,
        /// Whether it gives up commit wait.
        relaxed: bool,
        /// The transaction, if there is one; an intent of its own is replaced.
        txn: Option<&'a TxnMeta>,
    },
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq)]
pub enum WriteOutcome {
    /// It is in the overlay.
    Written {
        /// Where it stands: for an intent possibly above the transaction's write timestamp.
        write_timestamp: Timestamp,
        /// The newest committed version below it, tombstones included; `MIN` for none. When it lies above the
        /// transaction's read timestamp, the transaction must refresh to it, or restart.
        newest: Timestamp,
    },
    /// A version stands at or above the commit timestamp. Nothing was written.
    TooOld {
        /// The newest committed version.
        newest: Timestamp,
    },
    /// Another transaction's intent stands in the way. Nothing was written.
    Blocked(FoundIntent),
    /// The transaction was restarted since: its intent is of a later epoch. Nothing was written.
    StaleEpoch,
}

/// Everything on a key that a write must know.
pub(super) struct KeyState {
    pub(super) prefix: Vec<u8>,
    pub(super) key_len: usize,
    /// With the length of its encoding.
    pub(super) intent: Option<(Intent, usize)>,
    /// The newest committed version: timestamp, whether it is live, length of its encoding.
    pub(super) newest: Option<(Timestamp, bool, usize)>,
}

impl KeyState {
    pub(super) fn load(reader: &dyn Reader, key: &[u8]) -> Result<Self, EngineError> {
        let prefix = key::prefix(key);
        let mut state = KeyState { prefix, key_len: key.len(), intent: None, newest: None };
        if let Some(encoded) = reader.get(&state.prefix)? {
            state.intent = Some((Intent::decode_from(&encoded)?, encoded.len()));
        }
        let (start, end) = key::versions_of_prefix(&state.prefix, Timestamp::MAX);
        let mut cursor = reader.cursor(&start, &end, false);
        if cursor.advance()? {
            let encoded = cursor.value();
            let timestamp = key::version_timestamp(cursor.key(), state.prefix.len())?;
            state.newest = Some((timestamp, !VersionRef::decode(encoded)?.is_tombstone(), encoded.len()));
        }
        Ok(state)
    }

    pub(super) fn newest_timestamp(&self) -> Timestamp {
        self.newest.map_or(Timestamp::MIN, |(timestamp, ..)| timestamp)
    }

    /// Sets the intent.
    pub(super) fn put_intent(&mut self, overlay: &mut Overlay<'_>, stats: &mut MvccStats, intent: Intent) {
        match &self.intent {
            Some((_, length)) => stats.intent(-1, *length),
            None if self.newest.is_none() => stats.key(1, self.key_len),
            None => {}
        }
        let encoded = intent.encode_to_vec();
        stats.intent(1, encoded.len());
        self.intent = Some((intent, encoded.len()));
        overlay.put(self.prefix.clone(), encoded);
    }

    /// Removes the intent, if there is one.
    pub(super) fn remove_intent(&mut self, overlay: &mut Overlay<'_>, stats: &mut MvccStats) {
        if let Some((_, length)) = self.intent.take() {
            stats.intent(-1, length);
            if self.newest.is_none() {
                stats.key(-1, self.key_len);
            }
            overlay.delete(self.prefix.clone());
        }
    }

    /// Adds a version above all others, in place of the intent if there is one.
    pub(super) fn put_version(
        &mut self,
        overlay: &mut Overlay<'_>,
        stats: &mut MvccStats,
        commit_timestamp: Timestamp,
        value: Option<&[u8]>,
        relaxed: bool,
    ) {
        assert!(commit_timestamp > self.newest_timestamp(), "versions_rise: a version is only added above the newest");
        self.remove_intent(overlay, stats);
        match self.newest {
            Some((_, true, length)) => stats.live(-1, self.key_len, length),
            Some(_) => {}
            None => stats.key(1, self.key_len),
        }
        let encoded = encode_version(value, relaxed);
        stats.version(1, encoded.len());
        if value.is_some() {
            stats.live(1, self.key_len, encoded.len());
        }
        self.newest = Some((commit_timestamp, value.is_some(), encoded.len()));
        let mut engine_key = self.prefix.clone();
        key::put_timestamp(&mut engine_key, commit_timestamp);
        overlay.put(engine_key, encoded);
    }
}

/// Writes a key; without a value it deletes it. The statistics are adjusted by what changed.
///
/// # Errors
/// [`EngineError`] when the store cannot be read.
pub fn write(
    overlay: &mut Overlay<'_>,
    stats: &mut MvccStats,
    key: &[u8],
    value: Option<Bytes>,
    mode: WriteMode<'_>,
) -> Result<WriteOutcome, EngineError> {
    let mut state = KeyState::load(overlay, key)?;
    let txn = match mode {
        WriteMode::Intent { txn, .. } => Some(txn),
        WriteMode::Committed { txn, .. } => txn,
    };
    if let Some((intent, _)) = &state.intent {
        match txn {
            Some(txn) if txn.id == intent.txn.id && txn.epoch < intent.txn.epoch => {
                return Ok(WriteOutcome::StaleEpoch);
            }
            Some(txn) if txn.id == intent.txn.id => {}
            _ => {
                let found = FoundIntent { key: Bytes::copy_from_slice(key), txn: intent.txn.clone() };
                return Ok(WriteOutcome::Blocked(found));
            }
        }
    }
    let newest = state.newest_timestamp();
    match mode {
        WriteMode::Committed { commit_timestamp, relaxed, .. } => {
            if commit_timestamp <= newest {
                return Ok(WriteOutcome::TooOld { newest });
            }
            state.put_version(overlay, stats, commit_timestamp, value.as_deref(), relaxed);
            Ok(WriteOutcome::Written { write_timestamp: commit_timestamp, newest })
        }
        WriteMode::Intent { txn, sequence } => {
            let before = state.intent.as_ref().map(|(intent, _)| intent);
            let above_newest = if newest.is_min() { newest } else { newest.next() };
            let stood_at = before.map_or(Timestamp::MIN, Intent::write_timestamp);
            let write_timestamp = txn.write_timestamp.max(above_newest).max(stood_at);
            let mut intent = match before {
                Some(intent) if intent.txn.epoch == txn.epoch => {
                    let mut intent = intent.clone();
                    intent.add(sequence, value);
                    intent.txn = TxnMeta { sequence: intent.txn.sequence, ..txn.clone() };
                    intent
                }
                _ => Intent { txn: TxnMeta { sequence, ..txn.clone() }, value, history: Vec::new() },
            };
            intent.txn.write_timestamp = write_timestamp;
            // What counts is said by whoever reads or resolves.
            intent.txn.ignored = Vec::new();
            intent.txn.held_since = None;
            state.put_intent(overlay, stats, intent);
            Ok(WriteOutcome::Written { write_timestamp, newest })
        }
    }
}
