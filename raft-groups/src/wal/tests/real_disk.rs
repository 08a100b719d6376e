//! The writer as a thread, on the operating system's disk.

use std::sync::Arc;

use bytes::Bytes;
use clock::Tasks;

use crate::disk::{Dir, OsDir};
use crate::wal::{LogEntry, Wal, WalOptions};
use crate::{GroupId, LogPosition};

#[test]
fn many_groups_append_at_once_and_find_it_again() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime starts");
    let options = WalOptions { segment_bytes: 64 << 10, max_segments: 4, cache_bytes: 16 << 10 };
    let open = || {
        let dir: Arc<dyn Dir> = Arc::new(OsDir::open(home.path().join("wal")).expect("the directory is created"));
        Wal::open(dir, options.clone(), Tasks::on(runtime.handle().clone())).expect("the log opens")
    };
    let wal = open();
    let writers: Vec<_> = (1..=32)
        .map(|id| {
            let log = wal.group(GroupId(id));
            runtime.spawn(async move {
                log.save_vote(Bytes::from(id.to_string())).await.expect("a vote is saved");
                for index in 0..50 {
                    let payload = Bytes::from(vec![id as u8; 100]);
                    let entry = LogEntry { position: LogPosition::new(1, id, index), payload };
                    let (told, synced) = tokio::sync::oneshot::channel();
                    log.append(vec![entry], Box::new(move |outcome| drop(told.send(outcome))));
                    synced.await.expect("an answer comes").expect("the disk works");
                    assert_eq!(log.synced().map(|synced| synced.index), Some(index));
                    if index == 40 && id > 2 {
                        log.purge(LogPosition::new(1, id, 30));
                    }
                }
            })
        })
        .collect();
    runtime.block_on(async {
        for writer in writers {
            writer.await.expect("a writer ends well");
        }
        wal.close().await;
    });
    assert!(wal.stats().batches < 32 * 51, "one sync serves many groups");
    drop(wal);
    let wal = open();
    assert_eq!(wal.groups().len(), 32);
    for id in 1..=32 {
        let log = wal.group(GroupId(id));
        let first = if id > 2 { 31 } else { 0 };
        let entries = log.read(first..50).expect("they are there");
        assert!(entries.iter().all(|entry| entry.payload == vec![id as u8; 100]));
        assert_eq!(log.state().vote, Some(Bytes::from(id.to_string())));
    }
}
