use super::*;

fn names(numbers: &[i64], end: &[i64]) -> Vec<String> {
    let recorder = Recorder::new();
    for n in numbers {
        recorder.record(Kind::Invoke, 0, "add", json!([0, null]), None);
        recorder.record(Kind::Ok, 0, "add", json!([0, n]), None);
    }
    recorder.record(Kind::Invoke, 9, clients::FINAL_READ, Value::Null, None);
    recorder.record(Kind::Ok, 9, clients::FINAL_READ, json!(end), None);
    Monotonic::default().check(&recorder.history()).names().into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn numbers_rise_with_real_time() {
    assert!(names(&[1, 2, 3], &[3, 1, 2]).is_empty());
    assert_eq!(names(&[1, 3, 2], &[1, 2, 3]), ["number went back"]);
    assert_eq!(names(&[1, 2], &[1, 2, 2]), ["number given twice"]);
    assert_eq!(names(&[1, 2], &[2]), ["lost row"]);
}
