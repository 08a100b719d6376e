//! The seam of time: where readings of the wall clock come from.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::Interval;

/// Answers with an interval that contains true time.
pub trait TimeSource: Send + Sync + 'static {
    /// The reading now.
    fn now(&self) -> Interval;

    /// Why the readings must not be relied on any more, if so.
    fn fault(&self) -> Option<ClockFault> {
        None
    }
}

/// Why a clock must not be relied on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClockFault {
    /// Nobody keeps the clock.
    #[error("the kernel says that the clock is not synchronised: is a time daemon such as chrony running?")]
    Unsynchronised,
    /// It may be off by more than the cluster allows.
    #[error("the clock may be off by {bound_us} us, more than the maximum clock error of {limit_us} us")]
    BoundExceeded {
        /// The error bound, in microseconds.
        bound_us: u64,
        /// The bound M, in microseconds.
        limit_us: u64,
    },
    /// So many of the other clocks disagree that this one must be wrong.
    #[error(
        "{disagreeing} of the {peers} other nodes disagree with this clock beyond what the bounds allow{}: have a time daemon such as \
         chrony keep the clocks of all nodes within --clock-error of true time, or found the cluster with a larger --clock-error",
        .worst.as_ref().map(|worst| format!(" ({worst})")).unwrap_or_default()
    )]
    PeersDisagree {
        /// How many disagree.
        disagreeing: usize,
        /// How many there are.
        peers: usize,
        /// The one that is furthest off, as far as that was measured.
        worst: Option<Disagreement>,
    },
    /// The kernel does not say.
    #[error("the kernel does not say how far off the clock may be: {0}")]
    Unreadable(String),
}

/// How far another node's clock was seen to be from this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// The node.
    pub peer: u64,
    /// How far its clock is ahead of this one, in nanoseconds, negative for one that is behind; or, where one of the two refuses what
    /// the other sends, in its words.
    pub skew_ns: Result<i64, String>,
    /// How far each clock may be off true time, in nanoseconds.
    pub bound_ns: u64,
}

impl Disagreement {
    /// For comparison: what is refused is further off than what can be measured.
    pub(crate) fn magnitude_ns(&self) -> u64 {
        self.skew_ns.as_ref().map_or(u64::MAX, |skew_ns| skew_ns.unsigned_abs())
    }
}

impl std::fmt::Display for Disagreement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (ms, peer) = (|ns: u64| ns as f64 / 1e6, self.peer);
        match &self.skew_ns {
            Ok(skew_ns) => {
                let (skew, way) = (ms(skew_ns.unsigned_abs()), if *skew_ns < 0 { "behind" } else { "ahead of" });
                write!(f, "the clock of n{peer} is {skew:.1} ms {way} it")?;
            }
            Err(words) => write!(f, "between it and n{peer}: {words}")?,
        }
        write!(f, "; the bound is {:.1} ms for each clock", ms(self.bound_ns))
    }
}

/// The operating system's wall clock with a configured error bound.
#[derive(Debug)]
pub struct SystemTime {
    error: Duration,
}

impl SystemTime {
    /// A source whose readings are off by at most `error`.
    pub fn with_error(error: Duration) -> Self {
        SystemTime { error }
    }
}

impl TimeSource for SystemTime {
    #[allow(clippy::disallowed_methods, reason = "this is the seam")]
    fn now(&self) -> Interval {
        let reading = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX));
        Interval::around(reading, self.error)
    }
}

/// A simulated clock: tokio's virtual time, plus a skew that drifts and that a fault may change.
///
/// The declared error bound may be kept or broken by the skew; both are worth simulating.
#[derive(Clone, Debug)]
pub struct SimulatedTime {
    start: tokio::time::Instant,
    start_ns: u64,
    error: Duration,
    skew: Arc<Mutex<Skew>>,
    fault: Arc<Mutex<Option<ClockFault>>>,
}

/// How far a simulated clock reads from true time, and how that changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Skew {
    /// The distance now, in nanoseconds; positive for a clock that is ahead.
    pub offset_ns: i64,
    /// How fast it changes, in nanoseconds a millisecond (parts per million).
    pub drift_ppm: i64,
    /// The distance never exceeds this, in nanoseconds, either way: somebody keeps the clock that well.
    pub limit_ns: i64,
    /// True time at which `offset_ns` held.
    since_ns: u64,
}

impl Skew {
    fn at(&self, true_ns: u64) -> i64 {
        let elapsed_ms = i64::try_from(true_ns.saturating_sub(self.since_ns) / 1_000_000).unwrap_or(i64::MAX);
        let drifted = self.offset_ns.saturating_add(elapsed_ms.saturating_mul(self.drift_ppm));
        drifted.clamp(-self.limit_ns, self.limit_ns)
    }
}

impl SimulatedTime {
    /// A clock that reads `start_ns` now and advances with tokio's (virtual) time.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[allow(clippy::disallowed_methods, reason = "this is the seam; under simulation it is virtual time")]
    pub fn starting_at(start_ns: u64, error: Duration) -> Self {
        let skew = Skew { offset_ns: 0, drift_ppm: 0, limit_ns: i64::MAX, since_ns: start_ns };
        let skew = Arc::new(Mutex::new(skew));
        SimulatedTime { start: tokio::time::Instant::now(), start_ns, error, skew, fault: Arc::default() }
    }

    /// A second clock on the same true time, with its own skew.
    #[must_use]
    pub fn another(&self, skew_ns: i64) -> Self {
        let skew = Skew { offset_ns: skew_ns, drift_ppm: 0, limit_ns: i64::MAX, since_ns: self.true_ns() };
        SimulatedTime { skew: Arc::new(Mutex::new(skew)), fault: Arc::default(), ..self.clone() }
    }

    /// Sets how far this clock reads from true time, and that it stays there.
    pub fn set_skew_ns(&self, skew_ns: i64) {
        self.set_skew(skew_ns, 0, i64::MAX);
    }

    /// Sets how far this clock reads from true time, how fast that changes, and how far it may get, either way.
    pub fn set_skew(&self, offset_ns: i64, drift_ppm: i64, limit_ns: i64) {
        let limit_ns = limit_ns.max(0);
        *self.skew.lock() = Skew { offset_ns, drift_ppm, limit_ns, since_ns: self.true_ns() };
    }

    /// Sets what the source itself says of its readings: a fault, or that they are sound.
    pub fn set_fault(&self, fault: Option<ClockFault>) {
        *self.fault.lock() = fault;
    }

    /// How far this clock reads from true time now, in nanoseconds.
    pub fn skew_ns(&self) -> i64 {
        self.skew.lock().at(self.true_ns())
    }

    /// True time, which only the simulator may look at.
    #[allow(clippy::disallowed_methods, reason = "this is the seam; under simulation it is virtual time")]
    pub fn true_ns(&self) -> u64 {
        let elapsed = tokio::time::Instant::now().duration_since(self.start);
        self.start_ns + u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX)
    }
}

impl TimeSource for SimulatedTime {
    fn now(&self) -> Interval {
        Interval::around(self.true_ns().saturating_add_signed(self.skew_ns()), self.error)
    }

    fn fault(&self) -> Option<ClockFault> {
        self.fault.lock().clone()
    }
}
