//! Each rule of a lease change, one test.

use clock::Timestamp;
use proptest::prelude::*;

use super::*;

fn lease(sequence: u64, holder: u64, start: u64, expiration: u64) -> Lease {
    let at = |wall_ns| Timestamp::new(wall_ns, 0);
    Lease { sequence, holder, node: holder, start: at(start), expiration: at(expiration), term: 1 }
}

fn change(expected_sequence: u64, proposer: u64, lease: Lease) -> LeaseChange {
    LeaseChange { expected_sequence, proposer, lease }
}

#[test]
fn an_extension_only_raises_the_expiration() {
    let applied = lease(3, 1, 10, 20);
    assert_eq!(applied.check_change(&change(3, 1, lease(3, 1, 10, 30))), Ok(lease(3, 1, 10, 30)));
    assert_eq!(applied.check_change(&change(3, 1, lease(3, 1, 10, 19))), Err(LeaseRefusal::NotAnExtension));
    assert_eq!(applied.check_change(&change(3, 1, lease(3, 1, 11, 30))), Err(LeaseRefusal::NotAnExtension));
    assert_eq!(applied.check_change(&change(3, 2, lease(3, 2, 10, 30))), Err(LeaseRefusal::NotAnExtension));
}

#[test]
fn a_late_extension_meets_another_sequence() {
    let applied = lease(4, 2, 20, 30);
    assert_eq!(applied.check_change(&change(3, 1, lease(3, 1, 10, 40))), Err(LeaseRefusal::OtherSequence));
}

#[test]
fn another_holder_starts_where_the_lease_ends() {
    let applied = lease(3, 1, 10, 20);
    assert_eq!(applied.check_change(&change(3, 2, lease(4, 2, 19, 30))), Err(LeaseRefusal::Overlap));
    assert_eq!(applied.check_change(&change(3, 2, lease(4, 2, 20, 30))), Ok(lease(4, 2, 20, 30)));
}

#[test]
fn the_holder_may_cut_its_lease_short() {
    let applied = lease(3, 1, 10, 20);
    assert_eq!(applied.check_change(&change(3, 1, lease(4, 2, 12, 30))), Ok(lease(4, 2, 12, 30)));
    assert_eq!(applied.check_change(&change(3, 1, lease(4, 1, 9, 30))), Err(LeaseRefusal::Overlap));
}

proptest! {
    /// Whatever changes are proposed, in whatever order: the leases that applied do not overlap.
    #[test]
    fn lease_disjointness(changes in prop::collection::vec((0u64..3, 0u64..2, 1u64..4, 1u64..4, 0u64..50, 1u64..20), 1..80)) {
        let mut applied = Lease::default();
        let mut terms: Vec<Lease> = Vec::new();
        for (back, step, proposer, holder, start, length) in changes {
            let expected = applied.sequence.saturating_sub(back);
            let next = if step == 0 {
                Lease { expiration: applied.expiration.plus(std::time::Duration::from_nanos(length)), ..applied }
            } else {
                lease(expected + 1, holder, start, start + length)
            };
            let Ok(next) = applied.check_change(&change(expected, proposer, next)) else { continue };
            if next.sequence > applied.sequence {
                if let Some(last) = terms.last_mut() {
                    last.expiration = last.expiration.min(next.start);
                }
                terms.push(next);
            } else {
                *terms.last_mut().expect("an extension has something to extend") = next;
            }
            applied = next;
        }
        for pair in terms.windows(2) {
            prop_assert!(pair[0].expiration <= pair[1].start, "lease_disjointness: {:?} reaches into {:?}", pair[0], pair[1]);
            prop_assert!(pair[0].sequence < pair[1].sequence);
        }
    }
}
