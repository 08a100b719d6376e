//! Everything a range replicates, as spans of the engine: what a snapshot copies, and a check compares.
//!
//! ```text
//!   \x01 i <range> …      by ID, less what is the replica's own (record, tombstone, leftover, staging)
//!   \x01 k start … end    by key: descriptor, transaction records
//!   start … end           versions and intents
//! ```

use bytes::Bytes;

use crate::descriptor::RangeDescriptor;
use crate::keys::{self, RangeLocal};
use crate::mvcc;

/// An engine span `[start, end)`; an empty end is the end of the keyspace.
pub(crate) type EngineSpan = (Bytes, Bytes);

/// What is kept under the range's ID.
pub(crate) fn id_span(range_id: u64) -> EngineSpan {
    keys::range_id_span(range_id)
}

/// What is kept by key. Empty for a replica that has no bounds yet.
pub(crate) fn key_spans(descriptor: &RangeDescriptor) -> Vec<EngineSpan> {
    if descriptor.replicas.is_empty() {
        return Vec::new();
    }
    let (start, end) = mvcc::key::span(&descriptor.start, &descriptor.end);
    vec![keys::key_local_span(&descriptor.start, &descriptor.end), (start.into(), end.into())]
}

/// Whether a key under the range's ID belongs to the replica, not to the range.
pub(crate) fn is_own(key: &[u8]) -> bool {
    let own = [RangeLocal::Replica, RangeLocal::Removed, RangeLocal::Leftover, RangeLocal::Staging];
    let own = own.map(|what| what as u8);
    keys::decode_range_local(key).is_some_and(|(_, rest)| rest.first().is_some_and(|what| own.contains(what)))
}
