//! The rules of the clock, each by its name.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;
use crate::SimulatedTime;

const M: Duration = Duration::from_millis(250);
const MS: u64 = 1_000_000;

/// A clock that stands where it is put, and a disk that keeps what it is given.
#[derive(Default)]
struct Bench {
    now_ms: AtomicU64,
    persisted: Mutex<Vec<Timestamp>>,
    broken: AtomicBool,
}

impl TimeSource for Bench {
    fn now(&self) -> Interval {
        Interval::around(self.now_ms.load(Ordering::SeqCst) * MS, M)
    }
}

impl CeilingStore for Bench {
    fn persist(&self, ceiling: Timestamp) -> std::io::Result<()> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(std::io::Error::other("the disk is gone"));
        }
        self.persisted.lock().push(ceiling);
        Ok(())
    }
}

impl Bench {
    fn at(now_ms: u64) -> Arc<Self> {
        Arc::new(Bench { now_ms: AtomicU64::new(now_ms), ..Bench::default() })
    }

    fn hlc(self: &Arc<Self>) -> Hlc {
        let former = self.persisted.lock().last().copied().unwrap_or(Timestamp::MIN);
        Hlc::new(self.clone(), M, self.clone(), former)
    }

    fn set(&self, now_ms: u64) {
        self.now_ms.store(now_ms, Ordering::SeqCst);
    }

    fn ceiling(&self) -> Timestamp {
        self.persisted.lock().last().copied().unwrap_or(Timestamp::MIN)
    }
}

#[test]
fn now_is_at_or_above_latest_and_breaks_ties() {
    let bench = Bench::at(10_000);
    let hlc = bench.hlc();
    let first = hlc.now().expect("the disk takes it");
    assert_eq!(first, Timestamp::new(10_250 * MS, 0), "latest is 250 ms ahead of the reading");
    assert_eq!(hlc.now().expect("below the ceiling"), first.next());
    bench.set(9_000);
    assert_eq!(
        hlc.now().expect("below the ceiling"),
        first.next().next(),
        "hlc_monotonic, although the clock went back"
    );
}

#[test]
fn hlc_monotonic_over_a_restart() {
    let bench = Bench::at(10_000);
    let last = {
        let hlc = bench.hlc();
        hlc.absorb(Timestamp::new(10_700 * MS, 3)).expect("within latest + 2M");
        hlc.now().expect("the disk takes it")
    };
    assert!(bench.ceiling() > last, "the ceiling lies ahead of use");
    bench.set(9_900);
    let reborn = bench.hlc();
    let first = reborn.now().expect("the disk takes it");
    assert!(
        first > last && first > Timestamp::new(10_700 * MS, 3),
        "above what was issued, and above what was absorbed"
    );
}

#[test]
fn a_restarted_node_waits_until_timestamp_bound_holds() {
    let bench = Bench::at(10_000);
    bench.hlc().now().expect("the disk takes it");
    let reborn = bench.hlc();
    let ceiling_ms = bench.ceiling().wall_ns / MS;
    assert!(!reborn.may_serve());
    bench.set(ceiling_ms - 500 + 250 - 1);
    assert!(!reborn.may_serve(), "earliest + 2M is a millisecond short of the former ceiling");
    bench.set(ceiling_ms - 500 + 250);
    assert!(reborn.may_serve());
    let issued = reborn.now().expect("the disk takes it");
    assert!(issued.wall_ns <= (ceiling_ms - 250 + 500) * MS + 500 * MS, "timestamp_bound: {issued}");
}

#[test]
fn what_comes_from_too_far_ahead_is_refused_and_not_absorbed() {
    let bench = Bench::at(10_000);
    let hlc = bench.hlc();
    let limit = Timestamp::new(10_750 * MS, u32::MAX);
    hlc.absorb(limit).expect("latest + 2M itself is absorbed");
    let before = hlc.now().expect("the disk takes it");
    assert!(before > limit);
    let error = hlc.absorb(Timestamp::new(10_751 * MS, 0)).expect_err("a millisecond above");
    assert!(matches!(error, HlcError::TooFarAhead { ahead_ms: 501, limit_ms: 500, .. }), "{error}");
    assert_eq!(hlc.now().expect("below the ceiling"), before.next(), "nothing was absorbed");
}

