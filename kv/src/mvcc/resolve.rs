//! Resolution: intents become what their transaction came to.

use bytes::Bytes;
use clock::Timestamp;

use super::key;
use super::stats::{MvccStats, walk};
use super::value::Intent;
use super::write::KeyState;
use crate::api::{SequenceSpan, Span, TxnId, TxnStatus};
use crate::engine::{EngineError, Overlay, Reader};
use crate::keys;

/// What a transaction came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolution {
    /// Which transaction.
    pub txn: TxnId,
    /// The epoch whose intents count; those of others are removed when it ended, those of lower ones always.
    pub epoch: u32,
    /// `Committed` makes versions of its intents, `Aborted` removes them, otherwise they are moved; or removed, where nothing that
    /// they say counts.
    pub status: TxnStatus,
    /// The commit timestamp, or the one it was pushed to.
    pub timestamp: Timestamp,
    /// Writes that do not count, having been rolled back to a savepoint.
    pub ignored: Vec<SequenceSpan>,
}

/// What became of a span's intents.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResolveOutcome {
    /// Intents resolved.
    pub resolved: u64,
    /// What is left of the span when the limit was reached.
    pub resume: Option<Span>,
}

/// The intent on a key. One point lookup.
///
/// # Errors
/// [`EngineError`] when the store cannot be read.
pub fn find_intent(reader: &dyn Reader, key: &[u8]) -> Result<Option<Intent>, EngineError> {
    reader.get(&key::prefix(key))?.map(|encoded| Intent::decode_from(&encoded)).transpose()
}

/// Resolves the transaction's intent on a key. False when there is none: it was resolved before, or never written.
///
/// # Errors
/// [`EngineError`] when the store cannot be read; `Corrupt` when it would commit below a committed version.
pub fn resolve_key(
    overlay: &mut Overlay<'_>,
    stats: &mut MvccStats,
    key: &[u8],
    resolution: &Resolution,
) -> Result<bool, EngineError> {
    let mut state = KeyState::load(overlay, key)?;
    let Some((intent, _)) = state.intent.as_ref().filter(|(intent, _)| intent.txn.id == resolution.txn) else {
        return Ok(false);
    };
    let mut intent = intent.clone();
    match resolution.status {
        TxnStatus::Committed if intent.txn.epoch == resolution.epoch => {
            if resolution.timestamp <= state.newest_timestamp() {
                return Err(EngineError::Corrupt(format!(
                    "transaction {} committed at {}, below a version at {}",
                    resolution.txn,
                    resolution.timestamp,
                    state.newest_timestamp()
                )));
            }
            match intent.newest(u32::MAX, &resolution.ignored) {
                Some(value) => {
                    let value = value.cloned();
                    state.put_version(overlay, stats, resolution.timestamp, value.as_deref(), intent.txn.relaxed);
                }
                None => state.remove_intent(overlay, stats),
            }
        }
        TxnStatus::Committed | TxnStatus::Aborted => state.remove_intent(overlay, stats),
        TxnStatus::Pending | TxnStatus::Staging if intent.txn.epoch < resolution.epoch => {
            state.remove_intent(overlay, stats);
        }
        // It has gone back over all that it wrote here.
        TxnStatus::Pending
            if intent.txn.epoch == resolution.epoch && intent.newest(u32::MAX, &resolution.ignored).is_none() =>
        {
            state.remove_intent(overlay, stats);
        }
        TxnStatus::Pending | TxnStatus::Staging => {
            if resolution.timestamp > intent.write_timestamp() {
                intent.txn.write_timestamp = resolution.timestamp;
                state.put_intent(overlay, stats, intent);
            }
        }
    }
    Ok(true)
}

/// The keys in `[start, end)` on which the transaction has intents, at most so many, found among at most so many entries; and
/// where to go on, `None` at the end.
///
/// # Errors
/// [`EngineError`] when the store cannot be read.
pub fn find_intents(
    reader: &dyn Reader,
    start: &[u8],
    end: &[u8],
    txn: TxnId,
    max_intents: usize,
    max_entries: usize,
) -> Result<(Vec<Bytes>, Option<Bytes>), EngineError> {
    let mut found: Vec<Bytes> = Vec::new();
    let (mut entries, mut resume) = (0, None);
    walk(reader, start, end, |entry| {
        entries += 1;
        if entry.first_of_key && (found.len() >= max_intents || entries > max_entries) {
            resume = Some(key::unescaped(entry.prefix));
            return Ok(false);
        }
        if entry.timestamp.is_none() && Intent::decode_from(entry.value)?.txn.id == txn {
            found.push(key::unescaped(entry.prefix));
        }
        Ok(true)
    })?;
    Ok((found, resume))
}

/// Resolves the transaction's intents in `[start, end)`, at most `max_intents` of them (0 for no limit), and none once the overlay
/// holds `max_bytes` of values. Reads the span.
///
/// # Errors
/// As [`resolve_key`].
pub fn resolve_span(
    overlay: &mut Overlay<'_>,
    stats: &mut MvccStats,
    start: &[u8],
    end: &[u8],
    resolution: &Resolution,
    max_intents: u64,
    max_bytes: usize,
) -> Result<ResolveOutcome, EngineError> {
    let rest_from = |key| {
        let end = if end.is_empty() { keys::MAX } else { end };
        Some(Span { start: key, end: Bytes::copy_from_slice(end) })
    };
    let mut found: Vec<Bytes> = Vec::new();
    let mut outcome = ResolveOutcome::default();
    walk(overlay, start, end, |entry| {
        if entry.timestamp.is_none() && Intent::decode_from(entry.value)?.txn.id == resolution.txn {
            let key = key::unescaped(entry.prefix);
            if max_intents > 0 && found.len() as u64 >= max_intents {
                outcome.resume = rest_from(key);
                return Ok(false);
            }
            found.push(key);
        }
        Ok(true)
    })?;
    for key in found {
        if outcome.resolved > 0 && overlay.put_bytes() >= max_bytes {
            outcome.resume = rest_from(key);
            break;
        }
        outcome.resolved += u64::from(resolve_key(overlay, stats, &key, resolution)?);
    }
    Ok(outcome)
}
