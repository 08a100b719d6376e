//! Stories in `tests/scripts/mvcc`, and properties against a dumb model.

mod model;
mod script;

use super::{Garbage, MvccStats, key, remove_garbage};
use crate::engine::{EngineError, Overlay};
use clock::Timestamp;
use proptest::prelude::*;

/// Removes all that a walk found; answers how many versions that is.
fn remove_all(overlay: &mut Overlay<'_>, stats: &mut MvccStats, garbage: &Garbage) -> Result<u64, EngineError> {
    let mut removed = 0;
    for (key, versions) in &garbage.keys {
        removed += remove_garbage(overlay, stats, key, versions)?;
    }
    Ok(removed)
}

macro_rules! scripts {
    ($($name:ident),* $(,)?) => {$(
        #[test]
        fn $name() {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scripts/mvcc/", stringify!($name));
            goldenscript::run(&mut script::Runner::default(), path).expect("the script can be read");
        }
    )*};
}

scripts!(clear, gc, intents, reads, refresh, scans, sequences, split, uncertainty, writes);

proptest! {
    #[test]
    fn engine_keys_sort_by_key_then_newest_first(
        a in prop::collection::vec(prop_oneof![0u8..3, Just(255)], 0..5),
        b in prop::collection::vec(prop_oneof![0u8..3, Just(255)], 0..5),
        at_a in prop::option::of(any::<(u64, u32)>()),
        at_b in prop::option::of(any::<(u64, u32)>()),
    ) {
        let timestamp = |at: Option<(u64, u32)>| at.map(|(wall_ns, logical)| Timestamp::new(wall_ns, logical));
        let encode = |k: &[u8], at| timestamp(at).map_or(key::prefix(k).into(), |at| key::version(k, at));
        let rank = |at| timestamp(at).map_or((0, Timestamp::MAX), |at| (1, Timestamp::new(!at.wall_ns, !at.logical)));
        let (left, right) = (encode(&a, at_a), encode(&b, at_b));
        prop_assert_eq!(left.cmp(&right), (&a, rank(at_a)).cmp(&(&b, rank(at_b))));
        prop_assert_eq!(key::decode(&left).expect("decodes"), (a.into(), timestamp(at_a)));
    }

    #[test]
    fn garbage_keys_are_refused_without_panic(bytes: Vec<u8>) {
        let _ = key::decode(&bytes);
    }
}
