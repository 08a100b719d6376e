use futures::FutureExt;

use super::*;
use crate::descriptor::ReplicaDescriptor;

fn descriptor(range_id: u64, start: &'static str, end: &'static str) -> RangeDescriptor {
    let replica = ReplicaDescriptor { replica_id: 1, node_id: 1, ..ReplicaDescriptor::default() };
    let (start, end) = (Bytes::from(start), Bytes::from(end));
    RangeDescriptor { range_id, start, end, generation: 1, replicas: vec![replica], next_replica_id: 2 }
}

/// A replica comes into being by a message.
fn start(claims: &Claims, range_id: u64, replica_id: u64) {
    let _starting = claims.start(range_id, replica_id).expect("the range has nothing here");
    claims.started(range_id);
}

/// What a split hears that is about to make a replica; nothing while it must wait.
fn birth(claims: &Claims, range_id: u64, replica_id: u64) -> Option<bool> {
    claims.begin_birth(range_id, replica_id).now_or_never()
}

/// A store with a replica of `[a, z)`, and one of range 5 that waits for its first snapshot.
fn claims() -> Claims {
    let claims = Claims::default();
    claims.hold(1, &descriptor(2, "a", "z")).expect("nothing is in the way");
    start(&claims, 5, 1);
    claims
}

#[test]
fn a_snapshot_waits_for_the_split_that_frees_its_span() {
    let claims = claims();
    let right = descriptor(5, "m", "z");
    let refused = claims.begin_install(1, false, 1, &right).expect_err("[a, z) is range 2's");
    assert!(refused.contains("whose split is still to be applied"), "{refused}");
    assert!(!claims.split(&descriptor(2, "a", "m"), &descriptor(6, "m", "n"), 1), "nobody announced it");
    claims.leftover_cleared(6);
    claims.begin_install(1, false, 2, &right).expect("its span is free");
}

/// A replica takes in a snapshot of before a split, and meanwhile learns of the split from the log.
#[test]
fn a_snapshot_that_a_split_overtakes_is_given_up() {
    let claims = claims();
    let (whole, left, right) = (descriptor(2, "a", "z"), descriptor(2, "a", "m"), descriptor(6, "m", "z"));
    claims.begin_install(1, true, 1, &whole).expect("its own span is free for it");
    assert_eq!(birth(&claims, 6, 1), Some(true));
    assert!(claims.split(&left, &right, 1));
    let refused = claims.switch(1, &whole).expect_err("it would take the right side with it");
    assert!(refused.contains("faster than its snapshot"), "{refused}");
    claims.abandon(2, 1);
    // What is left of it alone goes on.
    claims.begin_install(1, true, 2, &left).expect("its own span is free for it");
    assert!(!claims.split(&descriptor(6, "m", "n"), &descriptor(7, "n", "z"), 1), "nobody announced it");
    claims.switch(2, &left).expect("the other range's split has nothing to do with it");
}

#[test]
fn a_removal_has_its_span_until_it_is_cleared() {
    let claims = claims();
    assert!(claims.begin_removal(2));
    let refused = claims.begin_install(1, false, 1, &descriptor(5, "m", "z")).expect_err("it is being cleared");
    assert!(refused.contains("still being cleared"), "{refused}");
    assert!(claims.start(2, 9).is_none(), "its successor waits, too");
    claims.cleared(2);
    claims.begin_install(1, false, 1, &descriptor(5, "m", "z")).expect("all is free");
    start(&claims, 2, 9);
}

#[test]
fn of_two_snapshots_that_overlap_the_first_one_begun_goes_on() {
    let claims = Claims::default();
    start(&claims, 2, 1);
    start(&claims, 5, 1);
    claims.begin_install(1, false, 1, &descriptor(5, "m", "z")).expect("nothing is in the way");
    claims.begin_install(1, false, 2, &descriptor(2, "a", "z")).expect_err("range 5 comes first");
    claims.begin_install(1, false, 3, &descriptor(2, "a", "m")).expect("beside it");
    claims.abandon(5, 1);
    claims.begin_install(1, false, 4, &descriptor(2, "a", "z")).expect("range 5 gave up");
}

