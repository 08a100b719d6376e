use super::*;

fn is_valid(seen: &[bool]) -> bool {
    let recorder = Recorder::new();
    recorder.record(Kind::Invoke, 0, "read", json!([1, null]), None);
    recorder.record(Kind::Ok, 0, "read", json!([1, seen]), None);
    Sequential::default().check(&recorder.history()).is_valid()
}

#[tokio::test]
async fn an_earlier_key_must_be_there_once_a_later_one_is() {
    assert!(is_valid(&[false, false, true, true]));
    assert!(is_valid(&[false, false, false]));
    assert!(!is_valid(&[true, false, true]));
    assert!(!is_valid(&[false, true, false]));
}
