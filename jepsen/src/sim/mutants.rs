//! Who checks the checkers: every known bug brought back, one at a time, and the suite run against it until it is caught.
//!
//! `jepsen/mutants` holds a line a mutant: its name, and the most seeds it may take to catch it. A mutant that is not
//! caught within its bound is *missed*, and fails the command: either the bug cannot show itself any more, or nobody looks.

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

/// Runs the suite against each mutant.
///
/// # Errors
/// When one is missed.
pub async fn run(arguments: &MutantArguments) -> Result<()> {
    let seed = arguments.seed.unwrap_or_else(|| Random::from_entropy().seed() >> 32);
    println!("seed {seed}");
    let mut missed = Vec::new();
    for bound in bounds()? {
        let name = bound.mutant.name();
        if !arguments.only.is_empty() && !arguments.only.iter().any(|only| only == name) {
            continue;
        }
        match hunt(&bound, seed, arguments.jobs).await? {
            Some(caught) => {
                println!("{name}: caught by {} after {} seeds ({})", caught.by, caught.seeds, caught.replay)
            }
            None => {
                println!("{name}: missed after {} seeds", bound.seeds);
                missed.push(name);
            }
        }
    }
    if missed.is_empty() { Ok(()) } else { bail!("{} mutants were missed: {}", missed.len(), missed.join(", ")) }
}

struct Caught {
    by: String,
    seeds: u64,
    replay: String,
}

async fn hunt(bound: &Bound, seed: u64, jobs: usize) -> Result<Option<Caught>> {
    let random = Random::from_seed(seed).fork(bound.mutant.name());
    let names = workload::names();
    let runs = (0..bound.seeds).map(|number| {
        let workload = bound.workload.as_deref().unwrap_or(names[number % names.len()]);
        RunOptions::new(random.next_u64() >> 32, workload)
    });
    let name = bound.mutant.name();
    let fleet = FleetOptions {
        binary: std::env::current_exe()?,
        jobs,
        bound: None,
        mutant: Some(name.to_owned()),
        stop_at_failure: true,
    };
    let mut caught = None;
    fleet::run(runs.collect::<Vec<_>>(), &fleet, |finished, summary| {
        if let (None, Some((by, _))) = (&caught, finished.broken().first()) {
            let words = fleet::arguments(&finished.options).join(" ");
            let replay = format!("{}={name} jepsen {words}", clock::mutation::VARIABLE);
            caught = Some(Caught { by: by.clone(), seeds: summary.runs, replay });
        }
    })
    .await?;
    Ok(caught)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_has_a_bound() {
        assert_eq!(bounds().unwrap().len(), Mutant::ALL.len());
    }
}
