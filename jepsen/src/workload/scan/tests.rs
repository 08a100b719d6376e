use super::*;

const INSERTED: [u64; 2] = [3, STRIDE + 3];

fn names(scan: &[u64]) -> Vec<String> {
    let shape = Scan { base: 2, group: 2, page: 10 };
    let recorder = Recorder::new();
    for (process, rows, outcome) in [(0, INSERTED, Kind::Ok), (1, [5, STRIDE + 5], Kind::Fail)] {
        recorder.record(Kind::Invoke, process, "insert", json!(rows), None);
        recorder.record(outcome, process, "insert", json!(rows), None);
    }
    for (f, rows) in [("paged-read", scan), (clients::FINAL_READ, &[0, 3, STRIDE, STRIDE + 3])] {
        recorder.record(Kind::Invoke, 9, f, Value::Null, None);
        recorder.record(Kind::Ok, 9, f, json!(rows), None);
    }
    shape.check(&recorder.history()).names().into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn every_row_is_in_every_scan_once_and_in_order() {
    assert!(names(&[0, 3, STRIDE, STRIDE + 3]).is_empty());
    assert_eq!(names(&[0, 3, STRIDE + 3]), ["missing row"]);
    assert_eq!(names(&[0, 3, STRIDE]), ["missing row", "torn group"]);
    assert_eq!(names(&[0, 3, 3, STRIDE, STRIDE + 3]), ["out of order"]);
    assert_eq!(names(&[0, 3, 5, STRIDE, STRIDE + 3, STRIDE + 5]), ["undead row"]);
    assert_eq!(names(&[0, 3, 4, STRIDE, STRIDE + 3]), ["row from nowhere"]);
}
