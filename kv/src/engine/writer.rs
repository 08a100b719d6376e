//! Writes to an engine from where nothing may block: on threads that replicate.
//!
//! An engine's write waits for what the engine does besides: fjall holds its journal's lock over each sync, and has writers sleep
//! while its flushes and compactions are behind. Raft's threads are few, and a range that waits on one of them delays the
//! heartbeats of all others. So a batch is queued, and written where blocking is allowed:
//!
//! ```text
//!   range 1  write().await ─┐                 ┌─▶ one engine batch of all that wait ─▶ engine (may block)
//!   range 2  write().await ─┼─▶ queue ─▶ one drain, while anything is queued
//!   range 3  write().await ─┘                 └─▶ each is told
//! ```
//!
//! One drain runs at a time, so that an engine that stalls holds one thread however many ranges apply; and what queues up
//! meanwhile shares one turn at the engine's lock.
//!
//! Invariants:
//!
//! - `writes_in_order`: batches take effect in the order in which they were queued, each as a whole (`batch_atomic`).
//! - What was answered is seen by every reader made afterwards.
//!
//! In simulation a batch is written at once, by its caller: nothing blocks there, and a second thread would make the order a race.

#[cfg(test)]
pub(super) mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use clock::Tasks;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{Engine, EngineError, WriteBatch};

/// What is written as one: enough to share the engine's lock among many ranges, little enough to keep nobody waiting for a batch
/// that is not his.
const TOGETHER_BYTES: usize = 1 << 20;

/// See the module.
pub struct EngineWriter {
    tasks: Tasks,
    lane: Arc<Lane>,
}

/// What a drain shares with those who queue.
struct Lane {
    engine: Arc<dyn Engine>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    is_draining: bool,
}

struct Waiting {
    batch: WriteBatch,
    written: Written,
}

/// Who is told what became of a batch.
type Written = oneshot::Sender<Result<(), EngineError>>;

impl EngineWriter {
    /// A way to write to the engine; `tasks` is where it may block.
    pub fn new(engine: Arc<dyn Engine>, tasks: Tasks) -> Arc<Self> {
        Arc::new(EngineWriter { tasks, lane: Arc::new(Lane { engine, queue: Mutex::default() }) })
    }

    /// Applies the batch atomically, after all that were queued before. Holds no thread meanwhile. A caller that stops waiting
    /// does not take its batch back.
    ///
    /// # Errors
    /// As [`Engine::write`]; also when the writer's tasks were stopped.
    pub async fn write(&self, batch: WriteBatch) -> Result<(), EngineError> {
        if self.tasks.is_deterministic() {
            return self.lane.engine.write(batch);
        }
        let (written, outcome) = oneshot::channel();
        let is_first = {
            let mut queue = self.lane.queue.lock();
            queue.waiting.push_back(Waiting { batch, written });
            !std::mem::replace(&mut queue.is_draining, true)
        };
        if is_first {
            let drain = Drain { lane: self.lane.clone(), is_over: false };
            self.tasks.compute("engine writer", async move { drain.run() });
        }
        outcome.await.unwrap_or_else(|_| Err(EngineError::Storage("the engine's writer was stopped".into())))
    }
}

/// Writes what is queued until nothing is. Dropped before that, it lets everybody know who waits.
struct Drain {
    lane: Arc<Lane>,
    is_over: bool,
}

impl Drain {
    fn run(mut self) {
        while let Some((batch, written)) = self.next() {
            answer(written, self.lane.engine.write(batch));
        }
    }

    /// What is to be written next, as one; `None` when nothing is left, and this drain is over.
    fn next(&mut self) -> Option<(WriteBatch, Vec<Written>)> {
        let mut queue = self.lane.queue.lock();
        let Some(Waiting { mut batch, written }) = queue.waiting.pop_front() else {
            queue.is_draining = false;
            self.is_over = true;
            return None;
        };
        let (mut bytes, mut all) = (batch.size_bytes(), vec![written]);
        while let Some(next) = queue.waiting.front().map(|waiting| waiting.batch.size_bytes()) {
            bytes += next;
            if bytes > TOGETHER_BYTES {
                break;
            }
            let Waiting { batch: more, written } = queue.waiting.pop_front().expect("it was looked at just now");
            batch.append(more);
            all.push(written);
        }
        Some((batch, all))
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        // Once it is over, another may run already.
        if !self.is_over {
            let mut queue = self.lane.queue.lock();
            queue.is_draining = false;
            queue.waiting.clear();
        }
    }
}

/// An error is one for all whose batches went together: none of them knows whether it took effect.
fn answer(written: Vec<Written>, outcome: Result<(), EngineError>) {
    let outcome = outcome.map_err(Arc::new);
    for written in written {
        let told = outcome.clone().map_err(|error| EngineError::Storage(Box::new(error)));
        // Who does not wait any more does not want to know.
        let _ = written.send(told);
    }
}
