use super::*;

/// The rows at the end, and what the index has of those with a = 1.
fn names(rows: Value, indexed: Value) -> Vec<String> {
    let recorder = Recorder::new();
    for id in [10, 11] {
        recorder.record(Kind::Invoke, id, "insert", json!([id, 1]), None);
        recorder.record(Kind::Ok, id, "insert", json!([id, 1]), None);
    }
    for class in 0..CLASSES {
        recorder.record(Kind::Invoke, 9, "index-read", json!(class), None);
        recorder.record(Kind::Ok, 9, "index-read", if class == 1 { indexed.clone() } else { json!([]) }, None);
    }
    recorder.record(Kind::Invoke, 9, clients::FINAL_READ, Value::Null, None);
    recorder.record(Kind::Ok, 9, clients::FINAL_READ, rows, None);
    SchemaChange.check(&recorder.history()).names().into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn every_row_has_its_defaults_and_its_index_entries() {
    let both = json!([[1, 10], [1, 11]]);
    assert!(names(json!([[10, 1, 1, 2], [11, 1, 1, 2]]), both.clone()).is_empty());
    assert_eq!(names(json!([[10, 1, 1, 2], [11, 1, 1, null]]), both.clone()), ["missing default"]);
    assert_eq!(names(json!([[10, 1]]), json!([[1, 10]])), ["lost row"]);
    assert_eq!(names(json!([[10, 1], [11, 1]]), json!([[1, 10]])), ["index differs"]);
}
