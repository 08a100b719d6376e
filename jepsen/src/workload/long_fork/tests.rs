use super::*;

fn is_valid(first: &[u64], second: &[u64]) -> bool {
    let recorder = Recorder::new();
    for seen in [first, second] {
        recorder.record(Kind::Invoke, 0, "read", json!([1, [0, 1, 2]]), None);
        recorder.record(Kind::Ok, 0, "read", json!([1, seen]), None);
    }
    check(&recorder.history()).is_valid()
}

#[tokio::test]
async fn two_readers_must_agree_on_an_order_of_writes() {
    assert!(is_valid(&[], &[2]));
    assert!(is_valid(&[0, 1], &[1]));
    assert!(!is_valid(&[0], &[1]));
    assert!(!is_valid(&[0, 1], &[1, 2]));
}
