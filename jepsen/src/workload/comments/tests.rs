use super::*;

fn record(recorder: &Recorder, process: u64, f: &str, asked: Value, done: Value) {
    recorder.record(Kind::Invoke, process, f, asked, None);
    recorder.record(Kind::Ok, process, f, done, None);
}

#[tokio::test]
async fn a_later_comment_without_an_earlier_one_is_a_causal_reverse() {
    let recorder = Recorder::new();
    recorder.record(Kind::Invoke, 9, "read", json!([0, null]), None);
    record(&recorder, 0, "write", json!([0, 1]), json!([0, 1]));
    record(&recorder, 1, "write", json!([0, 2]), json!([0, 2]));
    recorder.record(Kind::Ok, 9, "read", json!([0, [2]]), None);
    assert_eq!(check(&recorder.history()).names(), ["causal reverse"]);
}

#[tokio::test]
async fn a_concurrent_comment_may_be_missed_and_an_acknowledged_one_may_not() {
    let recorder = Recorder::new();
    recorder.record(Kind::Invoke, 9, "read", json!([0, null]), None);
    record(&recorder, 0, "write", json!([0, 1]), json!([0, 1]));
    record(&recorder, 1, "write", json!([0, 2]), json!([0, 2]));
    recorder.record(Kind::Ok, 9, "read", json!([0, [1]]), None);
    assert!(check(&recorder.history()).is_valid());
    record(&recorder, 3, "read", json!([0, null]), json!([0, [1]]));
    assert_eq!(check(&recorder.history()).names(), ["stale read"]);
}
