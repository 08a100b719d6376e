use super::*;

fn names(found: &[u64]) -> Vec<String> {
    let recorder = Recorder::new();
    for (number, outcome) in [(1, Kind::Ok), (2, Kind::Ok), (3, Kind::Fail), (4, Kind::Info)] {
        recorder.record(Kind::Invoke, number, "add", json!(number), None);
        recorder.record(outcome, number, "add", json!(number), None);
    }
    recorder.record(Kind::Invoke, 9, clients::FINAL_READ, Value::Null, None);
    recorder.record(Kind::Ok, 9, clients::FINAL_READ, json!(found), None);
    Set.check(&recorder.history()).names().into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn what_is_lost_and_what_should_not_be_there() {
    assert!(names(&[1, 2]).is_empty());
    assert!(names(&[1, 2, 4]).is_empty());
    assert_eq!(names(&[1]), ["lost row"]);
    assert_eq!(names(&[1, 2, 3]), ["undead row"]);
    assert_eq!(names(&[1, 1, 2]), ["duplicate row"]);
    assert_eq!(names(&[1, 2, 4, 4]), ["duplicate row"]);
    assert_eq!(names(&[1, 2, 9]), ["row from nowhere"]);
}

#[tokio::test]
async fn without_a_final_read_nobody_can_tell() {
    let recorder = Recorder::new();
    recorder.record(Kind::Invoke, 0, "add", json!(1), None);
    recorder.record(Kind::Ok, 0, "add", json!(1), None);
    assert_eq!(Set.check(&recorder.history()).validity(), crate::checker::Validity::Unknown);
}
