//! Who a request acts for.

use std::fmt;

use bytes::Bytes;
use clock::Timestamp;

/// A transaction's identity: random, unique, never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Message)]
pub struct TxnId {
    /// The upper 64 bits.
    #[prost(fixed64, tag = "1")]
    pub high: u64,
    /// The lower 64 bits.
    #[prost(fixed64, tag = "2")]
    pub low: u64,
}

impl TxnId {
    /// An identity from 128 random bits.
    pub fn from_random(bits: u128) -> Self {
        TxnId { high: (bits >> 64) as u64, low: bits as u64 }
    }

    /// The identity as 16 bytes.
    pub fn to_bytes(self) -> [u8; 16] {
        ((u128::from(self.high) << 64) | u128::from(self.low)).to_be_bytes()
    }

    /// The inverse of [`TxnId::to_bytes`].
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        TxnId::from_random(u128::from_be_bytes(bytes))
    }
}

impl fmt::Display for TxnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.high, self.low)
    }
}

/// What every request of a transaction carries about it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TxnMeta {
    /// Identity.
    #[prost(message, required, tag = "1")]
    pub id: TxnId,
    /// The key its record is anchored at: the first key it wrote or locked. Empty until there is one.
    #[prost(bytes = "bytes", tag = "2")]
    pub anchor: Bytes,
    /// Restart count. Intents of a lower epoch are void.
    #[prost(uint32, tag = "3")]
    pub epoch: u32,
    /// Decides who yields in a conflict or deadlock: the lower one does.
    #[prost(uint32, tag = "4")]
    pub priority: u32,
    /// The snapshot it reads.
    #[prost(message, required, tag = "5")]
    pub read_timestamp: Timestamp,
    /// Where its writes stand at present; at or above `read_timestamp`.
    #[prost(message, required, tag = "6")]
    pub write_timestamp: Timestamp,
    /// Upper end (inclusive) of its uncertainty interval; fixed at its first snapshot.
    #[prost(message, required, tag = "7")]
    pub uncertainty_limit: Timestamp,
    /// When it began, by its gateway's clock.
    #[prost(message, required, tag = "8")]
    pub begin_timestamp: Timestamp,
    /// It gives up commit wait: its versions and intents are marked, and readers take them as uncertain.
    #[prost(bool, tag = "9")]
    pub relaxed: bool,
    /// The newest sequence number it has issued; a read sees its own writes at or below it.
    #[prost(uint32, tag = "10")]
    pub sequence: u32,
    /// The node whose gateway coordinates it.
    #[prost(uint64, tag = "11")]
    pub gateway: u64,
    /// Its writes that do not count, being rolled back to a savepoint: in order, apart from each other.
    #[prost(message, repeated, tag = "12")]
    pub ignored: Vec<SequenceSpan>,
    /// When it first asked for a lock or an intent, by its gateway's clock: nobody can have ended it before. `None` while it holds
    /// nothing, and in intents, which need not say so.
    #[prost(message, optional, tag = "13")]
    pub held_since: Option<Timestamp>,
}

/// Sequence numbers of writes, of one transaction in one epoch.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct SequenceSpan {
    /// They lie above it.
    #[prost(uint32, tag = "1")]
    pub above: u32,
    /// The last one.
    #[prost(uint32, tag = "2")]
    pub through: u32,
}

impl SequenceSpan {
    /// Whether the write of that number is among them.
    pub fn contains(&self, sequence: u32) -> bool {
        self.above < sequence && sequence <= self.through
    }
}

/// Where a transaction stands, as its record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum TxnStatus {
    /// It may still do anything.
    Pending = 0,
    /// Its commit is on the way: committed if every write it lists is present.
    Staging = 1,
    /// It happened.
    Committed = 2,
    /// It did not, and never will.
    Aborted = 3,
}

/// What a read takes besides the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum LockStrength {
    /// Nothing.
    None = 0,
    /// An unreplicated exclusive lock, held at the leaseholder until the transaction ends.
    Exclusive = 1,
}