#[test]
fn without_a_durable_ceiling_nothing_is_issued_above_it() {
    let bench = Bench::at(10_000);
    let hlc = bench.hlc();
    hlc.now().expect("the disk takes it");
    bench.broken.store(true, Ordering::SeqCst);
    let ceiling_ms = bench.ceiling().wall_ns / MS;
    bench.set(ceiling_ms - 250);
    assert_eq!(hlc.now().expect("at the ceiling").wall_ns, ceiling_ms * MS);
    bench.set(ceiling_ms);
    assert!(matches!(hlc.now(), Err(HlcError::Ceiling(_))));
    assert!(matches!(hlc.absorb(Timestamp::new((ceiling_ms + 1) * MS, 0)), Err(HlcError::Ceiling(_))));
    bench.broken.store(false, Ordering::SeqCst);
    assert!(hlc.now().expect("the disk is back") <= bench.ceiling());
}

fn in_virtual_time<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime starts").block_on(test)
}

#[test]
fn the_ceiling_rises_ahead_of_use() {
    in_virtual_time(async {
        let disk = Bench::at(0);
        let time = SimulatedTime::starting_at(10_000 * MS, Duration::from_millis(1));
        let hlc = Arc::new(Hlc::new(Arc::new(time), M, disk.clone(), Timestamp::MIN));
        hlc.keep_ceiling(&Tasks::deterministic(tokio::runtime::Handle::current()));
        tokio::time::sleep(Duration::from_millis(1)).await;
        for _ in 0..100 {
            let before = disk.persisted.lock().len();
            hlc.now().expect("the disk takes it");
            assert_eq!(disk.persisted.lock().len(), before, "nobody who asks for a timestamp waits for the disk");
            tokio::time::sleep(Duration::from_millis(90)).await;
        }
        assert!(disk.persisted.lock().len() < 12, "about once a second");
        drop(hlc);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let ended_at = disk.persisted.lock().len();
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(disk.persisted.lock().len(), ended_at, "the task ends with its clock");
    });
}

#[test]
fn commit_wait_ends_strictly_past_the_effect() {
    in_virtual_time(async {
        let time = SimulatedTime::starting_at(10_000 * MS, M);
        let hlc = Hlc::new(Arc::new(time.clone()), M, Arc::new(VolatileCeiling), Timestamp::MIN);
        let effect = hlc.now().expect("nothing is persisted");
        hlc.wait_until_past(effect).await.expect("its clock is sound");
        assert!(hlc.interval().earliest_ns > effect.wall_ns);
        assert!(time.true_ns() > effect.wall_ns, "true time is past it, whatever the error was");
        let waited = time.true_ns() - 10_000 * MS;
        assert!((500 * MS..=502 * MS).contains(&waited), "twice the error bound, and no more: {waited}");
        hlc.wait_until_past(effect).await.expect("its clock is sound");
        assert_eq!(time.true_ns() - 10_000 * MS, waited, "what is past is not waited for");
    });
}

#[test]
fn commit_wait_is_not_drawn_out_by_a_clock_that_is_set_back() {
    in_virtual_time(async {
        let time = SimulatedTime::starting_at(100_000 * MS, M);
        let hlc = Hlc::new(Arc::new(time.clone()), M, Arc::new(VolatileCeiling), Timestamp::MIN);
        let effect = hlc.now().expect("nothing is persisted");
        let set_back = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            time.set_skew_ns(-30_000 * MS as i64);
        };
        let (waited, ()) = tokio::join!(hlc.wait_until_past(effect), set_back);
        waited.expect("nobody has fenced it");
        let waited = time.true_ns() - 100_000 * MS;
        assert!(time.true_ns() > effect.wall_ns, "external_consistency: true time is past it");
        assert!((500 * MS..=502 * MS).contains(&waited), "what has elapsed is proof enough: {waited}");
        // The clock is set right again while a statement waits that began by the wrong one.
        let effect = hlc.now().expect("nothing is persisted");
        let set_right = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            time.set_skew_ns(0);
        };
        let begun = time.true_ns();
        let (waited, ()) = tokio::join!(hlc.wait_until_past(effect), set_right);
        waited.expect("nobody has fenced it");
        let waited = time.true_ns() - begun;
        assert!((1_000 * MS..1_100 * MS).contains(&waited), "it looks at the clock again: {waited}");
    });
}

#[test]
fn commit_wait_trusts_no_reading_before_its_own() {
    in_virtual_time(async {
        let time = SimulatedTime::starting_at(100_000 * MS, M);
        let hlc = Hlc::new(Arc::new(time.clone()), M, Arc::new(VolatileCeiling), Timestamp::MIN);
        // For a moment the clock is ahead, and somebody waits by it.
        time.set_skew_ns(2_000 * MS as i64);
        hlc.wait_until_past(Timestamp::new(1, 0)).await.expect("long past");
        time.set_skew_ns(0);
        let effect = hlc.now().expect("nothing is persisted");
        hlc.wait_until_past(effect).await.expect("its clock is sound");
        assert!(time.true_ns() > effect.wall_ns, "external_consistency: true time is past it");
    });
}

