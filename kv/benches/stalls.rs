//! What an engine that has writers wait does to whoever shares their threads: bounded in time, prints its conditions.
//!
//! `cargo bench -p kv --bench stalls`
#![allow(clippy::disallowed_methods, reason = "a benchmark measures")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clock::Tasks;
use kv::engine::{Engine, EngineError, EngineWriter, FjallEngine, FjallOptions, MemoryEngine, Reader, WriteBatch};
use parking_lot::Mutex;

/// Threads of the runtime that all ranges share, as on a machine of two processors.
const THREADS: usize = 2;
/// Ranges that apply small batches all the time.
const SMALL_RANGES: usize = 8;
/// What one range applies beside them at least, and in batches of how much.
const LARGE_BYTES: usize = 64 << 20;
const LARGE_BATCH_BYTES: usize = 1 << 20;
/// How many syncs it meets at least.
const SYNCS_MIN: u64 = 10;
/// How often a heartbeat is due.
const HEARTBEAT: Duration = Duration::from_millis(5);

/// An engine that holds the lock of its writers over a sync, as fjall does, on a disk whose sync takes so long.
struct SlowSync {
    engine: MemoryEngine,
    journal: Mutex<()>,
    sync: Duration,
}

impl Engine for SlowSync {
    fn snapshot(&self) -> Box<dyn Reader> {
        self.engine.snapshot()
    }

    fn write(&self, batch: WriteBatch) -> Result<(), EngineError> {
        let _journal = self.journal.lock();
        self.engine.write(batch)
    }

    fn sync(&self) -> Result<(), EngineError> {
        let _journal = self.journal.lock();
        std::thread::sleep(self.sync);
        self.engine.sync()
    }

    fn disk_bytes(&self) -> u64 {
        self.engine.disk_bytes()
    }
}

/// How a range hands its batches over.
#[derive(Clone)]
enum Way {
    /// On the runtime's threads.
    Inline(Arc<dyn Engine>),
    /// Where it may block.
    Writer(Arc<EngineWriter>),
}

impl Way {
    async fn write(&self, batch: WriteBatch) {
        let written = match self {
            Way::Inline(engine) => engine.write(batch),
            Way::Writer(writer) => writer.write(batch).await,
        };
        written.expect("the store writes");
    }
}

fn batch(range: usize, count: u64, bytes: usize) -> WriteBatch {
    let mut batch = WriteBatch::new();
    let value = Bytes::from(vec![7; bytes.min(4 << 10)]);
    for part in 0..bytes.div_ceil(value.len()) {
        let key = [&range.to_be_bytes()[..], &count.to_be_bytes()[..], &part.to_be_bytes()[..]].concat();
        batch.put(key, value.clone());
    }
    batch
}

