//! Removal of everything in a span, versions and intents, without a trace.

use bytes::Bytes;

use super::key;
use super::stats::{MvccStats, compute_stats, walk};
use crate::api::Span;
use crate::engine::{EngineError, Overlay};
use crate::keys;

/// Removes everything on the keys in `[start, end)`, at most `max_keys` of them (0 for no limit); returns what is left of the
/// span when the limit was reached. REQUIRES: nobody can read the span any more.
///
/// # Errors
/// [`EngineError`] when the store cannot be read.
pub fn clear_span(
    overlay: &mut Overlay<'_>,
    stats: &mut MvccStats,
    start: &[u8],
    end: &[u8],
    max_keys: u64,
) -> Result<Option<Span>, EngineError> {
    let mut removed: Vec<Bytes> = Vec::new();
    let mut keys_met = 0;
    let mut rest_start = None;
    walk(overlay, start, end, |entry| {
        if entry.first_of_key {
            if max_keys > 0 && keys_met == max_keys {
                rest_start = Some(key::unescaped(entry.prefix));
                return Ok(false);
            }
            keys_met += 1;
        }
        removed.push(Bytes::copy_from_slice(entry.engine_key));
        Ok(true)
    })?;
    stats.subtract(&compute_stats(overlay, start, rest_start.as_deref().unwrap_or(end))?);
    removed.into_iter().for_each(|engine_key| overlay.delete(engine_key));
    let end = if end.is_empty() { keys::MAX } else { end };
    Ok(rest_start.map(|start| Span { start, end: Bytes::copy_from_slice(end) }))
}
