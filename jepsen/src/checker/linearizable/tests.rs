use proptest::prelude::*;

use super::*;

fn op(action: Action, invoked: u64, completed: impl Into<Option<u64>>) -> Operation {
    Operation { action, invoked, completed: completed.into() }
}

fn is_violated(history: &[Operation]) -> bool {
    matches!(check(None, history), Outcome::Violated(_))
}

#[test]
fn one_after_the_other() {
    let history = [op(Action::Write(1), 0, 1), op(Action::Read(Some(1)), 2, 3)];
    assert_eq!(check(None, &history), Outcome::Linearizable);
}

#[test]
fn a_stale_read_is_caught() {
    let history = [op(Action::Write(1), 0, 1), op(Action::Write(2), 2, 3), op(Action::Read(Some(1)), 4, 5)];
    let Outcome::Violated(violation) = check(None, &history) else { panic!("the read is stale") };
    assert_eq!(violation, Violation { explained: 2, last: vec![0, 1], stuck_at: vec![2] });
}

#[test]
fn concurrent_operations_may_take_either_order() {
    for seen in [1, 2] {
        let history = [op(Action::Write(1), 0, 10), op(Action::Write(2), 0, 10), op(Action::Read(Some(seen)), 11, 12)];
        assert_eq!(check(None, &history), Outcome::Linearizable);
    }
}

#[test]
fn two_readers_must_agree_on_the_order() {
    let history = [
        op(Action::Write(1), 0, 10),
        op(Action::Write(2), 0, 10),
        op(Action::Read(Some(1)), 11, 12),
        op(Action::Read(Some(2)), 13, 14),
    ];
    assert!(is_violated(&history));
}

#[test]
fn an_unknown_write_may_take_effect_late_or_never() {
    let late = [op(Action::Write(1), 0, None), op(Action::Read(None), 5, 6), op(Action::Read(Some(1)), 7, 8)];
    assert_eq!(check(None, &late), Outcome::Linearizable);
    let never = [op(Action::Write(1), 0, None), op(Action::Read(None), 5, 6)];
    assert_eq!(check(None, &never), Outcome::Linearizable);
    let undone = [op(Action::Write(1), 0, None), op(Action::Read(Some(1)), 5, 6), op(Action::Read(None), 7, 8)];
    assert!(is_violated(&undone));
}

#[test]
fn a_lost_update_is_caught() {
    let history = [
        op(Action::Write(0), 0, 1),
        op(Action::CompareAndSet(Some(0), 1), 2, 5),
        op(Action::CompareAndSet(Some(0), 2), 2, 5),
    ];
    assert!(is_violated(&history));
}

/// A thousand writes of unknown outcome, of which every tenth was seen, once and late: each subset of them would be a state.
#[test]
fn unknown_writes_of_different_values_cost_nothing() {
    let mut history = Vec::new();
    for number in 0..1_000 {
        let time = 10 * number;
        history.push(op(Action::Write(number), time, None));
        if number % 10 == 9 {
            history.push(op(Action::Read(Some(number - 5)), time + 1, time + 2));
        }
    }
    assert_eq!(check_within(None, &history, 10_000), Outcome::Linearizable);
    // The value of a write that was overwritten by another that somebody saw cannot come back.
    history.push(op(Action::Read(Some(4)), 20_000, 20_001));
    assert!(matches!(check_within(None, &history, 10_000), Outcome::Violated(_)));
}

#[test]
fn an_unknown_write_is_not_seen_before_it_was_asked_for() {
    assert!(is_violated(&[op(Action::Read(Some(1)), 0, 1), op(Action::Write(1), 2, None)]));
}

#[test]
fn an_unknown_write_may_be_what_an_unknown_replacement_replaced() {
    let history = [
        op(Action::Write(0), 0, None),
        op(Action::CompareAndSet(Some(0), 1), 2, None),
        op(Action::CompareAndSet(Some(1), 2), 4, 25),
    ];
    assert_eq!(check(None, &history), Outcome::Linearizable);
}

