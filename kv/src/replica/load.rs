//! What a leaseholder serves, and for whom: requests a second, by the node that they came through.
//!
//! ```text
//!   request ─▶ counts, by node ── once a second ──▶ sums that fade by half in HALF_LIFE ─▶ rates
//! ```
//!
//! It is known only after a while, and forgotten with the lease: what a former leaseholder served is not counted twice.

use std::collections::BTreeMap;
use std::time::Duration;

use clock::Timestamp;
use parking_lot::Mutex;

/// How fast what was served fades.
const HALF_LIFE: Duration = Duration::from_secs(30);

/// How long requests are counted before they say something.
const KNOWN_AFTER: Duration = Duration::from_secs(10);

/// Counts the requests of one replica.
#[derive(Debug, Default)]
pub(super) struct LoadMeter {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Since the last fold, by node.
    counts: Vec<(u64, u64)>,
    /// Faded sums, by node.
    sums: BTreeMap<u64, f64>,
    /// How much time the sums are of, faded as they are, in seconds.
    seconds: f64,
    /// Since when, and when they were folded last.
    begun: Option<Timestamp>,
    folded: Timestamp,
}

/// What was served lately.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Served {
    /// Requests a second, by the node that they came through.
    pub by_node: BTreeMap<u64, f64>,
    /// Whether they were counted for long enough to say something.
    pub is_known: bool,
}

impl Served {
    /// Requests a second, of all nodes.
    pub fn requests(&self) -> f64 {
        self.by_node.values().sum()
    }
}

impl LoadMeter {
    /// Requests came through a node.
    pub fn count(&self, node: u64, requests: u64) {
        let mut state = self.state.lock();
        match state.counts.iter_mut().find(|(known, _)| *known == node) {
            Some((_, count)) => *count += requests,
            None => state.counts.push((node, requests)),
        }
    }

    /// Takes what was counted into the rates.
    pub fn fold(&self, now: Timestamp) {
        let mut state = self.state.lock();
        let counts = std::mem::take(&mut state.counts);
        let Some(_) = state.begun else {
            // How long it took to count these is not known.
            (state.begun, state.folded) = (Some(now), now);
            return;
        };
        let elapsed = now.wall_ns.saturating_sub(state.folded.wall_ns) as f64 / 1e9;
        let faded = 0.5f64.powf(elapsed / HALF_LIFE.as_secs_f64());
        state.seconds = state.seconds * faded + elapsed;
        state.folded = now;
        state.sums.values_mut().for_each(|sum| *sum *= faded);
        for (node, count) in counts {
            *state.sums.entry(node).or_default() += count as f64;
        }
        // Less than a request in a long while.
        state.sums.retain(|_, sum| *sum > 0.01);
    }

    /// What was served lately.
    pub fn served(&self) -> Served {
        let state = self.state.lock();
        let by_node = state.sums.iter().map(|(node, sum)| (*node, sum / state.seconds.max(1e-9)));
        let is_known = state.begun.is_some_and(|begun| begun.plus(KNOWN_AFTER) <= state.folded);
        Served { by_node: by_node.collect(), is_known }
    }

    /// The lease has gone.
    pub fn forget(&self) {
        *self.state.lock() = State::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::new(1_000_000_000 * (1_000 + seconds), 0)
    }

    fn serve(meter: &LoadMeter, from: u64, seconds: u64, by: &[(u64, u64)]) {
        for second in from..from + seconds {
            by.iter().for_each(|(node, count)| meter.count(*node, *count));
            meter.fold(at(second));
        }
    }

    #[test]
    fn a_steady_rate_is_known_soon_and_exactly() {
        let meter = LoadMeter::default();
        meter.fold(at(0));
        serve(&meter, 1, 9, &[(1, 30), (2, 10)]);
        assert!(!meter.served().is_known);
        serve(&meter, 10, 1, &[(1, 30), (2, 10)]);
        let served = meter.served();
        assert!(served.is_known);
        assert!((served.by_node[&1] - 30.0).abs() < 1.0 && (served.by_node[&2] - 10.0).abs() < 0.5, "{served:?}");
    }

    #[test]
    fn what_ended_fades_and_is_forgotten_with_the_lease() {
        let meter = LoadMeter::default();
        meter.fold(at(0));
        serve(&meter, 1, 200, &[(1, 100)]);
        serve(&meter, 201, 30, &[(2, 100)]);
        let served = meter.served();
        assert!((served.requests() - 100.0).abs() < 3.0, "{served:?}");
        assert!((served.by_node[&1] / served.by_node[&2] - 1.0).abs() < 0.1, "half and half: {served:?}");
        serve(&meter, 231, 900, &[]);
        assert!(meter.served().by_node.is_empty());
        meter.forget();
        assert_eq!(meter.served(), Served::default());
    }
}
