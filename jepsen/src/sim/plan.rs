//! Which faults a run meets, and when: drawn from its seed before it begins.
//!
//! Swizzled: each run has some kinds of fault and not others, more or fewer of them, held for longer or shorter, so that
//! some runs are stormy and some have a single kind to themselves. The plan is a list; a run may be given part of it, which
//! is how a failure is made smaller.
//!
//! Each kind that came later is drawn from a stream of its own ([`harsh`], [`founding`]), so that the seeds kept from before
//! go on meaning what they meant.

pub mod founding;
pub mod harsh;

use std::time::Duration;

use clock::Random;

use super::strike::Strike;

pub use founding::Founding;

/// A fault, from when on, and for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    /// Its number in the plan.
    pub number: usize,
    /// Since the begin of the safety phase.
    pub at: Duration,
    /// For how long.
    pub hold: Duration,
    /// What.
    pub fault: Fault,
}

/// What is done to the cluster. Nodes by their number from 0.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Both ways, between those in the set and the others.
    Partition(Vec<usize>),
    /// Each node hears its two neighbours only: every node sees a majority, no two the same.
    Ring,
    /// Two halves that only one node hears both of.
    Bridge(usize),
    /// The leaseholder of some range hears nobody.
    IsolateLeaseholder(u64),
    /// Nothing passes in this direction.
    OneWay(usize, usize),
    /// Messages in this direction are slow by up to so much, and overtake each other.
    Slow(usize, usize, Duration),
    /// A part of all messages is lost.
    Loss(f64),
    /// A part of all requests arrives twice.
    Duplication(f64),
    /// A process loses power, and comes back.
    PowerLoss(usize),
    /// All processes lose power at once.
    Blackout,
    /// A process is killed, and comes back.
    Kill(usize),
    /// A process stands still.
    Pause(usize),
    /// A clock is moved to this part of its bound, in thousandths, and drifts.
    Clock(usize, i64, i64),
    /// Syncs of the log take up to so much.
    SlowSync(usize, Duration),
    /// Syncs of the log fail with EIO, which ends the process.
    SyncError(usize),
    /// Writes of the log fail with EIO.
    WriteError(usize),
    /// No room is left on the disks.
    DiskFull(usize),
    /// Some range is split; the number chooses where.
    Split(u64),
    /// Some lease moves; the numbers choose which, and where to.
    TransferLease(u64, u64),
    /// A node joins.
    AddNode,
    /// A clock is off by so many times its bound, and nobody says so: its node must find out, which nobody speaks SQL to.
    WrongClock(usize, i64),
    /// The same, and the clock's source says so.
    DisownedClock(usize, i64),
    /// A bit of the log flips, which is found when the process comes back after the fault; the numbers choose where.
    BitRot(usize, u64),
    /// A node is lost with its disks, and another one joins at its address.
    Replace(usize),
    /// A node is hit at an exact step of it. One that does not run is started, to be hit then.
    Strike(usize, Strike),
    /// Ranges are split at so many keys at once, as soon as one of them has a copy on its way; the second number chooses where.
    SplitStorm(u64, u64),
    /// The first node is gone until others have taken its place, and comes back while the leaders do not reach it, and the directory
    /// does; meanwhile the second one is gone, so that copies come back to the first.
    Returning(usize, usize),
    /// The disk of a node is full from when it is to get its first copy on, and stays full, whatever is healed.
    FullLearner(usize),
    /// A node joins, whose disk is full from when it is to get its first copy on, until the fault is over.
    FullNewcomer,
    /// A node is gone for a while, and comes back while nothing passes between it and the leaders, in one direction, but for the one
    /// of the directory: from them to it, or else from it to them.
    Unheard(usize, bool),
    /// A node is being decommissioned, and recommissioned at the end; where there is none to spare, another one joins first.
    Decommission(usize),
    /// The transactions that a node coordinates send no heartbeats, as if who sends them got no processor time.
    Starved(usize),
}

/// Kinds, to draw a subset of.
const KINDS: usize = 18;

/// The fewest and most faults a second, in thousandths.
const RATES: (u64, u64) = (200, 1_500);

