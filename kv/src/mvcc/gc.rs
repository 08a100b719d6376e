//! Garbage collection: versions that no permitted read can see.
//!
//! ```text
//!   above the threshold          kept
//!   newest at or below it        kept, unless it is a tombstone below the threshold
//!   older                        removed
//!
//!   find_garbage    walks a snapshot, which may be old by the time that anything is done about it
//!   remove_garbage  takes what was found out of what is there now
//! ```
//!
//! Nothing isolates the two from each other, nor need it: a version that is garbage at a threshold stays so. What is written
//! meanwhile only comes on top of it, and what is removed meanwhile is not removed twice.
//!
//! A tombstone at the very threshold stays: a write at that timestamp, which is still permitted, must find it.
//!
//! A key's versions go oldest first, so that no older one ever comes to light by the removal of a newer.

use std::collections::VecDeque;

use bytes::Bytes;
use clock::Timestamp;
use clock::mutation::{self, Mutant};

use super::key;
use super::stats::{Entry, MvccStats, walk};
use super::value::VersionRef;
use super::write::KeyState;
use crate::engine::{EngineError, Overlay, Reader};

/// How much a walk takes in before it stops.
#[derive(Clone, Copy, Debug)]
pub struct GarbageLimits {
    /// It goes on to the next key until it has found so many versions; of one key it finds so many at most, the oldest.
    pub max_versions: usize,
    /// It stops at the next key after so many entries, whether or not it found anything.
    pub max_entries: usize,
}

/// What a walk found.
#[derive(Clone, Debug, PartialEq)]
pub struct Garbage {
    /// Keys in order, each with the timestamps of its garbage, oldest first.
    pub keys: Vec<(Bytes, Vec<Timestamp>)>,
    /// The lowest threshold, above the one asked for, at which something of what was walked over becomes garbage. `MAX` if
    /// nothing does until it is written to.
    pub next_threshold: Timestamp,
    /// Where the walk stopped; `None` when it reached the end. The key it stopped at may have been found in part.
    pub resume: Option<Bytes>,
}

/// Looks for garbage in `[start, end)`; an empty `end` is the end of the keyspace.
///
/// # Errors
/// [`EngineError`] when the store cannot be read.
pub fn find_garbage(
    reader: &dyn Reader,
    start: &[u8],
    end: &[u8],
    threshold: Timestamp,
    limits: GarbageLimits,
) -> Result<Garbage, EngineError> {
    let mut found = Garbage { keys: Vec::new(), next_threshold: Timestamp::MAX, resume: None };
    if !end.is_empty() && start >= end {
        return Ok(found);
    }
    let (mut versions, mut entries) = (0, 0);
    let mut key = KeyWalk::default();
    walk(reader, start, end, |entry| {
        entries += 1;
        if entry.first_of_key {
            let is_cut = key.is_cut;
            versions += key.finish(&mut found);
            let name = key::unescaped(entry.prefix);
            if is_cut || versions >= limits.max_versions || entries > limits.max_entries {
                found.resume = if is_cut { found.keys.last().map(|(key, _)| key.clone()) } else { Some(name) };
                return Ok(false);
            }
            key = KeyWalk { name, ..KeyWalk::default() };
        }
        key.visit(entry, threshold, limits.max_versions, &mut found.next_threshold)?;
        Ok(true)
    })?;
    if found.resume.is_none() {
        let is_cut = key.is_cut;
        key.finish(&mut found);
        found.resume = found.keys.last().filter(|_| is_cut).map(|(key, _)| key.clone());
    }
    Ok(found)
}

/// One key's versions, from the newest on.
#[derive(Default)]
struct KeyWalk {
    name: Bytes,
    /// The version before, which is newer.
    newer: Option<Timestamp>,
    /// The newest version at or below the threshold was met.
    passed_newest: bool,
    /// Newest first.
    garbage: VecDeque<Timestamp>,
    /// There is more garbage than is kept here.
    is_cut: bool,
}

impl KeyWalk {
    fn visit(
        &mut self,
        entry: &Entry<'_>,
        threshold: Timestamp,
        max_versions: usize,
        next: &mut Timestamp,
    ) -> Result<(), EngineError> {
        let Some(timestamp) = entry.timestamp else { return Ok(()) };
        if let Some(newer) = self.newer.replace(timestamp).filter(|newer| *newer > threshold) {
            *next = newer.min(*next);
        }
        if timestamp > threshold || !self.passed_newest {
            let is_tombstone = VersionRef::decode(entry.value)?.is_tombstone();
            if is_tombstone && timestamp >= threshold {
                *next = timestamp.next().min(*next);
            }
            if timestamp > threshold {
                return Ok(());
            }
            self.passed_newest = true;
            let is_seen = timestamp == threshold || !is_tombstone;
            if is_seen && !mutation::is(Mutant::NewestIsGarbage) {
                return Ok(());
            }
        }
        self.garbage.push_back(timestamp);
        if self.garbage.len() > max_versions.max(1) {
            self.garbage.pop_front();
            self.is_cut = true;
        }
        Ok(())
    }

    /// Hands over what was found; answers how many versions that is.
    fn finish(&mut self, found: &mut Garbage) -> usize {
        let garbage: Vec<Timestamp> = std::mem::take(&mut self.garbage).into_iter().rev().collect();
        let versions = garbage.len();
        if versions > 0 {
            found.keys.push((std::mem::take(&mut self.name), garbage));
        }
        versions
    }
}

/// Removes versions of a key that a walk has found to be garbage, as far as they are there still. Answers how many went.
///
/// REQUIRES: `versions` oldest first; the threshold they were found by is replicated before the removal takes effect.
///
/// # Errors
/// [`EngineError`] when the store cannot be read.
pub fn remove_garbage(
    overlay: &mut Overlay<'_>,
    stats: &mut MvccStats,
    key: &[u8],
    versions: &[Timestamp],
) -> Result<u64, EngineError> {
    let state = KeyState::load(overlay, key)?;
    let mut removed = 0;
    for timestamp in versions {
        let engine_key = key::version(key, *timestamp);
        let Some(value) = overlay.get(&engine_key)? else { continue };
        stats.version(-1, value.len());
        overlay.delete(engine_key);
        removed += 1;
        if state.intent.is_none() && state.newest_timestamp() == *timestamp {
            // Nothing is left of the key but what is older, and gone before it.
            stats.key(-1, key.len());
        }
    }
    Ok(removed)
}
