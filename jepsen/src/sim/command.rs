//! `jepsen sim`: seeds, fresh or given, and what came of each.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use pgwire_server::cli::parse_duration;

use super::fleet::{self, Finished, FleetOptions};
use super::run::{Outcome, RunOptions, founding_of, plan_of, run_seed, settings_of};
use super::watch::Timeline;
use crate::workload;

/// `jepsen sim`.
#[derive(Clone, Debug, Args)]
pub struct SimArguments {
    /// Run this seed only, in this process.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Run so many seeds, fresh ones, each in a process of its own.
    #[arg(long, default_value_t = 10)]
    pub seeds: u64,
    /// Have fresh seeds follow from this, the hash of a commit: the same ones wherever, and however often, they are run.
    #[arg(long)]
    pub from_commit: Option<String>,
    /// Run the seeds that once broke something, kept in jepsen/seeds.
    #[arg(long)]
    pub kept: bool,
    /// Runs at a time.
    #[arg(long, default_value_t = 1)]
    pub jobs: usize,
    /// Start no run after this much real time.
    #[arg(long = "for", value_parser = parse_duration)]
    pub bound: Option<Duration>,
    /// What clients do; all of them in turn if it is not given.
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(workload::names()))]
    pub workload: Option<String>,
    /// How long the safety phase is, in simulated time.
    #[arg(long, default_value = "20s", value_parser = parse_duration)]
    pub time: Duration,
    /// Transactions that clients begin a simulated second, all together.
    #[arg(long, default_value_t = 20)]
    pub rate: u64,
    /// Numbers of the planned faults to carry out, or "none"; all of them if it is not given.
    #[arg(long)]
    pub faults: Option<String>,
    /// Nothing disturbs the founding, thresholds are as usual, and nodes are not hit at exact steps: what seeds meant at first.
    #[arg(long)]
    pub plain: bool,
    /// Write here who sent what to whom, and when; "-" for standard output. With --seed.
    #[arg(long)]
    pub timeline: Option<PathBuf>,
    /// What to log, as for meridian's --log. With --seed.
    #[arg(long, default_value = "off")]
    pub log: String,
    /// Print the outcome as JSON. With --seed.
    #[arg(long)]
    pub json: bool,
}

impl SimArguments {
    fn options(&self, seed: u64, workload: &str) -> Result<RunOptions> {
        let faults = match self.faults.as_deref() {
            None => None,
            Some("none") => Some(Vec::new()),
            Some(list) => Some(list.split(',').map(str::parse).collect::<Result<Vec<usize>, _>>()?),
        };
        let (workload, duration, rate, log) = (workload.to_owned(), self.time, self.rate, self.log.clone());
        Ok(RunOptions { seed, workload, duration, rate, faults, plain: self.plain, log })
    }
}

/// Runs what was asked for.
///
/// # Errors
/// When something was found broken.
pub fn run(arguments: &SimArguments) -> Result<()> {
    match arguments.seed {
        Some(seed) => run_here(arguments, seed),
        None => tokio::runtime::Runtime::new()?.block_on(run_many(arguments)),
    }
}

fn run_here(arguments: &SimArguments, seed: u64) -> Result<()> {
    let options = arguments.options(seed, arguments.workload.as_deref().unwrap_or("bank"))?;
    let outcome = run_seed(&options, timeline(arguments)?)?;
    if arguments.json {
        println!("{}", serde_json::to_string(&outcome)?);
        return Ok(());
    }
    let settings = settings_of(&options);
    println!("{} nodes, clock error {:?}", settings.nodes, settings.clock_error);
    let founding = founding_of(&options, settings.nodes);
    if let Some(founding) = &founding {
        println!("founded within {:?}, nodes start at {:?}", founding.lasts, founding.starts);
    }
    let founding = founding.map(|founding| founding.faults).unwrap_or_default();
    for planned in founding.into_iter().chain(plan_of(&options, settings.nodes)) {
        println!("  fault {} at {:?} for {:?}: {:?}", planned.number, planned.at, planned.hold, planned.fault);
    }
    println!("{}", words(&options, &outcome));
    if outcome.broken.is_empty() { Ok(()) } else { bail!("seed {seed} broke something") }
}

