//! Many seeds: each in a fresh process of its own, several at a time, with a summary at the end.
//!
//! A fresh process, because what a process did before (hashers seeded by addresses, caches) must not reach into a run, and
//! because a run that hangs can then be ended from outside.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::stream::{FuturesUnordered, StreamExt};

use super::run::{Outcome, RunOptions};

/// Time of a core after which a run counts as hung: how busy the machine is with other things must make no difference.
const HUNG_AFTER: Duration = Duration::from_secs(240);

/// Real time after which it does in any case.
const LOST_AFTER: Duration = Duration::from_secs(3_600);

/// After how many runs it is said how far a fleet has come, where that is not said all the time.
const RUNS_A_LINE: u64 = 250;

/// How often it is looked how much time of a core a run has taken.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What became of a run in a process of its own.
#[derive(Clone, Debug)]
pub struct Finished {
    /// What was run.
    pub options: RunOptions,
    /// What came of it.
    pub outcome: Result<Outcome, Lost>,
}

/// Why a process told no outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It went on for too long.
    Hung,
    /// It died of this.
    Died(String),
}

impl Finished {
    /// What was broken: names and witnesses.
    pub fn broken(&self) -> Vec<(String, String)> {
        match &self.outcome {
            Ok(outcome) => outcome.broken.clone(),
            Err(lost) => {
                let name = if *lost == Lost::Hung { "hung" } else { "process" };
                vec![(name.to_owned(), lost.to_string())]
            }
        }
    }
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Lost::Hung => write!(f, "no verdict after {HUNG_AFTER:?} of a core"),
            Lost::Died(words) => write!(f, "{words}"),
        }
    }
}

/// How a fleet runs.
#[derive(Clone, Debug)]
pub struct FleetOptions {
    /// The program whose `sim` command runs a seed.
    pub binary: PathBuf,
    /// Runs at a time.
    pub jobs: usize,
    /// Start no run after this.
    pub bound: Option<Duration>,
    /// The mutant that the processes are.
    pub mutant: Option<String>,
    /// Start no run after the first failure.
    pub stop_at_failure: bool,
}

/// What a fleet came to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Runs that ended.
    pub runs: u64,
    /// Runs in which something was broken.
    pub failed: u64,
    /// Operations acknowledged, failed, and of unknown outcome.
    pub operations: (u64, u64, u64),
    /// Messages that arrived.
    pub messages: u64,
    /// Faults carried out.
    pub faults: u64,
    /// Virtual time, in seconds.
    pub simulated_s: f64,
    /// Real time of all runs together, in seconds.
    pub real_s: f64,
    /// The longest time without an acknowledged write, in seconds.
    pub longest_gap_s: f64,
    /// By name of what was broken: how often.
    pub broken: BTreeMap<String, u64>,
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (ok, failed, unknown) = self.operations;
        write!(
            f,
            "{} seeds, {} failed; {:.0} simulated seconds in {:.0} s of a core, {:.1} a second; {ok} operations ok, \
             {failed} failed, {unknown} unknown; {} faults, {} messages; longest gap without an acknowledged write {:.1} s",
            self.runs,
            self.failed,
            self.simulated_s,
            self.real_s,
            self.simulated_s / self.real_s.max(0.001),
            self.faults,
            self.messages,
            self.longest_gap_s
        )?;
        self.broken.iter().try_for_each(|(name, times)| write!(f, "\n  {name}: {times}"))
    }
}

impl Summary {
    fn add(&mut self, finished: &Finished) {
        self.runs += 1;
        let broken = finished.broken();
        self.failed += u64::from(!broken.is_empty());
        if let Some((name, _)) = broken.first() {
            *self.broken.entry(name.clone()).or_default() += 1;
        }
        let Ok(outcome) = &finished.outcome else { return };
        self.operations.0 += outcome.operations.0;
        self.operations.1 += outcome.operations.1;
        self.operations.2 += outcome.operations.2;
        self.messages += outcome.messages;
        self.faults += outcome.faults as u64;
        self.simulated_s += outcome.simulated_s;
        self.real_s += outcome.real_s;
        self.longest_gap_s = self.longest_gap_s.max(outcome.longest_gap_s);
    }
}

