use std::sync::Arc;
use std::time::Duration;

use clock::{Interval, TimeSource};
use raft_groups::disk::{Dir, SimDir};

use super::{FaultyDir, FaultyTime};

struct Stopped;

impl TimeSource for Stopped {
    fn now(&self) -> Interval {
        Interval::around(1_000_000, Duration::from_nanos(100))
    }
}

#[test]
fn a_clock_is_off_by_what_was_set_and_claims_the_same_error() {
    let clock = FaultyTime::new(Arc::new(Stopped));
    assert_eq!(clock.now(), Interval { earliest_ns: 999_900, latest_ns: 1_000_100 });
    clock.set_offset_ns(-5_000);
    assert_eq!(clock.now(), Interval { earliest_ns: 994_900, latest_ns: 995_100 });
    clock.set_offset_ns(0);
    assert_eq!(clock.now(), Interval { earliest_ns: 999_900, latest_ns: 1_000_100 });
}

#[test]
fn a_slow_disk_keeps_what_it_is_given() {
    let dir = FaultyDir::new(Arc::new(SimDir::new(clock::Random::from_seed(1))));
    let file = dir.create("file").unwrap();
    dir.set_sync_delay_us(10);
    file.write_at(0, b"kept").unwrap();
    file.sync_data().unwrap();
    let mut read = [0; 4];
    dir.open("file").unwrap().read_at(0, &mut read).unwrap();
    assert_eq!(&read, b"kept");
}
