//! Where the catalog lies in the keyspace: below `\x03q`, among the system's own data.
//!
//! What changes by itself lies behind what transactions read and change: whoever remembers to have read several of the latter as one
//! span does not take in the former, which would be new at every look.

use bytes::Bytes;

use super::CatalogPart;

const PREFIX: &[u8] = b"\x03q";

fn key(kind: u8, suffix: &[u8]) -> Bytes {
    let mut key = Vec::with_capacity(PREFIX.len() + 1 + suffix.len());
    key.extend_from_slice(PREFIX);
    key.push(kind);
    key.extend_from_slice(suffix);
    Bytes::from(key)
}

/// The catalog version: a big-endian `u64`.
pub(crate) fn version_key() -> Bytes {
    key(b'v', &[])
}

/// What transactions that change a part of the catalog take turns by: holds the version that the last one made.
pub(crate) fn guard_key(part: CatalogPart) -> Bytes {
    let id = match part {
        CatalogPart::Databases => 0,
        CatalogPart::Database(id) => id,
    };
    key(b'g', &id.to_be_bytes())
}

/// The counter of IDs, counted from [`super::FIRST_USER_ID`].
pub(crate) fn id_counter_key() -> Bytes {
    key(b'w', &[])
}

/// A descriptor.
pub(crate) fn descriptor_key(id: u32) -> Bytes {
    key(b'd', &id.to_be_bytes())
}

/// The span of all descriptors, `[start, end)`.
pub(crate) fn descriptor_span() -> (Bytes, Bytes) {
    (key(b'd', &[]), key(b'e', &[]))
}

/// A node's lease.
pub(crate) fn lease_key(node: u64) -> Bytes {
    key(b'x', &node.to_be_bytes())
}

/// The span of all leases, `[start, end)`.
pub(crate) fn lease_span() -> (Bytes, Bytes) {
    (key(b'x', &[]), key(b'y', &[]))
}

/// A sequence's counter: a big-endian `i64`, the number of values handed out.
pub(crate) fn sequence_key(id: u32) -> Bytes {
    key(b'y', &id.to_be_bytes())
}

/// What a key of the catalog is for.
pub(crate) enum Kind {
    Version,
    /// With the ID of the database; 0 for which databases there are.
    Guard(u32),
    Descriptor(u32),
    Sequence(u32),
}

/// What a key is for, if it is one of the catalog that transactions meet each other at.
pub(crate) fn kind_of(key: &[u8]) -> Option<Kind> {
    let [kind, suffix @ ..] = key.strip_prefix(PREFIX)? else { return None };
    let id = || suffix.try_into().ok().map(u32::from_be_bytes);
    match kind {
        b'v' => Some(Kind::Version),
        b'g' => id().map(Kind::Guard),
        b'd' => id().map(Kind::Descriptor),
        b'y' => id().map(Kind::Sequence),
        _ => None,
    }
}
