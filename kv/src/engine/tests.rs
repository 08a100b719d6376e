//! Both engines, and overlays on both, against a plain ordered map; the memory engine through losses of power.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn collect(reader: &dyn Reader, start: &[u8], end: &[u8], reverse: bool) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut cursor = reader.cursor(start, end, reverse);
    let mut entries = Vec::new();
    while cursor.advance().expect("reads") {
        assert_eq!(cursor.value(), &cursor.value_bytes()[..]);
        entries.push((cursor.key().to_vec(), cursor.value().to_vec()));
    }
    entries
}

fn check(reader: &dyn Reader, model: &Model, start: &[u8], end: &[u8]) {
    let mut expected: Vec<_> = model
        .iter()
        .filter(|(key, _)| &key[..] >= start && (end.is_empty() || &key[..] < end))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    assert_eq!(collect(reader, start, end, false), expected);
    expected.reverse();
    assert_eq!(collect(reader, start, end, true), expected);
    assert_eq!(reader.get(start).expect("reads").as_deref(), model.get(start).map(|value| &value[..]));
}

fn apply(model: &mut Model, batch: &WriteBatch) {
    for op in &batch.ops {
        match &op.value {
            Some(value) => model.insert(op.key.to_vec(), value.to_vec()),
            None => model.remove(&op.key[..]),
        };
    }
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![Just(0u8), Just(7), Just(255)], 0..4).prop_map(|mut key| {
        key.insert(0, 1);
        key
    })
}

fn batch() -> impl Strategy<Value = WriteBatch> {
    let op = (key(), prop::option::weighted(0.7, prop::collection::vec(any::<u8>(), 0..4)));
    prop::collection::vec(op, 0..6).prop_map(|ops| WriteBatch {
        ops: ops.into_iter().map(|(key, value)| WriteOp { key: key.into(), value: value.map(Bytes::from) }).collect(),
    })
}

