//! How the log lies on the disk.
//!
//! ```text
//!   segment   header (one page) │ batch │ batch │ … │ what a former incarnation left
//!   batch     header (64 bytes) │ record │ record │ … │ zeros up to the next sector
//!   record    length │ crc32c │ kind │ group │ fields
//! ```
//!
//! Numbers are little-endian. A checksum covers the segment's sequence number, which no two incarnations of a
//! file share, and the place in the segment: what a recycled file held before never passes for the present.
//! A batch is written only after the batch before it was synced, so each header vouches for all that lies
//! before it; the first of a segment names the end of the segment before.

mod record;

pub(super) use record::Record;

use clock::mutation::{self, Mutant};

use crate::disk::SECTOR_BYTES;

/// Where the first batch of a segment begins.
pub(super) const SEGMENT_HEADER_BYTES: usize = 4096;
/// Length of a batch's header.
pub(super) const BATCH_HEADER_BYTES: usize = 64;
/// Length of a record before its kind: length and checksum.
pub(super) const RECORD_HEADER_BYTES: usize = 8;
/// The format this release reads and writes.
pub(super) const FORMAT_VERSION: u32 = 1;

const SEGMENT_MAGIC: [u8; 8] = *b"MeriWAL\n";
const BATCH_MAGIC: [u8; 4] = *b"Bat\n";

/// What a segment's first sector says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SegmentHeader {
    /// Nothing that can be read.
    Blank,
    /// A segment of another format.
    OtherVersion(u32),
    /// A segment of this sequence number.
    Sequence(u64),
}

impl SegmentHeader {
    pub(super) fn encode(sequence: u64) -> [u8; 24] {
        let mut out = [0; 24];
        out[..8].copy_from_slice(&SEGMENT_MAGIC);
        out[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[12..20].copy_from_slice(&sequence.to_le_bytes());
        let crc = crc32c::crc32c(&out[..20]);
        out[20..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> SegmentHeader {
        if bytes.len() < 24 || bytes[..8] != SEGMENT_MAGIC || crc32c::crc32c(&bytes[..20]) != u32_at(bytes, 20) {
            return SegmentHeader::Blank;
        }
        match u32_at(bytes, 8) {
            FORMAT_VERSION => SegmentHeader::Sequence(u64_at(bytes, 12)),
            other => SegmentHeader::OtherVersion(other),
        }
    }
}

/// The end of the segment that the log ran through before the present one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    /// Its sequence number; 0 for none.
    pub sequence: u64,
    /// The offset after its last batch.
    pub end: u64,
}

/// What a batch says of itself and of what lies before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchHeader {
    /// The segment it is in.
    pub sequence: u64,
    /// Where in the segment it begins.
    pub offset: u64,
    /// Bytes of its records.
    pub body_bytes: u32,
    /// The end of the segment before, all of which was synced, as was all of this segment before the batch.
    pub previous: Link,
    /// The oldest segment the log needs, once this batch is synced.
    pub oldest: u64,
}

impl BatchHeader {
    pub(super) fn encode(&self) -> [u8; BATCH_HEADER_BYTES] {
        let mut out = [0; BATCH_HEADER_BYTES];
        out[..4].copy_from_slice(&BATCH_MAGIC);
        out[8..12].copy_from_slice(&self.body_bytes.to_le_bytes());
        let numbers = [self.sequence, self.offset, self.previous.sequence, self.previous.end, self.oldest];
        for (place, number) in out[16..56].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let crc = crc32c::crc32c(&out[8..]);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// The header at `offset` of a segment's bytes, whatever incarnation it is of.
    pub(super) fn decode(segment: &[u8], offset: usize) -> Option<BatchHeader> {
        let bytes = segment.get(offset..offset.checked_add(BATCH_HEADER_BYTES)?)?;
        if bytes[..4] != BATCH_MAGIC || crc32c::crc32c(&bytes[8..]) != u32_at(bytes, 4) {
            return None;
        }
        let header = BatchHeader {
            sequence: u64_at(bytes, 16),
            offset: u64_at(bytes, 24),
            body_bytes: u32_at(bytes, 8),
            previous: Link { sequence: u64_at(bytes, 32), end: u64_at(bytes, 40) },
            oldest: u64_at(bytes, 48),
        };
        (header.offset == offset as u64).then_some(header)
    }

    /// The offset after the batch: where the next one begins.
    pub(super) fn end(&self) -> u64 {
        batch_end(self.offset, u64::from(self.body_bytes))
    }
}

/// The offset after a batch of that many bytes of records.
pub(super) fn batch_end(offset: u64, body_bytes: u64) -> u64 {
    (offset + BATCH_HEADER_BYTES as u64 + body_bytes).next_multiple_of(SECTOR_BYTES as u64)
}

/// The checksum of a record, given without its length and checksum, at a place in a segment.
pub(super) fn record_crc(sequence: u64, offset: u64, record: &[u8]) -> u32 {
    let mut place = [0; 16];
    place[..8].copy_from_slice(&sequence.to_le_bytes());
    place[8..].copy_from_slice(&offset.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&place), record)
}

/// The record at `at` of these bytes, which is at `offset` of its segment; `None` if there is none that passes.
pub(super) fn checked_record(bytes: &[u8], sequence: u64, at: usize, offset: u64) -> Option<&[u8]> {
    let header = bytes.get(at..at.checked_add(RECORD_HEADER_BYTES)?)?;
    let len = usize::try_from(u32_at(header, 0)).ok()?;
    let start = at + RECORD_HEADER_BYTES;
    let record = bytes.get(start..start.checked_add(len)?)?;
    let passes = record_crc(sequence, offset, record) == u32_at(header, 4);
    (passes || mutation::is(Mutant::TornTailKept)).then_some(record)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
