use super::*;

/// Names what is wrong where 1 and 2 were acknowledged, 3 failed, and of 4 nobody knows.
fn names(read: &[u64], last: &[u64]) -> Vec<String> {
    let recorder = Recorder::new();
    for (number, outcome) in [(1, Kind::Ok), (2, Kind::Ok), (3, Kind::Fail), (4, Kind::Info)] {
        recorder.record(Kind::Invoke, number, "add", json!(number), None);
        recorder.record(outcome, number, "add", json!(number), None);
    }
    for (process, f, value) in [(8, "read", json!([1, 2, read])), (9, clients::FINAL_READ, json!(last))] {
        recorder.record(Kind::Invoke, process, f, value.clone(), None);
        recorder.record(Kind::Ok, process, f, value, None);
    }
    Triples.check(&recorder.history()).names().into_iter().map(str::to_owned).collect()
}

#[test]
fn what_is_torn_or_lost_and_what_should_not_be_there() {
    let whole = [1, 1, 1, 2, 2, 2];
    assert!(names(&[2], &whole).is_empty());
    assert!(names(&[2, 4], &[1, 1, 1, 2, 2, 2, 4, 4, 4]).is_empty());
    assert_eq!(names(&[4], &whole), ["missing row"]);
    assert_eq!(names(&[2], &[1, 1, 1, 2, 2]), ["torn row"]);
    assert_eq!(names(&[2], &[1, 1, 1, 2, 2, 2, 4]), ["torn row"]);
    assert_eq!(names(&[2], &[2, 2, 2]), ["lost row"]);
    assert_eq!(names(&[2], &[1, 1, 1, 2, 2, 2, 3, 3, 3]), ["undead row"]);
    assert_eq!(names(&[2], &[1, 1, 1, 2, 2, 2, 9, 9, 9]), ["row from nowhere"]);
}

#[test]
fn without_a_final_read_nobody_can_tell() {
    let recorder = Recorder::new();
    recorder.record(Kind::Invoke, 0, "add", json!(1), None);
    recorder.record(Kind::Ok, 0, "add", json!(1), None);
    assert_eq!(Triples.check(&recorder.history()).validity(), crate::checker::Validity::Unknown);
}
