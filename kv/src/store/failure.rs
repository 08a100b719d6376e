//! That a store cannot go on: told once, to whoever has to end the process.
//!
//! ```text
//!   engine: a write or a sync fails ─┐
//!   a replica's group ends ──────────┼▶ Failure ─▶ leases dropped, not ready any more ─▶ the process ends
//!   a chore, or the worker, fails ───┘
//! ```
//!
//! An engine that has failed once is not written to again, whatever it would say: what its failed write left is not known, and
//! fjall refuses everything after it until it is opened anew.

use std::sync::Arc;

use tokio::sync::watch;

use crate::engine::{Engine, EngineError, Reader, WriteBatch};

/// Why the store cannot go on, once it cannot. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Failure(Arc<watch::Sender<Option<String>>>);

impl Failure {
    /// None so far.
    pub fn new() -> Self {
        Failure(Arc::new(watch::Sender::new(None)))
    }

    /// The first reason is kept.
    pub fn tell(&self, words: impl FnOnce() -> String) {
        self.0.send_if_modified(|failed| {
            let is_first = failed.is_none();
            if is_first {
                let words = words();
                tracing::error!(words, "the store cannot go on: nothing is served from it any more");
                *failed = Some(words);
            }
            is_first
        });
    }

    /// With all causes.
    pub fn tell_error(&self, what: &str, error: &dyn std::error::Error) {
        self.tell(|| {
            let mut words = format!("{what}: {error}");
            let mut cause = error.source();
            while let Some(next) = cause {
                words = format!("{words}: {next}");
                cause = next.source();
            }
            words
        });
    }

    /// The reason, if there is one.
    pub fn told(&self) -> Option<String> {
        self.0.borrow().clone()
    }

    /// Returns once there is one.
    pub async fn wait(&self) -> String {
        let mut failed = self.0.subscribe();
        match failed.wait_for(Option::is_some).await.map(|words| words.clone()) {
            Ok(Some(words)) => words,
            _ => unreachable!("the sender lives as long as this, and the wait is for words"),
        }
    }
}

/// An engine whose first failed write is its last, and is told.
pub(super) struct WatchedEngine {
    pub engine: Arc<dyn Engine>,
    pub failure: Failure,
}

impl WatchedEngine {
    fn watch<T>(&self, what: &str, done: Result<T, EngineError>) -> Result<T, EngineError> {
        done.inspect_err(|error| self.failure.tell_error(what, error))
    }
}

impl Engine for WatchedEngine {
    fn snapshot(&self) -> Box<dyn Reader> {
        self.engine.snapshot()
    }

    fn write(&self, batch: WriteBatch) -> Result<(), EngineError> {
        self.watch("a write to the storage engine failed", self.engine.write(batch))
    }

    fn is_behind(&self) -> bool {
        self.engine.is_behind()
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.watch("the storage engine was not synced", self.engine.sync())
    }

    fn probe(&self) -> Result<(), EngineError> {
        self.watch("the storage engine has failed", self.engine.probe())
    }

    fn disk_bytes(&self) -> u64 {
        self.engine.disk_bytes()
    }
}
