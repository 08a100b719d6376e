//! Values of many megabytes in the engine of production: what they cost those beside them, and that none is lost or comes back.

use std::collections::BTreeMap;

use bytes::Bytes;
use clock::Random;
use kv::engine::{Engine, FjallEngine, FjallOptions, Reader, WriteBatch};

const LARGE_BYTES: usize = 30 << 20;

fn open(path: &std::path::Path) -> FjallEngine {
    // Small, so that little is enough to have it written out, and compacted.
    let options = FjallOptions { memtable_bytes: 4 << 20, ..FjallOptions::default() };
    FjallEngine::open(path, options).expect("opens")
}

fn put(engine: &dyn Engine, key: &str, value: Bytes) {
    let mut batch = WriteBatch::new();
    batch.put(key.to_owned(), value);
    engine.write(batch).expect("writes");
}

/// What the calling thread has read from files so far, in bytes.
fn read_bytes() -> u64 {
    let figures = std::fs::read_to_string("/proc/thread-self/io").expect("the system counts");
    let read = figures.lines().find_map(|line| line.strip_prefix("rchar: "));
    read.and_then(|bytes| bytes.parse().ok()).expect("a number")
}

#[test]
fn who_looks_beside_a_large_value_does_not_read_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let engine = open(dir.path());
    put(&engine, "a", Bytes::from_static(b"small"));
    put(&engine, "c", Bytes::from(vec![7; LARGE_BYTES]));
    // Until it is in a file: a value in memory is read from no file.
    loop {
        let before = read_bytes();
        assert!(engine.snapshot().get(b"c").expect("reads").is_some_and(|value| value.len() == LARGE_BYTES));
        if read_bytes() - before >= LARGE_BYTES as u64 {
            break;
        }
        put(&engine, "z", Bytes::from(vec![7; 64 << 10]));
        engine.sync().expect("syncs");
    }
    let before = read_bytes();
    for _ in 0..20 {
        assert!(!engine.snapshot().cursor(b"b", b"c", false).advance().expect("reads"));
        assert!(!engine.snapshot().cursor(b"d", b"e", true).advance().expect("reads"));
    }
    let read = read_bytes() - before;
    assert!(read < LARGE_BYTES as u64, "{read} bytes were read to find nothing");
}

type Model = BTreeMap<String, Bytes>;

fn check(reader: &dyn Reader, model: &Model, when: &str) {
    let mut cursor = reader.cursor(b"", b"", false);
    let mut expected = model.iter();
    while cursor.advance().expect("reads") {
        let (key, value) = expected.next().unwrap_or_else(|| panic!("{when}: one too many"));
        assert_eq!(cursor.key(), key.as_bytes(), "{when}");
        assert!(cursor.value() == &value[..], "{when}: the value of {key} is another");
        assert!(reader.get(key.as_bytes()).expect("reads").as_ref() == Some(value), "{when}: {key} by itself");
    }
    assert!(expected.next().is_none(), "{when}: one is missing");
}

/// Overwritten and deleted over and over, small and large in turn, so that files of values are collected; under snapshots that
/// are held, and through lives of the store.
#[test]
fn large_values_are_found_as_they_were_written_however_often_they_change() {
    (0..3).for_each(change_often);
}

fn change_often(seed: u64) {
    let dir = tempfile::tempdir().expect("a directory");
    let random = Random::from_seed(seed);
    let mut model = Model::new();
    for life in 0..4 {
        let engine = open(dir.path());
        check(&*engine.snapshot(), &model, &format!("seed {seed}, life {life}"));
        let mut held = Vec::new();
        for round in 0..60 {
            let mut batch = WriteBatch::new();
            for _ in 0..3 {
                let key = format!("k{:02}", random.range(0, 24));
                if random.range(0, 4) == 0 {
                    model.remove(&key);
                    batch.delete(key);
                    continue;
                }
                let bytes = [100, 600 << 10, 1200 << 10, 3 << 20][random.range(0, 4) as usize];
                let value = Bytes::from(vec![random.next_u64() as u8; bytes]);
                model.insert(key.clone(), value.clone());
                batch.put(key, value);
            }
            engine.write(batch).expect("writes");
            if round % 20 == 5 {
                held.push((engine.snapshot(), model.clone()));
            }
            if round % 20 == 0 {
                engine.sync().expect("syncs");
                check(&*engine.snapshot(), &model, &format!("seed {seed}, life {life}, round {round}"));
            }
        }
        for (reader, model) in &held {
            check(&**reader, model, &format!("seed {seed}, a snapshot of life {life}"));
        }
    }
}
