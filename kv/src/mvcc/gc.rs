//! Garbage collection: versions that no permitted read can see.
//!
//! ```text
//!   above the threshold          kept
//!   newest at or below it        kept, unless it is a tombstone below the threshold
//!   older                        removed
//! ```
//!
//! A tombstone at the very threshold stays: a write at that timestamp, which is still permitted, must find it.
//!
//! A key's versions go together in one batch, so that no older one ever comes to light by the removal of a newer.

use bytes::Bytes;
use clock::Timestamp;
use clock::mutation::{self, Mutant};

use super::key;
use super::stats::{MvccStats, walk};
use super::value::VersionRef;
use crate::api::Span;
use crate::engine::{EngineError, Overlay};
use crate::keys;

/// What a garbage collection removed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GcOutcome {
    /// Versions removed.
    pub removed_versions: u64,
    /// What is left of the span when the limit was reached.
    pub resume: Option<Span>,
}

/// Removes garbage in `[start, end)`, going on to the next key until at least `max_versions` are removed (0 for no limit).
/// REQUIRES: the threshold is replicated before the removal takes effect.
///
/// # Errors
/// [`EngineError`] when the store cannot be read.
pub fn collect_garbage(
    overlay: &mut Overlay<'_>,
    stats: &mut MvccStats,
    start: &[u8],
    end: &[u8],
    threshold: Timestamp,
    max_versions: u64,
) -> Result<GcOutcome, EngineError> {
    let mut outcome = GcOutcome::default();
    let mut removed: Vec<Bytes> = Vec::new();
    let mut delta = MvccStats::default();
    let mut present = Present::default();
    walk(overlay, start, end, |entry| {
        if entry.first_of_key {
            present.finish(&mut delta);
            let key = key::unescaped(entry.prefix);
            if max_versions > 0 && removed.len() as u64 >= max_versions {
                let end = if end.is_empty() { keys::MAX } else { end };
                outcome.resume = Some(Span { start: key, end: Bytes::copy_from_slice(end) });
                return Ok(false);
            }
            present = Present { key_len: key.len(), ..Present::default() };
        }
        let spared = match entry.timestamp {
            None => true,
            Some(timestamp) if timestamp > threshold => true,
            Some(timestamp) if !present.passed_newest => {
                present.passed_newest = true;
                let is_seen = timestamp == threshold || !VersionRef::decode(entry.value)?.is_tombstone();
                is_seen && !mutation::is(Mutant::NewestIsGarbage)
            }
            Some(_) => false,
        };
        if spared {
            present.kept += 1;
        } else {
            present.removed += 1;
            delta.version(-1, entry.value.len());
            removed.push(Bytes::copy_from_slice(entry.engine_key));
        }
        Ok(true)
    })?;
    if outcome.resume.is_none() {
        present.finish(&mut delta);
    }
    outcome.removed_versions = removed.len() as u64;
    removed.into_iter().for_each(|engine_key| overlay.delete(engine_key));
    stats.add(&delta);
    Ok(outcome)
}

/// The key being walked over.
#[derive(Default)]
struct Present {
    key_len: usize,
    /// The newest version at or below the threshold was met.
    passed_newest: bool,
    kept: u64,
    removed: u64,
}

impl Present {
    fn finish(&self, delta: &mut MvccStats) {
        if self.removed > 0 && self.kept == 0 {
            delta.key(-1, self.key_len);
        }
    }
}
