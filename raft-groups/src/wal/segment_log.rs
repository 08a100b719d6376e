//! The chain of segments the log runs through, from the oldest needed to the one being written.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::batch::Batch;
use super::format::{Link, SEGMENT_HEADER_BYTES};
use super::pool::{Pool, Spare};
use super::segment::Segment;

/// The segments of the log. The last is being written, unless the log was just opened: what a former run left
/// is never appended to, so that a segment's batches are all of one run.
pub(super) struct SegmentLog {
    pool: Pool,
    /// Oldest first; sequence numbers rise.
    segments: VecDeque<Arc<Segment>>,
    next_sequence: u64,
    /// Whether the last segment may be appended to.
    appendable: bool,
    /// The offset after the last batch of the last segment.
    end: u64,
    /// The end of the segment before the last.
    previous: Link,
}

impl SegmentLog {
    pub(super) fn new(pool: Pool, segments: VecDeque<Arc<Segment>>, end: u64, next_sequence: u64) -> SegmentLog {
        SegmentLog { pool, segments, next_sequence, appendable: false, end, previous: Link::default() }
    }

    /// Finds the place for a batch, running into a new segment if it does not fit into the last.
    ///
    /// # Errors
    /// `StorageFull` when there is no room for another segment: nothing has changed then. Otherwise the disk's.
    pub(super) fn place(&mut self, batch: &Batch) -> io::Result<(Arc<Segment>, u64)> {
        if let Some(last) = self.segments.back().filter(|_| self.appendable)
            && batch.end(self.end) <= last.capacity
        {
            return Ok((last.clone(), self.end));
        }
        let start = SEGMENT_HEADER_BYTES as u64;
        let spare = self.pool.take(batch.end(start))?;
        self.previous = match self.segments.back() {
            Some(last) => Link { sequence: last.sequence, end: self.end },
            None => Link::default(),
        };
        let segment = Segment::new(self.next_sequence, spare.name, spare.file, spare.bytes);
        self.next_sequence += 1;
        self.segments.push_back(segment.clone());
        self.appendable = true;
        self.end = start;
        Ok((segment, start))
    }

    /// The end of the segment before the one being written.
    pub(super) fn previous(&self) -> Link {
        self.previous
    }

    /// Notes that the last segment is written and synced up to `end`.
    pub(super) fn advance(&mut self, end: u64) {
        self.end = end;
    }

    /// How many of the oldest segments hold no entry that a restart needs. Never all of them.
    pub(super) fn dead_prefix(&self) -> usize {
        let but_last = self.segments.len().saturating_sub(1);
        self.segments.iter().take(but_last).take_while(|segment| !segment.has_live_entries()).count()
    }

    /// The sequence number of the segment that comes after `skipped` others.
    pub(super) fn sequence_after(&self, skipped: usize) -> Option<u64> {
        self.segments.get(skipped).map(|segment| segment.sequence)
    }

    /// Whether moving the oldest entries forward would free more than it costs: more segments than `max`, less
    /// than half of their bytes live. Answers with the oldest segment's sequence number.
    pub(super) fn to_be_moved(&self, max: usize) -> Option<u64> {
        if self.segments.len() <= max {
            return None;
        }
        let live: u64 = self.segments.iter().map(|segment| segment.live_bytes()).sum();
        let all: u64 = self.segments.iter().map(|segment| segment.capacity).sum();
        if live < all / 2 { self.sequence_after(0) } else { None }
    }

    /// Gives the oldest segments up. REQUIRES: a synced batch says that they are not needed.
    pub(super) fn recycle(&mut self, count: usize) {
        for segment in self.segments.drain(..count) {
            assert!(!segment.has_live_entries(), "log_recycles_dead: a segment with live entries was given up");
            let Segment { name, file, capacity, .. } = &*segment;
            self.pool.give(Spare { name: name.clone(), file: file.clone(), bytes: *capacity });
        }
    }

    pub(super) fn len(&self) -> usize {
        self.segments.len()
    }

    pub(super) fn spares(&self) -> usize {
        self.pool.len()
    }
}
