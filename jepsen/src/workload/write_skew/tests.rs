use super::*;

#[tokio::test]
async fn only_one_of_a_pair_may_insert() {
    let recorder = Recorder::new();
    for (table, outcome) in [(0, Kind::Ok), (1, Kind::Fail)] {
        recorder.record(Kind::Invoke, table, "insert", json!([7, table]), None);
        recorder.record(outcome, table, "insert", json!([7, table]), None);
    }
    assert!(WriteSkew.check(&recorder.history()).is_valid());
    recorder.record(Kind::Invoke, 2, "insert", json!([7, 1]), None);
    recorder.record(Kind::Ok, 2, "insert", json!([7, 1]), None);
    assert_eq!(WriteSkew.check(&recorder.history()).names(), ["G2"]);
}
