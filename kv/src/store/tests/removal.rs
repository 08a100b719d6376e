//! What a removed replica held is cleared, and nothing else (`span_claimed`).

use std::sync::Arc;

use raft_groups::{CommittedEntry, EntryKind, LogPosition, StateMachine};

use super::fixture::{count, descriptor, fill, open, peer, receive, simulate};
use crate::command::{Command, Split, Trigger};
use crate::engine::{Engine, MemoryEngine};
use crate::store::Store;
use crate::store::lifecycle::Work;

const ROWS: u64 = 10_000;
const MIDDLE: u64 = 6_000;

/// Polls a future until what it does has come to a point.
macro_rules! until {
    ($future:expr, $reached:expr) => {
        while !$reached {
            assert!(futures::poll!($future.as_mut()).is_pending(), "it ends only after that");
            tokio::task::yield_now().await;
        }
    };
}

fn destroy() -> Work {
    Work::Destroy { range_id: 2, replica_id: 1, next_replica_id: 4 }
}

/// Sends the snapshot of range 5 until it is taken.
async fn receive_at_last(store: &Arc<Store>, from: &dyn Engine) {
    for _ in 0..10_000 {
        if receive(store, from, 5).await.is_ok() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("nothing stands in its way for ever");
}

async fn settled(store: &Store) {
    while store.engine().snapshot().get(&crate::keys::range_local(2, crate::keys::RangeLocal::Removed)).is_ok_and(
        |tombstone| {
            use prost::Message;
            tombstone.is_none_or(|bytes| {
                crate::store::local::Tombstone::decode(bytes).expect("it decodes").uncleared.is_some()
            })
        },
    ) {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// The replica of `[a, z)` is removed, and stops; meanwhile `[m, z)`, split off from it elsewhere, is installed. Its rows stay.
#[test]
fn a_removal_spares_the_range_split_off_that_is_installed_meanwhile() {
    simulate(async {
        let engine = Arc::new(MemoryEngine::new());
        fill(&*engine, &descriptor(2, 0, None, 3), 0..ROWS, 20);
        let store = open(engine.clone()).await;
        store.work(Work::Wanted { range_id: 5, replica_id: 1 }).await.expect("it starts");
        let mut removal = Box::pin(store.work(destroy()));
        until!(removal, store.held(2).is_none());
        let leader = peer(&descriptor(5, MIDDLE, None, 4), MIDDLE..ROWS);
        let at_once = receive(&store, &leader, 5).await;
        removal.await.expect("it is removed");
        if at_once.is_err() {
            receive_at_last(&store, &leader).await;
        }
        settled(&store).await;
        assert_eq!(count(&*engine, 0..MIDDLE), 0, "what was range 2's is cleared");
        assert_eq!(count(&*engine, MIDDLE..ROWS) as u64, ROWS - MIDDLE, "what is range 5's stays");
    });
}

/// The same, while the removed replica still applies the split: the right side is not its own any more.
#[test]
fn a_removal_spares_the_range_split_off_before_it_stopped() {
    simulate(async {
        let engine = Arc::new(MemoryEngine::new());
        let whole = descriptor(2, 0, None, 3);
        fill(&*engine, &whole, 0..ROWS, 20);
        let store = open(engine.clone()).await;
        let replica = store.held(2).expect("held").replica;
        let mut removal = Box::pin(store.work(destroy()));
        until!(removal, store.held(2).is_none());
        let split = Split {
            left: descriptor(2, 0, Some(MIDDLE), 4),
            right: descriptor(5, MIDDLE, None, 4),
            right_stats: Default::default(),
        };
        let command = Command { trigger: Some(Trigger::Split(split)), ..Command::default() };
        let position = LogPosition { term: 1, leader: 0, index: 21 };
        let kind = EntryKind::Command(prost::Message::encode_to_vec(&command).into());
        replica.apply(vec![CommittedEntry { position, kind }]).await.expect("memory takes it");
        removal.await.expect("it is removed");
        settled(&store).await;
        assert_eq!(count(&*engine, 0..MIDDLE), 0, "what was range 2's is cleared");
        assert_eq!(count(&*engine, MIDDLE..ROWS) as u64, ROWS - MIDDLE, "what is range 5's stays");
    });
}

/// Power is lost after each batch of a removal: the next life goes on with it, and what is installed meanwhile stays.
#[test]
fn a_removal_goes_on_after_a_crash() {
    for surviving in 0.. {
        let is_last = simulate(async {
            let engine = Arc::new(MemoryEngine::new());
            fill(&*engine, &descriptor(2, 0, None, 3), 0..ROWS, 20);
            engine.sync().expect("memory syncs");
            let store = open(Arc::new(Unsynced(engine.clone()))).await;
            store.work(destroy()).await.expect("it is removed");
            settled(&store).await;
            if surviving > engine.unsynced_batches() {
                return true;
            }
            let engine = Arc::new(engine.crash(surviving));
            let store = open(engine.clone()).await;
            store.work(Work::Wanted { range_id: 5, replica_id: 1 }).await.expect("it starts");
            store.work(destroy()).await.expect("it is removed, if it was not");
            receive_at_last(&store, &peer(&descriptor(5, MIDDLE, None, 4), MIDDLE..ROWS)).await;
            settled(&store).await;
            assert_eq!(count(&*engine, 0..MIDDLE), 0, "after {surviving} batches");
            assert_eq!(count(&*engine, MIDDLE..ROWS) as u64, ROWS - MIDDLE, "after {surviving} batches");
            false
        });
        if is_last {
            assert!(surviving > 3, "a removal takes many batches");
            break;
        }
    }
}

/// An engine whose syncs come to nothing, so that all of its batches may be lost.
struct Unsynced(Arc<MemoryEngine>);

impl Engine for Unsynced {
    fn snapshot(&self) -> Box<dyn crate::engine::Reader> {
        self.0.snapshot()
    }

    fn write(&self, batch: crate::engine::WriteBatch) -> Result<(), crate::engine::EngineError> {
        self.0.write(batch)
    }

    fn sync(&self) -> Result<(), crate::engine::EngineError> {
        Ok(())
    }

    fn disk_bytes(&self) -> u64 {
        self.0.disk_bytes()
    }
}

/// A split whose right side has no business here leaves its data over, which is cleared, over a crash too, before anything is
/// installed there.
#[test]
fn what_a_split_leaves_over_is_cleared_after_a_crash_too() {
    for crashes in [false, true] {
        simulate(async {
            let engine = Arc::new(MemoryEngine::new());
            fill(&*engine, &descriptor(2, 0, None, 3), 0..ROWS, 20);
            let store = open(engine.clone()).await;
            // A later replica of the right side is here already, without data.
            store.work(Work::Wanted { range_id: 5, replica_id: 7 }).await.expect("it starts");
            let split = Split {
                left: descriptor(2, 0, Some(MIDDLE), 4),
                right: descriptor(5, MIDDLE, None, 4),
                right_stats: Default::default(),
            };
            let command = Command { trigger: Some(Trigger::Split(split)), ..Command::default() };
            let position = LogPosition { term: 1, leader: 0, index: 21 };
            let kind = EntryKind::Command(prost::Message::encode_to_vec(&command).into());
            let entry = CommittedEntry { position, kind };
            store.held(2).expect("held").replica.apply(vec![entry]).await.expect("memory takes it");
            assert_eq!(count(&*engine, MIDDLE..ROWS) as u64, ROWS - MIDDLE, "nothing is cleared yet");
            if crashes {
                let engine = Arc::new(engine.crash(engine.unsynced_batches()));
                let _store = open(engine.clone()).await;
                for _ in 0..100 {
                    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
                assert_eq!(count(&*engine, 0..MIDDLE) as u64, MIDDLE, "the left side stays");
                assert_eq!(count(&*engine, MIDDLE..ROWS), 0, "its next life knows what was left over");
                return;
            }
            let mut later = descriptor(5, MIDDLE, None, 6);
            later.replicas[0].replica_id = 7;
            let leader = peer(&later, MIDDLE..MIDDLE + 10);
            receive(&store, &leader, 5).await.expect_err("its span is still being cleared");
            receive_at_last(&store, &leader).await;
            assert_eq!(count(&*engine, 0..MIDDLE) as u64, MIDDLE, "the left side stays");
            assert_eq!(count(&*engine, MIDDLE..ROWS), 10, "the right side is what was installed");
        });
    }
}

/// What a replica votes and appends is synced as it is said: were its record not, a power loss would leave a log without a replica.
#[test]
fn a_replica_that_a_message_brings_into_being_outlives_a_power_loss() {
    simulate(async {
        let engine = Arc::new(MemoryEngine::new());
        let store = open(engine.clone()).await;
        store.work(Work::Wanted { range_id: 2, replica_id: 4 }).await.expect("it starts");
        assert!(store.held(2).is_some());
        let found = Arc::new(engine.crash(0));
        let replica = open(found).await.held(2).map(|held| held.replica.replica_id());
        assert_eq!(replica, Some(4));
    });
}
