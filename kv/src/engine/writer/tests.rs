//! The writer over an engine that blocks.

use std::sync::mpsc;
use std::time::Duration;

use clock::Tasks;
use parking_lot::{Condvar, Mutex};

use super::*;
use crate::engine::{MemoryEngine, Reader};

/// How long a test waits for what must happen, before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A store in memory whose writes wait at a door, as fjall's wait for a sync.
#[derive(Default)]
pub(crate) struct Door {
    engine: MemoryEngine,
    state: Mutex<State>,
    turn: Condvar,
}

#[derive(Default)]
struct State {
    is_shut: bool,
    fails: bool,
    /// How many batches came to the door.
    came: usize,
}

impl Door {
    pub(crate) fn shut(&self) {
        self.state.lock().is_shut = true;
    }

    pub(crate) fn open(&self) {
        self.state.lock().is_shut = false;
        self.turn.notify_all();
    }

    fn fail(&self) {
        self.state.lock().fails = true;
    }

    /// Returns once so many batches came to the door.
    pub(crate) fn wait_for(&self, count: usize) {
        let mut state = self.state.lock();
        while state.came < count {
            assert!(!self.turn.wait_for(&mut state, PATIENCE).timed_out(), "{} batches came of {count}", state.came);
        }
    }
}

impl Engine for Door {
    fn snapshot(&self) -> Box<dyn Reader> {
        self.engine.snapshot()
    }

    fn write(&self, batch: WriteBatch) -> Result<(), EngineError> {
        let mut state = self.state.lock();
        state.came += 1;
        self.turn.notify_all();
        while state.is_shut {
            assert!(!self.turn.wait_for(&mut state, 3 * PATIENCE).timed_out(), "nobody opens the door");
        }
        if state.fails {
            return Err(EngineError::Storage("it is broken".into()));
        }
        drop(state);
        self.engine.write(batch)
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.engine.sync()
    }

    fn disk_bytes(&self) -> u64 {
        self.engine.disk_bytes()
    }
}

fn put(key: &str, value: &str) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put(key.to_owned(), value.to_owned());
    batch
}

fn value(engine: &dyn Engine, key: &str) -> Option<String> {
    let value = engine.snapshot().get(key.as_bytes()).expect("memory reads");
    value.map(|value| String::from_utf8(value.to_vec()).expect("text"))
}

fn one_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a thread starts")
}

#[test]
fn a_write_that_blocks_holds_no_thread_of_its_runtime() {
    let (runtime, door) = (one_thread(), Arc::new(Door::default()));
    let tasks = Tasks::on(runtime.handle().clone());
    let writer = EngineWriter::new(door.clone(), tasks.clone());
    door.shut();
    let writing = tasks.spawn("write", async move { writer.write(put("a", "1")).await });
    door.wait_for(1);
    let (beat, beats) = mpsc::channel();
    tasks.spawn("heartbeat", async move { beat.send(()) });
    let heard = beats.recv_timeout(PATIENCE);
    door.open();
    heard.expect("another task runs while the write waits");
    runtime.block_on(writing).expect("the task ends").expect("the engine takes it");
    assert_eq!(value(&*door, "a").as_deref(), Some("1"));
}

#[test]
fn what_waits_is_written_in_order_and_together() {
    let (runtime, door) = (one_thread(), Arc::new(Door::default()));
    let tasks = Tasks::on(runtime.handle().clone());
    let writer = EngineWriter::new(door.clone(), tasks.clone());
    door.shut();
    let first = {
        let writer = writer.clone();
        tasks.spawn("first", async move { writer.write(put("a", "0")).await })
    };
    door.wait_for(1);
    runtime.block_on(async {
        let others = futures::future::join_all((1..100).map(|count| writer.write(put("a", &count.to_string()))));
        // Polled in this order: all are queued before the door opens.
        let (others, ()) = tokio::join!(biased; others, async { door.open() });
        assert!(first.await.expect("the task ends").is_ok() && others.iter().all(Result::is_ok));
    });
    assert_eq!(value(&*door, "a").as_deref(), Some("99"));
    assert_eq!(door.state.lock().came, 2, "one batch blocked; those that queued behind it went as one");
}

#[test]
fn a_failed_write_is_told_to_all_whose_batches_it_held() {
    let (runtime, door) = (one_thread(), Arc::new(Door::default()));
    let writer = EngineWriter::new(door.clone(), Tasks::on(runtime.handle().clone()));
    door.fail();
    let outcomes = runtime.block_on(futures::future::join_all((0..10).map(|_| writer.write(put("a", "1")))));
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Err(EngineError::Storage(_)))));
    assert_eq!(value(&*door, "a"), None);
}

#[test]
fn a_writer_whose_tasks_were_stopped_answers_all_the_same() {
    let (runtime, door) = (one_thread(), Arc::new(Door::default()));
    let tasks = Tasks::on(runtime.handle().clone()).scope();
    let writer = EngineWriter::new(door.clone(), tasks.clone());
    runtime.block_on(async {
        tasks.stop().await;
        for key in ["a", "b"] {
            // What is started in a stopped scope ends at once, or a moment later.
            let answer = tokio::time::timeout(PATIENCE, writer.write(put(key, "1"))).await.expect("an answer");
            assert_eq!(answer.is_ok(), value(&*door, key).is_some());
        }
    });
}
