//! Span sets: nothing inserted is ever forgotten, and memory stays bounded.

use proptest::prelude::*;

use super::*;

fn covers(spans: &[Span], key: &[u8]) -> bool {
    spans.iter().any(|span| &span.start[..] <= key && key < &end_of(span)[..])
}

fn any_span() -> impl Strategy<Value = Span> {
    let key = || proptest::collection::vec(0u8..4, 1..5).prop_map(Bytes::from);
    prop_oneof![
        key().prop_map(point),
        (key(), key()).prop_map(|(a, b)| Span { start: a.clone().min(b.clone()), end: successor(&a.max(b)) }),
    ]
}

proptest! {
    #[test]
    fn stays_covered_and_bounded(spans in proptest::collection::vec(any_span(), 1..80), cap in 200usize..2_000) {
        let mut set = SpanSet::default();
        for span in &spans {
            set.insert(span.clone(), cap);
        }
        let kept = set.to_sorted();
        for span in &spans {
            prop_assert!(covers(&kept, &span.start));
            prop_assert!(kept.iter().any(|k| k.start <= span.start && end_of(k) >= end_of(span)));
        }
        prop_assert!(kept.windows(2).all(|pair| end_of(&pair[0]) <= pair[1].start), "in order, without overlaps");
        prop_assert!(kept.len() == 1 || kept.iter().map(cost).sum::<usize>() <= cap);
        prop_assert_eq!(set.inserted(), spans.len() as u64);
    }

    #[test]
    fn two_sets_become_one(left in proptest::collection::vec(any_span(), 0..20), right in proptest::collection::vec(any_span(), 0..20)) {
        let (mut one, mut other) = (SpanSet::default(), SpanSet::default());
        left.iter().for_each(|span| one.insert(span.clone(), 10_000));
        right.iter().for_each(|span| other.insert(span.clone(), 10_000));
        one.take_from(&mut other, 10_000);
        let kept = one.to_sorted();
        prop_assert!(left.iter().chain(&right).all(|span| covers(&kept, &span.start)));
        prop_assert!(other.is_empty());
    }
}

#[test]
fn neighbours_with_the_longest_common_prefix_are_joined_first() {
    let mut set = SpanSet::default();
    for key in ["a1", "a2", "a3", "b1", "b2", "b3", "z"] {
        set.insert(point(Bytes::from_static(key.as_bytes())), 440);
    }
    let starts: Vec<_> = set.to_sorted().into_iter().map(|span| (span.start, span.end)).collect();
    let pair = |start: &'static str, end: &'static str| (Bytes::from(start), Bytes::from(end));
    assert_eq!(starts, [pair("a1", "a3\0"), pair("b1", "b3\0"), pair("z", "")]);
}

#[test]
fn what_others_cover_is_taken_out() {
    let span = |start: &'static str, end: &'static str| Span { start: start.into(), end: end.into() };
    let check = |spans: &[Span], others: &[Span], left: &[Span]| {
        assert_eq!(subtract(spans.to_vec(), others), left, "{spans:?} less {others:?}");
    };
    check(&[span("b", "")], &[], &[span("b", "")]);
    check(&[span("b", ""), span("c", "")], &[span("b", "")], &[span("c", "")]);
    check(&[span("b", "f")], &[span("c", "d")], &[span("b", "c"), span("d", "f")]);
    check(&[span("b", "f")], &[span("c", "")], &[span("b", "c"), span("c\0", "f")]);
    check(&[span("b", "f"), span("h", "k")], &[span("a", "c"), span("e", "i")], &[span("c", "e"), span("i", "k")]);
    check(&[span("b", "c"), span("d", "e")], &[span("a", "z")], &[]);
}
