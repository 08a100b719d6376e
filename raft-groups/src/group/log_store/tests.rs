//! What openraft may believe of a log that has failed, and how much it reads of one at a time.

use std::sync::Arc;

use clock::{Random, Tasks};
use futures::StreamExt;
use openraft::storage::{RaftLogReader, RaftLogStorage};

use super::{Durability, LogStore, READ_BYTES_MAX};
use crate::disk::{SimDir, SimFaults};
use crate::group::tests::machine::Machine;
use crate::group::types::log_id;
use crate::wal::{LogEntry, Wal, WalOptions};
use crate::{AppliedState, GroupId, LogPosition};

#[test]
fn entries_that_a_closed_log_refused_are_missed_when_they_are_to_be_applied() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime without I/O starts").block_on(async {
        let tasks = Tasks::deterministic(tokio::runtime::Handle::current());
        let dir = Arc::new(SimDir::new(Random::from_seed(1)));
        let wal = Wal::open(dir, WalOptions::small(), tasks).expect("an empty log opens");
        let (durability, _in_use) = Durability::new(Arc::new(Machine::new(AppliedState::default())));
        let mut store = LogStore::open(wal.group(GroupId(7)), durability).expect("an empty group's log opens");
        let entry = |index| LogEntry {
            position: LogPosition { term: 1, leader: 0, index },
            payload: bytes::Bytes::from_static(&[0]),
        };
        store.log.append(vec![entry(0), entry(1)], Box::new(drop));
        wal.close().await;
        store.log.append(vec![entry(2)], Box::new(drop));

        let read: Vec<_> = store.entries_stream(0..2).await.collect().await;
        assert!(read.len() == 2 && read.iter().all(Result::is_ok), "what was taken is there: {read:?}");
        let read: Vec<_> = store.entries_stream(1..3).await.collect().await;
        assert!(read.last().is_some_and(Result::is_err), "what was refused is not passed over: {read:?}");
    });
}

#[test]
fn what_was_truncated_stays_so_after_a_loss_of_power() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without I/O starts").block_on(async {
        for seed in 0..20 {
            let tasks = Tasks::deterministic(tokio::runtime::Handle::current());
            let dir = SimDir::new(Random::from_seed(seed));
            let delay = std::time::Duration::from_millis(5);
            dir.set_faults(SimFaults { sync_delay: (delay, delay), ..SimFaults::default() });
            let wal = Wal::open(Arc::new(dir.clone()), WalOptions::small(), tasks.clone()).expect("an empty log opens");
            let (durability, _in_use) = Durability::new(Arc::new(Machine::new(AppliedState::default())));
            let mut store = LogStore::open(wal.group(GroupId(7)), durability).expect("an empty group's log opens");
            let position = |index| LogPosition { term: 1, leader: 0, index };
            let entry = |index| LogEntry { position: position(index), payload: bytes::Bytes::from_static(&[0]) };
            let (send, synced) = tokio::sync::oneshot::channel();
            store.log.append((0..9).map(entry).collect(), Box::new(|result| drop(send.send(result))));
            synced.await.expect("the log answers").expect("the entries are synced");

            store.truncate_after(Some(log_id(position(3)))).await.expect("truncated");
            let found = dir.crash();
            let wal = Wal::open(Arc::new(found), WalOptions::small(), tasks).expect("the log opens");
            assert_eq!(wal.group(GroupId(7)).state().last, Some(position(3)), "seed {seed}");
        }
    });
}

#[test]
fn what_is_read_at_a_time_is_bounded_by_its_bytes() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime without I/O starts").block_on(async {
        let tasks = Tasks::deterministic(tokio::runtime::Handle::current());
        let dir = Arc::new(SimDir::new(Random::from_seed(1)));
        let wal = Wal::open(dir, WalOptions::default(), tasks).expect("an empty log opens");
        let (durability, _in_use) = Durability::new(Arc::new(Machine::new(AppliedState::default())));
        let mut store = LogStore::open(wal.group(GroupId(7)), durability).expect("an empty group's log opens");
        const LARGE: usize = 5 << 20;
        let entry = |index| LogEntry {
            position: LogPosition { term: 1, leader: 0, index },
            payload: bytes::Bytes::from(vec![0; if index < 40 { 100_000 } else { LARGE }]),
        };
        // Together they are more than the network carries in one message.
        store.log.append((0..60).map(entry).collect(), Box::new(drop));
        let (mut next, mut reads) = (0, 0);
        while next < 60 {
            let read = store.limited_get_log_entries(next, 60).await.expect("all are there");
            let bytes: usize = (next..).take(read.len()).map(|index| entry(index).payload.len()).sum();
            assert!(bytes <= READ_BYTES_MAX + LARGE, "{bytes} bytes from {next} on");
            next += read.len() as u64;
            reads += 1;
        }
        assert!((20..30).contains(&reads), "small ones are read together: {reads}");
    });
}
