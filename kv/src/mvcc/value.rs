//! What stands in the engine under versioned keys: committed values, and intents.
//!
//! A committed value is one byte of marks, then the value itself:
//!
//! ```text
//!   bit 0   tombstone: the key is deleted, nothing follows
//!   bit 1   relaxed: written by a transaction without commit wait, hence possibly uncertain to readers
//! ```

use bytes::Bytes;
use clock::Timestamp;
use prost::Message;

use crate::api::{SequenceSpan, TxnMeta};
use crate::engine::EngineError;

const TOMBSTONE: u8 = 1;
const RELAXED: u8 = 2;

/// The engine value of a committed version.
pub(super) fn encode_version(value: Option<&[u8]>, relaxed: bool) -> Bytes {
    let mut out = Vec::with_capacity(1 + value.map_or(0, <[u8]>::len));
    out.push(if value.is_none() { TOMBSTONE } else { 0 } | if relaxed { RELAXED } else { 0 });
    out.extend_from_slice(value.unwrap_or_default());
    out.into()
}

/// A committed version as it stands in the engine.
#[derive(Clone, Copy)]
pub(super) struct VersionRef<'a> {
    marks: u8,
    value: &'a [u8],
}

impl<'a> VersionRef<'a> {
    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, EngineError> {
        match bytes.split_first() {
            Some((&marks, value)) if marks & !(TOMBSTONE | RELAXED) == 0 => Ok(VersionRef { marks, value }),
            _ => Err(EngineError::Corrupt("a version bears unknown marks".into())),
        }
    }

    pub(super) fn is_relaxed(self) -> bool {
        self.marks & RELAXED != 0
    }

    pub(super) fn is_tombstone(self) -> bool {
        self.marks & TOMBSTONE != 0
    }

    /// `None` for a tombstone.
    pub(super) fn value(self) -> Option<&'a [u8]> {
        (!self.is_tombstone()).then_some(self.value)
    }
}

/// A replicated exclusive lock with a provisional value.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Intent {
    /// Whose it is. `write_timestamp` is where the intent stands, `sequence` the number of its newest write to this key.
    #[prost(message, required, tag = "1")]
    pub txn: TxnMeta,
    /// The provisional value; `None` deletes.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub value: Option<Bytes>,
    /// What the same epoch wrote to the key before, in rising sequence.
    #[prost(message, repeated, tag = "3")]
    pub history: Vec<PastValue>,
}

/// A provisional value that was replaced by a later write of its transaction.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PastValue {
    /// The number of the write.
    #[prost(uint32, tag = "1")]
    pub sequence: u32,
    /// The value; `None` deleted.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub value: Option<Bytes>,
}

impl Intent {
    pub(super) fn decode_from(bytes: &[u8]) -> Result<Self, EngineError> {
        Intent::decode(bytes).map_err(|error| EngineError::Corrupt(format!("an intent does not decode: {error}")))
    }

    pub(super) fn write_timestamp(&self) -> Timestamp {
        self.txn.write_timestamp
    }

    /// What a reader of the same transaction sees: the newest write at or below its sequence, of its epoch, that counts. `None`
    /// when there is none, so that it sees what is committed.
    pub(super) fn own_value(&self, reader: &TxnMeta) -> Option<Option<&Bytes>> {
        if self.txn.epoch != reader.epoch {
            return None;
        }
        self.newest(reader.sequence, &reader.ignored)
    }

    /// The newest write through a sequence number that is not ignored: `None` when none of them counts.
    pub(super) fn newest(&self, through: u32, ignored: &[SequenceSpan]) -> Option<Option<&Bytes>> {
        let counts = |sequence| sequence <= through && !ignored.iter().any(|span| span.contains(sequence));
        if counts(self.txn.sequence) {
            return Some(self.value.as_ref());
        }
        self.history.iter().rev().find(|past| counts(past.sequence)).map(|past| past.value.as_ref())
    }

    /// Adds a write of the same epoch, in its place by sequence. A repeated one replaces itself.
    pub(super) fn add(&mut self, sequence: u32, value: Option<Bytes>) {
        if sequence > self.txn.sequence {
            let before = self.value.take();
            self.history.push(PastValue { sequence: self.txn.sequence, value: before });
            self.txn.sequence = sequence;
            self.value = value;
        } else if sequence == self.txn.sequence {
            self.value = value;
        } else {
            match self.history.binary_search_by_key(&sequence, |past| past.sequence) {
                Ok(at) => self.history[at].value = value,
                Err(at) => self.history.insert(at, PastValue { sequence, value }),
            }
        }
    }
}
