//! Calls that are made to fail.

use super::*;

fn put(key: &[u8]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put(key.to_vec(), &b"v"[..]);
    batch
}

/// An engine with a synced and an unsynced batch, whose next call fails.
fn about_to_fail(survives: bool) -> MemoryEngine {
    let engine = MemoryEngine::new();
    engine.write(put(b"a")).expect("writes");
    engine.sync().expect("syncs");
    engine.write(put(b"b")).expect("writes");
    let fate = CallFate::Fails { error: std::io::ErrorKind::StorageFull, survives };
    engine.interfere(Some(std::sync::Arc::new(move |call| if call.is_done { CallFate::Succeeds } else { fate })));
    engine
}

fn keys_of(engine: &MemoryEngine) -> Vec<Vec<u8>> {
    let reader = engine.snapshot();
    let mut cursor = reader.cursor(b"", b"", false);
    let mut keys = Vec::new();
    while cursor.advance().expect("reads") {
        keys.push(cursor.key().to_vec());
    }
    keys
}

#[test]
fn a_failed_write_poisons_the_memory_engine_until_it_is_opened_anew() {
    for survives in [false, true] {
        let engine = about_to_fail(survives);
        engine.write(put(b"c")).expect_err("it is made to fail");
        engine.interfere(None);
        assert!(engine.is_poisoned());
        engine.write(put(b"d")).expect_err("it is poisoned");
        engine.sync().expect_err("it is poisoned");
        assert_eq!(keys_of(&engine), [b"a".to_vec(), b"b".to_vec()], "reads go on");
        let reopened = engine.crash(1);
        let mut expected = vec![b"a".to_vec(), b"b".to_vec()];
        expected.extend(survives.then(|| b"c".to_vec()));
        assert_eq!(keys_of(&reopened), expected);
        assert_eq!(keys_of(&engine.crash(0)), [b"a".to_vec()], "what comes later does not survive what came before");
        reopened.write(put(b"e")).expect("writes again");
    }
}

#[test]
fn a_failed_sync_poisons_the_memory_engine_and_makes_nothing_durable() {
    let engine = about_to_fail(false);
    engine.sync().expect_err("it is made to fail");
    assert!(engine.is_poisoned());
    assert_eq!(engine.unsynced_batches(), 1);
    assert_eq!(keys_of(&engine.crash(0)), [b"a".to_vec()]);
}
