//! The timestamp cache: up to which timestamp each key was read, so that no write lands below.
//!
//! ```text
//!   read of k at 7  ─▶ add(k, 7)                 write of k at 5 ─▶ newest_read(k) = 7 ─▶ written at 7.next()
//!   cache full      ─▶ the older page is dropped, and its newest timestamp becomes the low-water mark
//!   a page is old   ─▶ the same: a range that was read much, and is not any more, holds on to nothing
//! ```
//!
//! Invariant: `read_protected` (no write lands at or below a served read's timestamp on that key). An entry
//! names the transaction that read, which may write there at its own timestamp; two reads at the same timestamp by
//! different transactions clear the owner. The low-water mark has no owner.
//!
//! The module also remembers pushes of transactions without a record, at the record's key. It knows nothing
//! of leases: whoever takes one raises the low-water mark to its start.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use clock::Timestamp;
use clock::mutation::{self, Mutant};
use parking_lot::Mutex;

use crate::api::TxnId;

/// Up to when something was read, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadMark {
    /// The newest read.
    pub timestamp: Timestamp,
    /// The only transaction that read at it; `None` for several, or for none known.
    pub owner: Option<TxnId>,
}

impl ReadMark {
    const NONE: ReadMark = ReadMark { timestamp: Timestamp::MIN, owner: None };

    fn merge(self, other: ReadMark) -> ReadMark {
        match self.timestamp.cmp(&other.timestamp) {
            std::cmp::Ordering::Less => other,
            std::cmp::Ordering::Greater => self,
            std::cmp::Ordering::Equal if self.owner == other.owner => self,
            std::cmp::Ordering::Equal => ReadMark { timestamp: self.timestamp, owner: None },
        }
    }
}

/// How many entries a page holds before it is turned; there are two pages.
const PAGE_ENTRIES: usize = 32_768;

/// Entries of one age.
#[derive(Debug, Default)]
struct Page {
    points: HashMap<Box<[u8]>, ReadMark>,
    /// Disjoint spans by start: their end (empty: the end of the keyspace), and the mark.
    spans: BTreeMap<Bytes, (Bytes, ReadMark)>,
    newest: Timestamp,
}

#[derive(Debug)]
struct Inner {
    low_water: Timestamp,
    current: Page,
    former: Page,
}

/// The timestamp cache of one range.
#[derive(Debug)]
pub struct TimestampCache {
    inner: Mutex<Inner>,
    page_entries: usize,
}

impl TimestampCache {
    /// A cache that takes everything as read up to the low-water mark.
    pub fn new(low_water: Timestamp) -> Self {
        TimestampCache::with_page_entries(low_water, PAGE_ENTRIES)
    }

    fn with_page_entries(low_water: Timestamp, page_entries: usize) -> Self {
        let inner = Inner { low_water, current: Page::default(), former: Page::default() };
        TimestampCache { inner: Mutex::new(inner), page_entries }
    }

    /// Notes that a key was read.
    pub fn add_key(&self, key: &Bytes, mark: ReadMark) {
        let mut inner = self.inner.lock();
        if mark.timestamp <= inner.low_water || mutation::is(Mutant::ReadsNotRemembered) {
            return;
        }
        let page = &mut inner.current;
        page.newest = page.newest.max(mark.timestamp);
        match page.points.get_mut(&key[..]) {
            Some(held) => *held = held.merge(mark),
            None => {
                page.points.insert(Box::from(&key[..]), mark);
            }
        }
        inner.turn_when_full(self.page_entries);
    }

    /// Notes that `[start, end)` was read; an empty end stands for the end of the keyspace.
    pub fn add_span(&self, start: &Bytes, end: &Bytes, mark: ReadMark) {
        let mut inner = self.inner.lock();
        let is_empty = !end.is_empty() && start >= end;
        if mark.timestamp <= inner.low_water || is_empty || mutation::is(Mutant::ReadsNotRemembered) {
            return;
        }
        inner.current.newest = inner.current.newest.max(mark.timestamp);
        // Copied: a key may be a piece of a whole request, which would be kept for it.
        let (start, end) = (Bytes::copy_from_slice(start), Bytes::copy_from_slice(end));
        inner.current.add_span(&start, &end, mark);
        inner.turn_when_full(self.page_entries);
    }

    /// The newest read of a key.
    pub fn newest_read(&self, key: &[u8]) -> ReadMark {
        let inner = self.inner.lock();
        let low = ReadMark { timestamp: inner.low_water, owner: None };
        low.merge(inner.current.get(key)).merge(inner.former.get(key))
    }

    /// The lowest timestamp above `wanted`, or `wanted` itself, at which the transaction may write the key.
    pub fn first_writable(&self, key: &[u8], wanted: Timestamp, writer: Option<TxnId>) -> Timestamp {
        let mark = self.newest_read(key);
        let own = mark.owner.is_some() && mark.owner == writer && mark.timestamp <= wanted;
        if mark.timestamp < wanted || own { wanted } else { mark.timestamp.next() }
    }

