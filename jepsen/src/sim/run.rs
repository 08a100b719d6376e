//! One seed, from start to verdict.
//!
//! ```text
//!   founding, beside faults in some runs ─▶ set up ─▶ safety phase: workload beside faults ─▶ heal ─▶ liveness phase
//!       └───────────────── the watch looks on; the first violation ends the run ─────────────────────────────┘
//! ```

mod drawn;
mod founding;
mod liveness;

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::audit;
use super::cluster::SimCluster;
use super::nemesis;
use super::plan::Planned;
use super::watch::{Timeline, Violation, Watch};
use crate::checker::Verdict;
use crate::history::Recorder;
use crate::workload::{self, Load, Workload};

pub use drawn::{founding_of, plan_of, settings_of};

/// What is run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunOptions {
    /// What everything follows from.
    pub seed: u64,
    /// What clients do.
    pub workload: String,
    /// How long, in virtual time.
    pub duration: Duration,
    /// Transactions that clients begin a simulated second.
    pub rate: u64,
    /// Numbers of the planned faults to carry out; `None` for all of them.
    pub faults: Option<Vec<usize>>,
    /// Nothing disturbs the founding, thresholds are as usual, and none of the [harsh](super::plan::harsh) faults happens: what
    /// seeds meant before there were any.
    pub plain: bool,
    /// What to log, as for meridian's --log.
    pub log: String,
}

impl RunOptions {
    /// A run of a seed with all its faults.
    pub fn new(seed: u64, workload: &str) -> Self {
        let (duration, log) = (Duration::from_secs(20), "off".to_owned());
        RunOptions { seed, workload: workload.to_owned(), duration, rate: 20, faults: None, plain: false, log }
    }
}

/// What came of a seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The same for every run of the seed.
    pub trace_hash: u64,
    /// How many events were folded into it.
    pub events: u64,
    /// Messages that arrived.
    pub messages: u64,
    /// Operations acknowledged, failed, and of unknown outcome.
    pub operations: (u64, u64, u64),
    /// How many faults were carried out.
    pub faults: usize,
    /// Virtual time, in seconds.
    pub simulated_s: f64,
    /// Real time, in seconds.
    pub real_s: f64,
    /// The longest time without an acknowledged write, in seconds.
    pub longest_gap_s: f64,
    /// What was broken: names and witnesses.
    pub broken: Vec<(String, String)>,
}

/// How many clients work.
const CLIENTS: usize = 6;

/// How long they go on without faults where nothing was acknowledged amid them.
const CALM: Duration = Duration::from_secs(5);

/// Runs a seed in a runtime of its own, in virtual time.
///
/// # Errors
/// When there is no runtime to be had.
pub fn run_seed(options: &RunOptions, timeline: Option<Timeline>) -> std::io::Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .rng_seed(tokio::runtime::RngSeed::from_bytes(&options.seed.to_be_bytes()))
        .build()?;
    let watch = Watch::new(timeline);
    let begin = Instant::now();
    let ran = audit::audited(&watch, &options.log, || {
        let ran = runtime.block_on(run(options, watch.clone()));
        // What is left running belongs to no run any more.
        runtime.shutdown_background();
        ran
    });
    let trace = watch.trace();
    let counts = ran.verdict.map(|verdict| verdict.counts).unwrap_or_default();
    let broken = |violation: Violation| (violation.invariant.clone(), violation.to_string());
    Ok(Outcome {
        seed: options.seed,
        trace_hash: trace.hash(),
        events: trace.events(),
        messages: ran.messages,
        operations: (counts.ok, counts.failed, counts.unknown),
        faults: ran.faults,
        simulated_s: ran.simulated.as_secs_f64(),
        real_s: begin.elapsed().as_secs_f64(),
        longest_gap_s: counts.longest_gap.as_secs_f64(),
        broken: watch.violations().into_iter().map(broken).collect(),
    })
}

#[derive(Default)]
struct Ran {
    verdict: Option<Verdict>,
    messages: u64,
    faults: usize,
    simulated: Duration,
}

async fn run(options: &RunOptions, watch: Watch) -> Ran {
    let cluster = SimCluster::new(options.seed, settings_of(options), watch.clone());
    let (plan, founding) = (plan_of(options, cluster.len()), founding_of(options, cluster.len()));
    let faults = plan.len() + founding.as_ref().map_or(0, |founding| founding.faults.len());
    let mut verdict = None;
    let whole = async {
        let founded = match &founding {
            Some(founding) => founding::disturbed(&cluster, founding).await,
            None => founding::in_order(&cluster).await,
        };
        match (founded, workload::named(&options.workload)) {
            (Err(problem), _) => watch.report("start", &problem),
            (Ok(()), None) => watch.report("start", &format!("there is no workload {}", options.workload)),
            (Ok(()), Some(workload)) => verdict = safety_and_liveness(options, &*workload, &cluster, &plan).await,
        }
    };
    tokio::select! {
        biased;
        () = watch.broken() => {}
        () = whole => {}
    }
    if let Some(verdict) = &verdict {
        tell(&watch, &options.workload, verdict);
    }
    watch.note(&format!("delivered {} in {:?}", cluster.delivered(), cluster.elapsed()));
    Ran { verdict, messages: cluster.delivered(), faults, simulated: cluster.elapsed() }
}

/// What the workload found broken, or could not tell.
fn tell(watch: &Watch, workload: &str, verdict: &Verdict) {
    for anomaly in &verdict.anomalies {
        watch.report(&format!("{workload}: {}", anomaly.name), &anomaly.explanation);
    }
    if verdict.anomalies.is_empty() {
        for why in &verdict.unknown {
            watch.report(&format!("{workload}: unknown"), why);
        }
    }
}

async fn safety_and_liveness(
    options: &RunOptions,
    workload: &dyn Workload,
    cluster: &SimCluster,
    plan: &[Planned],
) -> Option<Verdict> {
    let database = &*cluster.database();
    let load = Load { clients: CLIENTS, duration: options.duration, seed: options.seed, pause: Duration::ZERO };
    let recorder = Recorder::new();
    let nemesis = async {
        nemesis::carry_out(cluster, plan, options.duration, &recorder).await;
        Ok(())
    };
    let failed = |problem: anyhow::Error| cluster.watch().report("liveness", &format!("{problem:#}"));
    let (_, verdict) = workload::drive(workload, database, load, &recorder, nemesis).await.map_err(failed).ok()?;
    liveness::liveness(cluster, database).await;
    if verdict.counts.ok > 0 {
        return Some(verdict);
    }
    // Everything fell to the faults, which may be so. Now that they are over, it may not.
    let load = Load { clients: CLIENTS, duration: CALM, seed: options.seed, pause: Duration::ZERO };
    let calm = workload::drive(workload, database, load, &Recorder::new(), async { Ok(()) }).await;
    calm.map_err(failed).ok().map(|(_, verdict)| verdict)
}
