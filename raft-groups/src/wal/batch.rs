//! A batch being put together: the records of many groups, to be written at once and synced once.

use super::format::{
    BATCH_HEADER_BYTES, BatchHeader, Link, RECORD_HEADER_BYTES, Record, SEGMENT_HEADER_BYTES, SegmentHeader, batch_end,
    record_crc,
};
use super::segment::Segment;

/// A batch's bytes, with room before them for the header of a new segment. Reused from batch to batch.
pub(super) struct Batch {
    /// Room for a segment header, room for the batch header, then the records.
    bytes: Vec<u8>,
    /// Where in `bytes` each record begins.
    records: Vec<usize>,
}

const BODY_AT: usize = SEGMENT_HEADER_BYTES + BATCH_HEADER_BYTES;
/// A buffer grown beyond this by one large batch is not kept.
const KEPT_BYTES: usize = 16 << 20;

impl Batch {
    pub(super) fn new() -> Batch {
        Batch { bytes: vec![0; BODY_AT], records: Vec::new() }
    }

    pub(super) fn clear(&mut self) {
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
        self.bytes.resize(BODY_AT, 0);
        self.records.clear();
    }

    /// How many records it has; the number of the next.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Adds a record; the answer names it for [`Batch::extent`].
    pub(super) fn push(&mut self, record: Record<'_>) -> usize {
        let start = self.bytes.len();
        self.records.push(start);
        self.bytes.extend_from_slice(&[0; RECORD_HEADER_BYTES]);
        record.encode(&mut self.bytes);
        let len = self.bytes.len() - start - RECORD_HEADER_BYTES;
        let len = u32::try_from(len).expect("a record is far smaller than 4 GiB");
        self.bytes[start..start + 4].copy_from_slice(&len.to_le_bytes());
        self.records.len() - 1
    }

    fn body_bytes(&self) -> u64 {
        (self.bytes.len() - BODY_AT) as u64
    }

    /// The offset after this batch, were it written at `offset`.
    pub(super) fn end(&self, offset: u64) -> u64 {
        batch_end(offset, self.body_bytes())
    }

    /// Computes headers and checksums for its place in the log. A batch at the start of a segment carries the
    /// segment's header. Answers with the offset to write at and the bytes to write.
    pub(super) fn seal(&mut self, segment: &Segment, offset: u64, previous: Link, oldest: u64) -> (u64, &[u8]) {
        let body_bytes = u32::try_from(self.body_bytes()).expect("a batch is far smaller than 4 GiB");
        let header = BatchHeader { sequence: segment.sequence, offset, body_bytes, previous, oldest };
        for index in 0..self.records.len() {
            let (start, len) = self.extent_in_bytes(index);
            let place = offset + (start - SEGMENT_HEADER_BYTES) as u64;
            let crc = record_crc(segment.sequence, place, &self.bytes[start + RECORD_HEADER_BYTES..start + len]);
            self.bytes[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
        }
        self.bytes[SEGMENT_HEADER_BYTES..BODY_AT].copy_from_slice(&header.encode());
        self.bytes.resize(SEGMENT_HEADER_BYTES + (header.end() - offset) as usize, 0);
        if offset == SEGMENT_HEADER_BYTES as u64 {
            let head = SegmentHeader::encode(segment.sequence);
            self.bytes[..head.len()].copy_from_slice(&head);
            (0, &self.bytes)
        } else {
            (offset, &self.bytes[SEGMENT_HEADER_BYTES..])
        }
    }

    /// The offset after this batch, written at `offset`. REQUIRES: the batch was sealed.
    pub(super) fn end_when_sealed(&self, offset: u64) -> u64 {
        offset + (self.bytes.len() - SEGMENT_HEADER_BYTES) as u64
    }

    /// Where a record lies in the segment, for a batch written at `offset`: its own offset and its length.
    /// REQUIRES: the batch was sealed.
    pub(super) fn extent(&self, record: usize, offset: u64) -> (u64, u32) {
        let (start, len) = self.extent_in_bytes(record);
        let len = u32::try_from(len).expect("a record is far smaller than 4 GiB");
        (offset + (start - SEGMENT_HEADER_BYTES) as u64, len)
    }

    fn extent_in_bytes(&self, record: usize) -> (usize, usize) {
        let start = self.records[record];
        let len = u32::from_le_bytes(self.bytes[start..start + 4].try_into().expect("four bytes"));
        (start, len as usize + RECORD_HEADER_BYTES)
    }
}