#[test]
fn commit_wait_ends_when_the_clock_is_fenced() {
    in_virtual_time(async {
        let time = SimulatedTime::starting_at(100_000 * MS, M);
        let hlc = Hlc::new(Arc::new(time.clone()), M, Arc::new(VolatileCeiling), Timestamp::MIN);
        let effect = hlc.now().expect("nothing is persisted");
        time.set_skew_ns(-30_000 * MS as i64);
        let fence = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            hlc.fence(ClockFault::PeersDisagree { disagreeing: 2, peers: 2, worst: None });
        };
        let (waited, ()) = tokio::join!(hlc.wait_until_past(effect), fence);
        assert!(matches!(waited, Err(HlcError::Fenced(_))), "{waited:?}");
        let waited = time.true_ns() - 100_000 * MS;
        assert!(waited < 2_100 * MS, "it is told at once: {waited}");
    });
}

/// What each node did, in true time: (true time, timestamp).
fn external_consistency_holds(skews_ms: &[i64], steps: &[(usize, u64)]) {
    in_virtual_time(async {
        let first = SimulatedTime::starting_at(10_000 * MS, M);
        let nodes: Vec<Hlc> = skews_ms
            .iter()
            .map(|skew| {
                let time = first.another(skew * MS as i64);
                Hlc::new(Arc::new(time), M, Arc::new(VolatileCeiling), Timestamp::MIN)
            })
            .collect();
        let mut acknowledged = Timestamp::MIN;
        for (node, pause_ms) in steps {
            let hlc = &nodes[node % nodes.len()];
            let begun = hlc.now().expect("nothing is persisted");
            assert!(begun > acknowledged, "external_consistency: {begun} begins after {acknowledged} was acknowledged");
            assert!(begun.wall_ns <= first.true_ns() + 2 * 250 * MS, "timestamp_bound");
            assert!(hlc.uncertainty_limit() >= Timestamp::new(first.true_ns() + 500 * MS, 0));
            hlc.wait_until_past(begun).await.expect("its clock is sound");
            acknowledged = begun;
            tokio::time::sleep(Duration::from_millis(*pause_ms)).await;
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn external_consistency_between_skewed_clocks(
        skews_ms in proptest::collection::vec(-250i64..=250, 1..4),
        steps in proptest::collection::vec((0usize..4, 0u64..400), 1..12),
    ) {
        external_consistency_holds(&skews_ms, &steps);
    }

    #[test]
    fn hlc_monotonic_whatever_comes(
        steps in proptest::collection::vec((0u64..20_000, proptest::option::of(0u64..25_000), any::<bool>()), 1..60),
    ) {
        let bench = Bench::at(10_000);
        let mut hlc = bench.hlc();
        let mut newest = Timestamp::MIN;
        for (now_ms, received_ms, restart) in steps {
            bench.set(now_ms);
            if restart {
                hlc = bench.hlc();
            }
            if let Some(received) = received_ms.map(|ms| Timestamp::new(ms * MS, 7))
                && hlc.absorb(received).is_ok()
            {
                newest = newest.max(received);
            }
            let issued = hlc.now().expect("the disk takes it");
            prop_assert!(issued > newest, "hlc_monotonic");
            prop_assert!(issued <= bench.ceiling(), "nothing is issued above what is durable");
            newest = issued;
        }
        let persisted = bench.persisted.lock();
        prop_assert!(persisted.windows(2).all(|pair| pair[0] < pair[1]), "the ceiling never falls");
    }
}

#[test]
fn a_peer_ahead_does_not_stop_a_node_from_serving() {
    let bench = Bench::at(10_000);
    let hlc = bench.hlc();
    let ahead = hlc.now().expect("the disk takes it").plus(hlc.max_clock_error());
    hlc.absorb(ahead).expect("a correct clock may be that far ahead");
    assert!(hlc.may_serve(), "no former life issued anything");
}

#[test]
fn clock_fencing_is_for_good() {
    let bench = Bench::at(10_000);
    let hlc = bench.hlc();
    let last = hlc.now().expect("the disk takes it");
    let fault = ClockFault::PeersDisagree { disagreeing: 2, peers: 2, worst: None };
    hlc.fence(fault.clone());
    hlc.fence(ClockFault::Unsynchronised);
    assert_eq!(hlc.fault(), Some(fault), "the first reason stands");
    assert!(!hlc.may_serve());
    assert!(matches!(hlc.now(), Err(HlcError::Fenced(_))), "nothing is issued");
    assert!(matches!(hlc.absorb(last), Err(HlcError::Fenced(_))), "and nothing absorbed");
    bench.set(20_000);
    assert!(matches!(hlc.now(), Err(HlcError::Fenced(_))));
}
