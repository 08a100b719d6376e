use super::*;

fn check(reads: &[Value]) -> Verdict {
    let recorder = Recorder::new();
    for (process, read) in reads.iter().enumerate() {
        let f = if process + 1 == reads.len() { clients::FINAL_READ } else { "read" };
        recorder.record(Kind::Invoke, process as u64, f, Value::Null, None);
        recorder.record(Kind::Ok, process as u64, f, read.clone(), None);
    }
    Bank { accounts: 2, balance: 10, ranges: 1 }.check(&recorder.history())
}

#[tokio::test]
async fn the_total_must_be_right_at_every_read() {
    let right = json!([[0, 4], [1, 16]]);
    assert!(check(&[right.clone(), json!([[0, 10], [1, 10]])]).is_valid());
    for wrong in [json!([[0, 4], [1, 15]]), json!([[0, 20]]), json!([])] {
        let verdict = check(&[wrong, right.clone()]);
        assert_eq!(verdict.names(), ["wrong total"], "{verdict}");
    }
}
