//! What one segment file holds.

use crate::disk::SECTOR_BYTES;
use crate::wal::format::{
    BATCH_HEADER_BYTES, BatchHeader, Link, RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES, SegmentHeader, checked_record,
};

/// What a scan of a file found.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Its incarnation; 0 if its header cannot be read.
    pub sequence: u64,
    /// The offset after the last good batch of this incarnation, those before it being good too.
    pub end: u64,
    /// Where the last good batch begins, with the segment's header if it is the first.
    pub last_write: u64,
    /// Where a later header of this incarnation passes: it vouches for what fails at `end`.
    pub later_header: Option<u64>,
    /// From the first good batch: the end of the segment before.
    pub previous: Link,
    /// From the last good batch: the oldest segment needed; 0 if there is no good batch.
    pub oldest: u64,
    /// The highest sequence number that was ever begun in the file.
    pub highest_sequence: u64,
    /// With a header that cannot be read: the incarnation of a batch that vouches for the header.
    pub headless_sequence: Option<u64>,
}

impl Scan {
    /// Whether something in this incarnation was written whole.
    pub(super) fn has_batches(&self) -> bool {
        self.oldest > 0 || self.later_header.is_some()
    }
}

/// Scans a file.
///
/// # Errors
/// The format version, if it is not ours.
pub(super) fn scan(bytes: &[u8]) -> Result<Scan, u32> {
    let first = BatchHeader::decode(bytes, SEGMENT_HEADER_BYTES);
    let begun = first.map_or(0, |header| header.sequence);
    match SegmentHeader::decode(bytes) {
        SegmentHeader::OtherVersion(version) => Err(version),
        SegmentHeader::Blank => {
            let headless_sequence = later_headers(bytes, SEGMENT_HEADER_BYTES).map(|header| header.sequence).max();
            let highest_sequence = begun.max(headless_sequence.unwrap_or(0));
            Ok(Scan { headless_sequence, highest_sequence, ..Scan::default() })
        }
        SegmentHeader::Sequence(sequence) => {
            let mut scan = scan_incarnation(bytes, sequence);
            scan.highest_sequence = begun.max(sequence);
            Ok(scan)
        }
    }
}

fn scan_incarnation(bytes: &[u8], sequence: u64) -> Scan {
    let mut scan = Scan { sequence, end: SEGMENT_HEADER_BYTES as u64, ..Scan::default() };
    let mut offset = SEGMENT_HEADER_BYTES;
    while let Some(header) = good_batch(bytes, sequence, offset) {
        if scan.oldest == 0 {
            scan.previous = header.previous;
        }
        scan.oldest = header.oldest;
        scan.end = header.end();
        scan.last_write = if offset == SEGMENT_HEADER_BYTES { 0 } else { header.offset };
        offset = usize::try_from(scan.end).expect("a batch ends within the file");
    }
    scan.later_header =
        later_headers(bytes, offset).find(|header| header.sequence == sequence).map(|header| header.offset);
    scan
}

/// The headers, of whatever incarnation, in the sectors after the one at `offset`.
fn later_headers(bytes: &[u8], offset: usize) -> impl Iterator<Item = BatchHeader> {
    (offset + SECTOR_BYTES..bytes.len()).step_by(SECTOR_BYTES).filter_map(|at| BatchHeader::decode(bytes, at))
}

/// The header of the batch at `offset`, if all of the batch passes.
fn good_batch(bytes: &[u8], sequence: u64, offset: usize) -> Option<BatchHeader> {
    let header = BatchHeader::decode(bytes, offset).filter(|header| header.sequence == sequence)?;
    if header.end() > bytes.len() as u64 {
        return None;
    }
    let end = offset + BATCH_HEADER_BYTES + header.body_bytes as usize;
    let mut at = offset + BATCH_HEADER_BYTES;
    while at < end {
        at += RECORD_HEADER_BYTES + checked_record(&bytes[..end], sequence, at, at as u64)?.len();
    }
    Some(header)
}
