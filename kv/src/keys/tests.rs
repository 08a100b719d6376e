use std::borrow::Cow;

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn key_local_keys_sort_and_route_by_their_key(a: Vec<u8>, b: Vec<u8>, id: u128) {
        let txn = TxnId::from_random(id);
        let (record_a, record_b) = (txn_record(&a, txn), txn_record(&b, txn));
        prop_assert_eq!(record_a.cmp(&record_b), a.cmp(&b));
        prop_assert_eq!(addressing(&record_a), Some(Cow::Owned::<[u8]>(a.clone())));
        prop_assert_eq!(decode_txn_record(&record_a), Some((a.clone(), txn)));
        let (start, end) = key_local_span(&a, &b);
        if !b.is_empty() {
            prop_assert!(record_b >= end);
        }
        prop_assert!(record_a >= start);
    }

    #[test]
    fn prefix_end_bounds_exactly_the_prefix(prefix: Vec<u8>, suffix: Vec<u8>, other: Vec<u8>) {
        let end = prefix_end(&prefix);
        let within = |key: &[u8]| key >= &prefix[..] && (end.is_empty() || key < &end[..]);
        prop_assert!(within(&[&prefix[..], &suffix].concat()));
        prop_assert_eq!(within(&other), other.starts_with(&prefix));
    }

    #[test]
    fn index_keys_keep_their_parts(table: u64, index: u64, rest: Vec<u8>) {
        let key = [index_prefix(table, index), rest.clone()].concat();
        prop_assert_eq!(decode_index_prefix(&key), Some((table, index, &rest[..])));
    }
}

#[test]
fn range_local_keys_carry_their_range() {
    let key = range_local(7, RangeLocal::Lease);
    assert_eq!(decode_range_local(&key), Some((7, &b"l"[..])));
    assert_eq!(addressing(&key), None);
    let (start, end) = range_id_span(7);
    assert!(start <= key && key < end);
    assert!(range_id_span(u64::MAX).1 > range_id_span(u64::MAX).0);
}

#[test]
fn the_directory_finds_the_range_that_holds_a_key() {
    // The range that ends at "m" holds "l" but not "m".
    assert!(meta_scan_start(b"l") <= meta(b"m"));
    assert!(meta_scan_start(b"m") > meta(b"m"));
    assert!(meta_scan_start(b"\x04zzz") <= meta(b""));
    assert!(meta(b"") < meta_end());
}
