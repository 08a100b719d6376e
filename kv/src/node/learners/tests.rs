use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// What a leader sees of one learner: at which second, the newest entry that the learner has, the newest there is.
type Seen = (u64, Option<u64>, u64);

fn standings(seen: &[Seen]) -> Vec<Standing> {
    let mut learners = Learners::default();
    let at = |seconds: u64| Timestamp::new(1_000_000_000 * (1_000 + seconds), 0);
    let look = |(seconds, matched, newest): &Seen| {
        learners.look(7, &BTreeMap::from([(4, *matched)]), *newest, at(*seconds), PATIENCE)[&4]
    };
    seen.iter().map(look).collect()
}

#[test]
fn a_learner_close_behind_its_leader_has_caught_up() {
    use Standing::{CatchingUp, CaughtUp};
    let seen = [(0, None, 1_000), (1, Some(500), 1_000), (2, Some(940), 1_000), (3, Some(1_000), 1_000)];
    assert_eq!(standings(&seen), [CatchingUp, CatchingUp, CaughtUp, CaughtUp]);
    assert_eq!(standings(&[(0, Some(3), 3)]), [CaughtUp]);
}

#[test]
fn under_load_a_learner_catches_up_by_rounds() {
    use Standing::{CatchingUp, CaughtUp, Stuck};
    // A thousand entries a second; the learner is always a second behind.
    let seen: Vec<Seen> = (0..4).map(|second| (second, Some(1_000 * second), 1_000 * (second + 1))).collect();
    assert_eq!(standings(&seen), [CatchingUp, CaughtUp, CaughtUp, CaughtUp]);
    // One that falls back further in every round never gets there.
    let seen: Vec<Seen> = (0..62).map(|second| (second, Some(500 * second), 1_000 * (second + 1))).collect();
    let standings = standings(&seen);
    assert_eq!(standings[1], CatchingUp);
    assert_eq!(standings[61], Stuck, "{standings:?}");
}

#[test]
fn a_learner_that_gets_nothing_is_stuck_once_patience_is_over() {
    use Standing::{CatchingUp, CaughtUp, Stuck};
    let seen = [(0, None, 1_000), (30, None, 1_000), (31, None, 1_000), (32, Some(1_000), 1_000)];
    assert_eq!(standings(&seen), [CatchingUp, CatchingUp, Stuck, CaughtUp]);
    // It was quick once, and stands still since.
    let seen = [(0, Some(0), 100), (1, Some(100), 500), (3, Some(100), 900), (40, Some(100), 900)];
    assert_eq!(standings(&seen), [CatchingUp, CaughtUp, CatchingUp, Stuck]);
}

#[test]
fn a_node_is_avoided_for_a_while_and_by_this_leader_only() {
    let mut learners = Learners::default();
    let at = |seconds: u64| Timestamp::new(1_000_000_000 * (1_000 + seconds), 0);
    let nobody = BTreeMap::new();
    learners.avoid(7, 3, at(0), PATIENCE);
    learners.look(7, &nobody, 10, at(299), PATIENCE);
    assert_eq!((learners.avoided(7), learners.avoided(8)), (BTreeSet::from([3]), BTreeSet::new()));
    learners.look(7, &nobody, 10, at(301), PATIENCE);
    assert_eq!(learners.avoided(7), BTreeSet::new());
    learners.avoid(7, 3, at(302), PATIENCE);
    learners.forget(7);
    assert_eq!(learners.avoided(7), BTreeSet::new());
}
