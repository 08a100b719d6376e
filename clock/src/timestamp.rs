//! A hybrid logical timestamp: nanoseconds of wall time, then a counter that breaks ties.

use std::fmt;

/// A point in the cluster's total order of events.
///
/// `wall_ns` is nanoseconds since the Unix epoch; `logical` orders events of the same nanosecond.
/// Ordering is lexicographic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Message)]
pub struct Timestamp {
    /// Nanoseconds since the Unix epoch.
    #[prost(fixed64, tag = "1")]
    pub wall_ns: u64,
    /// Tie breaker within one nanosecond.
    #[prost(uint32, tag = "2")]
    pub logical: u32,
}

impl Timestamp {
    /// Below every timestamp a clock issues; also "none".
    pub const MIN: Timestamp = Timestamp { wall_ns: 0, logical: 0 };
    /// Above every timestamp a clock issues.
    pub const MAX: Timestamp = Timestamp { wall_ns: u64::MAX, logical: u32::MAX };
    /// Bytes of the fixed-width encoding.
    pub const ENCODED_LEN: usize = 12;

    /// A timestamp from its parts.
    pub const fn new(wall_ns: u64, logical: u32) -> Self {
        Timestamp { wall_ns, logical }
    }

    /// The next timestamp in the total order. `MAX` has none and stays.
    #[must_use]
    pub const fn next(self) -> Self {
        match self.logical.checked_add(1) {
            Some(logical) => Timestamp { wall_ns: self.wall_ns, logical },
            None if self.wall_ns == u64::MAX => self,
            None => Timestamp { wall_ns: self.wall_ns + 1, logical: 0 },
        }
    }

    /// The previous timestamp in the total order. `MIN` has none and stays.
    #[must_use]
    pub const fn prev(self) -> Self {
        match self.logical.checked_sub(1) {
            Some(logical) => Timestamp { wall_ns: self.wall_ns, logical },
            None if self.wall_ns == 0 => self,
            None => Timestamp { wall_ns: self.wall_ns - 1, logical: u32::MAX },
        }
    }

    /// Whether this is the "none" value.
    pub const fn is_min(self) -> bool {
        self.wall_ns == 0 && self.logical == 0
    }

    /// This timestamp moved later by a duration, saturating.
    #[must_use]
    pub fn plus(self, duration: std::time::Duration) -> Self {
        let wall_ns = self.wall_ns.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
        Timestamp { wall_ns, logical: self.logical }
    }

    /// This timestamp moved earlier by a duration, saturating.
    #[must_use]
    pub fn minus(self, duration: std::time::Duration) -> Self {
        let wall_ns = self.wall_ns.saturating_sub(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
        Timestamp { wall_ns, logical: self.logical }
    }

    /// Big-endian, so that byte order is time order.
    pub fn to_bytes(self) -> [u8; Self::ENCODED_LEN] {
        let mut out = [0; Self::ENCODED_LEN];
        out[..8].copy_from_slice(&self.wall_ns.to_be_bytes());
        out[8..].copy_from_slice(&self.logical.to_be_bytes());
        out
    }

    /// The inverse of [`Timestamp::to_bytes`].
    pub fn from_bytes(bytes: [u8; Self::ENCODED_LEN]) -> Self {
        let (wall, logical) = bytes.split_at(8);
        Timestamp {
            wall_ns: u64::from_be_bytes(wall.try_into().expect("the split is at eight bytes")),
            logical: u32::from_be_bytes(logical.try_into().expect("four bytes remain")),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09},{}", self.wall_ns / 1_000_000_000, self.wall_ns % 1_000_000_000, self.logical)
    }
}