fn timeline(arguments: &SimArguments) -> Result<Option<Timeline>> {
    let Some(path) = &arguments.timeline else { return Ok(None) };
    let mut out: Box<dyn Write + Send> = match path.to_str() {
        Some("-") => Box::new(std::io::stdout()),
        _ => Box::new(std::io::BufWriter::new(std::fs::File::create(path)?)),
    };
    Ok(Some(Box::new(move |line| {
        // A reader that went away, such as `head`, is no fault of the run.
        let _ = writeln!(out, "{line}");
    })))
}

fn words(options: &RunOptions, outcome: &Outcome) -> String {
    let (ok, failed, unknown) = outcome.operations;
    let mut words = format!(
        "seed {} {}: {ok} ok, {failed} failed, {unknown} unknown; {} faults; {:.1} simulated seconds in {:.1} s ({:.1} a \
         second), {} messages; longest gap {:.1} s; trace {:016x}",
        options.seed,
        options.workload,
        outcome.faults,
        outcome.simulated_s,
        outcome.real_s,
        outcome.simulated_s / outcome.real_s.max(0.001),
        outcome.messages,
        outcome.longest_gap_s,
        outcome.trace_hash
    );
    for (_, witness) in &outcome.broken {
        words.push_str(&format!("\n  {witness}"));
    }
    words
}

/// A failure in words, with the command that shows how it came to be.
pub fn failure_words(finished: &Finished) -> String {
    let options = &finished.options;
    let mut text = format!("seed {} {} FAILED", options.seed, options.workload);
    for (_, witness) in finished.broken() {
        text.push_str(&format!("\n  {witness}"));
    }
    let command = fleet::arguments(options).join(" ");
    text.push_str(&format!("\n  replay: cargo run -p jepsen -- {command} --timeline -"));
    text
}

/// The seeds kept in the repository.
const KEPT: &str = include_str!("../../seeds");

fn kept(arguments: &SimArguments) -> Result<Vec<RunOptions>> {
    let lines = KEPT.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let mut words = line.split_whitespace();
            let (name, seed) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            if workload::named(name).is_none() {
                bail!("jepsen/seeds: there is no workload {name}");
            }
            let mut options = arguments.options(seed.parse()?, name)?;
            for word in words {
                match word {
                    "plain" => options.plain = true,
                    time => options.duration = parse_duration(time).map_err(anyhow::Error::msg)?,
                }
            }
            Ok(options)
        })
        .collect()
}

fn fresh(arguments: &SimArguments) -> Result<Vec<RunOptions>> {
    let fresh = match &arguments.from_commit {
        Some(hash) => clock::Random::from_seed(0).fork(hash),
        None => clock::Random::from_entropy(),
    };
    let names = workload::names();
    let mut runs = Vec::new();
    for number in 0..arguments.seeds {
        let in_turn = names[usize::try_from(number)? % names.len()];
        runs.push(arguments.options(fresh.next_u64() >> 32, arguments.workload.as_deref().unwrap_or(in_turn))?);
    }
    Ok(runs)
}

async fn run_many(arguments: &SimArguments) -> Result<()> {
    let runs = if arguments.kept { kept(arguments)? } else { fresh(arguments)? };
    let count = runs.len() as u64;
    let options = FleetOptions {
        binary: std::env::current_exe()?,
        jobs: arguments.jobs,
        bound: arguments.bound,
        mutant: None,
        stop_at_failure: false,
    };
    let summary = fleet::run(runs, &options, |finished, summary| {
        if !finished.broken().is_empty() {
            println!("{}", failure_words(finished));
        }
        fleet::show_progress(summary, Some(count));
    });
    let summary = summary.await?;
    println!("{summary}");
    if summary.failed > 0 { bail!("{} of {} seeds broke something", summary.failed, summary.runs) } else { Ok(()) }
}
