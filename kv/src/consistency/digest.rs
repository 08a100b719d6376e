//! Digests of what a replica holds, and of its pieces.

use bytes::Bytes;
use prost::Message;

use crate::descriptor::RangeDescriptor;
use crate::engine::{EngineError, Reader};
use crate::mvcc::key;
use crate::replica::extent::{self, EngineSpan};

/// Bytes of a value that are told to people.
const SHOWN_BYTES: usize = 48;

/// A checksum of entries in their order, with their number and size.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Message)]
pub struct Digest {
    /// CRC32-C of keys and values, each after its length.
    #[prost(fixed32, tag = "1")]
    pub crc: u32,
    /// How many.
    #[prost(uint64, tag = "2")]
    pub entries: u64,
    /// Bytes of keys and values.
    #[prost(uint64, tag = "3")]
    pub bytes: u64,
}

impl Digest {
    /// One more entry.
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        for part in [key, value] {
            self.crc = crc32c::crc32c_append(self.crc, &(part.len() as u64).to_le_bytes());
            self.crc = crc32c::crc32c_append(self.crc, part);
            self.bytes += part.len() as u64;
        }
        self.entries += 1;
    }
}

/// One entry, without the whole of its value.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Entry {
    /// The engine's key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// Bytes of the value.
    #[prost(uint64, tag = "2")]
    pub value_bytes: u64,
    /// Its CRC32-C.
    #[prost(fixed32, tag = "3")]
    pub value_crc: u32,
    /// How it begins.
    #[prost(bytes = "bytes", tag = "4")]
    pub value_begin: Bytes,
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let more = if self.value_bytes > self.value_begin.len() as u64 { "…" } else { "" };
        let begin = self.value_begin.escape_ascii();
        write!(f, "{}: {} bytes, crc {:08x}: {begin}{more}", describe_key(&self.key), self.value_bytes, self.value_crc)
    }
}

/// What lies between two keys of the engine.
#[derive(Clone, PartialEq, Message)]
pub struct Piece {
    /// Of all of it.
    #[prost(message, required, tag = "1")]
    pub digest: Digest,
    /// Where to go on; `None` at the end.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub next: Option<Bytes>,
    /// Its entries, if they were asked for.
    #[prost(message, repeated, tag = "3")]
    pub entries: Vec<Entry>,
}

/// A walk over what a range replicates, in the order of the engine's keys.
pub struct Walk {
    /// Where to go on; `None` at the end.
    position: Option<Bytes>,
    spans: Vec<EngineSpan>,
}

impl Walk {
    /// Over all of it, or what of it lies in `[start, end)` of the engine's keys; an empty end is the end.
    pub fn over(descriptor: &RangeDescriptor, start: Bytes, end: &[u8]) -> Self {
        let mut spans = vec![extent::id_span(descriptor.range_id)];
        spans.extend(extent::key_spans(descriptor));
        if !end.is_empty() {
            for span in &mut spans {
                if span.1.is_empty() || &span.1[..] > end {
                    span.1 = Bytes::copy_from_slice(end);
                }
            }
        }
        Walk { position: Some(start), spans }
    }

    /// Hands on the next entries, about so many bytes of them and no more than so many; whether there are more.
    ///
    /// # Errors
    /// When the engine fails.
    pub fn step(
        &mut self,
        reader: &dyn Reader,
        max: (u64, u64),
        mut take: impl FnMut(&[u8], &[u8]),
    ) -> Result<bool, EngineError> {
        let Some(start) = self.position.take() else { return Ok(false) };
        let (mut entries, mut bytes) = (0, 0);
        for (from, to) in &self.spans {
            let from = from.max(&start);
            if !to.is_empty() && from >= to {
                continue;
            }
            let mut cursor = reader.cursor(from, to, false);
            while cursor.advance()? {
                if entries >= max.0 || bytes >= max.1 {
                    self.position = Some(Bytes::copy_from_slice(cursor.key()));
                    return Ok(true);
                }
                // What is passed over costs as much as what is not.
                entries += 1;
                bytes += (cursor.key().len() + cursor.value().len()) as u64;
                if !extent::is_own(cursor.key()) {
                    take(cursor.key(), cursor.value());
                }
            }
        }
        Ok(false)
    }

    /// Where it goes on; `None` at the end.
    pub fn position(&self) -> Option<&Bytes> {
        self.position.as_ref()
    }
}

impl Piece {
    /// What lies in `[start, end)`, up to about so many entries and bytes; with the entries, if they are wanted.
    ///
    /// # Errors
    /// When the engine fails.
    pub fn read(
        reader: &dyn Reader,
        descriptor: &RangeDescriptor,
        (start, end): (Bytes, &[u8]),
        max: (u64, u64),
        with_entries: bool,
    ) -> Result<Piece, EngineError> {
        let mut walk = Walk::over(descriptor, start, end);
        let (mut digest, mut entries) = (Digest::default(), Vec::new());
        walk.step(reader, max, |key, value| {
            digest.add(key, value);
            if with_entries {
                entries.push(Entry {
                    key: Bytes::copy_from_slice(key),
                    value_bytes: value.len() as u64,
                    value_crc: crc32c::crc32c(value),
                    value_begin: Bytes::copy_from_slice(&value[..value.len().min(SHOWN_BYTES)]),
                });
            }
        })?;
        Ok(Piece { digest, next: walk.position, entries })
    }
}