    /// Panics unless a write at the timestamp respects every read served.
    pub fn check_read_protected(&self, key: &[u8], written: Timestamp, writer: Option<TxnId>) {
        let mark = self.newest_read(key);
        let own = mark.owner.is_some() && mark.owner == writer;
        assert!(
            mark.timestamp < written || (own && mark.timestamp == written),
            "read_protected: a write at {written} would land at or below a read served at {}",
            mark.timestamp
        );
    }

    /// Drops what was read before the timestamp, and takes everything as read up to then instead.
    pub fn forget_before(&self, cutoff: Timestamp) {
        let mut inner = self.inner.lock();
        if inner.former.newest < cutoff {
            inner.drop_former();
        }
        if inner.current.newest < cutoff {
            inner.former = std::mem::take(&mut inner.current);
            inner.drop_former();
        }
    }

    /// How many keys and spans are remembered.
    #[cfg(test)]
    pub fn remembered(&self) -> usize {
        let inner = self.inner.lock();
        inner.current.len() + inner.former.len()
    }

    /// Takes everything as read up to the timestamp.
    pub fn raise_low_water(&self, to: Timestamp) {
        let mut inner = self.inner.lock();
        inner.low_water = inner.low_water.max(to);
    }
}

impl Inner {
    fn turn_when_full(&mut self, page_entries: usize) {
        if self.current.len() < page_entries {
            return;
        }
        self.drop_former();
        self.former = std::mem::take(&mut self.current);
    }

    fn drop_former(&mut self) {
        self.low_water = self.low_water.max(self.former.newest);
        self.former = Page::default();
    }
}

impl Page {
    fn len(&self) -> usize {
        self.points.len() + self.spans.len()
    }

    fn get(&self, key: &[u8]) -> ReadMark {
        let point = self.points.get(key).copied().unwrap_or(ReadMark::NONE);
        let Some((_, (end, mark))) =
            self.spans.range::<[u8], _>((std::ops::Bound::Unbounded, std::ops::Bound::Included(key))).next_back()
        else {
            return point;
        };
        if end.is_empty() || key < &end[..] { point.merge(*mark) } else { point }
    }

    /// Lays a span over those present: where they overlap the newer mark wins.
    fn add_span(&mut self, start: &Bytes, end: &Bytes, mark: ReadMark) {
        let mut pieces: Vec<(Bytes, Bytes, ReadMark)> = Vec::new();
        let mut cursor = start.clone();
        let mut filled_to_end = false;
        for (old_start, old_end, old) in self.take_overlapping(start, end) {
            if old_start < *start {
                pieces.push((old_start.clone(), start.clone(), old));
            } else if cursor < old_start {
                pieces.push((cursor.clone(), old_start.clone(), mark));
            }
            let shared_start = old_start.max(start.clone());
            let sticks_out = !end.is_empty() && (old_end.is_empty() || old_end > *end);
            let shared_end = if sticks_out { end.clone() } else { old_end.clone() };
            pieces.push((shared_start, shared_end.clone(), old.merge(mark)));
            if sticks_out {
                pieces.push((end.clone(), old_end, old));
            }
            filled_to_end = shared_end == *end;
            cursor = shared_end;
        }
        if !filled_to_end {
            pieces.push((cursor, end.clone(), mark));
        }
        self.insert_joined(pieces);
    }

    /// Removes the spans that overlap `[start, end)`, in order.
    fn take_overlapping(&mut self, start: &Bytes, end: &Bytes) -> Vec<(Bytes, Bytes, ReadMark)> {
        let mut keys: Vec<Bytes> = Vec::new();
        if let Some((key, (old_end, _))) = self.spans.range(..start.clone()).next_back()
            && (old_end.is_empty() || old_end > start)
        {
            keys.push(key.clone());
        }
        let upper = if end.is_empty() { std::ops::Bound::Unbounded } else { std::ops::Bound::Excluded(end.clone()) };
        keys.extend(self.spans.range((std::ops::Bound::Included(start.clone()), upper)).map(|(key, _)| key.clone()));
        let take = |key: Bytes| self.spans.remove(&key).map(|(old_end, mark)| (key, old_end, mark));
        keys.into_iter().filter_map(take).collect()
    }

    /// Inserts adjacent pieces, joining those with the same mark, so that the map does not grow with each scan.
    fn insert_joined(&mut self, pieces: Vec<(Bytes, Bytes, ReadMark)>) {
        let mut open: Option<(Bytes, Bytes, ReadMark)> = None;
        for (start, end, mark) in pieces {
            open = match open.take() {
                Some((first, last, held)) if held == mark && last == start => Some((first, end, mark)),
                Some((first, last, held)) => {
                    self.spans.insert(first, (last, held));
                    Some((start, end, mark))
                }
                None => Some((start, end, mark)),
            };
        }
        if let Some((start, end, mark)) = open {
            self.spans.insert(start, (end, mark));
        }
    }
}

#[cfg(test)]
mod tests;
