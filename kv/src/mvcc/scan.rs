//! The scan: one cursor over the span, rows gathered in one buffer that they then share.
//!
//! ```text
//!   forward   intent, newest … oldest     the first version that is visible decides the key
//!   reverse   oldest … newest, intent     each visible version replaces the one before; the next key decides
//! ```

use bytes::Bytes;
use clock::Timestamp;
use clock::mutation::{self, Mutant};

use super::get::{Verdict, judge};
use super::value::VersionRef;
use super::{FoundIntent, ReadAt, key};
use crate::api::{KeyValue, Span};
use crate::engine::{EngineError, Reader};
use crate::keys;

/// Intents after which a scan stops: its caller must wait for them anyway.
const MAX_BLOCKED: usize = 64;
/// Entries of a decided key that are stepped over before the rest of the key is skipped by a new seek.
const STEPS_BEFORE_SEEK: usize = 16;

/// When a scan stops early.
#[derive(Clone, Copy, Debug, Default)]
pub struct ScanLimits {
    /// Rows; 0 for no limit.
    pub max_rows: u64,
    /// Bytes of keys and values after which it stops, having returned at least one row; 0 for no limit.
    pub max_bytes: u64,
}

/// What a scan found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScanOutcome {
    /// The rows, in the direction of the scan.
    pub rows: Vec<KeyValue>,
    /// Bytes of keys and values of the rows.
    pub bytes: u64,
    /// What is left of the span when a limit stopped the scan; never empty.
    pub resume: Option<Span>,
    /// The newest version that was seen, tombstones included; `MIN` for none.
    pub observed: Timestamp,
    /// Other transactions' intents at or below the read timestamp. Their keys are not among the rows.
    pub blocked: Vec<FoundIntent>,
    /// The newest uncertain version or intent, and its key. To be sure, read again at or above it.
    pub uncertain: Option<(Bytes, Timestamp)>,
}

/// Reads the keys in `[start, end)`, from the end when `reverse`. An empty `end` is the end of the keyspace.
///
/// # Errors
/// [`EngineError`] when the store cannot be read.
pub fn scan(
    reader: &dyn Reader,
    start: &[u8],
    end: &[u8],
    reverse: bool,
    at: &ReadAt<'_>,
    limits: ScanLimits,
) -> Result<ScanOutcome, EngineError> {
    let mut gatherer = Gatherer::new(at, limits);
    let stopped = if reverse {
        scan_reverse(reader, start, end, &mut gatherer)?
    } else {
        scan_forward(reader, start, end, &mut gatherer)?
    };
    let mut outcome = gatherer.into_outcome();
    if let Some(mut last) = stopped {
        if mutation::is(Mutant::PageSkipsRow) && !reverse {
            let one = ScanLimits { max_rows: 1, max_bytes: 0 };
            let skipped = scan_forward(reader, &keys::next(&last), end, &mut Gatherer::new(at, one))?;
            last = skipped.unwrap_or(last);
        }
        let end = if end.is_empty() { keys::MAX } else { end };
        let left = if reverse {
            Span { start: Bytes::copy_from_slice(start), end: last }
        } else {
            Span { start: keys::next(&last), end: Bytes::copy_from_slice(end) }
        };
        outcome.resume = (left.start < left.end).then_some(left);
    }
    Ok(outcome)
}

/// Returns the last key that was dealt with, if a limit stopped the scan.
fn scan_forward(
    reader: &dyn Reader,
    start: &[u8],
    end: &[u8],
    gatherer: &mut Gatherer<'_>,
) -> Result<Option<Bytes>, EngineError> {
    let (from, to) = key::span(start, end);
    let mut cursor = reader.cursor(&from, &to, false);
    let mut prefix: Vec<u8> = Vec::new();
    let mut decided = false;
    let mut steps = 0;
    while cursor.advance()? {
        let engine_key = cursor.key();
        if prefix.is_empty() || !engine_key.starts_with(&prefix) {
            let length = key::prefix_len(engine_key)?;
            prefix.clear();
            prefix.extend_from_slice(&engine_key[..length]);
            steps = 0;
        } else if decided {
            steps += 1;
            if steps == STEPS_BEFORE_SEEK {
                drop(cursor);
                cursor = reader.cursor(&key::span_end_of_prefix(&prefix), &to, false);
                prefix.clear();
            }
            continue;
        }
        decided = match key::suffix_timestamp(engine_key, prefix.len())? {
            None => gatherer.intent(&prefix, cursor.value())?,
            Some(timestamp) => gatherer.version(&prefix, timestamp, cursor.value())?,
        };
        if decided && gatherer.finish_key() {
            return Ok(Some(key::unescaped(&prefix)));
        }
    }
    Ok(None)
}