/// The first key of the engine that the two do not have alike, as far as both go.
pub fn differing(one: &Piece, other: &Piece) -> Option<Bytes> {
    let differ = one.entries.iter().zip(&other.entries).find(|(a, b)| a != b).map(|(a, b)| (&a.key).min(&b.key));
    let longer = || {
        let (short, long) = if one.entries.len() < other.entries.len() { (one, other) } else { (other, one) };
        let key = &long.entries.get(short.entries.len())?.key;
        // What the shorter one was not asked for is not missing from it.
        short.next.as_ref().is_none_or(|next| key < next).then_some(key)
    };
    differ.or_else(longer).cloned()
}

/// A key of the engine in words.
pub fn describe_key(engine_key: &[u8]) -> String {
    match key::decode(engine_key) {
        _ if engine_key.first() == Some(&crate::keys::LOCAL) => format!("local key {}", engine_key.escape_ascii()),
        Ok((user, Some(at))) => format!("version {at} of key {}", user.escape_ascii()),
        Ok((user, None)) => format!("intent of key {}", user.escape_ascii()),
        Err(_) => format!("key {}", engine_key.escape_ascii()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, MemoryEngine, WriteBatch};
    use crate::keys::{self, RangeLocal};
    use crate::replica::first_range_state;

    fn engine_with(rows: &[(&str, &str)]) -> (MemoryEngine, RangeDescriptor) {
        let engine = MemoryEngine::new();
        let state = first_range_state(1, &[1]);
        let mut batch = WriteBatch::new();
        state.write_all(1, &mut batch);
        for (name, value) in rows {
            let key = key::version(&[&[keys::TABLE][..], name.as_bytes()].concat(), clock::Timestamp::new(7, 0));
            batch.put(key, value.to_string());
        }
        engine.write(batch).expect("memory takes it");
        (engine, state.descriptor)
    }

    fn whole(engine: &MemoryEngine, descriptor: &RangeDescriptor, entries_max: u64) -> Digest {
        let (mut walk, mut digest, reader) =
            (Walk::over(descriptor, Bytes::new(), &[]), Digest::default(), engine.snapshot());
        while walk.step(&*reader, (entries_max, u64::MAX), |key, value| digest.add(key, value)).expect("readable") {}
        digest
    }

    #[test]
    fn pieces_add_up_to_the_whole_whatever_their_size() {
        let rows: Vec<(String, String)> = (0..50).map(|row| (format!("{row:03}"), format!("value {row}"))).collect();
        let rows: Vec<(&str, &str)> = rows.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        let (engine, descriptor) = engine_with(&rows);
        let digest = whole(&engine, &descriptor, u64::MAX);
        assert!(digest.entries > 50, "{digest:?}: rows, and the state of the range");
        for entries_max in [1, 2, 7, 50] {
            assert_eq!(whole(&engine, &descriptor, entries_max), digest);
        }
    }

    #[test]
    fn what_is_local_to_a_replica_makes_no_difference_and_everything_else_does() {
        let (engine, descriptor) = engine_with(&[("a", "1"), ("b", "2")]);
        let digest = whole(&engine, &descriptor, u64::MAX);
        let with = |change: &dyn Fn(&mut WriteBatch)| {
            let (engine, descriptor) = engine_with(&[("a", "1"), ("b", "2")]);
            let mut batch = WriteBatch::new();
            change(&mut batch);
            engine.write(batch).expect("memory takes it");
            whole(&engine, &descriptor, u64::MAX)
        };
        for local in [RangeLocal::Removed, RangeLocal::Leftover, RangeLocal::Staging] {
            assert_eq!(with(&|batch| batch.put(keys::range_local(1, local), "own")), digest, "{local:?}");
        }
        assert_eq!(with(&|batch| batch.put(keys::range_local(2, RangeLocal::Lease), "another range's")), digest);
        for replicated in [RangeLocal::Lease, RangeLocal::Stats, RangeLocal::GcThreshold, RangeLocal::AppliedState] {
            assert_ne!(with(&|batch| batch.put(keys::range_local(1, replicated), "other")), digest, "{replicated:?}");
        }
        assert_ne!(
            with(&|batch| batch.put(keys::txn_record(b"\x04a", crate::api::TxnId::default()), "record")),
            digest
        );
        assert_ne!(with(&|batch| batch.put(key::prefix(b"\x04a"), "intent")), digest);
    }

    #[test]
    fn the_first_difference_is_found_between_what_both_were_asked_for() {
        let list = |rows: &[(&str, &str)], max| {
            let (engine, descriptor) = engine_with(rows);
            Piece::read(&*engine.snapshot(), &descriptor, (Bytes::from_static(b"\x02"), &[]), (max, u64::MAX), true)
                .expect("readable")
        };
        let all = [("a", "1"), ("b", "2"), ("c", "3")];
        let key_of =
            |name: &str| describe_key(&key::version(format!("\x04{name}").as_bytes(), clock::Timestamp::new(7, 0)));
        let found =
            |rows: &[(&str, &str)], max| differing(&list(&all, max), &list(rows, max)).map(|key| describe_key(&key));
        assert_eq!(found(&all, 10), None);
        assert_eq!(found(&[("a", "1"), ("b", "9"), ("c", "3")], 10), Some(key_of("b")), "another value");
        assert_eq!(found(&[("a", "1"), ("c", "3")], 10), Some(key_of("b")), "a key is missing");
        assert_eq!(found(&[("a", "1"), ("b", "2")], 10), Some(key_of("c")), "the last one is missing");
        assert_eq!(found(&[("a", "1"), ("aa", "0"), ("b", "2"), ("c", "3")], 10), Some(key_of("aa")), "one too many");
        assert_eq!(differing(&list(&all, 10), &list(&all, 2)), None, "what was not asked for is not missing");
    }
}
