//! The simulated disk does what a bad disk may, and a cell survives it.

use std::sync::Arc;

use clock::{CeilingStore, Random, Timestamp};

use super::{CeilingCell, Dir, DurableCell, OsDir, SECTOR_BYTES, SimDir, SimFaults};

#[test]
fn what_was_synced_survives_power_loss_and_the_rest_may_tear() {
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..64 {
        let dir = SimDir::new(Random::from_seed(seed));
        let file = dir.create("file").expect("a sound disk works");
        file.allocate(4 * SECTOR_BYTES as u64).expect("a sound disk works");
        file.write_at(0, &[1; SECTOR_BYTES]).expect("a sound disk works");
        file.sync_all().expect("a sound disk works");
        dir.sync().expect("a sound disk works");
        file.write_at(SECTOR_BYTES as u64, &[2; 3 * SECTOR_BYTES]).expect("a sound disk works");
        let found = dir.crash();
        assert!(file.write_at(0, &[3]).is_err(), "a handle outlived its machine");
        let file = found.open("file").expect("its name was synced");
        let mut bytes = vec![0; 4 * SECTOR_BYTES];
        file.read_at(0, &mut bytes).expect("its length was synced");
        let sectors: Vec<_> = bytes.chunks(SECTOR_BYTES).map(|sector| sector[0]).collect();
        assert!(bytes.chunks(SECTOR_BYTES).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
        assert_eq!(sectors[0], 1);
        outcomes.insert(sectors);
    }
    assert!(outcomes.len() > 4, "writes tear in many ways: {outcomes:?}");
}

#[test]
fn one_seed_is_one_outcome() {
    let run = |seed| {
        let dir = SimDir::new(Random::from_seed(seed));
        let file = dir.create("file").expect("a sound disk works");
        file.write_at(0, &[9; 10 * SECTOR_BYTES]).expect("a sound disk works");
        dir.sync().expect("a sound disk works");
        let file = dir.crash().open("file").expect("its name was synced");
        let mut bytes = vec![0; usize::try_from(file.len().expect("it has a length")).expect("it is small")];
        file.read_at(0, &mut bytes).expect("it can be read");
        bytes
    };
    assert!((0..20).all(|seed| run(seed) == run(seed)));
}

#[test]
fn a_cell_holds_the_former_or_the_new_value_whenever_power_is_lost() {
    for operations in 0..10 {
        for seed in 0..20 {
            let dir = SimDir::new(Random::from_seed(seed));
            let cell = |dir: &SimDir| DurableCell::new(Arc::new(dir.clone()), "cell");
            assert_eq!(cell(&dir).read().expect("an empty disk can be read"), None);
            cell(&dir).write(b"former").expect("a sound disk works");
            dir.set_faults(SimFaults { power_loss_after: Some(dir.operations() + operations), ..SimFaults::default() });
            let written = cell(&dir).write(b"the new one").is_ok();
            let found = cell(&dir.crash()).read().expect("a cell is never torn").expect("a cell is never lost");
            assert!(found == "the new one" || (!written && found == "former"), "{operations} {seed}: {found:?}");
        }
    }
}

#[test]
fn the_clocks_ceiling_is_found_again_on_a_real_disk() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let dir = OsDir::open(home.path().join("deep/er")).expect("it is created");
    let lock = dir.lock().expect("nobody else has it");
    assert!(dir.lock().is_err(), "a second process would share the directory");
    drop(lock);
    let ceiling = CeilingCell::new(DurableCell::new(Arc::new(dir), "ceiling"));
    assert_eq!(ceiling.read().expect("it can be read"), Timestamp::MIN);
    ceiling.persist(Timestamp::new(7, 3)).expect("the disk works");
    assert_eq!(ceiling.read().expect("it can be read"), Timestamp::new(7, 3));
}

#[test]
fn ceiling_survives_power_loss_in_the_middle_of_its_rise() {
    for operations in 0..12 {
        for seed in 0..20 {
            let dir = SimDir::new(Random::from_seed(seed));
            let cell = |dir: &SimDir| CeilingCell::new(DurableCell::new(Arc::new(dir.clone()), "ceiling"));
            let mut durable = Timestamp::MIN;
            let mut tried = Timestamp::MIN;
            dir.set_faults(SimFaults { power_loss_after: Some(operations), ..SimFaults::default() });
            let ceiling = cell(&dir);
            for wall_ns in 1..9 {
                tried = Timestamp::new(wall_ns, 0);
                if ceiling.persist(tried).is_err() {
                    break;
                }
                durable = tried;
            }
            let dir = dir.crash();
            let found = cell(&dir).read().expect("one slot can be read");
            assert!((durable..=tried).contains(&found), "ceiling_survives: {operations} {seed}: {found}, {durable}");
            let next = tried.next();
            cell(&dir).persist(next).expect("a sound disk works");
            assert_eq!(cell(&dir.crash()).read().expect("it can be read"), next);
        }
    }
}

#[test]
fn the_ceiling_rises_on_a_full_disk() {
    let dir = SimDir::new(Random::from_seed(1));
    let ceiling = CeilingCell::new(DurableCell::new(Arc::new(dir.clone()), "ceiling"));
    ceiling.persist(Timestamp::new(1, 0)).expect("there is room");
    for (wall_ns, capacity_bytes) in (2..).zip([2 * SECTOR_BYTES as u64, SECTOR_BYTES as u64, 1, 0]) {
        dir.set_faults(SimFaults { capacity_bytes: Some(capacity_bytes), ..SimFaults::default() });
        ceiling.persist(Timestamp::new(wall_ns, 0)).expect("it takes no room");
        assert_eq!(ceiling.read().expect("it can be read"), Timestamp::new(wall_ns, 0));
    }
}