/// Writes the batches; readers taken on the way must go on seeing what they saw.
fn conforms(engine: &dyn Engine, batches: &[WriteBatch], start: &[u8], end: &[u8]) {
    let mut model = Model::new();
    let mut readers = vec![(engine.snapshot(), model.clone())];
    for batch in batches {
        let reader = engine.snapshot();
        let mut overlay = Overlay::new(&*reader);
        overlay.survey(start.to_vec(), end.to_vec()).expect("reads");
        for op in batch.ops.iter().cloned() {
            match op.value {
                Some(value) => overlay.put(op.key, value),
                None => overlay.delete(op.key),
            }
        }
        apply(&mut model, batch);
        check(&overlay, &model, start, end);
        check(&overlay, &model, b"", b"");
        let from_overlay = overlay.into_batch();
        assert!(from_overlay.ops.windows(2).all(|pair| pair[0].key < pair[1].key));
        drop(reader);
        engine.write(batch.clone()).expect("writes");
        readers.push((engine.snapshot(), model.clone()));
        if readers.len() > 3 {
            readers.remove(1);
        }
    }
    for (reader, model) in &readers {
        check(&**reader, model, start, end);
        check(&**reader, model, b"", b"");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn memory_conforms(batches in prop::collection::vec(batch(), 0..12), start in key(), end in key()) {
        conforms(&MemoryEngine::new(), &batches, &start, &end);
    }

    #[test]
    fn a_crash_loses_a_suffix_of_what_was_not_synced(
        batches in prop::collection::vec((batch(), prop::bool::weighted(0.2)), 0..12),
        surviving in 0usize..12,
    ) {
        let engine = MemoryEngine::new();
        let _reader = engine.snapshot();
        let mut states = vec![Model::new()];
        for (batch, sync) in &batches {
            engine.write(batch.clone()).expect("writes");
            let mut next = states.last().expect("one state at least").clone();
            apply(&mut next, batch);
            states.push(next);
            if *sync {
                engine.sync().expect("syncs");
                states = vec![states.pop().expect("one state at least")];
            }
        }
        prop_assert_eq!(engine.unsynced_batches(), states.len() - 1);
        let found = engine.crash(surviving);
        check(&*found.snapshot(), &states[surviving.min(states.len() - 1)], b"", b"");
        prop_assert_eq!(found.unsynced_batches(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn fjall_conforms(batches in prop::collection::vec(batch(), 0..12), start in key(), end in key()) {
        let dir = tempfile::tempdir().expect("a directory");
        conforms(&FjallEngine::open(dir.path(), FjallOptions::default()).expect("opens"), &batches, &start, &end);
    }
}

#[test]
fn fjall_is_found_again_as_it_was_left() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut batch = WriteBatch::new();
    batch.put(&b"kept"[..], vec![7; 10_000]);
    batch.put(&b"gone"[..], &b"x"[..]);
    batch.delete(&b"gone"[..]);
    {
        let engine = FjallEngine::open(dir.path(), FjallOptions::default()).expect("opens");
        engine.write(batch.clone()).expect("writes");
        engine.sync().expect("syncs");
        assert!(engine.disk_bytes() > 0);
    }
    let engine = FjallEngine::open(dir.path(), FjallOptions::default()).expect("opens again");
    let mut model = Model::new();
    apply(&mut model, &batch);
    check(&*engine.snapshot(), &model, b"", b"");
}

/// Journals that were sealed but whose memtables were not written out when the process was killed: fjall keeps writers waiting
/// while four or more such memtables are there, and only flushes end that.
#[test]
#[allow(clippy::disallowed_methods, reason = "puts together what a killed process leaves of fjall's own files")]
fn fjall_takes_writes_after_a_kill_that_left_many_sealed_journals() {
    const JOURNAL_BYTES: u64 = 65 << 20;
    let (life, killed) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let options = FjallOptions { memtable_bytes: 64 << 20, ..FjallOptions::default() };
    let journals = |dir: &std::path::Path| -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(dir).expect("a store").flatten().map(|entry| entry.path());
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "jnl")).collect()
    };
    let mut model = Model::new();
    {
        let engine = FjallEngine::open(life.path(), options).expect("opens");
        copy_tree(life.path(), killed.path());
        let value = Bytes::from(vec![7; 1 << 20]);
        let mut written = 0;
        while written < 6 * JOURNAL_BYTES {
            let mut batch = WriteBatch::new();
            batch.put(written.to_be_bytes().to_vec(), value.clone());
            apply(&mut model, &batch);
            engine.write(batch).expect("writes");
            written += value.len() as u64;
            // A link survives fjall's removal of a journal whose memtable is written out.
            for journal in journals(life.path()) {
                let kept = killed.path().join(journal.file_name().expect("a journal has a name"));
                let Some(listed) = inode(&journal) else { continue };
                if inode(&kept) != Some(listed) {
                    let _ = std::fs::remove_file(&kept);
                    // It may be gone just now, but not unseen: writing it took longer than from one write to the next.
                    let _ = std::fs::hard_link(&journal, &kept);
                }
            }
        }
    }
    assert!(journals(killed.path()).len() >= 5, "{:?}", journals(killed.path()));
    let engine = FjallEngine::open(killed.path(), options).expect("opens as after a kill");
    let mut batch = WriteBatch::new();
    batch.put(&b"later"[..], &b"x"[..]);
    apply(&mut model, &batch);
    engine.write(batch).expect("writes");
    check(&*engine.snapshot(), &model, b"", b"");
}

#[allow(clippy::disallowed_methods, reason = "as above")]
fn inode(path: &std::path::Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).map(|metadata| metadata.ino()).ok()
}

#[allow(clippy::disallowed_methods, reason = "as above")]
fn copy_tree(from: &std::path::Path, to: &std::path::Path) {
    for entry in std::fs::read_dir(from).expect("a directory").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir_all(&target).expect("a directory");
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).expect("copies");
        }
    }
}
