//! The timestamp cache against a dumb model: every read ever served.

use proptest::prelude::*;

use super::*;

fn key(at: u8) -> Bytes {
    Bytes::from(vec![b'a' + at])
}

fn mark(timestamp: u64, owner: u64) -> ReadMark {
    let owner = (owner > 0).then(|| TxnId::from_random(owner.into()));
    ReadMark { timestamp: Timestamp::new(timestamp, 0), owner }
}

#[test]
fn two_readers_at_one_timestamp_clear_the_owner() {
    let cache = TimestampCache::new(Timestamp::MIN);
    let own = Some(TxnId::from_random(1));
    cache.add_key(&key(0), mark(5, 1));
    assert_eq!(cache.first_writable(b"a", Timestamp::new(5, 0), own), Timestamp::new(5, 0));
    cache.add_key(&key(0), mark(5, 2));
    assert_eq!(cache.first_writable(b"a", Timestamp::new(5, 0), own), Timestamp::new(5, 0).next());
}

#[test]
fn what_is_evicted_raises_the_low_water_mark() {
    let cache = TimestampCache::with_page_entries(Timestamp::MIN, 2);
    for at in 0..6 {
        cache.add_key(&key(at), mark(10 + u64::from(at), 0));
    }
    assert!(cache.newest_read(b"zz").timestamp >= Timestamp::new(11, 0));
}

#[test]
fn what_is_old_is_forgotten_and_protected_all_the_same() {
    let cache = TimestampCache::new(Timestamp::MIN);
    cache.add_key(&key(0), mark(5, 1));
    cache.add_span(&key(2), &key(4), mark(7, 1));
    cache.forget_before(Timestamp::new(7, 0));
    assert_eq!((cache.remembered(), cache.newest_read(b"z").timestamp), (2, Timestamp::MIN), "one of them is not old");
    cache.forget_before(Timestamp::new(8, 0));
    assert_eq!((cache.remembered(), cache.newest_read(b"z")), (0, mark(7, 0)));
    cache.add_key(&key(0), mark(9, 1));
    cache.forget_before(Timestamp::new(8, 0));
    assert_eq!(cache.newest_read(&key(0)), mark(9, 1));
}

proptest! {
    /// No key is ever said to be read less than it was, and, while nothing is evicted, never more.
    #[test]
    fn read_protected(
        reads in prop::collection::vec((0u8..8, prop::option::of(0u8..9), 1u64..20, 0u64..3), 1..60),
        page in prop_oneof![Just(4usize), Just(1000usize)],
    ) {
        let cache = TimestampCache::with_page_entries(Timestamp::MIN, page);
        let mut model = [ReadMark::NONE; 10];
        for (start, end, timestamp, owner) in reads {
            let mark = mark(timestamp, owner);
            match end {
                None => {
                    cache.add_key(&key(start), mark);
                    model[usize::from(start)] = model[usize::from(start)].merge(mark);
                }
                Some(end) => {
                    let last = if end == 8 { 10 } else { end };
                    let end_key = if end == 8 { Bytes::new() } else { key(end) };
                    cache.add_span(&key(start), &end_key, mark);
                    for at in start..last {
                        model[usize::from(at)] = model[usize::from(at)].merge(mark);
                    }
                }
            }
            for (at, expected) in model.iter().enumerate() {
                let found = cache.newest_read(&key(at as u8));
                if page == 1000 {
                    prop_assert_eq!(found, *expected);
                } else {
                    prop_assert!(found.timestamp >= expected.timestamp, "read_protected");
                    prop_assert!(found.timestamp > expected.timestamp || found.owner.is_none() || found.owner == expected.owner);
                }
            }
        }
    }
}
