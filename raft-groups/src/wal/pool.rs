//! Files ready to become segments: zeros written and synced, so that a batch changes no metadata.
//!
//! ```text
//!   created (thread) ─▶ spare ─▶ segment ─▶ no longer needed ─▶ spare …
//! ```
//!
//! A file keeps its name over all its incarnations; which one it is in, its header says. A file made while the
//! writer waits is short, for speed, and is removed rather than recycled.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use parking_lot::Mutex;

use crate::disk::{Dir, File};

/// What ends the name of a segment's file.
pub(super) const FILE_SUFFIX: &str = ".wal";
/// Length of a file that the writer has to wait for.
const HURRIED_BYTES: u64 = 1 << 20;
/// Spare files beyond these are removed.
const MAX_SPARES: usize = 4;

/// A file ready to become a segment.
pub(super) struct Spare {
    pub name: String,
    pub file: Arc<dyn File>,
    pub bytes: u64,
}

/// The spare files of a log.
pub(super) struct Pool {
    shared: Arc<Shared>,
    /// The thread that makes files; `None` in simulation.
    maker: Option<Maker>,
}

/// A thread, and how it is asked for one more file.
struct Maker {
    ask: mpsc::Sender<()>,
    thread: JoinHandle<()>,
}

impl Drop for Pool {
    /// Waits for the thread, so that nothing touches the directory afterwards.
    fn drop(&mut self) {
        if let Some(Maker { ask, thread }) = self.maker.take() {
            drop(ask);
            if thread.join().is_err() {
                tracing::warn!("the thread that makes spare segment files panicked");
            }
        }
    }
}

struct Shared {
    dir: Arc<dyn Dir>,
    segment_bytes: u64,
    next_file: AtomicU64,
    spares: Mutex<Vec<Spare>>,
}

impl Pool {
    /// A pool of the given spares, whose further files are numbered from `next_file`.
    pub(super) fn new(
        dir: Arc<dyn Dir>,
        segment_bytes: u64,
        next_file: u64,
        spares: Vec<Spare>,
        with_thread: bool,
    ) -> io::Result<Pool> {
        let (next_file, spares) = (AtomicU64::new(next_file), Mutex::new(spares));
        let shared = Arc::new(Shared { dir, segment_bytes, next_file, spares });
        let maker = if with_thread { Some(start_maker(shared.clone())?) } else { None };
        let pool = Pool { shared, maker };
        pool.ask_if_short();
        Ok(pool)
    }

    /// A file with room for that many bytes, made on the spot if none is ready.
    ///
    /// # Errors
    /// `StorageFull` when there is no room for it; otherwise the disk's own.
    pub(super) fn take(&self, bytes: u64) -> io::Result<Spare> {
        let ready = {
            let mut spares = self.shared.spares.lock();
            let fitting = spares.iter().position(|spare| spare.bytes >= bytes);
            fitting.map(|place| spares.swap_remove(place))
        };
        self.ask_if_short();
        match ready {
            Some(spare) => Ok(spare),
            None => self.shared.make(bytes.max(HURRIED_BYTES.min(self.shared.segment_bytes))),
        }
    }

    /// Takes back a file whose segment the log no longer needs.
    pub(super) fn give(&self, spare: Spare) {
        {
            let mut spares = self.shared.spares.lock();
            if spare.bytes == self.shared.segment_bytes && spares.len() < MAX_SPARES {
                spares.push(spare);
                return;
            }
        }
        self.shared.remove(&spare.name);
    }

    /// How many files are ready.
    pub(super) fn len(&self) -> usize {
        self.shared.spares.lock().len()
    }

    fn ask_if_short(&self) {
        if let Some(maker) = &self.maker
            && self.shared.spares.lock().is_empty()
        {
            // The thread ends only with the pool, unless it panicked; files are then made on the spot.
            let _ = maker.ask.send(());
        }
    }
}

impl Shared {
    fn make(&self, bytes: u64) -> io::Result<Spare> {
        let name = format!("{:016x}{FILE_SUFFIX}", self.next_file.fetch_add(1, Ordering::Relaxed));
        let file = self.dir.create(&name)?;
        let made = file.allocate(bytes).and_then(|()| file.sync_all()).and_then(|()| self.dir.sync());
        match made {
            Ok(()) => Ok(Spare { name, file, bytes }),
            Err(error) => {
                self.remove(&name);
                Err(error)
            }
        }
    }

    /// Removes a file that holds nothing of value: one that stays is found, and removed, at the next start.
    fn remove(&self, name: &str) {
        if let Err(error) = self.dir.remove(name) {
            tracing::debug!(name, %error, "a spare segment file was not removed");
        }
    }
}

fn start_maker(shared: Arc<Shared>) -> io::Result<Maker> {
    let (ask, asked) = mpsc::channel();
    let thread = std::thread::Builder::new().name("wal-spares".to_owned()).spawn(move || {
        while asked.recv().is_ok() {
            if !shared.spares.lock().is_empty() {
                continue;
            }
            match shared.make(shared.segment_bytes) {
                Ok(spare) => shared.spares.lock().push(spare),
                Err(error) => tracing::warn!(%error, "no spare segment file could be made for the log"),
            }
        }
    })?;
    Ok(Maker { ask, thread })
}
