//! A segment file in one incarnation, and places in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::WalError;
use super::format::{RECORD_HEADER_BYTES, Record, checked_record};
use crate::LogPosition;
use crate::disk::File;

/// A segment file, from the moment the log runs into it until it is recycled.
pub(super) struct Segment {
    /// Its incarnation: higher in every later segment of the log, never used twice.
    pub sequence: u64,
    /// The file's name.
    pub name: String,
    pub file: Arc<dyn File>,
    /// Bytes it has room for, header included.
    pub capacity: u64,
    /// Entries in it that a restart still needs.
    live_entries: AtomicU64,
    live_bytes: AtomicU64,
}

impl Segment {
    pub(super) fn new(sequence: u64, name: String, file: Arc<dyn File>, capacity: u64) -> Arc<Segment> {
        let (live_entries, live_bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Segment { sequence, name, file, capacity, live_entries, live_bytes })
    }

    pub(super) fn has_live_entries(&self) -> bool {
        self.live_entries.load(Ordering::Acquire) > 0
    }

    pub(super) fn live_bytes(&self) -> u64 {
        self.live_bytes.load(Ordering::Relaxed)
    }
}

/// Where an entry's record lies. While it exists, the segment is not recycled.
pub(super) struct Location {
    segment: Arc<Segment>,
    offset: u64,
    /// With its length and checksum.
    record_bytes: u32,
}

impl Location {
    pub(super) fn new(segment: &Arc<Segment>, offset: u64, record_bytes: u32) -> Location {
        segment.live_entries.fetch_add(1, Ordering::AcqRel);
        segment.live_bytes.fetch_add(u64::from(record_bytes), Ordering::Relaxed);
        Location { segment: segment.clone(), offset, record_bytes }
    }

    pub(super) fn sequence(&self) -> u64 {
        self.segment.sequence
    }

    pub(super) fn record_bytes(&self) -> u64 {
        u64::from(self.record_bytes)
    }

    /// Reads the entry's payload from the disk, checking it.
    pub(super) fn read(&self, expected: LogPosition) -> Result<Bytes, WalError> {
        let segment = &*self.segment;
        let mut bytes = vec![0; self.record_bytes as usize];
        segment.file.read_at(self.offset, &mut bytes).map_err(|error| WalError::io("read", &segment.name, error))?;
        let corrupt = |detail: String| WalError::Corrupt { file: segment.name.clone(), offset: self.offset, detail };
        let record = checked_record(&bytes, segment.sequence, 0, self.offset)
            .ok_or_else(|| corrupt(format!("the record of entry {expected} fails its checksum")))?;
        match Record::entry(record) {
            Some((position, at)) if position == expected => Ok(Bytes::from(bytes).slice(RECORD_HEADER_BYTES + at..)),
            _ => Err(corrupt(format!("expected the record of entry {expected}, found another"))),
        }
    }
}

impl Clone for Location {
    fn clone(&self) -> Self {
        Location::new(&self.segment, self.offset, self.record_bytes)
    }
}

impl Drop for Location {
    fn drop(&mut self) {
        self.segment.live_bytes.fetch_sub(u64::from(self.record_bytes), Ordering::Relaxed);
        self.segment.live_entries.fetch_sub(1, Ordering::AcqRel);
    }
}
