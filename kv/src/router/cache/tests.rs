use super::*;

fn range(range_id: u64, start: &'static str, end: &'static str, generation: u64) -> RangeDescriptor {
    let replicas = vec![crate::descriptor::ReplicaDescriptor { replica_id: 1, node_id: 5, role: 0, replaces: 0 }];
    let (start, end) = (Bytes::from_static(start.as_bytes()), Bytes::from_static(end.as_bytes()));
    RangeDescriptor { range_id, start, end, generation, replicas, next_replica_id: 2 }
}

#[test]
fn a_split_displaces_the_whole_and_keeps_its_leaseholder() {
    let mut cache = RangeCache::default();
    let whole = range(1, "a", "z", 1);
    assert!(cache.insert(whole.clone()));
    cache.set_leaseholder(&whole, Some(5));
    assert!(cache.insert(range(2, "m", "z", 2)));
    assert_eq!(cache.get(b"b"), None, "the left side is not known yet");
    assert_eq!(cache.get(b"x").expect("known").leaseholder, Some(5));
    assert!(!cache.insert(whole), "the whole is older");
    assert!(cache.insert(range(1, "a", "m", 2)));
    assert_eq!(cache.get(b"b").expect("known").descriptor.range_id, 1);
    assert_eq!(cache.get(b"m").expect("known").descriptor.range_id, 2);
    assert_eq!(cache.get(b"z"), None);
}

#[test]
fn an_open_end_reaches_everything() {
    let mut cache = RangeCache::default();
    assert!(cache.insert(range(1, "a", "", 1)));
    assert!(cache.get(b"zzz").is_some());
    assert!(cache.insert(range(2, "m", "", 2)));
    assert_eq!(cache.get(b"b"), None);
    assert!(cache.get(b"zzz").is_some());
}

#[test]
fn forgetting_spares_what_is_newer() {
    let mut cache = RangeCache::default();
    let old = range(1, "a", "z", 1);
    cache.insert(old.clone());
    cache.insert(range(1, "a", "z", 2));
    cache.forget(&old);
    assert!(cache.get(b"b").is_some());
}