/// Applies beside heartbeats and syncs, and prints how late the heartbeats were.
fn bench(name: &str, engine: &Arc<dyn Engine>, by_writer: bool) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    let runtime = runtime.expect("threads start");
    let tasks = Tasks::on(runtime.handle().clone());
    let way = match by_writer {
        true => Way::Writer(EngineWriter::new(engine.clone(), tasks.clone())),
        false => Way::Inline(engine.clone()),
    };
    let is_done = Arc::new(AtomicBool::new(false));
    let (large, small, syncs) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let begin = Instant::now();
    let applying = {
        let (way, is_done, large, syncs) = (way.clone(), is_done.clone(), large.clone(), syncs.clone());
        tasks.spawn("large range", async move {
            let least = (LARGE_BYTES / LARGE_BATCH_BYTES) as u64;
            while large.load(Ordering::Relaxed) < least || syncs.load(Ordering::Relaxed) < SYNCS_MIN {
                // The same keys again: a store in memory does not grow.
                let count = large.fetch_add(1, Ordering::Relaxed) % least;
                way.write(batch(SMALL_RANGES, count, LARGE_BATCH_BYTES)).await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            is_done.store(true, Ordering::Relaxed);
        })
    };
    for range in 0..SMALL_RANGES {
        let (way, is_done, small) = (way.clone(), is_done.clone(), small.clone());
        tasks.spawn("small range", async move {
            while !is_done.load(Ordering::Relaxed) {
                way.write(batch(range, small.fetch_add(1, Ordering::Relaxed), 1 << 10)).await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
    }
    let syncing = {
        let (engine, is_done) = (engine.clone(), is_done.clone());
        std::thread::spawn(move || {
            while !is_done.load(Ordering::Relaxed) {
                engine.sync().expect("the store syncs");
                syncs.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(20));
            }
        })
    };
    let mut late = runtime.block_on({
        let is_done = is_done.clone();
        tasks.spawn("heartbeats", async move {
            let mut late = Vec::new();
            while !is_done.load(Ordering::Relaxed) {
                let due = Instant::now() + HEARTBEAT;
                tokio::time::sleep_until(due.into()).await;
                late.push(due.elapsed());
            }
            late
        })
    });
    let took = begin.elapsed();
    let late = late.as_mut().expect("the task ends");
    late.sort_unstable();
    runtime.block_on(applying).expect("the task ends");
    syncing.join().expect("the thread ends");
    let at = |share: f64| late[((late.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "  {name:<28} heartbeats late by p50 {:>6.2} p99 {:>7.2} max {:>7.2} ms; {:.0} MiB/s and {:.0} small batches/s",
        at(0.5),
        at(0.99),
        at(1.0),
        (large.load(Ordering::Relaxed) as usize * (LARGE_BATCH_BYTES >> 20)) as f64 / took.as_secs_f64(),
        small.load(Ordering::Relaxed) as f64 / took.as_secs_f64()
    );
}

/// How many small batches writers get through, one after the other each, while the store is synced over and over.
fn bench_writers_beside_syncs(engine: &dyn Engine, writers: usize) {
    const BOUND: Duration = Duration::from_secs(4);
    let (is_done, batches, mut syncs) = (AtomicBool::new(false), AtomicU64::new(0), 0);
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for writer in 0..writers {
            let (is_done, batches) = (&is_done, &batches);
            scope.spawn(move || {
                while !is_done.load(Ordering::Relaxed) {
                    let count = batches.fetch_add(1, Ordering::Relaxed);
                    engine.write(batch(100 + writer, count, 1 << 10)).expect("the store writes");
                }
            });
        }
        while begin.elapsed() < BOUND {
            engine.sync().expect("the store syncs");
            syncs += 1;
        }
        is_done.store(true, Ordering::Relaxed);
    });
    let seconds = begin.elapsed().as_secs_f64();
    let per_second = batches.load(Ordering::Relaxed) as f64 / seconds;
    println!(
        "  {writers:>2} writers of 1 KiB beside syncs: {per_second:>8.0} batches/s, {:.0} syncs/s",
        f64::from(syncs) / seconds
    );
}

fn main() {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!(
        "profile {profile}, {cores} cores, {SMALL_RANGES} ranges of small batches and one of large ones on {THREADS} threads"
    );
    for by_writer in [false, true] {
        let how = if by_writer { "by the writer" } else { "inline" };
        let sync = Duration::from_millis(100);
        let slow: Arc<dyn Engine> = Arc::new(SlowSync { engine: MemoryEngine::new(), journal: Mutex::default(), sync });
        bench(&format!("syncs of 100 ms, {how}"), &slow, by_writer);
        let dir = tempfile::tempdir_in(".").expect("a directory for the store");
        let fjall = FjallEngine::open(dir.path(), FjallOptions::default()).expect("the store opens");
        let fjall: Arc<dyn Engine> = Arc::new(fjall);
        bench(&format!("fjall, {how}"), &fjall, by_writer);
    }
    for writers in [1, 16] {
        let dir = tempfile::tempdir_in(".").expect("a directory for the store");
        let fjall = FjallEngine::open(dir.path(), FjallOptions::default()).expect("the store opens");
        bench_writers_beside_syncs(&fjall, writers);
    }
}
