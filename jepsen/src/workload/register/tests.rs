use super::*;
use crate::history::Kind;

fn record(recorder: &Recorder, process: u64, f: &str, value: Value, outcome: Kind) {
    recorder.record(Kind::Invoke, process, f, value.clone(), None);
    recorder.record(outcome, process, f, value, None);
}

#[tokio::test]
async fn a_stale_read_is_found_in_its_register_and_not_in_others() {
    let recorder = Recorder::new();
    record(&recorder, 0, "write", json!([1, 1]), Kind::Ok);
    record(&recorder, 0, "write", json!([1, 2]), Kind::Ok);
    record(&recorder, 1, "read", json!([2, 0]), Kind::Ok);
    assert!(check(&recorder.history()).is_valid());
    record(&recorder, 1, "read", json!([1, 1]), Kind::Ok);
    let verdict = check(&recorder.history());
    assert_eq!(verdict.names(), ["not linearizable"]);
    assert!(verdict.anomalies[0].explanation.starts_with("register 1:"), "{verdict}");
}

#[tokio::test]
async fn what_failed_did_nothing_and_what_is_unknown_may_have() {
    let recorder = Recorder::new();
    record(&recorder, 0, "write", json!([1, 1]), Kind::Fail);
    record(&recorder, 1, "cas", json!([1, [null, 2]]), Kind::Info);
    record(&recorder, 2, "read", json!([1, 2]), Kind::Ok);
    assert!(check(&recorder.history()).is_valid());
    record(&recorder, 2, "read", json!([1, 1]), Kind::Ok);
    assert_eq!(check(&recorder.history()).names(), ["not linearizable"]);
}

#[tokio::test]
async fn two_that_replaced_the_same_value_lost_an_update() {
    let recorder = Recorder::new();
    record(&recorder, 0, "cas", json!([1, [0, 1]]), Kind::Ok);
    record(&recorder, 1, "cas", json!([1, [0, 2]]), Kind::Ok);
    assert_eq!(check(&recorder.history()).names(), ["not linearizable"]);
}
