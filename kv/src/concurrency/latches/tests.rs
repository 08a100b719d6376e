//! Latches against a dumb model: a list.

use futures::FutureExt;
use proptest::prelude::*;

use super::*;

fn at(wall_ns: u64) -> Timestamp {
    Timestamp::new(wall_ns, 0)
}

fn access() -> impl Strategy<Value = LatchAccess> {
    prop_oneof![(1u64..4).prop_map(|ts| LatchAccess::Read(at(ts))), (1u64..4).prop_map(|ts| LatchAccess::Write(at(ts)))]
}

fn span() -> impl Strategy<Value = LatchSpan> {
    (0u8..6, prop::option::of(0u8..7), access()).prop_map(|(start, end, access)| {
        let end = end.map(|end| if end == 6 { Bytes::new() } else { Bytes::from(vec![b'a' + start.max(end) + 1]) });
        LatchSpan { start: Bytes::from(vec![b'a' + start]), end, access }
    })
}

#[test]
fn a_read_below_a_write_does_not_wait() {
    let latches = Arc::new(Latches::default());
    let _write = latches.enter(vec![LatchSpan::key("k".into(), LatchAccess::Write(at(5)))]);
    assert!(latches.enter(vec![LatchSpan::key("k".into(), LatchAccess::Read(at(4)))]).ready().now_or_never().is_some());
    assert!(latches.enter(vec![LatchSpan::key("k".into(), LatchAccess::Read(at(5)))]).ready().now_or_never().is_none());
}

proptest! {
    /// A guard is ready exactly when no conflicting one entered before it is left.
    #[test]
    fn latch_isolation(steps in prop::collection::vec((prop::collection::vec(span(), 1..3), any::<prop::sample::Index>(), any::<bool>()), 1..40)) {
        let latches = Arc::new(Latches::default());
        let mut entered: Vec<(Vec<LatchSpan>, LatchGuard)> = Vec::new();
        for (spans, index, leave) in steps {
            if leave && !entered.is_empty() {
                let at = index.index(entered.len());
                entered.remove(at);
            }
            let guard = latches.enter(spans.clone());
            entered.push((spans, guard));
            let conflicts = |a: &[LatchSpan], b: &[LatchSpan]| {
                a.iter().any(|a| b.iter().any(|b| a.access.conflicts(b.access) && a.overlaps(b)))
            };
            for at in 0..entered.len() {
                let expected = !entered[..at].iter().any(|(spans, _)| conflicts(spans, &entered[at].0));
                prop_assert_eq!(entered[at].1.is_uncontended(), expected);
                if expected {
                    prop_assert!(entered[at].1.ready().now_or_never().is_some());
                }
            }
        }
        drop(entered);
        prop_assert!(latches.is_idle());
    }
}