/// How many nodes join in one run.
const NODES_ADDED_MAX: usize = 2;

/// How many runs in a hundred have a fault of a rare kind, drawn by itself.
const RARE_PERCENT: u64 = 15;

/// How many runs in a hundred lose a node for good, unless another's log rots: no more than one copy may be lost.
const REPLACED_PERCENT: u64 = 10;

/// How long a rare fault is held.
const RARE_HOLD: Duration = Duration::from_secs(4);

/// The plan of a seed; a plain one is without what is [harsh].
pub fn draw(seed: u64, nodes: usize, duration: Duration, plain: bool) -> Vec<Planned> {
    let mut plan = draw_common(seed, nodes, duration);
    let latest_ms = u64::try_from(duration.saturating_sub(2 * RARE_HOLD).as_millis()).unwrap_or(0);
    if latest_ms == 0 {
        return plan;
    }
    let mut add = |at_ms: u64, fault: Fault| {
        plan.push(Planned { number: plan.len(), at: Duration::from_millis(at_ms), hold: RARE_HOLD, fault });
    };
    let random = Random::from_seed(seed).fork("rare faults");
    let (mut is_copy_lost, mut wrong) = (false, None);
    if random.range(0, 100) < RARE_PERCENT {
        let at_ms = random.range(0, latest_ms);
        let fault = rare_fault(nodes, &random);
        match fault {
            Fault::BitRot(..) => is_copy_lost = true,
            Fault::WrongClock(node, _) | Fault::DisownedClock(node, _) => wrong = Some(node),
            _ => {}
        }
        add(at_ms, fault);
    }
    let random = Random::from_seed(seed).fork("replacement");
    if random.range(0, 100) < REPLACED_PERCENT && !is_copy_lost {
        let node = usize::try_from(random.range(0, nodes as u64)).unwrap_or(0);
        // What a node says before it has an ID cannot be told from what others say, whose clocks are right.
        let node = if wrong == Some(node) { (node + 1) % nodes } else { node };
        add(random.range(0, latest_ms), Fault::Replace(node));
        is_copy_lost = true;
    }
    if plain {
        return plan;
    }
    let number = plan.len();
    plan.extend(harsh::draw(seed, nodes, duration, number, is_copy_lost));
    plan
}

/// A duration of so many milliseconds at least, and fewer than so many.
fn milliseconds(random: &Random, least: u64, most: u64) -> Duration {
    Duration::from_millis(random.range(least, most))
}

/// One of the numbers below a count.
fn below(random: &Random, count: usize) -> usize {
    usize::try_from(random.range(0, count as u64)).unwrap_or(0)
}

fn rare_fault(nodes: usize, random: &Random) -> Fault {
    let node = usize::try_from(random.range(0, nodes as u64)).unwrap_or(0);
    // Beyond its bound and that of another, which may be off the other way.
    let times = i64::try_from(random.range(4, 40)).unwrap_or(4) * if random.chance(0.5) { 1 } else { -1 };
    match random.range(0, 3) {
        0 => Fault::WrongClock(node, times),
        1 => Fault::DisownedClock(node, times),
        _ => Fault::BitRot(node, random.next_u64()),
    }
}

fn draw_common(seed: u64, nodes: usize, duration: Duration) -> Vec<Planned> {
    let random = Random::from_seed(seed).fork("plan");
    let likely = [0.15, 0.3, 0.6][usize::try_from(random.range(0, 3)).unwrap_or(0)];
    let mut kinds: Vec<usize> = (0..KINDS).filter(|_| random.chance(likely)).collect();
    if kinds.is_empty() {
        kinds.push(usize::try_from(random.range(0, KINDS as u64)).unwrap_or(0));
    }
    let rate = random.range(RATES.0, RATES.1);
    let longest_ms = random.range(300, 4_000);
    let mut plan = Vec::new();
    let (mut at, mut added) = (Duration::ZERO, 0);
    loop {
        at += Duration::from_millis(random.range(1, 2_000_000 / rate));
        let hold = Duration::from_millis(random.range(50, longest_ms));
        if at + hold >= duration {
            return plan;
        }
        let kind = kinds[usize::try_from(random.range(0, kinds.len() as u64)).unwrap_or(0)];
        let fault = fault(kind, nodes, &random);
        if fault == Fault::AddNode {
            added += 1;
            if added > NODES_ADDED_MAX {
                continue;
            }
        }
        plan.push(Planned { number: plan.len(), at, hold, fault });
    }
}

