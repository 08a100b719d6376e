use proptest::prelude::*;

use super::*;

fn op(action: Action, invoked: u64, completed: impl Into<Option<u64>>) -> Operation {
    Operation { action, invoked, completed: completed.into() }
}

#[test]
fn one_after_the_other() {
    let history = [op(Action::Write(1), 0, 1), op(Action::Read(Some(1)), 2, 3)];
    assert_eq!(check(None, &history), Ok(()));
}

#[test]
fn a_stale_read_is_caught() {
    let history = [op(Action::Write(1), 0, 1), op(Action::Write(2), 2, 3), op(Action::Read(Some(1)), 4, 5)];
    let violation = check(None, &history).expect_err("the read is stale");
    assert_eq!(violation.explained, [0, 1]);
    assert_eq!(violation.stuck_at, [2]);
}

#[test]
fn concurrent_operations_may_take_either_order() {
    for seen in [1, 2] {
        let history = [op(Action::Write(1), 0, 10), op(Action::Write(2), 0, 10), op(Action::Read(Some(seen)), 11, 12)];
        assert_eq!(check(None, &history), Ok(()));
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
    assert!(check(None, &history).is_err());
}

#[test]
fn an_unknown_write_may_take_effect_late_or_never() {
    let late = [op(Action::Write(1), 0, None), op(Action::Read(None), 5, 6), op(Action::Read(Some(1)), 7, 8)];
    assert_eq!(check(None, &late), Ok(()));
    let never = [op(Action::Write(1), 0, None), op(Action::Read(None), 5, 6)];
    assert_eq!(check(None, &never), Ok(()));
    let undone = [op(Action::Write(1), 0, None), op(Action::Read(Some(1)), 5, 6), op(Action::Read(None), 7, 8)];
    assert!(check(None, &undone).is_err());
}

#[test]
fn a_lost_update_is_caught() {
    let history =
        [op(Action::Write(0), 0, 1), op(Action::CompareAndSet(0, 1), 2, 5), op(Action::CompareAndSet(0, 2), 2, 5)];
    assert!(check(None, &history).is_err());
}

proptest! {
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
                    let from = state.expect("it was just looked at");
                    state = Some(*value);
                    Action::CompareAndSet(from, *value)
                }
                _ => Action::Read(state),
            };
            history.push(op(action, moment - before * 8 % 10, moment + after * 8));
        }
        prop_assert_eq!(check(None, &history), Ok(()));
        history.push(op(Action::Read(Some(99)), 10_000, 10_001));
        prop_assert!(check(None, &history).is_err());
    }
}
