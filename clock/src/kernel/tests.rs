//! The kernel's error bound, with the kernel's answers given by the test.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::Hlc;

/// A wall clock, and a kernel, that say what they are told to.
struct Told {
    now_ms: AtomicU64,
    answer: Mutex<Option<KernelReading>>,
    asked: AtomicU64,
}

impl TimeSource for Told {
    fn now(&self) -> Interval {
        Interval::around(self.now_ms.load(Ordering::SeqCst) * 1_000_000, Duration::ZERO)
    }
}

impl KernelClock for Told {
    fn read(&self) -> io::Result<KernelReading> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        (*self.answer.lock()).ok_or_else(|| io::Error::other("no answer"))
    }
}

const M: Duration = Duration::from_millis(10);

fn sound() -> KernelReading {
    let (max_error, offset) = (Duration::from_micros(1_500), Duration::from_micros(450));
    KernelReading { max_error, offset, synchronised: true }
}

fn told(answer: Option<KernelReading>) -> Arc<Told> {
    Arc::new(Told { now_ms: AtomicU64::new(1_000_000), answer: Mutex::new(answer), asked: AtomicU64::new(0) })
}

fn start(told: &Arc<Told>) -> Result<KernelTime, ClockFault> {
    KernelTime::over(told.clone(), told.clone(), M)
}

#[test]
fn the_bound_is_what_the_daemon_vouched_for_and_what_is_still_slewed() {
    let told = told(Some(sound()));
    let time = start(&told).expect("the kernel is sound");
    let interval = time.now();
    assert_eq!(interval.latest_ns - interval.earliest_ns, 2 * 2_000_000, "1.5 ms + 0.45 ms + 0.05 ms, either way");
    for _ in 0..10 {
        time.now();
    }
    assert_eq!(told.asked.load(Ordering::SeqCst), 1, "an answer is good for a while");
    told.now_ms.fetch_add(100, Ordering::SeqCst);
    time.now();
    assert_eq!(told.asked.load(Ordering::SeqCst), 2);
    told.now_ms.fetch_sub(1, Ordering::SeqCst);
    time.now();
    assert_eq!(told.asked.load(Ordering::SeqCst), 3, "a clock that is set back is asked about");
}

#[test]
fn an_unsound_kernel_is_refused_at_start() {
    let unsynchronised = KernelReading { synchronised: false, ..sound() };
    assert_eq!(start(&told(Some(unsynchronised))).err(), Some(ClockFault::Unsynchronised));
    let far_off = KernelReading { offset: Duration::from_millis(9), ..sound() };
    let exceeded = ClockFault::BoundExceeded { bound_us: 10_550, limit_us: 10_000 };
    assert_eq!(start(&told(Some(far_off))).err(), Some(exceeded));
    assert!(matches!(start(&told(None)).err(), Some(ClockFault::Unreadable(_))));
}

#[test]
fn clock_fencing_lasts_as_long_as_the_fault() {
    let told = told(Some(sound()));
    let time = Arc::new(start(&told).expect("the kernel is sound"));
    let ceiling = Arc::new(crate::VolatileCeiling);
    let hlc = Hlc::new(time.clone(), M, ceiling, crate::Timestamp::MIN);
    assert!(hlc.may_serve());
    *told.answer.lock() = Some(KernelReading { synchronised: false, ..sound() });
    told.now_ms.fetch_add(100, Ordering::SeqCst);
    assert!(!hlc.may_serve());
    assert_eq!(hlc.fault(), Some(ClockFault::Unsynchronised));
    let interval = time.now();
    assert_eq!(
        interval.latest_ns - interval.earliest_ns,
        2 * 10_000_000,
        "fenced, it still claims no more than M allows"
    );
    *told.answer.lock() = Some(sound());
    told.now_ms.fetch_add(100, Ordering::SeqCst);
    assert!(hlc.may_serve());
}

#[test]
fn the_real_kernel_answers() {
    let answer = Adjtimex.read().expect("reading needs no privilege");
    // Whether this host's clock is kept is not for the test to say.
    assert!(answer.max_error > Duration::ZERO || answer.synchronised || answer.offset >= Duration::ZERO);
}
