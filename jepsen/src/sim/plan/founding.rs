//! How a cluster comes to be, and what happens to it meanwhile.
//!
//! ```text
//!   0 s                                                        lasts
//!   ├── node 1 founds ── others join, one by one ── copies, splits ──┤ all is healed, all must run ─▶ the workload is set up
//!        faults ─────────────────────────────────────────────────
//! ```
//!
//! In the other runs nodes start one after the other, and meet their first fault beside the workload.

use std::time::Duration;

use clock::Random;

use super::super::cluster::Death;
use super::super::strike::{Blow, Strike};
use super::{Fault, Planned, below, harsh, milliseconds};

/// How many runs in a hundred are disturbed from the beginning.
const PERCENT: u64 = 40;

/// Faults of the founding have numbers from here on.
pub const FIRST_NUMBER: usize = 1_000;

/// A founding that is disturbed.
#[derive(Clone, Debug, PartialEq)]
pub struct Founding {
    /// When each of the nodes is started for the first time.
    pub starts: Vec<Duration>,
    /// When all is healed.
    pub lasts: Duration,
    /// What happens meanwhile.
    pub faults: Vec<Planned>,
}

/// The founding of a seed; `None` for one that nothing disturbs.
pub fn draw(seed: u64, nodes: usize) -> Option<Founding> {
    let random = Random::from_seed(seed).fork("founding");
    if random.range(0, 100) >= PERCENT {
        return None;
    }
    let lasts = milliseconds(&random, 3_000, 9_000);
    let mut starts: Vec<Duration> = (0..nodes).map(|_| milliseconds(&random, 0, 1_500)).collect();
    starts[0] = Duration::ZERO;
    let mut faults = Vec::new();
    let mut add = |at: Duration, hold: Duration, fault: Fault| {
        let hold = hold.min(lasts.saturating_sub(at));
        faults.push(Planned { number: FIRST_NUMBER + faults.len(), at, hold, fault });
    };
    if random.chance(0.5) {
        add(Duration::ZERO, milliseconds(&random, 200, 2_000), Fault::Strike(0, early_death(&random)));
    }
    if random.chance(0.5) {
        let node = 1 + below(&random, nodes - 1);
        add(starts[node], milliseconds(&random, 200, 2_000), Fault::Strike(node, early_death(&random)));
    }
    // Copies are on their way once others have joined: as long as it takes.
    for _ in 0..random.range(0, 3) {
        add(milliseconds(&random, 0, 2_000), lasts, Fault::SplitStorm(random.range(5, 50), random.next_u64()));
    }
    if nodes >= 4 && random.chance(0.3) {
        add(Duration::ZERO, lasts, Fault::FullLearner(1 + below(&random, nodes - 1)));
    }
    for _ in 0..random.range(0, 6) {
        let at = milliseconds(&random, 0, u64::try_from(lasts.as_millis()).unwrap_or(1));
        let fault = common(nodes, &random);
        add(at, milliseconds(&random, 50, 2_500), fault);
    }
    Some(Founding { starts, lasts, faults })
}

/// The first steps of a node are few: it dies at any of them.
fn early_death(random: &Random) -> Strike {
    let death = if random.chance(0.5) { Death::Kill } else { Death::PowerLoss };
    let lives = [1, 1, 3][below(random, 3)];
    match random.range(0, 3) {
        0 => Strike { after: random.range(0, 600), blow: Blow::DiesBetweenPolls(death), lives },
        1 => Strike { after: random.range(0, 40), blow: Blow::DiesBefore(death), lives },
        _ => Strike { after: random.range(0, 40), blow: Blow::DiesAfter(death), lives },
    }
}

fn common(nodes: usize, random: &Random) -> Fault {
    let node = below(random, nodes);
    let other = (node + 1 + below(random, nodes - 1)) % nodes;
    match random.range(0, 10) {
        0 => Fault::Kill(node),
        1 => Fault::PowerLoss(node),
        2 => Fault::Pause(node),
        3 => Fault::OneWay(node, other),
        4 => Fault::Slow(node, other, milliseconds(random, 5, 800)),
        5 => Fault::Loss(random.range(1, 200) as f64 / 1_000.0),
        6 => Fault::SlowSync(node, milliseconds(random, 1, 500)),
        7 => Fault::DiskFull(node),
        8 => Fault::TransferLease(random.next_u64(), random.next_u64()),
        _ => Fault::Strike(node, harsh::strike(random, 200)),
    }
}