/// Runs them all, telling of each as it ends.
///
/// # Errors
/// When no process can be started.
pub async fn run(
    runs: impl IntoIterator<Item = RunOptions>,
    fleet: &FleetOptions,
    mut tell: impl FnMut(&Finished, &Summary),
) -> Result<Summary> {
    let begin = Instant::now();
    let mut runs = runs.into_iter();
    let mut summary = Summary::default();
    let mut running = FuturesUnordered::new();
    loop {
        let is_over =
            fleet.bound.is_some_and(|bound| begin.elapsed() > bound) || (fleet.stop_at_failure && summary.failed > 0);
        while running.len() < fleet.jobs.max(1) && !is_over {
            let Some(options) = runs.next() else { break };
            running.push(run_one(fleet.binary.clone(), options, fleet.mutant.clone()));
        }
        let Some(finished) = running.next().await else { break };
        let finished = finished?;
        summary.add(&finished);
        tell(&finished, &summary);
    }
    Ok(summary)
}

/// Runs one seed in a fresh process.
///
/// # Errors
/// When the process cannot be started.
pub async fn run_one(binary: PathBuf, options: RunOptions, mutant: Option<String>) -> Result<Finished> {
    let mut command = tokio::process::Command::new(&binary);
    command.args(arguments(&options)).arg("--json").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true);
    match mutant {
        Some(mutant) => command.env(clock::mutation::VARIABLE, mutant),
        None => command.env_remove(clock::mutation::VARIABLE),
    };
    let child = command.spawn().context("no process can be started for a seed")?;
    let process = child.id();
    let outcome = tokio::select! {
        output = child.wait_with_output() => match output {
            Err(error) => Err(Lost::Died(format!("the process was lost: {error}"))),
            Ok(output) => serde_json::from_slice(&output.stdout).map_err(|_| {
                let words = String::from_utf8_lossy(&output.stderr);
                let last = words.lines().rev().take(5).collect::<Vec<_>>().join(" / ");
                Lost::Died(format!("{}: {last}", output.status))
            }),
        },
        () = hangs(process) => Err(Lost::Hung),
    };
    Ok(Finished { options, outcome })
}

/// Returns once a process has taken too long.
async fn hangs(process: Option<u32>) {
    let begin = Instant::now();
    let mut taken = Duration::ZERO;
    while taken < HUNG_AFTER && begin.elapsed() < LOST_AFTER {
        tokio::time::sleep(LOOK_INTERVAL).await;
        taken = process.and_then(core_time).unwrap_or_else(|| begin.elapsed());
    }
}

/// How much time of a core a process has taken; `None` where the system does not tell.
fn core_time(process: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // Behind the name, which may contain anything, the fields are numbered from 3 on; 14 and 15 are hundredths of a second.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let hundredths = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Duration::from_millis(10 * (hundredths(14)? + hundredths(15)?)))
}

/// The arguments that replay a run.
pub fn arguments(options: &RunOptions) -> Vec<String> {
    let usual = RunOptions::new(options.seed, &options.workload);
    let mut arguments = vec!["sim".to_owned(), "--seed".to_owned(), options.seed.to_string()];
    let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
    add("--workload", options.workload.clone());
    if options.duration != usual.duration {
        add("--time", format!("{}ms", options.duration.as_millis()));
    }
    if options.rate != usual.rate {
        add("--rate", options.rate.to_string());
    }
    if let Some(faults) = &options.faults {
        let numbers: Vec<String> = faults.iter().map(usize::to_string).collect();
        add("--faults", if numbers.is_empty() { "none".to_owned() } else { numbers.join(",") });
    }
    if options.plain {
        arguments.push("--plain".to_owned());
    }
    arguments
}

/// Says how far a fleet has come, on a line that is written over; where nobody sits before a terminal, on a line now and then.
pub fn show_progress(summary: &Summary, of: Option<u64>) {
    let of = of.map_or_else(String::new, |of| format!(" of {of}"));
    let said = format!(
        "{}{of} seeds, {} failed, {:.1} simulated seconds a second of a core",
        summary.runs,
        summary.failed,
        summary.simulated_s / summary.real_s.max(0.001)
    );
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{said}");
    } else if summary.runs.is_multiple_of(RUNS_A_LINE) {
        eprintln!("{said}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_process_takes_time_of_a_core() {
        let begin = Instant::now();
        let mut sum = 0u64;
        while core_time(std::process::id()).expect("this system tells") < Duration::from_millis(20) {
            sum = std::hint::black_box(sum.wrapping_add(1));
            assert!(begin.elapsed() < Duration::from_secs(60), "nothing is counted");
        }
    }
}
