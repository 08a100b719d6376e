//! A clock whose error bound is the kernel's: for hosts where a daemon such as chrony maintains it.
//!
//! ```text
//!   bound = maxerror            what the daemon last vouched for, raised by the kernel by 500 ppm since
//!         + |offset|            what is still being slewed away
//!         + 500 ppm of the time since the kernel was last asked
//! ```
//!
//! `maxerror` alone is no bound: systemd-timesyncd zeroes it while it slews. That the daemon can be trusted is for the
//! operator to say; this module only believes the kernel. Invariant (`clock_fencing`): from the moment the kernel calls the
//! clock unsynchronised, or the bound exceeds M, [`TimeSource::fault`] says so, and keeps saying so for as long as it lasts.
//!
//! Sources: adjtimex(2); RFC 5905 on maximum error; chrony's documentation.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::{ClockFault, Interval, SystemTime, TimeSource};

/// What the kernel knows of its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelReading {
    /// The maximum error that the daemon vouched for.
    pub max_error: Duration,
    /// How far the clock is from where it is being slewed to, either way.
    pub offset: Duration,
    /// Whether somebody keeps the clock.
    pub synchronised: bool,
}

/// Asks the kernel; a test answers in its place.
pub trait KernelClock: Send + Sync + 'static {
    /// What it knows.
    ///
    /// # Errors
    /// When it does not answer.
    fn read(&self) -> io::Result<KernelReading>;
}

/// `adjtimex(2)`, read only.
#[derive(Clone, Copy, Debug, Default)]
pub struct Adjtimex;

impl KernelClock for Adjtimex {
    fn read(&self) -> io::Result<KernelReading> {
        // SAFETY: all zeroes is a valid timex, and with `modes` 0 the call only writes to it.
        let (state, timex) = unsafe {
            let mut timex: libc::timex = std::mem::zeroed();
            (libc::adjtimex(&raw mut timex), timex)
        };
        if state < 0 {
            return Err(io::Error::last_os_error());
        }
        let offset = timex.offset.unsigned_abs();
        let in_nanoseconds = timex.status & libc::STA_NANO != 0;
        Ok(KernelReading {
            max_error: Duration::from_micros(u64::try_from(timex.maxerror).unwrap_or(u64::MAX)),
            offset: if in_nanoseconds { Duration::from_nanos(offset) } else { Duration::from_micros(offset) },
            synchronised: state != libc::TIME_ERROR && timex.status & libc::STA_UNSYNC == 0,
        })
    }
}

/// How long an answer of the kernel is good for.
const ASKED_ANEW_AFTER_NS: u64 = 100_000_000;
/// How fast an unattended clock may run away: the kernel's own assumption.
const DRIFT_PPM: u64 = 500;

/// The operating system's wall clock with the kernel's error bound.
pub struct KernelTime {
    wall: Arc<dyn TimeSource>,
    kernel: Arc<dyn KernelClock>,
    max_clock_error: Duration,
    known: Mutex<Known>,
}

struct Known {
    /// The wall clock's reading when the kernel was asked.
    asked_ns: u64,
    /// Never above M: a larger one is a fault, and fenced.
    bound: Duration,
    fault: Option<ClockFault>,
}

impl KernelTime {
    /// A source that believes the kernel as long as its bound stays within `max_clock_error`, the cluster's M.
    ///
    /// # Errors
    /// The fault that keeps it from starting.
    pub fn start(kernel: Arc<dyn KernelClock>, max_clock_error: Duration) -> Result<Self, ClockFault> {
        Self::over(Arc::new(SystemTime::with_error(Duration::ZERO)), kernel, max_clock_error)
    }

    /// The same over another wall clock, whose own error does not count.
    ///
    /// # Errors
    /// The fault that keeps it from starting.
    pub fn over(
        wall: Arc<dyn TimeSource>,
        kernel: Arc<dyn KernelClock>,
        max_clock_error: Duration,
    ) -> Result<Self, ClockFault> {
        let known = Mutex::new(Known { asked_ns: 0, bound: max_clock_error, fault: None });
        let source = KernelTime { wall, kernel, max_clock_error, known };
        source.now();
        match source.fault() {
            Some(fault) => Err(fault),
            None => Ok(source),
        }
    }

    fn ask(&self, known: &mut Known, reading_ns: u64) {
        known.asked_ns = reading_ns;
        known.bound = self.max_clock_error;
        known.fault = match self.kernel.read() {
            Err(error) => Some(ClockFault::Unreadable(error.to_string())),
            Ok(answer) if !answer.synchronised => Some(ClockFault::Unsynchronised),
            Ok(answer) => {
                let until_asked_anew = Duration::from_nanos(ASKED_ANEW_AFTER_NS * DRIFT_PPM / 1_000_000);
                let bound = answer.max_error.saturating_add(answer.offset).saturating_add(until_asked_anew);
                known.bound = bound.min(self.max_clock_error);
                (bound > self.max_clock_error).then(|| ClockFault::BoundExceeded {
                    bound_us: u64::try_from(bound.as_micros()).unwrap_or(u64::MAX),
                    limit_us: u64::try_from(self.max_clock_error.as_micros()).unwrap_or(u64::MAX),
                })
            }
        };
    }
}

impl TimeSource for KernelTime {
    fn now(&self) -> Interval {
        let reading_ns = self.wall.now().latest_ns;
        let mut known = self.known.lock();
        // A wall clock that was set back is a reason to ask, too.
        if reading_ns.abs_diff(known.asked_ns) >= ASKED_ANEW_AFTER_NS || reading_ns < known.asked_ns {
            self.ask(&mut known, reading_ns);
        }
        Interval::around(reading_ns, known.bound)
    }

    fn fault(&self) -> Option<ClockFault> {
        self.now();
        self.known.lock().fault.clone()
    }
}

impl std::fmt::Debug for KernelTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known = self.known.lock();
        f.debug_struct("KernelTime").field("bound", &known.bound).field("fault", &known.fault).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
