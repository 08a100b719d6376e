//! Walks and victims.

use super::*;

fn txn(id: u128, priority: u32, began: u64) -> TxnMeta {
    let begin_timestamp = Timestamp::new(began, 0);
    TxnMeta { id: TxnId::from_random(id), priority, begin_timestamp, ..TxnMeta::default() }
}

#[test]
fn deterministic_victim() {
    let (old, young, weak) = (txn(1, 5, 10), txn(2, 5, 20), txn(3, 1, 5));
    assert_eq!(victim(&[old.clone(), young.clone()]), young.id);
    assert_eq!(victim(&[young.clone(), old.clone()]), young.id);
    for cycle in [[old.clone(), weak.clone(), young.clone()], [weak.clone(), young, old]] {
        assert_eq!(victim(&cycle), weak.id);
    }
}

#[test]
fn a_walk_finds_the_cycle_through_its_start_only() {
    let (a, b, c) = (txn(1, 0, 1), txn(2, 0, 2), txn(3, 0, 3));
    let edge = |wait, to: &TxnMeta| vec![WaitEdge { wait, blockers: vec![to.clone()] }];
    let mut walk = Walk::from(&a);
    walk.follow(a.id, &edge(7, &b));
    walk.follow(b.id, &edge(8, &c));
    assert!(walk.cycle(a.id).is_none());
    walk.follow(c.id, &edge(9, &b));
    assert!(walk.cycle(a.id).is_none(), "a cycle beside the start is not the start's");
    walk.follow(c.id, &edge(6, &a));
    let (members, waits) = walk.cycle(a.id).expect("the walk came back");
    assert_eq!(members.len(), 3);
    assert_eq!(waits, vec![6, 7, 8]);
}

#[test]
fn a_wait_that_is_over_is_forgotten() {
    let waits = Waits::default();
    let (now, later) = (Timestamp::new(1, 0), Timestamp::new(9, 0));
    let edge = WaitEdge { wait: 4, blockers: vec![txn(2, 0, 0)] };
    let id = TxnId::from_random(1);
    waits.note(id, &edge, now, later);
    assert_eq!(waits.of(id, now), vec![edge.clone()]);
    assert!(waits.of(id, later).is_empty(), "a note lasts as long as it may");
    waits.note(id, &WaitEdge { blockers: Vec::new(), ..edge }, now, later);
    assert!(waits.of(id, now).is_empty());
}
