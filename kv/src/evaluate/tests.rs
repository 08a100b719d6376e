//! What batches touch, and which make no sense. What requests mean is told by the scripts of the replica.

use super::*;
use crate::descriptor::RangeDescriptor;

fn batch(kind: RequestKind) -> BatchRequest {
    BatchRequest { requests: vec![kind.into()], ..BatchRequest::default() }
}

#[test]
fn a_batch_lies_within_its_range_or_not() {
    let range = RangeDescriptor { start: "b".into(), end: "d".into(), ..RangeDescriptor::default() };
    let scan = |start: &'static str, end: &'static str| {
        batch(RequestKind::Scan(Scan { start: start.into(), end: end.into(), ..Scan::default() }))
    };
    assert!(is_within(&scan("b", "d"), &range));
    assert!(!is_within(&scan("b", "d\0"), &range));
    assert!(!is_within(&scan("a", "c"), &range));
    assert!(!is_within(&scan("b", ""), &range), "an empty end is the end of the keyspace");
    let resolve = |end: &'static str| {
        let span = Span { start: "c".into(), end: end.into() };
        batch(RequestKind::ResolveIntents(ResolveIntents { span, ..ResolveIntents::default() }))
    };
    assert!(is_within(&resolve(""), &range), "an empty end of a span is the one key");
    assert!(!is_within(&resolve("e"), &range));
}

#[test]
fn parallel_commit_is_refused_by_name() {
    let end = RequestKind::EndTxn(EndTxn::default());
    assert!(matches!(check_shape(&batch(end)), Err(KvError::Invalid(_))), "an end needs a transaction");
    let locked = Get { lock: LockStrength::Exclusive as i32, ..Get::default() };
    assert!(matches!(check_shape(&batch(RequestKind::Get(locked))), Err(KvError::Invalid(_))));
}