/// Returns the last key that was dealt with, if a limit stopped the scan.
fn scan_reverse(
    reader: &dyn Reader,
    start: &[u8],
    end: &[u8],
    gatherer: &mut Gatherer<'_>,
) -> Result<Option<Bytes>, EngineError> {
    let (from, to) = key::span(start, end);
    let mut cursor = reader.cursor(&from, &to, true);
    let mut prefix: Vec<u8> = Vec::new();
    while cursor.advance()? {
        let engine_key = cursor.key();
        if prefix.is_empty() || !engine_key.starts_with(&prefix) {
            if !prefix.is_empty() && gatherer.finish_key() {
                return Ok(Some(key::unescaped(&prefix)));
            }
            let length = key::prefix_len(engine_key)?;
            prefix.clear();
            prefix.extend_from_slice(&engine_key[..length]);
        }
        match key::suffix_timestamp(engine_key, prefix.len())? {
            None => gatherer.intent(&prefix, cursor.value())?,
            Some(timestamp) => gatherer.version(&prefix, timestamp, cursor.value())?,
        };
    }
    if !prefix.is_empty() && gatherer.finish_key() {
        return Ok(Some(key::unescaped(&prefix)));
    }
    Ok(None)
}

/// Gathers rows. The bytes of the present key's candidate stand at the end of the buffer until the key is finished.
struct Gatherer<'a> {
    at: &'a ReadAt<'a>,
    limits: ScanLimits,
    buffer: Vec<u8>,
    /// Where each row's key and value end in the buffer; a row begins where the one before it ends.
    ends: Vec<(usize, usize)>,
    /// Where the candidate's key ends, if the present key has one.
    candidate: Option<usize>,
    observed_here: Timestamp,
    blocked_here: bool,
    outcome: ScanOutcome,
}

impl<'a> Gatherer<'a> {
    fn new(at: &'a ReadAt<'a>, limits: ScanLimits) -> Self {
        Gatherer {
            at,
            limits,
            buffer: Vec::new(),
            ends: Vec::new(),
            candidate: None,
            observed_here: Timestamp::MIN,
            blocked_here: false,
            outcome: ScanOutcome::default(),
        }
    }

    fn row_start(&self) -> usize {
        self.ends.last().map_or(0, |(_, end)| *end)
    }

    fn set_candidate(&mut self, prefix: &[u8], value: Option<&[u8]>) {
        let row_start = self.row_start();
        self.buffer.truncate(row_start);
        self.candidate = None;
        if let Some(value) = value {
            key::put_unescaped(&mut self.buffer, prefix);
            self.candidate = Some(self.buffer.len());
            self.buffer.extend_from_slice(value);
        }
    }

    fn uncertain(&mut self, prefix: &[u8], timestamp: Timestamp) {
        if self.outcome.uncertain.as_ref().is_none_or(|(_, newest)| *newest < timestamp) {
            self.outcome.uncertain = Some((key::unescaped(prefix), timestamp));
        }
    }

    /// Takes a version; true when it is visible.
    fn version(&mut self, prefix: &[u8], timestamp: Timestamp, encoded: &[u8]) -> Result<bool, EngineError> {
        let version = VersionRef::decode(encoded)?;
        if timestamp <= self.at.read_timestamp {
            self.observed_here = timestamp;
            self.set_candidate(prefix, version.value());
            return Ok(true);
        }
        if timestamp <= self.at.uncertainty_limit && version.is_relaxed() {
            self.uncertain(prefix, timestamp);
        }
        Ok(false)
    }

    /// Takes an intent; true when it decides the key.
    fn intent(&mut self, prefix: &[u8], encoded: &[u8]) -> Result<bool, EngineError> {
        match judge(encoded, self.at)? {
            Verdict::Pass => return Ok(false),
            Verdict::Uncertain(timestamp) => {
                self.uncertain(prefix, timestamp);
                return Ok(false);
            }
            Verdict::OwnVisible(value) => {
                self.set_candidate(prefix, value.as_deref());
                self.observed_here = Timestamp::MIN;
            }
            Verdict::Blocked(txn) => {
                self.set_candidate(prefix, None);
                self.blocked_here = true;
                self.outcome.blocked.push(FoundIntent { key: key::unescaped(prefix), txn });
            }
        }
        Ok(true)
    }

    /// The present key is decided. True when a limit is reached by it.
    fn finish_key(&mut self) -> bool {
        self.outcome.observed = self.outcome.observed.max(self.observed_here);
        self.observed_here = Timestamp::MIN;
        let taken = self.candidate.take();
        if let Some(key_end) = taken {
            self.ends.push((key_end, self.buffer.len()));
        }
        let blocked = std::mem::take(&mut self.blocked_here);
        if taken.is_none() && !blocked {
            return false;
        }
        let counted = self.ends.len() + self.outcome.blocked.len();
        (self.limits.max_rows > 0 && counted as u64 >= self.limits.max_rows)
            || (self.limits.max_bytes > 0 && self.buffer.len() as u64 >= self.limits.max_bytes)
            || self.outcome.blocked.len() >= MAX_BLOCKED
    }

    fn into_outcome(self) -> ScanOutcome {
        let mut outcome = self.outcome;
        outcome.bytes = self.buffer.len() as u64;
        let buffer = Bytes::from(self.buffer);
        let mut row_start = 0;
        outcome.rows.reserve_exact(self.ends.len());
        for (key_end, value_end) in self.ends {
            outcome
                .rows
                .push(KeyValue { key: buffer.slice(row_start..key_end), value: buffer.slice(key_end..value_end) });
            row_start = value_end;
        }
        outcome
    }
}