#[test]
fn a_long_history_needs_little_more_than_a_state_an_operation() {
    let mut history = Vec::new();
    for number in 0..50_000u64 {
        let time = 10 * number;
        history.push(op(Action::Write(number), time, time + 25));
        history.push(op(Action::Read(Some(number)), time + 1, time + 9));
    }
    assert_eq!(check_within(None, &history, 1_000_000), Outcome::Linearizable);
}

/// Where values repeat, too many states are possible; the search says so instead of guessing.
#[test]
fn a_search_past_its_budget_is_given_up_and_says_so() {
    let mut history: Vec<Operation> = (0..40).map(|number| op(Action::Write(number % 2), number, None)).collect();
    history.push(op(Action::Read(Some(7)), 1_000, 1_001));
    assert_eq!(check_within(None, &history, 1_000), Outcome::GaveUp { states: 1_001 });
}

/// Every order of the operations is tried, and every choice of the unknown ones that happened: slow, and evidently right.
fn is_linearizable_by_trying(history: &[Operation]) -> bool {
    fn go(history: &[Operation], applied: &mut Vec<bool>, state: Option<u64>) -> bool {
        let left = || (0..history.len()).filter(|index| !applied[*index]);
        let Some(end) = left().filter_map(|index| history[index].completed).min() else { return true };
        let candidates: Vec<usize> = left().filter(|index| history[*index].invoked <= end).collect();
        for index in candidates {
            if let Some(next) = step(state, history[index].action) {
                applied[index] = true;
                if go(history, applied, next) {
                    return true;
                }
                applied[index] = false;
            }
        }
        false
    }
    go(history, &mut vec![false; history.len()], None)
}

proptest! {
    #[test]
    fn the_search_agrees_with_trying_every_order(
        steps in proptest::collection::vec((0u64..3, 0u64..3, 0u64..3, 0u64..12, 1u64..12), 1..7),
        values_differ in any::<bool>(),
    ) {
        let history: Vec<Operation> = steps.iter().enumerate().map(|(index, (kind, seen, value, begin, length))| {
            let value = if values_differ { index as u64 } else { *value };
            let seen = seen.checked_sub(1);
            let action = match kind {
                0 => Action::Read(seen),
                1 => Action::Write(value),
                _ => Action::CompareAndSet(seen, value),
            };
            // All times differ, and a third of the operations is of unknown outcome.
            let at = |time: u64| time * 20 + index as u64 * 2;
            op(action, at(*begin), (length % 3 != 0).then_some(at(begin + length) + 1))
        }).collect();
        let expected = if is_linearizable_by_trying(&history) { "linearizable" } else { "violated" };
        let found = match check(None, &history) {
            Outcome::Linearizable => "linearizable",
            Outcome::Violated(_) => "violated",
            Outcome::GaveUp { .. } => "gave up",
        };
        prop_assert_eq!(found, expected, "{:?}", history);
    }

    /// What a real register does, with intervals around the moment it does it, is always accepted; and a read of a value that was
    /// never written is always refused.
    #[test]
    fn a_real_register_is_accepted(steps in proptest::collection::vec((0u64..3, 0u64..4, 0u64..5, 0u64..5), 1..25)) {
        let mut state = None;
        let mut history = Vec::new();
        for (index, (kind, value, before, after)) in steps.iter().enumerate() {
            let moment = 10 * (index as u64 + 1);
            let action = match kind {
                0 => Action::Read(state),
                1 => { state = Some(*value); Action::Write(*value) }
                _ if state.is_some() => {
                    let from = state;
                    state = Some(*value);
                    Action::CompareAndSet(from, *value)
                }
                _ => Action::Read(state),
            };
            history.push(op(action, moment - before * 8 % 10, moment + after * 8));
        }
        prop_assert_eq!(check(None, &history), Outcome::Linearizable);
        history.push(op(Action::Read(Some(99)), 10_000, 10_001));
        prop_assert!(is_violated(&history));
    }
}
