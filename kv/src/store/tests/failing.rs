//! An engine that fails is the end of its store, which says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::fixture::{descriptor, fill, open, peer, receive, simulate};
use crate::engine::{Engine, EngineError, MemoryEngine, Reader, WriteBatch};

/// An engine that fails for good once it is told to.
#[derive(Default)]
struct Failing {
    engine: MemoryEngine,
    fails: AtomicBool,
}

impl Failing {
    fn check(&self) -> Result<(), EngineError> {
        let broken = || EngineError::Storage(Box::new(std::io::Error::from(std::io::ErrorKind::StorageFull)));
        if self.fails.load(Ordering::SeqCst) { Err(broken()) } else { Ok(()) }
    }
}

impl Engine for Failing {
    fn snapshot(&self) -> Box<dyn Reader> {
        self.engine.snapshot()
    }

    fn write(&self, batch: WriteBatch) -> Result<(), EngineError> {
        self.check()?;
        self.engine.write(batch)
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.check()?;
        self.engine.sync()
    }

    fn probe(&self) -> Result<(), EngineError> {
        self.check()
    }

    fn disk_bytes(&self) -> u64 {
        self.engine.disk_bytes()
    }
}

#[test]
fn a_store_whose_engine_fails_says_so() {
    for what in ["write", "sync", "probe", "install"] {
        simulate(async {
            let engine = Arc::new(Failing::default());
            fill(&engine.engine, &descriptor(2, 0, None, 3), 0..10, 20);
            let store = open(engine.clone()).await;
            assert_eq!(store.failure(), None);
            engine.fails.store(true, Ordering::SeqCst);
            let watched = store.engine().clone();
            let failed = match what {
                "write" => watched.write(WriteBatch::new()).is_err(),
                "sync" => watched.sync().is_err(),
                "probe" => watched.probe().is_err(),
                _ => receive(&store, &peer(&descriptor(2, 0, None, 4), 0..500), 2).await.is_err(),
            };
            assert!(failed, "{what}");
            let reason = tokio::time::timeout(Duration::from_secs(1), store.failed()).await.expect("it is told");
            assert!(reason.contains("no storage space"), "with its cause: {reason}");
            assert_eq!(store.failure(), Some(reason));
        });
    }
}
