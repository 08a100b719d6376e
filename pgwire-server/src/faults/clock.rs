//! A clock that can be put wrong.
//!
//! It says that its error is bounded as before: an offset within the bound must be noticed by nobody, one beyond breaks what
//! the operator promised.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use clock::{ClockFault, Interval, TimeSource};

/// A time source with an offset that can be set, and set again for a jump.
pub struct FaultyTime {
    inner: Arc<dyn TimeSource>,
    offset_ns: AtomicI64,
}

impl FaultyTime {
    /// Wraps a time source, without an offset.
    pub fn new(inner: Arc<dyn TimeSource>) -> Arc<Self> {
        Arc::new(FaultyTime { inner, offset_ns: AtomicI64::new(0) })
    }

    /// Sets by how much the clock reads more than it should, in nanoseconds.
    pub fn set_offset_ns(&self, offset_ns: i64) {
        self.offset_ns.store(offset_ns, Ordering::SeqCst);
    }
}

impl TimeSource for FaultyTime {
    fn now(&self) -> Interval {
        let offset_ns = self.offset_ns.load(Ordering::SeqCst);
        let Interval { earliest_ns, latest_ns } = self.inner.now();
        Interval {
            earliest_ns: earliest_ns.saturating_add_signed(offset_ns),
            latest_ns: latest_ns.saturating_add_signed(offset_ns),
        }
    }

    fn fault(&self) -> Option<ClockFault> {
        self.inner.fault()
    }
}
