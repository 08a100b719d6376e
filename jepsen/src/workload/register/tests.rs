use super::*;

fn event(kind: Kind, process: u64, f: &str, value: Value, time: u64) -> Event<Value> {
    Event { kind, process, f: f.to_owned(), value, time }
}

#[test]
fn a_stale_read_in_a_history_is_named() {
    let history = [
        event(Kind::Invoke, 0, "write", Value(1, Some(7), None), 0),
        event(Kind::Ok, 0, "write", Value(1, Some(7), None), 1),
        event(Kind::Invoke, 1, "read", Value(1, None, None), 2),
        event(Kind::Ok, 1, "read", Value(1, Some(0), None), 3),
    ];
    let report = check(&history);
    assert_eq!(report.violations.len(), 1);
    assert!(report.violations[0].starts_with("linearizability: register 1"));
}

#[test]
fn an_unknown_write_may_show_or_not() {
    for seen in [0, 7] {
        let history = [
            event(Kind::Invoke, 0, "write", Value(1, Some(7), None), 0),
            event(Kind::Info, 0, "write", Value(1, Some(7), None), 1),
            event(Kind::Invoke, 1, "read", Value(1, None, None), 2),
            event(Kind::Ok, 1, "read", Value(1, Some(seen), None), 3),
        ];
        assert!(check(&history).violations.is_empty());
    }
}
