//! Snapshots that overlap: a range's from before a split, and its right side's from after it.

use std::sync::Arc;

use raft_groups::{SnapshotSink, SnapshotSource};

use super::fixture::{count, descriptor, open, peer, receive, simulate};
use crate::engine::{Engine, MemoryEngine};
use crate::replica::ReplicaEvents;
use crate::store::lifecycle::Work;
use crate::store::snapshot::RangeSource;

const ROWS: u64 = 1_000;
const MIDDLE: u64 = 600;

/// Both are on their way at once, chunk by chunk. One is refused, while that costs no more than sending it again: at its end it would
/// cost the replica.
#[test]
fn of_two_snapshots_that_overlap_one_is_refused_at_its_beginning() {
    simulate(async {
        let engine = Arc::new(MemoryEngine::new());
        let store = open(engine.clone()).await;
        let peers = [peer(&descriptor(2, 0, None, 3), 0..ROWS), peer(&descriptor(5, MIDDLE, None, 4), MIDDLE..ROWS)];
        let mut sinks = Vec::new();
        for (range_id, peer) in [2, 5].into_iter().zip(&peers) {
            store.work(Work::Wanted { range_id, replica_id: 1 }).await.expect("it starts");
            let held = store.held(range_id).expect("it runs");
            let mut source = RangeSource::open(peer, range_id).expect("there");
            let mut sink: Box<dyn SnapshotSink> =
                store.begin_install(&held.replica, source.applied_state()).await.expect("there is room");
            let mut taken = true;
            while let Some(chunk) = source.next_chunk().await.expect("readable") {
                taken &= taken && sink.write_chunk(chunk).await.is_ok();
            }
            if taken {
                sinks.push(sink);
            }
        }
        assert_eq!(sinks.len(), 1, "one is refused before its end");
        for mut sink in sinks {
            sink.prepare().await.expect("nothing stands in its way");
            sink.finish().await.expect("what was prepared is installed");
        }
        assert_eq!(count(&*engine, 0..ROWS) as u64, ROWS);
        // The right side is here once the left one knows of the split.
        receive(&store, &peers[1], 5).await.expect_err("the split is still to be applied");
        receive(&store, &peer(&descriptor(2, 0, Some(MIDDLE), 5), 0..MIDDLE), 2).await.expect("newer");
        receive(&store, &peers[1], 5).await.expect("its span is free");
        assert_eq!(count(&*engine, 0..ROWS) as u64, ROWS);
        drop(engine.snapshot());
    });
}
