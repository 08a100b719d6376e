//! Changes of the range itself: split, lease transfer, replicas.

use bytes::Bytes;
use prost::Message;

use super::propose::Fate;
use super::{Replica, invalid};
use crate::api::*;
use crate::command::{Command, DescriptorChange, Split, Trigger};
use crate::concurrency::latches::{LatchAccess, LatchSpan};
use crate::descriptor::RangeDescriptor;
use crate::keys;
use crate::mvcc;

/// The counter that range IDs are allocated from. Its value is the newest ID in use.
pub const RANGE_ID_COUNTER: &str = "range-id";

impl Replica {
    /// Splits the range so that a new one begins at the key; 0 when one begins there already.
    pub(super) async fn split(&self, key: &Bytes) -> Result<u64, KvError> {
        let now = self.clock_now()?;
        self.lease_for(now).await?;
        self.check_split_key(key)?;
        if self.descriptor().start == *key {
            return Ok(0);
        }
        // Before any latch is taken: the counter may live in this very range.
        let right_range_id = self.allocate_range_id().await?;
        let descriptor = self.descriptor();
        let mut latches = self.latches.enter(whole(&descriptor));
        latches.ready().await;
        let held = self.lease_to_write(self.clock_now()?).await?;
        let (view, reader) = self.read_view()?;
        let descriptor = &view.descriptor;
        self.check_split_key(key)?;
        if descriptor.start == *key {
            return Ok(0);
        }
        let generation = descriptor.generation + 1;
        let left = RangeDescriptor { end: key.clone(), generation, ..descriptor.clone() };
        let right = RangeDescriptor { range_id: right_range_id, start: key.clone(), generation, ..descriptor.clone() };
        let right_stats = mvcc::compute_stats(&*reader, &right.start, &right.end)
            .map_err(|error| invalid(format!("the range cannot be read: {error}")))?;
        drop(reader);
        let trigger = Some(Trigger::Split(Split { left, right, right_stats }));
        let command = Command { trigger, ..Command::default() };
        match self.propose(command, held, latches, Vec::new()).await? {
            Fate::Applied => Ok(right_range_id),
            Fate::Rejected => Err(self.not_leaseholder(0)),
            Fate::Unknown => Err(self.ambiguous("the split was proposed, and its fate is not known")),
        }
    }

    /// Replaces the descriptor by one with the same bounds and the next generation: the replicas change. What the
    /// group's own membership needs is the caller's.
    ///
    /// # Errors
    /// `NotLeaseholder`; `RangeMismatch` when the descriptor changed since; `Ambiguous`.
    pub async fn change_descriptor(&self, expected_generation: u64, next: RangeDescriptor) -> Result<(), KvError> {
        let now = self.clock_now()?;
        self.lease_for(now).await?;
        let mut latches = self.latches.enter(vec![LatchSpan::key(
            keys::range_descriptor(&next.start),
            LatchAccess::Write(clock::Timestamp::MIN),
        )]);
        latches.ready().await;
        let held = self.lease_to_write(now).await?;
        let current = self.descriptor();
        let same_bounds = (&current.start, &current.end) == (&next.start, &next.end);
        if current.generation != expected_generation || !same_bounds || next.generation <= expected_generation {
            return Err(self.mismatch());
        }
        let trigger = Some(Trigger::Descriptor(DescriptorChange { expected_generation, descriptor: next }));
        let command = Command { trigger, ..Command::default() };
        match self.propose(command, held, latches, Vec::new()).await? {
            Fate::Applied => Ok(()),
            Fate::Rejected => Err(self.not_leaseholder(0)),
            Fate::Unknown => Err(self.ambiguous("the descriptor change was proposed, and its fate is not known")),
        }
    }

    async fn allocate_range_id(&self) -> Result<u64, KvError> {
        let increment = Increment { key: keys::counter(RANGE_ID_COUNTER), by: 1 };
        let batch =
            BatchRequest { requests: vec![RequestKind::Increment(increment).into()], ..BatchRequest::default() };
        let response = self.sender.send(batch).await?;
        match response.responses.into_iter().next().and_then(|response| response.kind) {
            // What was split off is newer than what it was split off from.
            Some(ResponseKind::Counter(Counter { value })) if value > self.range_id().cast_signed() => {
                Ok(value.unsigned_abs())
            }
            other => Err(invalid(format!("the counter of range IDs answered {other:?}"))),
        }
    }

    fn check_split_key(&self, key: &Bytes) -> Result<(), KvError> {
        if self.descriptor().contains(key) { Ok(()) } else { Err(self.mismatch()) }
    }

    pub(super) fn mismatch(&self) -> KvError {
        let view = self.view.read().clone();
        let mut descriptors = vec![view.descriptor.clone()];
        descriptors.extend(view.split_off.iter().cloned());
        KvError::RangeMismatch(error_detail::RangeMismatch { descriptors })
    }

    pub(super) fn ambiguous(&self, message: &str) -> KvError {
        KvError::Ambiguous(error_detail::Ended { message: message.to_owned(), other: None })
    }

    /// A checksum of the range's replicated data, for `replica_equality`: the same on every replica that applied the same
    /// entries. With the index it is of.
    ///
    /// # Errors
    /// When the engine fails.
    pub fn checksum(&self) -> Result<(u64, u32), super::ReplicaError> {
        let (state, reader) = self.snapshot()?;
        let (start, end) = (&state.descriptor.start, &state.descriptor.end);
        let mut crc = 0;
        let (data_start, data_end) = mvcc::key::span(start, end);
        let (local_start, local_end) = keys::key_local_span(start, end);
        for (from, to) in [(&local_start[..], &local_end[..]), (&data_start[..], &data_end[..])] {
            let mut cursor = reader.cursor(from, to, false);
            while cursor.advance()? {
                crc = crc32c::crc32c_append(crc, cursor.key());
                crc = crc32c::crc32c_append(crc, cursor.value());
            }
        }
        for message in [state.stats.encode_to_vec(), state.gc_threshold.encode_to_vec()] {
            crc = crc32c::crc32c_append(crc, &message);
        }
        Ok((state.applied.last_applied.map_or(0, |position| position.index), crc))
    }
}

/// Everything of a range: no writer beside, while readers go on.
fn whole(descriptor: &RangeDescriptor) -> Vec<LatchSpan> {
    let access = LatchAccess::Write(clock::Timestamp::MAX);
    let (start, end) = keys::key_local_span(&descriptor.start, &descriptor.end);
    vec![LatchSpan::span(descriptor.start.clone(), descriptor.end.clone(), access), LatchSpan::span(start, end, access)]
}
