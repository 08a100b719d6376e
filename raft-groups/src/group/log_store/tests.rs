//! What openraft may believe of a log that has failed.

use std::sync::Arc;

use clock::{Random, Tasks};
use futures::StreamExt;
use openraft::storage::RaftLogReader;

use super::{Durability, LogStore};
use crate::disk::SimDir;
use crate::group::tests::machine::Machine;
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