fn fault(kind: usize, nodes: usize, random: &Random) -> Fault {
    let any = || usize::try_from(random.range(0, nodes as u64)).unwrap_or(0);
    let other = |than: usize| (than + 1 + usize::try_from(random.range(0, nodes as u64 - 1)).unwrap_or(0)) % nodes;
    let node = any();
    match kind {
        0 => {
            let side = (0..nodes).filter(|_| random.chance(0.5)).collect::<Vec<_>>();
            Fault::Partition(if side.is_empty() || side.len() == nodes { vec![node] } else { side })
        }
        1 if nodes > 3 => Fault::Ring,
        1 | 2 => Fault::Bridge(node),
        3 => Fault::IsolateLeaseholder(random.next_u64()),
        4 => Fault::OneWay(node, other(node)),
        5 => Fault::Slow(node, other(node), Duration::from_millis(random.range(5, 800))),
        6 => Fault::Loss(random.range(1, 200) as f64 / 1_000.0),
        7 => Fault::Duplication(random.range(1, 500) as f64 / 1_000.0),
        8 if random.chance(0.2) => Fault::Blackout,
        8 => Fault::PowerLoss(node),
        9 => Fault::Kill(node),
        10 => Fault::Pause(node),
        11 => Fault::Clock(node, thousandths(random), thousandths(random)),
        12 => Fault::SlowSync(node, Duration::from_millis(random.range(1, 500))),
        13 => Fault::SyncError(node),
        14 => Fault::WriteError(node),
        15 => Fault::DiskFull(node),
        16 => Fault::Split(random.next_u64()),
        17 if random.chance(0.2) => Fault::AddNode,
        _ => Fault::TransferLease(random.next_u64(), random.next_u64()),
    }
}

fn thousandths(random: &Random) -> i64 {
    i64::try_from(random.range(0, 2_001)).unwrap_or(0) - 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_has_one_plan_and_seeds_differ() {
        let plan = |seed| draw(seed, 3, Duration::from_secs(20), false);
        assert_eq!(plan(7), plan(7));
        let differing = (0..20).filter(|seed| plan(*seed) != plan(seed + 1)).count();
        assert!(differing >= 19, "only {differing} of 20 plans differ from the next");
    }

    #[test]
    fn a_plain_plan_is_the_begin_of_the_whole_one() {
        let draw = |seed, plain| draw(seed, 5, Duration::from_secs(20), plain);
        for seed in 0..200 {
            let (plain, whole) = (draw(seed, true), draw(seed, false));
            assert_eq!(plain, whole[..plain.len()], "seed {seed}");
            assert!(whole.iter().enumerate().all(|(number, planned)| planned.number == number), "seed {seed}");
        }
    }

    #[test]
    fn no_run_loses_two_copies_for_good() {
        let is_loss = |planned: &Planned| matches!(planned.fault, Fault::BitRot(..) | Fault::Replace(_));
        let losses =
            |seed| draw(seed, 3, Duration::from_secs(20), false).iter().filter(|planned| is_loss(planned)).count();
        let runs: Vec<usize> = (0..1_000).map(losses).collect();
        assert!(runs.contains(&1) && runs.iter().all(|count| *count <= 1), "{runs:?}");
    }

    #[test]
    fn every_fault_is_over_before_the_phase_is() {
        for seed in 0..200 {
            for planned in draw(seed, 5, Duration::from_secs(20), false) {
                assert!(planned.at + planned.hold < Duration::from_secs(20), "seed {seed}: {planned:?}");
            }
            let Some(founding) = founding::draw(seed, 5) else { continue };
            for planned in founding.faults {
                assert!(planned.at + planned.hold <= founding.lasts, "seed {seed}: {planned:?}");
            }
        }
    }
}
