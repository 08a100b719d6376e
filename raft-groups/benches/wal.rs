//! How fast the shared log is on this machine's disk, beside the disk itself: `cargo bench -p raft-groups`.
//!
//! Each group appends one entry, waits until it is synced, and appends the next. The bare rate is that of one
//! thread that writes one sector into preallocated space and syncs it, over and over. `MERIDIAN_BENCH_DIR` names
//! the directory to measure in; without it, one is made in the system's temporary directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clock::Tasks;
use raft_groups::disk::{Dir, OsDir, SECTOR_BYTES};
use raft_groups::{GroupId, LogEntry, LogPosition, Wal, WalOptions};

const RUN: Duration = Duration::from_secs(1);
const PAYLOAD_BYTES: usize = 128;
const GROUPS: [u64; 3] = [1, 16, 256];
/// A group purges its log down to half of this whenever it gets so long.
const LOG_ENTRIES: u64 = 200;

fn main() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let home = std::env::var_os("MERIDIAN_BENCH_DIR").map_or(home.path().to_owned(), PathBuf::from);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    println!("{cores} cores, {profile} build, {PAYLOAD_BYTES}-byte payloads, {RUN:?} a line, in {}", home.display());
    println!(
        "{:>22} {:>12} {:>10} {:>10} {:>10} {:>12}",
        "", "appends/s", "fsyncs/s", "p50 µs", "p99 µs", "bytes/append"
    );
    bare(&home.join("bare"));
    for groups in GROUPS {
        shared_log(&home.join(format!("wal-{groups}")), groups);
    }
}

fn micros(sorted: &[Duration], quantile: f64) -> u128 {
    let place = ((sorted.len() as f64 * quantile) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(place).map_or(0, Duration::as_micros)
}

#[allow(clippy::disallowed_methods, reason = "a benchmark measures")]
fn bare(path: &Path) {
    const FILE_BYTES: u64 = 16 << 20;
    let dir = OsDir::open(path).expect("the directory can be made");
    let file = dir.create("bare").expect("the file can be made");
    file.allocate(FILE_BYTES).expect("there is room");
    file.sync_all().expect("the disk works");
    let sector = vec![7; SECTOR_BYTES];
    let mut times = Vec::new();
    let start = Instant::now();
    while start.elapsed() < RUN {
        let begin = Instant::now();
        let offset = times.len() as u64 * SECTOR_BYTES as u64 % FILE_BYTES;
        file.write_at(offset, &sector).expect("the disk works");
        file.sync_data().expect("the disk works");
        times.push(begin.elapsed());
    }
    let rate = times.len() as f64 / start.elapsed().as_secs_f64();
    times.sort_unstable();
    let (p50, p99) = (micros(&times, 0.5), micros(&times, 0.99));
    println!("{:>22} {:>12} {rate:>10.0} {p50:>10} {p99:>10} {SECTOR_BYTES:>12}", "bare fdatasync", "");
}

#[allow(clippy::disallowed_methods, reason = "a benchmark measures")]
fn shared_log(path: &Path, groups: u64) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime starts");
    let dir: Arc<dyn Dir> = Arc::new(OsDir::open(path).expect("the directory can be made"));
    let wal = Wal::open(dir, WalOptions::default(), Tasks::on(runtime.handle().clone())).expect("the log opens");
    // The first spare segments are made now, as on a node that has run for a while.
    std::thread::sleep(Duration::from_millis(300));
    let stop = Arc::new(AtomicBool::new(false));
    let appends = Arc::new(AtomicU64::new(0));
    let before = wal.stats();
    let start = Instant::now();
    let writers: Vec<_> = (1..=groups)
        .map(|id| runtime.spawn(append_until(wal.group(GroupId(id)), stop.clone(), appends.clone())))
        .collect();
    std::thread::sleep(RUN);
    stop.store(true, Ordering::Relaxed);
    let mut times: Vec<Duration> =
        writers.into_iter().flat_map(|w| runtime.block_on(w).expect("a writer ends")).collect();
    let seconds = start.elapsed().as_secs_f64();
    let after = wal.stats();
    let appended = appends.load(Ordering::Relaxed).max(1);
    let fsyncs = (after.batches - before.batches) as f64 / seconds;
    let bytes = (after.bytes - before.bytes) / appended;
    times.sort_unstable();
    let (p50, p99) = (micros(&times, 0.5), micros(&times, 0.99));
    let label = format!("log, {groups} groups");
    println!("{label:>22} {:>12.0} {fsyncs:>10.0} {p50:>10} {p99:>10} {bytes:>12}", appended as f64 / seconds);
    runtime.block_on(wal.close());
}

#[allow(clippy::disallowed_methods, reason = "a benchmark measures")]
async fn append_until(log: raft_groups::GroupLog, stop: Arc<AtomicBool>, appends: Arc<AtomicU64>) -> Vec<Duration> {
    let payload = Bytes::from(vec![7; PAYLOAD_BYTES]);
    let mut times = Vec::new();
    let mut index = 0;
    while !stop.load(Ordering::Relaxed) {
        let begin = Instant::now();
        let entry = LogEntry { position: LogPosition::new(1, 0, index), payload: payload.clone() };
        let (told, synced) = tokio::sync::oneshot::channel();
        log.append(vec![entry], Box::new(move |outcome| drop(told.send(outcome))));
        synced.await.expect("an answer comes").expect("the disk works");
        times.push(begin.elapsed());
        appends.fetch_add(1, Ordering::Relaxed);
        if index % LOG_ENTRIES == LOG_ENTRIES - 1 {
            log.purge(LogPosition::new(1, 0, index - LOG_ENTRIES / 2));
        }
        index += 1;
    }
    times
}
