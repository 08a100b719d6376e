use super::*;

fn names(read: i64) -> Vec<String> {
    let recorder = Recorder::new();
    for (process, outcome) in [(0, Kind::Ok), (1, Kind::Info), (2, Kind::Fail)] {
        recorder.record(Kind::Invoke, process, "add", json!([1, 2]), None);
        recorder.record(outcome, process, "add", json!([1, 2]), None);
    }
    recorder.record(Kind::Invoke, 9, clients::FINAL_READ, Value::Null, None);
    recorder.record(Kind::Ok, 9, clients::FINAL_READ, json!([[0, 0], [1, read]]), None);
    Counters::default().check(&recorder.history()).names().into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_count_lies_between_what_was_acknowledged_and_what_was_asked_for() {
    assert!(names(2).is_empty());
    assert!(names(4).is_empty());
    assert_eq!(names(1), ["lost addition"]);
    assert_eq!(names(6), ["addition made twice"]);
}

#[tokio::test]
async fn a_lock_that_keeps_nobody_away_is_found() {
    let names = |granted_twice: u64| {
        let recorder = Recorder::new();
        for (kind, f, value) in [
            (Kind::Invoke, clients::FINAL_READ, Value::Null),
            (Kind::Ok, clients::FINAL_READ, json!([[0, 0]])),
            (Kind::Invoke, GRANTED_TWICE, Value::Null),
            (Kind::Ok, GRANTED_TWICE, json!(granted_twice)),
        ] {
            recorder.record(kind, PROBER, f, value, None);
        }
        Counters::default().check(&recorder.history()).names().len()
    };
    assert_eq!((names(0), names(LOCK_PROBES - 1), names(LOCK_PROBES)), (0, 0, 1));
}
