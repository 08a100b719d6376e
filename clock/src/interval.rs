//! A clock reading with its uncertainty.

use std::time::Duration;

/// An interval that contains true time, both ends inclusive, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval {
    /// True time is not before this.
    pub earliest_ns: u64,
    /// True time is not after this.
    pub latest_ns: u64,
}

impl Interval {
    /// The interval of the given half width around a reading.
    pub fn around(reading_ns: u64, error: Duration) -> Self {
        let error_ns = u64::try_from(error.as_nanos()).unwrap_or(u64::MAX);
        Interval { earliest_ns: reading_ns.saturating_sub(error_ns), latest_ns: reading_ns.saturating_add(error_ns) }
    }
}
