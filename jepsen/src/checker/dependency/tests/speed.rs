//! A hundred thousand transactions.

use super::super::*;
use super::random::{Isolation, Settings, execute};

/// There is no limit on time here, since a test's machine may be busy: what took quadratic time would not end.
#[test]
fn a_hundred_thousand_transactions() {
    for isolation in [Isolation::Serializable, Isolation::ReadCommitted] {
        let settings =
            Settings { transactions: 100_000, processes: 20, keys_at_a_time: 10, ..Settings::lists(7, isolation) };
        let history = execute(settings);
        let verdict = check_append(&history);
        assert_eq!(verdict.is_valid(), isolation == Isolation::Serializable, "{verdict}");
        assert_eq!(verdict.unknown, Vec::<String>::new());
    }
}
