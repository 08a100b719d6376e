//! The simulator itself: what a seed does, it does again.
#![allow(clippy::disallowed_methods, reason = "tests of real processes use the real world")]

use std::path::PathBuf;
use std::time::Duration;

use jepsen::sim::fleet::{self, FleetOptions};
use jepsen::sim::plan::Fault;
use jepsen::sim::run::{founding_of, plan_of, settings_of};
use jepsen::sim::strike::Blow;
use jepsen::sim::{Outcome, RunOptions, SimSettings};
use jepsen::workload;

/// Runs each in a fresh process.
fn run(runs: Vec<RunOptions>, mutant: Option<&str>) -> Vec<Outcome> {
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_jepsen"));
    let mutant = mutant.map(str::to_owned);
    let options = FleetOptions { binary, jobs: 2, bound: None, mutant, stop_at_failure: false };
    let mut outcomes = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime is to be had");
    runtime
        .block_on(fleet::run(runs, &options, |finished, _| {
            outcomes.push(finished.outcome.clone().unwrap_or_else(|words| panic!("{:?}: {words}", finished.options)));
        }))
        .expect("processes can be started");
    outcomes.sort_by_key(|outcome| (outcome.seed, outcome.trace_hash));
    outcomes
}

#[test]
fn a_seed_does_the_same_in_every_process() {
    // Every other one is plain: that nothing is broken in the others is for the seeds of CI to show, which are many more.
    let seeds = 0..24;
    let runs = seeds.clone().flat_map(|seed| {
        let names = workload::names();
        let workload = names[usize::try_from(seed).unwrap() % names.len()];
        let (duration, plain) = (Duration::from_secs(4), seed % 2 == 0);
        let options = RunOptions { duration, plain, ..RunOptions::new(seed, workload) };
        [options.clone(), options]
    });
    let outcomes = run(runs.collect(), None);
    assert_eq!(outcomes.len(), 48);
    for pair in outcomes.chunks(2) {
        let [one, other] = pair else { unreachable!("chunks of two") };
        assert_eq!(
            (one.seed, one.trace_hash, one.events, &one.broken),
            (other.seed, other.trace_hash, other.events, &other.broken),
            "seed {} did two things",
            one.seed
        );
        assert!(one.broken.is_empty() || one.seed % 2 == 1, "seed {}: {:?}", one.seed, one.broken);
    }
    let mut hashes: Vec<u64> = outcomes.iter().map(|outcome| outcome.trace_hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 24, "different seeds do different things");
}

#[test]
fn external_consistency_needs_commit_wait() {
    // No faults but skewed clocks.
    let runs = |mutant| {
        let quiet = |seed| RunOptions {
            duration: Duration::from_secs(4),
            faults: Some(Vec::new()),
            plain: true,
            ..RunOptions::new(seed, "bank")
        };
        run((100..112).map(quiet).collect(), mutant)
    };
    for outcome in runs(None) {
        assert_eq!(outcome.broken, [], "seed {}", outcome.seed);
    }
    let without = runs(Some("no-commit-wait"));
    let caught = without.iter().filter(|outcome| outcome.broken.iter().any(|(name, _)| name == "external_consistency"));
    assert!(caught.count() > 0, "nobody noticed that commits are not waited for");
}

/// The first seeds whose plans have such a fault, beside the workload or before it, as runs of that fault alone.
fn all_alone(
    workload: &str,
    seconds: u64,
    plain: bool,
    is_wanted: impl Fn(&SimSettings, &Fault) -> bool,
) -> impl Iterator<Item = RunOptions> {
    let duration = Duration::from_secs(seconds);
    let runs = (0..2_000).map(move |seed| RunOptions { duration, plain, ..RunOptions::new(seed, workload) });
    runs.filter_map(move |options| {
        let settings = settings_of(&options);
        let founding = founding_of(&options, settings.nodes).map(|founding| founding.faults).unwrap_or_default();
        let mut planned = founding.into_iter().chain(plan_of(&options, settings.nodes));
        let wanted = planned.find(|planned| is_wanted(&settings, &planned.fault))?.number;
        Some(RunOptions { faults: Some(vec![wanted]), ..options })
    })
}

/// The first of those that are plain.
fn alone(workload: &str, is_wanted: impl Fn(&SimSettings, &Fault) -> bool) -> RunOptions {
    let found = all_alone(workload, 12, true, is_wanted).next();
    found.expect("rare faults are drawn in some runs")
}

#[test]
fn a_wrong_clock_fences_its_node_and_hurts_nobody_else() {
    // That it does not go on is checked within the run, since nothing else is in the way.
    let runs = ["register", "bank"].into_iter().flat_map(|workload| {
        [
            alone(workload, |_, fault| matches!(fault, Fault::WrongClock(_, times) if *times > 0)),
            alone(workload, |_, fault| matches!(fault, Fault::WrongClock(_, times) if *times < 0)),
            alone(workload, |_, fault| matches!(fault, Fault::DisownedClock(..))),
        ]
    });
    for outcome in run(runs.collect(), None) {
        assert_eq!(outcome.broken, [], "seed {}", outcome.seed);
        assert_eq!(outcome.faults, 1);
    }
}

#[test]
fn a_rotten_log_is_refused_and_the_others_go_on() {
    let rot = alone("bank", |_, fault| matches!(fault, Fault::BitRot(..)));
    for outcome in run(vec![rot], None) {
        assert_eq!(outcome.broken, [], "seed {}", outcome.seed);
        assert_eq!(outcome.faults, 1);
    }
}

#[test]
fn a_lost_node_is_replaced_and_gets_its_copies() {
    // Where nodes count as dead within the run, that every range has all its copies again is part of its end.
    let lost = ["append", "set"].map(|workload| {
        alone(workload, |settings, fault| matches!(fault, Fault::Replace(_)) && settings.kv.node_dead_after_ms < 10_000)
    });
    for outcome in run(lost.to_vec(), None) {
        assert_eq!(outcome.broken, [], "seed {}", outcome.seed);
        assert_eq!(outcome.faults, 1);
    }
}

#[test]
fn a_founder_that_dies_at_any_step_founds_one_cluster() {
    let dies = |fault: &Fault| matches!(fault, Fault::Strike(0, strike) if !matches!(strike.blow, Blow::Fails { .. } | Blow::Stalls(_)));
    let is_early = |options: &RunOptions| {
        let numbers = options.faults.iter().flatten();
        numbers.copied().all(|number| number >= jepsen::sim::plan::founding::FIRST_NUMBER)
    };
    let runs = all_alone("set", 1, false, |_, fault| dies(fault)).filter(is_early).take(24);
    for outcome in run(runs.collect(), None) {
        assert_eq!(outcome.broken, [], "seed {}", outcome.seed);
    }
}
