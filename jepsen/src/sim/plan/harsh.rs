//! Faults at exact steps of a node, and those that only come of several things at once.
//!
//! Drawn beside the common ones, from a stream of their own. No kind of them loses what is synced, hence any number of nodes may
//! meet them at once.

use std::io::ErrorKind;
use std::time::Duration;

use clock::Random;

use super::super::cluster::Death;
use super::super::strike::{Blow, Strike};
use super::{Fault, Planned, below, milliseconds};

/// How many runs in a hundred have any of them.
const PERCENT: u64 = 40;

/// The most in one run.
const COUNT_MAX: u64 = 4;

/// How long a node may stand still, or be gone, beyond what common faults do, in milliseconds.
const LONG_MS: (u64, u64) = (4_000, 9_000);

/// How many runs have starved coordinators.
const STARVED: f64 = 0.12;

/// How long a node is gone, comes back, and another one is gone.
pub(super) const RETURNING_HOLD: Duration = Duration::from_secs(14);

/// Whether a run has nodes gone for so long that others take their place: they are taken for dead sooner than usual then.
pub fn has_returning(seed: u64, nodes: usize) -> bool {
    nodes >= 4 && Random::from_seed(seed).fork("returning").chance(0.35)
}

/// Whether a run has coordinators that send no heartbeats while their clients take their time: records are kept for less than usual
/// then, so that transactions are taken for dead, and that is forgotten, while they go on.
pub fn has_starved(seed: u64) -> bool {
    Random::from_seed(seed).fork("coordinators without heartbeats").chance(STARVED)
}

/// Those of a run. `is_copy_lost`: a node is lost for good in it.
pub(super) fn draw(seed: u64, nodes: usize, duration: Duration, number: usize, is_copy_lost: bool) -> Vec<Planned> {
    let mut plan = Vec::new();
    let mut add = |at: Duration, hold: Duration, fault: Fault| {
        if at + hold < duration {
            plan.push(Planned { number: number + plan.len(), at, hold, fault });
        }
    };
    if has_returning(seed, nodes) && !is_copy_lost {
        let random = Random::from_seed(seed).fork("who returns");
        let node = below(&random, nodes);
        let other = (node + 1 + below(&random, nodes - 1)) % nodes;
        add(milliseconds(&random, 500, 3_000), RETURNING_HOLD, Fault::Returning(node, other));
    }
    let random = Random::from_seed(seed).fork("harsh faults");
    if random.range(0, 100) < PERCENT {
        for _ in 0..random.range(1, COUNT_MAX + 1) {
            let at = milliseconds(&random, 0, u64::try_from(duration.as_millis()).unwrap_or(1));
            let (hold, fault) = one(nodes, &random);
            add(at, hold, fault);
        }
    }
    // After those that were drawn before there were any of these, whose numbers stay.
    let random = Random::from_seed(seed).fork("full newcomers");
    if random.chance(0.12) {
        add(milliseconds(&random, 500, 8_000), milliseconds(&random, 5_000, 11_000), Fault::FullNewcomer);
    }
    let random = Random::from_seed(seed).fork("unheard");
    if random.chance(0.25) {
        let (at, hold) = (milliseconds(&random, 500, 12_000), milliseconds(&random, 2_000, 7_000));
        add(at, hold, Fault::Unheard(below(&random, nodes), random.chance(0.6)));
    }
    let random = Random::from_seed(seed).fork("decommission");
    if random.chance(0.25) {
        let (at, hold) = (milliseconds(&random, 500, 12_000), milliseconds(&random, 2_000, 12_000));
        add(at, hold, Fault::Decommission(below(&random, nodes)));
    }
    if has_starved(seed) {
        let random = Random::from_seed(seed).fork("who starves");
        for node in 0..nodes {
            add(milliseconds(&random, 0, 5_000), milliseconds(&random, 6_000, 14_000), Fault::Starved(node));
        }
    }
    plan
}

fn one(nodes: usize, random: &Random) -> (Duration, Fault) {
    let node = below(random, nodes);
    let hold = milliseconds(random, 300, 4_000);
    match random.range(0, 8) {
        0 => (milliseconds(random, LONG_MS.0, LONG_MS.1), Fault::Pause(node)),
        1 => (milliseconds(random, LONG_MS.0, LONG_MS.1), Fault::Kill(node)),
        2 => (hold, Fault::SplitStorm(random.range(2, 12), random.next_u64())),
        _ => (hold, Fault::Strike(node, strike(random, 400))),
    }
}

/// Something that hits within so many steps.
pub(super) fn strike(random: &Random, within: u64) -> Strike {
    let death = if random.chance(0.5) { Death::Kill } else { Death::PowerLoss };
    // Rather early: what a node does first when it starts it does seldom.
    let after = random.range(0, within / [1, 8, 40][below(random, 3)]);
    let lives = [1, 1, 2, 5][below(random, 4)];
    let blow = match random.range(0, 6) {
        0 | 1 => {
            let error = [ErrorKind::StorageFull, ErrorKind::Other][below(random, 2)];
            Blow::Fails { error, survives: random.chance(0.3) }
        }
        2 => Blow::DiesBefore(death),
        3 => Blow::DiesAfter(death),
        4 => Blow::Stalls(milliseconds(random, 10, 3_000)),
        _ => return Strike { after: 10 * after, blow: Blow::DiesBetweenPolls(death), lives },
    };
    Strike { after, blow, lives }
}
