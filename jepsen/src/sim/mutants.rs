//! Who checks the checkers: every known bug brought back, one at a time, and the suite run against it until it is caught.
//!
//! `jepsen/mutants` holds a line a mutant: its name, and the most seeds it may take to catch it. A mutant that is not
//! caught within its bound is *missed*, and fails the command: either the bug cannot show itself any more, or nobody looks.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use clock::Random;
use clock::mutation::Mutant;

use super::fleet::{self, FleetOptions};
use super::run::RunOptions;
use crate::workload;

/// The bounds, as kept in the repository.
const BOUNDS: &str = include_str!("../../mutants");

/// `jepsen mutants`.
#[derive(Clone, Debug, Args)]
pub struct MutantArguments {
    /// Only these, by name.
    #[arg(long)]
    pub only: Vec<String>,
    /// What the seeds follow from; a fresh one each time if it is not given.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Runs at a time.
    #[arg(long, default_value_t = 1)]
    pub jobs: usize,
}

/// How one mutant is to be caught.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Which.
    pub mutant: Mutant,
    /// After how many seeds at the latest.
    pub seeds: usize,
    /// By which workload; all in turn for `None`.
    pub workload: Option<String>,
}

/// The bounds kept in the repository.
///
/// # Errors
/// When a line cannot be read, or a mutant has none.
pub fn bounds() -> Result<Vec<Bound>> {
    let lines = BOUNDS.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let bounds: Vec<Bound> = lines.map(bound).collect::<Result<_>>()?;
    for mutant in Mutant::ALL {
        if !bounds.iter().any(|bound| bound.mutant == *mutant) {
            bail!("jepsen/mutants has no line for {}", mutant.name());
        }
    }
    Ok(bounds)
}

fn bound(line: &str) -> Result<Bound> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [name, seeds, workload] = words[..] else { bail!("expected a name, a number of seeds and a workload: {line}") };
    let mutant = Mutant::ALL.iter().copied().find(|mutant| mutant.name() == name);
    let mutant = mutant.with_context(|| format!("there is no mutant {name}"))?;
    let workload = match workload {
        "any" => None,
        name => {
            workload::named(name).with_context(|| format!("there is no workload {name}"))?;
            Some(name.to_owned())
        }
    };
    Ok(Bound { mutant, seeds: seeds.parse()?, workload })
}

/// Runs the suite against each mutant, with a line of a table for each.
///
/// # Errors
/// When one is missed, or a seed that caught one fails without the mutant as well.
pub async fn run(arguments: &MutantArguments) -> Result<()> {
    let seed = arguments.seed.unwrap_or_else(|| Random::from_entropy().seed() >> 32);
    println!("seed {seed}");
    println!("{:<26} {:<7} {:>11} {:>6}  by", "mutant", "verdict", "seeds", "time");
    let (begin, mut uncaught, mut hunted) = (Instant::now(), Vec::new(), 0);
    for bound in bounds()? {
        let name = bound.mutant.name();
        if !arguments.only.is_empty() && !arguments.only.iter().any(|only| only == name) {
            continue;
        }
        let hunt = hunt(&bound, seed, arguments.jobs).await?;
        hunted += 1;
        let (verdict, words) = match &hunt.end {
            End::Caught(by, replay) => ("caught", format!("{by}  ({replay})")),
            End::Missed => ("missed", String::new()),
            End::Anyway(by, replay) => ("anyway", format!("{by}, without the mutant as well  ({replay})")),
        };
        let (seeds, took_s) = (format!("{} of {}", hunt.seeds, bound.seeds), hunt.took.as_secs());
        println!("{name:<26} {verdict:<7} {seeds:>11} {took_s:>4} s  {words}");
        if !matches!(hunt.end, End::Caught(..)) {
            uncaught.push(name);
        }
    }
    println!("{} of {hunted} caught in {} s", hunted - uncaught.len(), begin.elapsed().as_secs());
    if uncaught.is_empty() {
        Ok(())
    } else {
        bail!("{} mutants were not caught: {}", uncaught.len(), uncaught.join(", "))
    }
}

/// What the search for a mutant came to.
struct Hunt {
    end: End,
    /// Runs that ended.
    seeds: u64,
    took: Duration,
}

enum End {
    /// By what, and how to see it again.
    Caught(String, String),
    Missed,
    /// The seed fails without the mutant, too, by this: a bug, and none of the known ones.
    Anyway(String, String),
}

async fn hunt(bound: &Bound, seed: u64, jobs: usize) -> Result<Hunt> {
    let begin = Instant::now();
    let random = Random::from_seed(seed).fork(bound.mutant.name());
    let names = workload::names();
    let runs = (0..bound.seeds).map(|number| {
        let workload = bound.workload.as_deref().unwrap_or(names[number % names.len()]);
        RunOptions::new(random.next_u64() >> 32, workload)
    });
    let name = bound.mutant.name();
    let binary = std::env::current_exe()?;
    let fleet = FleetOptions {
        binary: binary.clone(),
        jobs,
        bound: None,
        mutant: Some(name.to_owned()),
        stop_at_failure: true,
    };
    let mut caught = None;
    let mut seeds = 0;
    fleet::run(runs.collect::<Vec<_>>(), &fleet, |finished, summary| {
        if let (None, Some(broken)) = (&caught, finished.broken().into_iter().next()) {
            caught = Some((broken, finished.options.clone()));
            seeds = summary.runs;
        }
    })
    .await?;
    let Some((broken, options)) = caught else {
        return Ok(Hunt { end: End::Missed, seeds: bound.seeds as u64, took: begin.elapsed() });
    };
    let words = fleet::arguments(&options).join(" ");
    // What caught the mutant must be silent without it.
    let end = match fleet::run_one(binary, options, None).await?.broken().into_iter().next() {
        Some(anyway) => End::Anyway(title(anyway), format!("jepsen {words}")),
        None => End::Caught(title(broken), format!("{}={name} jepsen {words}", clock::mutation::VARIABLE)),
    };
    Ok(Hunt { end, seeds, took: begin.elapsed() })
}

/// What was broken, in a few words. Invariants and checkers have names of their own; what a process died of has none.
fn title((name, witness): (String, String)) -> String {
    let is_name = !["panic", "process", "start", "liveness"].contains(&name.as_str());
    if is_name { name } else { format!("{name}: {}", witness.lines().next().unwrap_or_default()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_has_a_bound() {
        assert_eq!(bounds().unwrap().len(), Mutant::ALL.len());
    }
}
