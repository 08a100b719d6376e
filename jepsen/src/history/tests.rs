use serde_json::json;

use super::*;

fn event(kind: Kind, process: Process, f: &str, value: Value, time: u64) -> Event {
    Event { index: 0, kind, process, f: f.to_owned(), value, time, error: None }
}

fn sample() -> History {
    let client = Process::Client(0);
    let mut events = vec![
        event(Kind::Invoke, client, "txn", json!([["r", 1, null], ["append", 1, 7]]), 10),
        event(Kind::Info, Process::Nemesis, "start-kill", json!("n2"), 20),
        event(Kind::Ok, client, "txn", json!([["r", 1, [4, 5]], ["append", 1, 7]]), 30),
        event(Kind::Invoke, Process::Client(1), "read", Value::Null, 40),
        event(Kind::Info, Process::Nemesis, "stop-kill", json!("n2"), 50),
        event(Kind::Invoke, client, "txn", json!([["append", 1, 8]]), 60),
        event(Kind::Info, client, "txn", json!([["append", 1, 8]]), 90),
    ];
    events[6].error = Some("said \"no\"".to_owned());
    History::new(events)
}

#[test]
fn json_lines_are_read_back_as_they_were_written() {
    let mut bytes = Vec::new();
    sample().write_json(&mut bytes).unwrap();
    assert_eq!(History::read_json(bytes.as_slice()).unwrap(), sample());
}

#[test]
fn edn_is_what_jepsen_writes() {
    let mut bytes = Vec::new();
    sample().write_edn(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let first = "{:index 0, :time 10, :type :invoke, :process 0, :f :txn, :value [[:r 1 nil] [:append 1 7]]}";
    let second = "{:index 1, :time 20, :type :info, :process :nemesis, :f :start-kill, :value \"n2\"}";
    assert_eq!(lines[..2], [first, second]);
    assert!(lines[6].ends_with(":value [[:append 1 8]], :error \"said \\\"no\\\"\"}"), "{}", lines[6]);
}

#[test]
fn operations_are_invocations_with_what_came_of_them() {
    let history = sample();
    let outcomes: Vec<Kind> = history.operations().iter().map(Operation::outcome).collect();
    assert_eq!(outcomes, [Kind::Ok, Kind::Info, Kind::Info]);
    let counts = history.counts();
    assert_eq!((counts.ok, counts.failed, counts.unknown, counts.faults), (1, 0, 2, 1));
    // From the acknowledgement at 30 to the end of the writes at 90.
    assert_eq!(counts.longest_gap.as_nanos(), 60);
    assert_eq!(history.faults(), [("kill".to_owned(), 20, 50)]);
}