#[test]
fn what_a_split_leaves_over_is_nobodys_until_it_is_cleared() {
    let claims = claims();
    assert!(claims.begin_removal(5));
    assert_eq!(birth(&claims, 5, 1), Some(false), "the replica is going, not coming");
    assert!(!claims.split(&descriptor(2, "a", "m"), &descriptor(5, "m", "z"), 1));
    claims.cleared(5);
    start(&claims, 5, 2);
    claims.begin_install(2, false, 1, &descriptor(5, "m", "z")).expect_err("not even its own range's");
    claims.leftover_cleared(5);
    claims.begin_install(2, false, 1, &descriptor(5, "m", "z")).expect("it is cleared");
}

#[test]
fn a_replica_that_a_split_makes_is_left_alone_meanwhile() {
    let claims = claims();
    assert_eq!(birth(&claims, 5, 1), Some(true));
    assert!(!claims.begin_removal(5), "it is about to have data");
    assert!(claims.split(&descriptor(2, "a", "m"), &descriptor(5, "m", "z"), 1));
    claims.begin_install(1, false, 1, &descriptor(5, "m", "n")).expect_err("the empty one gives way");
    claims.begin_install(1, true, 1, &descriptor(5, "m", "n")).expect("the new one does not");
    claims.switch(1, &descriptor(5, "m", "n")).expect("its span is claimed");
    start(&claims, 7, 1);
    claims.begin_install(1, false, 2, &descriptor(7, "n", "z")).expect_err("the former data is still there");
    claims.installed(&descriptor(5, "m", "n"));
    claims.begin_install(1, false, 2, &descriptor(7, "n", "z")).expect("it is gone");
}

#[test]
fn a_later_replica_is_not_replaced_by_an_earlier_split() {
    let claims = Claims::default();
    claims.hold(1, &descriptor(2, "a", "z")).expect("nothing is in the way");
    start(&claims, 5, 4);
    assert_eq!(birth(&claims, 5, 3), Some(false));
    assert_eq!(birth(&claims, 5, 4), Some(true));
}

#[test]
fn a_split_waits_for_a_right_side_that_is_coming_into_being() {
    let claims = Claims::default();
    claims.hold(1, &descriptor(2, "a", "z")).expect("nothing is in the way");
    let starting = claims.start(5, 1).expect("the range has nothing here");
    let mut waiting = Box::pin(claims.begin_birth(5, 1));
    assert_eq!(waiting.as_mut().now_or_never(), None, "its data would be left over");
    claims.started(5);
    assert_eq!(waiting.now_or_never(), Some(true), "it takes over what runs");
    drop(starting);
    assert!(!claims.begin_removal(5), "what began and runs is not given up");
    assert!(claims.split(&descriptor(2, "a", "m"), &descriptor(5, "m", "z"), 1));
}

#[test]
fn a_split_goes_on_when_its_right_side_does_not_come_into_being() {
    let claims = Claims::default();
    claims.hold(1, &descriptor(2, "a", "z")).expect("nothing is in the way");
    let starting = claims.start(5, 1).expect("the range has nothing here");
    let mut waiting = Box::pin(claims.begin_birth(5, 1));
    assert_eq!(waiting.as_mut().now_or_never(), None);
    drop(starting);
    assert_eq!(waiting.now_or_never(), Some(true));
    assert!(claims.start(5, 1).is_none(), "the split has the place now");
    claims.give_up_birth(5);
    start(&claims, 5, 1);
}

#[test]
fn a_store_whose_ranges_overlap_does_not_start() {
    let claims = claims();
    assert!(claims.hold(1, &descriptor(8, "y", "")).is_err());
    assert!(claims.resume_removal(&descriptor(9, "", "b")).is_err());
}
