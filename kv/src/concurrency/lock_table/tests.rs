//! The lock table by itself. How requests wait in it is told by the scripts of the replica.

use super::*;

fn txn(id: u128, write: u64) -> TxnMeta {
    TxnMeta { id: TxnId::from_random(id), write_timestamp: Timestamp::new(write, 0), ..TxnMeta::default() }
}

fn write_of(table: &LockTable, id: u128) -> LockRequest {
    let spans = vec![LockSpan { start: "k".into(), end: None, access: LockAccess::Write }];
    table.arrive(Some(txn(id, 5)), spans)
}

fn read_of(table: &LockTable, at: u64) -> LockRequest {
    let read = Timestamp::new(at, 0);
    let access = LockAccess::Read { read, uncertainty_limit: read };
    table.arrive(None, vec![LockSpan { start: "a".into(), end: Some("z".into()), access }])
}

#[test]
fn lock_fifo() {
    let table = LockTable::default();
    table.acquire(&"k".into(), &txn(1, 5), Timestamp::MIN);
    let (mut second, mut third) = (write_of(&table, 2), write_of(&table, 3));
    assert!(table.check(&mut third).expect("it is held").pushes);
    assert!(table.check(&mut second).expect("it is held").pushes, "who arrived earlier stands before");
    table.update(b"k", TxnId::from_random(1), true, Timestamp::MIN);
    assert!(table.still_blocked(&second, &"k".into()).is_none());
    let behind = table.still_blocked(&third, &"k".into()).expect("the second goes first");
    assert_eq!(behind.ahead.expect("a transaction is ahead").id, TxnId::from_random(2));
    table.leave(&mut second);
    assert!(table.check(&mut third).is_none());
    table.leave(&mut third);
    assert!(table.describe().is_empty());
}

#[test]
fn lock_exclusive() {
    let table = LockTable::default();
    table.acquire(&"k".into(), &txn(1, 5), Timestamp::MIN);
    let mut own = write_of(&table, 1);
    assert!(table.check(&mut own).is_none(), "the holder does not wait for itself");
    let mut reader = read_of(&table, 9);
    assert!(table.check(&mut reader).is_none(), "an unreplicated lock is nothing to a reader");
    table.discover(&"k".into(), &txn(1, 5), Timestamp::MIN);
    assert!(table.check(&mut reader).is_some(), "an intent below the read is");
    assert!(table.check(&mut read_of(&table, 4)).is_none(), "one above is not");
    table.update(b"k", TxnId::from_random(1), false, Timestamp::new(20, 0));
    assert!(table.still_blocked(&reader, &"k".into()).is_none(), "it was moved above the read");
}

#[test]
fn releasing_locks_leaves_intents() {
    let table = LockTable::default();
    table.acquire(&"a".into(), &txn(1, 5), Timestamp::MIN);
    table.acquire(&"b".into(), &txn(1, 5), Timestamp::MIN);
    table.discover(&"b".into(), &txn(1, 5), Timestamp::MIN);
    table.release_unreplicated(b"", b"", TxnId::from_random(1));
    assert_eq!(table.describe(), vec!["b: holder 1 (intent), queue []"]);
    assert_eq!(table.intents_of(TxnId::from_random(1)), vec![Bytes::from("b")]);
    table.clear_from(b"");
    assert!(table.describe().is_empty());
}
