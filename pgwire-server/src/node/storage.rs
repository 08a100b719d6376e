//! A node's data directory: who may use it, what its clock promised, the log and the engine.
//!
//! ```text
//!   <data>/LOCK       held while a process uses the directory
//!   <data>/ceiling    the clock's ceiling
//!   <data>/log/       the shared write-ahead log
//!   <data>/engine/    the storage engine
//! ```

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clock::{Hlc, TimeSource};
use kv::engine::{FjallEngine, FjallOptions};
use raft_groups::disk::{CeilingCell, Dir, DirLock, DurableCell, OsDir};

/// A data directory, opened.
pub struct Storage {
    /// Held until the node has stopped.
    pub lock: DirLock,
    /// The directory itself.
    pub dir: Arc<dyn Dir>,
    /// Where the log goes.
    pub log_dir: Arc<dyn Dir>,
    /// The node's clock, above everything its former life issued.
    pub hlc: Arc<Hlc>,
    /// The storage engine.
    pub engine: Arc<FjallEngine>,
}

impl Storage {
    /// Opens a data directory, making it if needed.
    ///
    /// # Errors
    /// When another process uses the directory, or it cannot be read.
    pub fn open(path: &Path, source: Arc<dyn TimeSource>, max_clock_error: Duration) -> Result<Storage> {
        let place = || format!("cannot use the data directory {}", path.display());
        let dir = OsDir::open(path).with_context(place)?;
        let lock = dir.lock().with_context(|| format!("{}: another process uses it", place()))?;
        let log_dir = Arc::new(dir.subdirectory("log").with_context(place)?);
        let engine = FjallEngine::open(&path.join("engine"), FjallOptions::default()).with_context(place)?;
        let dir: Arc<dyn Dir> = Arc::new(dir);
        let ceiling = CeilingCell::new(DurableCell::new(Arc::clone(&dir), "ceiling"));
        let former = ceiling.read().with_context(place)?;
        let hlc = Arc::new(Hlc::new(source, max_clock_error, Arc::new(ceiling), former));
        Ok(Storage { lock, dir, log_dir, hlc, engine: Arc::new(engine) })
    }
}
