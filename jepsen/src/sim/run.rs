//! One seed, from start to verdict.
//!
//! ```text
//!   set up ─▶ safety phase: workload beside faults ─▶ heal ─▶ liveness phase: every node answers, every replica catches up
//!                 └───────────────── the watch looks on; the first violation ends the run ─────────────────┘
//! ```

use std::time::{Duration, Instant};

use clock::Random;
use serde::{Deserialize, Serialize};

use super::audit;
use super::cluster::{SimCluster, SimSettings, Standing};
use super::invariants::Sample;
use super::nemesis;
use super::plan::{self, Planned};
use super::watch::{Timeline, Violation, Watch};
use crate::checker::Verdict;
use crate::client::{Database, run_anywhere};
use crate::history::Recorder;
use crate::workload::{self, Load, Workload};

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
    /// What to log, as for meridian's --log.
    pub log: String,
}

impl RunOptions {
    /// A run of a seed with all its faults.
    pub fn new(seed: u64, workload: &str) -> Self {
        let (duration, log) = (Duration::from_secs(20), "off".to_owned());
        RunOptions { seed, workload: workload.to_owned(), duration, rate: 20, faults: None, log }
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

/// Within this virtual time after everything is healed, everything must answer, and every replica catch up.
const LIVENESS_BOUND: Duration = Duration::from_secs(60);

/// When a node is taken for dead, at the latest, where that happens within a run, in milliseconds.
const DEAD_AFTER_MS_MAX: u64 = 12_000;

/// How many clients work.
const CLIENTS: usize = 6;

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

/// The faults of a run.
pub fn plan_of(options: &RunOptions, nodes: usize) -> Vec<Planned> {
    let mut plan = plan::draw(options.seed, nodes, options.duration);
    if let Some(numbers) = &options.faults {
        plan.retain(|planned| numbers.contains(&planned.number));
    }
    plan
}

/// The numbers of a run: mostly the usual ones, sometimes far from them, so that what is rare in production is not here.
pub fn settings_of(options: &RunOptions) -> SimSettings {
    let random = Random::from_seed(options.seed).fork("settings");
    let one_of = |choices: &[u64]| choices[usize::try_from(random.range(0, choices.len() as u64)).unwrap_or(0)];
    let usual = kv::Settings::default();
    let kv = kv::Settings {
        lease_duration_ms: one_of(&[1_000, 2_000, 2_000, 4_000]),
        range_split_bytes: one_of(&[24 << 10, 256 << 20, 256 << 20]),
        gc_ttl_ms: one_of(&[5_000, usual.gc_ttl_ms]),
        gc_interval_ms: one_of(&[1_000, usual.gc_interval_ms]),
        // A simulated disk is small, and its free room is what a fault says it is.
        disk_floor_bytes: 64 << 10,
        disk_ballast_bytes: 16 << 10,
        ..usual
    };
    let compact_after_entries = one_of(&[100, 10_000]);
    let groups = raft_groups::GroupConfig {
        compact_after_entries,
        keep_entries: compact_after_entries / 2,
        ..raft_groups::GroupConfig::default()
    };
    let mut settings = SimSettings {
        nodes: usize::try_from(one_of(&[3, 3, 3, 5])).unwrap_or(3),
        clock_error: Duration::from_millis(one_of(&[2, 2, 20, 100])),
        kv,
        groups,
        rate: Some(options.rate),
        ..SimSettings::default()
    };
    make_rarer(options, &mut settings);
    settings
}

/// What is rarer still, each drawn by itself.
fn make_rarer(options: &RunOptions, settings: &mut SimSettings) {
    let random = |what: &str| Random::from_seed(options.seed).fork(what);
    // Clients mostly do not think; sometimes for longer than locks are waited for in silence, or than heartbeats take.
    let thinking_ms = [0, 0, 0, 0, 30, 300, 300, 2_000];
    let choice = random("thinking").range(0, thinking_ms.len() as u64);
    settings.thinking = Duration::from_millis(thinking_ms[usize::try_from(choice).unwrap_or(0)]);
    let buffers = random("buffers");
    if buffers.chance(0.3) {
        // Every write is met by others before its transaction commits.
        settings.transactions.write_buffer_bytes = 0;
    }
    if buffers.chance(0.1) {
        settings.transactions.read_span_bytes = 64;
        settings.transactions.intent_span_bytes = 64;
    }
    let garbage = random("garbage");
    // To fill the tables of scans takes one transaction longer than that.
    if garbage.chance(0.15) && options.workload != "scan" {
        settings.kv.gc_ttl_ms = garbage.range(500, 3_000);
        settings.kv.gc_interval_ms = 250;
        settings.kv.gc_garbage_bytes_min = 0;
    }
    let death = random("death");
    if death.chance(0.4) {
        settings.kv.node_dead_after_ms = death.range(settings.kv.node_suspect_after_ms + 1_000, DEAD_AFTER_MS_MAX);
    }
    let promises = random("promises");
    settings.prelude = match options.workload.as_str() {
        // What must hold of each key by itself holds without commit wait, too.
        "register" if promises.chance(if settings.clock_error > Duration::from_millis(10) { 0.6 } else { 0.2 }) => {
            Some("SET consistency = 'linearizable'")
        }
        _ => None,
    };
    if settings.prelude.is_some() && promises.chance(0.5) {
        // Nobody waits for clocks, however far they are apart: but who is told late what others' clocks say must look above its own.
        settings.clock_error = Duration::from_millis(100);
        settings.far = Some(Duration::from_millis(promises.range(40, 120)));
        settings.rate = settings.rate.map(|rate| 4 * rate);
    }
}

async fn run(options: &RunOptions, watch: Watch) -> Ran {
    let cluster = match SimCluster::start(options.seed, settings_of(options), watch.clone()).await {
        Ok(cluster) => cluster,
        Err(error) => {
            watch.report("start", &format!("{error:#}"));
            return Ran::default();
        }
    };
    let plan = plan_of(options, cluster.len());
    let mut verdict = None;
    match workload::named(&options.workload) {
        None => watch.report("start", &format!("there is no workload {}", options.workload)),
        Some(workload) => tokio::select! {
            biased;
            () = watch.broken() => {}
            done = safety_and_liveness(options, &*workload, &cluster, &plan) => verdict = done,
        },
    }
    if let Some(verdict) = &verdict {
        tell(&watch, &options.workload, verdict);
    }
    watch.note(&format!("delivered {} in {:?}", cluster.delivered(), cluster.elapsed()));
    Ran { verdict, messages: cluster.delivered(), faults: plan.len(), simulated: cluster.elapsed() }
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
    let database = cluster.database();
    let load = Load { clients: CLIENTS, duration: options.duration, seed: options.seed, pause: Duration::ZERO };
    let recorder = Recorder::new();
    let nemesis = async {
        nemesis::carry_out(cluster, plan, options.duration, &recorder).await;
        Ok(())
    };
    let verdict = match workload::drive(workload, &*database, load, &recorder, nemesis).await {
        Ok((_, verdict)) => verdict,
        Err(problem) => {
            cluster.watch().report("liveness", &format!("{problem:#}"));
            return None;
        }
    };
    if let Err(problem) = liveness(cluster, &*database).await {
        cluster.watch().report("liveness", &problem);
    }
    Some(verdict)
}

/// Everything is healed: every node must come up and answer, for reads and writes alike, and every replica catch up.
async fn liveness(cluster: &SimCluster, database: &dyn Database) -> Result<(), String> {
    let end = tokio::time::Instant::now() + LIVENESS_BOUND;
    let in_time = |what: &str| format!("{what} within {LIVENESS_BOUND:?} after all was healed");
    loop {
        let is_late = |index: &usize| !matches!(cluster.standing(*index), Standing::Up | Standing::Lost);
        let down: Vec<usize> = (0..cluster.len()).filter(is_late).collect();
        if down.is_empty() {
            break;
        }
        if tokio::time::Instant::now() > end {
            let names: Vec<usize> = down.iter().map(|index| index + 1).collect();
            return Err(in_time(&format!("nodes {names:?} do not come up")));
        }
        nemesis::restart_all(cluster);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let answer = async {
        run_anywhere(database, "CREATE TABLE IF NOT EXISTS alive (node int PRIMARY KEY)").await?;
        for index in (0..cluster.len()).filter(|index| cluster.standing(*index) != Standing::Lost) {
            let mut client = database.connect(index).await?;
            client.run(&format!("INSERT INTO alive VALUES ({index})")).await?;
        }
        Ok::<_, crate::client::Failure>(())
    };
    match tokio::time::timeout_at(end, answer).await {
        Err(_) => return Err(in_time("not every node answers")),
        Ok(Err(failure)) => return Err(format!("a node refuses once all is healed: {failure}")),
        Ok(Ok(())) => {}
    }
    while !Sample::take(cluster).is_settled() {
        if tokio::time::Instant::now() > end {
            return Err(in_time("replicas do not catch up"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let up = (0..cluster.len()).filter(|index| cluster.standing(*index) == Standing::Up).count();
    let (copies, dead_after_ms) = (cluster.kv_settings().replication_target, cluster.kv_settings().node_dead_after_ms);
    while up >= copies && dead_after_ms <= DEAD_AFTER_MS_MAX && !Sample::take(cluster).has_copies(copies) {
        if tokio::time::Instant::now() > end {
            return Err(in_time("ranges lack copies on nodes that run"));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    cluster.watch().look_back(cluster);
    Ok(())
}
