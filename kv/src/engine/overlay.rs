//! Pending writes on top of a reader, so that the later requests of a batch see the earlier ones.
//!
//! ```text
//!   Overlay = reader ⊕ writes        get: writes first, then the reader
//!                                    cursor: the two merged, deletions hiding what lies below
//! ```
//!
//! While nothing is pending, reads go straight to the reader. A span that was found empty below is not looked at again: to seek
//! in a log-structured merge tree costs more than all else about a row that is loaded.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::iter::Rev;
use std::ops::Bound;

use bytes::Bytes;

use super::{Cursor, EngineError, Reader, WriteBatch};

/// A reader with writes on top of it.
pub struct Overlay<'a> {
    reader: &'a dyn Reader,
    writes: BTreeMap<Bytes, Option<Bytes>>,
    /// Bytes of all values that were put, those that were replaced among them.
    put_bytes: usize,
    /// The reader holds nothing in `[start, end)`.
    vacant: Option<(Vec<u8>, Vec<u8>)>,
}

impl<'a> Overlay<'a> {
    /// The reader with no writes yet.
    pub fn new(reader: &'a dyn Reader) -> Self {
        Overlay { reader, writes: BTreeMap::new(), put_bytes: 0, vacant: None }
    }

    /// Looks whether the reader holds anything in `[start, end)`; if not, what is read there later costs no look.
    ///
    /// # Errors
    /// [`EngineError`] when the store cannot be read.
    pub fn survey(&mut self, start: Vec<u8>, end: Vec<u8>) -> Result<(), EngineError> {
        if !self.reader.cursor(&start, &end, false).advance()? {
            self.vacant = Some((start, end));
        }
        Ok(())
    }

    fn is_vacant(&self, start: &[u8], end: &[u8]) -> bool {
        let within = |(from, to): &(Vec<u8>, Vec<u8>)| &from[..] <= start && !end.is_empty() && end <= &to[..];
        self.vacant.as_ref().is_some_and(within)
    }

    /// Sets a key.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        let value = value.into();
        self.put_bytes += value.len();
        self.writes.insert(key.into(), Some(value));
    }

    /// Deletes a key, which need not exist.
    pub fn delete(&mut self, key: impl Into<Bytes>) {
        self.writes.insert(key.into(), None);
    }

    /// Whether nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// How many keys are written.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// An upper bound of what the values take.
    pub fn put_bytes(&self) -> usize {
        self.put_bytes
    }

    /// Forgets the writes.
    pub fn clear(&mut self) {
        self.writes.clear();
    }

    /// The writes in key order, one a key.
    pub fn into_batch(self) -> WriteBatch {
        let ops = self.writes.into_iter().map(|(key, value)| super::WriteOp { key, value }).collect();
        WriteBatch { ops }
    }
}

impl Reader for Overlay<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        match self.writes.get(key) {
            Some(value) => Ok(value.clone()),
            None if self.vacant.as_ref().is_some_and(|(from, to)| &from[..] <= key && key < &to[..]) => Ok(None),
            None => self.reader.get(key),
        }
    }

    fn cursor(&self, start: &[u8], end: &[u8], reverse: bool) -> Box<dyn Cursor + '_> {
        let below: Box<dyn Cursor + '_> =
            if self.is_vacant(start, end) { Box::new(Nothing) } else { self.reader.cursor(start, end, reverse) };
        if self.writes.is_empty() || (!end.is_empty() && start >= end) {
            return below;
        }
        let upper = if end.is_empty() { Bound::Unbounded } else { Bound::Excluded(end) };
        let range = self.writes.range::<[u8], _>((Bound::Included(start), upper));
        let above = if reverse { Above::Reverse(range.rev()) } else { Above::Forward(range) };
        Box::new(Merged { below, above, reverse, below_valid: false, top: None, at: At::Start })
    }
}

/// A cursor over a span that holds nothing.
struct Nothing;

impl Cursor for Nothing {
    fn advance(&mut self) -> Result<bool, EngineError> {
        Ok(false)
    }

    fn key(&self) -> &[u8] {
        unreachable!("it stands on no entry")
    }

    fn value(&self) -> &[u8] {
        unreachable!("it stands on no entry")
    }

    fn value_bytes(&self) -> Bytes {
        unreachable!("it stands on no entry")
    }
}

enum Above<'a> {
    Forward(btree_map::Range<'a, Bytes, Option<Bytes>>),
    Reverse(Rev<btree_map::Range<'a, Bytes, Option<Bytes>>>),
}

impl<'a> Above<'a> {
    fn next(&mut self) -> Option<(&'a Bytes, &'a Option<Bytes>)> {
        match self {
            Above::Forward(range) => range.next(),
            Above::Reverse(range) => range.next(),
        }
    }
}

/// Where a merged cursor stands.
#[derive(PartialEq)]
enum At {
    Start,
    Below,
    Above,
}

struct Merged<'a> {
    below: Box<dyn Cursor + 'a>,
    above: Above<'a>,
    reverse: bool,
    below_valid: bool,
    top: Option<(&'a Bytes, &'a Option<Bytes>)>,
    at: At,
}

impl Cursor for Merged<'_> {
    fn advance(&mut self) -> Result<bool, EngineError> {
        if self.at != At::Above {
            self.below_valid = self.below.advance()?;
        }
        if self.at != At::Below {
            self.top = self.above.next();
        }
        loop {
            let Some((key, value)) = self.top else {
                self.at = At::Below;
                return Ok(self.below_valid);
            };
            if self.below_valid {
                let order = self.below.key().cmp(&key[..]);
                let order = if self.reverse { order.reverse() } else { order };
                if order.is_lt() {
                    self.at = At::Below;
                    return Ok(true);
                }
                if order.is_eq() {
                    self.below_valid = self.below.advance()?;
                }
            }
            if value.is_some() {
                self.at = At::Above;
                return Ok(true);
            }
            self.top = self.above.next();
        }
    }

    fn key(&self) -> &[u8] {
        match (&self.at, self.top) {
            (At::Above, Some((key, _))) => key,
            _ => self.below.key(),
        }
    }

    fn value(&self) -> &[u8] {
        match (&self.at, self.top) {
            (At::Above, Some((_, Some(value)))) => value,
            _ => self.below.value(),
        }
    }

    fn value_bytes(&self) -> Bytes {
        match (&self.at, self.top) {
            (At::Above, Some((_, Some(value)))) => value.clone(),
            _ => self.below.value_bytes(),
        }
    }
}
