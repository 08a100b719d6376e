//! How fast one store reads and writes, through MVCC: bounded in rows and time, prints its conditions.
//!
//! `cargo bench -p kv --bench engine [rows]`
#![allow(clippy::disallowed_methods, reason = "a benchmark measures")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clock::Timestamp;
use kv::engine::{Engine, FjallEngine, FjallOptions, MemoryEngine, Overlay};
use kv::mvcc::{MvccStats, ReadAt, ScanLimits, WriteMode, get, scan, write};
use kv::{encoding, keys};

const VALUE_BYTES: usize = 100;
const VERSIONS: u64 = 2;
const LOAD_BATCH: u64 = 1000;

fn key(row: u64) -> Vec<u8> {
    let mut key = keys::index_prefix(100, 1);
    encoding::put_i64(&mut key, row as i64);
    key
}

/// Runs until the bound, and prints what one operation took.
fn measure(name: &str, bound: Duration, mut operation: impl FnMut(u64)) {
    let begin = Instant::now();
    let mut count = 0;
    while count < 1_000_000 && (count & 0x3f != 0 || begin.elapsed() < bound) {
        operation(count);
        count += 1;
    }
    let nanos = begin.elapsed().as_nanos() as f64 / count as f64;
    println!("  {name:<34} {:>9.2} µs   {:>10.0}/s   ({count} operations)", nanos / 1e3, 1e9 / nanos);
}

fn put(engine: &dyn Engine, rows: &mut dyn Iterator<Item = u64>, at: u64, value: &Bytes) {
    let reader = engine.snapshot();
    let mut overlay = Overlay::new(&*reader);
    let mut stats = MvccStats::default();
    let mode = WriteMode::Committed { commit_timestamp: Timestamp::new(at, 0), relaxed: false, txn: None };
    for row in rows {
        write(&mut overlay, &mut stats, &key(row), Some(value.clone()), mode).expect("the store writes");
    }
    engine.write(overlay.into_batch()).expect("the store writes");
}

fn bench(name: &str, engine: &dyn Engine, rows: u64) {
    println!("{name}: {rows} rows of {VERSIONS} versions, {VALUE_BYTES}-byte values, one thread, unsynced writes");
    let value = Bytes::from(vec![7; VALUE_BYTES]);
    let begin = Instant::now();
    for version in 1..=VERSIONS {
        for from in (0..rows).step_by(LOAD_BATCH as usize) {
            put(engine, &mut (from..rows.min(from + LOAD_BATCH)), version, &value);
        }
    }
    let loaded = (rows * VERSIONS) as f64;
    println!("  load in batches of {LOAD_BATCH:<15} {:>9.2} µs a row", begin.elapsed().as_secs_f64() * 1e6 / loaded);
    let bound = Duration::from_secs(2);
    let scattered = |count: u64| count.wrapping_mul(0x9e37_79b9_7f4a_7c15) % rows;
    let at = ReadAt::timestamp(Timestamp::new(1000, 0));
    measure("engine snapshot", bound, |_| drop(black_box(engine.snapshot())));
    measure("engine get (an absent intent)", bound, |count| {
        let found = engine.snapshot().get(&kv::mvcc::key::prefix(&key(scattered(count))));
        assert!(found.expect("the store reads").is_none());
    });
    measure("mvcc get", bound, |count| {
        let found = get(&*engine.snapshot(), &key(scattered(count)), &at).expect("the store reads");
        assert!(found.value.is_some());
    });
    for page in [10, 1000] {
        let limits = ScanLimits { max_rows: page, max_bytes: 0 };
        for reverse in [false, true] {
            let name = format!("mvcc scan of {page} rows{}", if reverse { ", reverse" } else { "" });
            measure(&name, bound, |count| {
                let from = scattered(count) % (rows - page.min(rows - 1));
                let (start, end) = (key(from), key(from + page));
                let found = scan(&*engine.snapshot(), &start, &end, reverse, &at, limits).expect("the store reads");
                assert_eq!(found.rows.len() as u64, page);
            });
        }
    }
    measure("mvcc put, a batch each", bound, |count| {
        put(engine, &mut std::iter::once(scattered(count)), 10 + count, &value);
    });
    measure("mvcc put, 4 a batch", bound, |count| {
        put(engine, &mut (0..4).map(|row| scattered(count * 4 + row)), 2_000_000 + count, &value);
    });
    let begin = Instant::now();
    engine.sync().expect("the store syncs");
    println!("  sync {:>40.2} ms   {} bytes on disk", begin.elapsed().as_secs_f64() * 1e3, engine.disk_bytes());
}

/// How long single batches take while the store is synced over and over beside them: fjall writes under the lock it syncs under.
fn bench_writes_beside_syncs(engine: &dyn Engine) {
    const BATCHES: u64 = 20_000;
    let value = Bytes::from(vec![7; 4 << 10]);
    let is_done = std::sync::atomic::AtomicBool::new(false);
    let (mut nanos, mut syncs) = (Vec::new(), 0);
    std::thread::scope(|scope| {
        let syncing = scope.spawn(|| {
            let mut count = 0;
            while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
                engine.sync().expect("the store syncs");
                count += 1;
            }
            count
        });
        for count in 0..BATCHES {
            let begin = Instant::now();
            put(engine, &mut std::iter::once(count), 4_000_000 + count, &value);
            nanos.push(begin.elapsed().as_nanos());
        }
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
        syncs = syncing.join().expect("the syncing thread ends");
    });
    nanos.sort_unstable();
    let at = |share: f64| nanos[((nanos.len() - 1) as f64 * share) as usize] as f64 / 1e6;
    println!(
        "  put of 4 KiB beside {syncs} syncs      p50 {:.3} p99 {:.3} p99.9 {:.3} max {:.3} ms   ({BATCHES} operations)",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
}

fn main() {
    let rows = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(100_000).max(2_000);
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    println!("profile {profile}, {} cores", std::thread::available_parallelism().map_or(0, usize::from));
    let dir = tempfile::tempdir().expect("a directory for the store");
    let fjall = FjallEngine::open(dir.path(), FjallOptions::default()).expect("the store opens");
    bench("fjall", &fjall, rows);
    bench_writes_beside_syncs(&fjall);
    bench("memory", &MemoryEngine::new(), rows);
}
