mod failing;
mod fixture;
mod overlap;
mod removal;

use super::disk::DiskGuard;
use super::local::{Tombstone, range_ids};
use super::*;
use crate::engine::{MemoryEngine, WriteBatch};
use crate::keys;
use raft_groups::disk::SimDir;

#[test]
fn range_ids_are_found_once_each() {
    let engine = MemoryEngine::new();
    let mut batch = WriteBatch::new();
    for range_id in [1, 7, u64::MAX] {
        batch.put(keys::range_local(range_id, keys::RangeLocal::Replica), "r");
        batch.put(keys::range_local(range_id, keys::RangeLocal::Stats), "s");
    }
    Tombstone { next_replica_id: 4, uncleared: None }.save(9, &mut batch);
    engine.write(batch).expect("memory takes it");
    assert_eq!(range_ids(&*engine.snapshot()).expect("readable"), vec![1, 7, 9, u64::MAX]);
}

#[test]
fn identity_survives_and_other_formats_are_refused() {
    let engine = MemoryEngine::new();
    assert_eq!(StoreIdentity::load(&*engine.snapshot()).expect("readable"), None);
    let identity = StoreIdentity::new(u128::MAX - 5, 3, 250_000_000);
    let mut batch = WriteBatch::new();
    identity.save(&mut batch);
    engine.write(batch).expect("memory takes it");
    assert_eq!(StoreIdentity::load(&*engine.snapshot()).expect("readable"), Some(identity.clone()));
    assert_eq!(identity.cluster_id(), u128::MAX - 5);
    let mut batch = WriteBatch::new();
    StoreIdentity { format_version: FORMAT_VERSION + 1, ..identity }.save(&mut batch);
    engine.write(batch).expect("memory takes it");
    assert!(StoreIdentity::load(&*engine.snapshot()).is_err());
}

#[test]
fn a_full_disk_gives_up_its_ballast_and_recovers_with_room() {
    let dir = Arc::new(SimDir::new(Random::from_seed(1)));
    let settings = Settings { disk_floor_bytes: 1 << 20, disk_ballast_bytes: 1 << 20, ..Settings::default() };
    let guard = DiskGuard::new(dir.clone(), &settings);
    let set_space = |bytes: u64| {
        dir.set_faults(raft_groups::disk::SimFaults { capacity_bytes: Some(bytes), ..Default::default() });
    };
    set_space(16 << 20);
    assert!(!guard.look().expect("looked"));
    use raft_groups::disk::Dir;
    assert_eq!(dir.list().expect("listed"), vec!["ballast".to_owned()]);
    // A megabyte is the ballast's, less than the floor is free.
    set_space((2 << 20) - 1);
    assert!(guard.look().expect("looked"));
    assert!(guard.is_full().is_some_and(|words| words.contains("writes are refused")));
    assert!(dir.list().expect("listed").is_empty());
    assert!(guard.look().expect("looked"), "the ballast's own room does not reopen");
    set_space(16 << 20);
    assert!(!guard.look().expect("looked"));
    assert_eq!(guard.is_full(), None);
}
