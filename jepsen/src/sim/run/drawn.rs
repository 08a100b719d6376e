//! What a run follows from: its options, and the numbers and faults drawn from its seed.

use std::time::Duration;

use clock::Random;

use super::RunOptions;
use crate::sim::cluster::SimSettings;
use crate::sim::plan::harsh::{has_returning, has_starved};
use crate::sim::plan::{self, Founding, Planned};

/// When a node is taken for dead, at the latest, where that happens within a run, in milliseconds.
pub(super) const DEAD_AFTER_MS_MAX: u64 = 12_000;

/// The faults of a run, beside its workload.
pub fn plan_of(options: &RunOptions, nodes: usize) -> Vec<Planned> {
    let mut plan = plan::draw(options.seed, nodes, options.duration, options.plain);
    retain(options, &mut plan);
    plan
}

/// How the cluster of a run is founded, where something disturbs it.
pub fn founding_of(options: &RunOptions, nodes: usize) -> Option<Founding> {
    if options.plain {
        return None;
    }
    let mut founding = plan::founding::draw(options.seed, nodes)?;
    retain(options, &mut founding.faults);
    Some(founding)
}

fn retain(options: &RunOptions, faults: &mut Vec<Planned>) {
    if let Some(numbers) = &options.faults {
        faults.retain(|planned| numbers.contains(&planned.number));
    }
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
    if !options.plain {
        make_smaller(options, settings);
    }
}

/// Thresholds that take much to reach in production, reached by little; so that what is done beyond them is done at all.
fn make_smaller(options: &RunOptions, settings: &mut SimSettings) {
    let random = Random::from_seed(options.seed).fork("thresholds");
    let one_of = |choices: &[u64]| choices[usize::try_from(random.range(0, choices.len() as u64)).unwrap_or(0)];
    let snapshot_bytes = one_of(&[64, 1 << 10, 16 << 10]);
    if random.chance(0.35) {
        settings.kv.snapshot_batch_bytes = usize::try_from(snapshot_bytes).unwrap_or(usize::MAX);
    }
    let (entries, kept) = (random.range(4, 60), random.range(0, 4));
    let (bytes, lag_bytes) = (random.range(1 << 10, 32 << 10), random.range(0, 64 << 10));
    if random.chance(0.3) {
        let groups = &mut settings.groups;
        (groups.compact_after_entries, groups.keep_entries) = (entries, kept);
        (groups.compact_after_bytes, groups.keep_bytes, groups.lag_bytes) = (bytes, bytes / 4, lag_bytes);
    }
    let retention_ms = random.range(1_500, 8_000);
    if random.chance(0.25) {
        settings.kv.record_retention_ms = retention_ms;
    }
    let range_bytes = random.range(4 << 10, 16 << 10);
    if random.chance(0.1) {
        settings.kv.range_split_bytes = range_bytes;
    }
    let patience_ms = random.range(1_000, 8_000);
    if random.chance(0.5) {
        settings.kv.learner_patience_ms = patience_ms;
    }
    let checks = Random::from_seed(options.seed).fork("checks");
    if checks.chance(0.5) {
        settings.kv.check_interval_ms = checks.range(200, 4_000);
        // At the slowest a check takes many seconds, in which everything may happen to who is at it.
        settings.kv.check_bytes_a_second =
            [16 << 10, 256 << 10, 8 << 20][usize::try_from(checks.range(0, 3)).unwrap_or(0)];
    }
    let dead_after_ms = random.range(2_500, 4_000);
    if has_returning(options.seed, settings.nodes) {
        settings.kv.node_suspect_after_ms = 1_800;
        settings.kv.node_dead_after_ms = dead_after_ms;
    }
    if has_starved(options.seed) {
        let starved = Random::from_seed(options.seed).fork("beside the starved");
        settings.transactions.write_buffer_bytes = 0;
        settings.kv.gc_interval_ms = 250;
        settings.kv.record_retention_ms = starved.range(500, 1_500);
        settings.thinking = Duration::from_millis(starved.range(10, 200));
    }
}
