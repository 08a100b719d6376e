//! A disk whose syncs can be slowed down.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use raft_groups::disk::{Dir, File};

/// A directory whose files take longer to sync, by as much as was set last.
pub struct FaultyDir {
    inner: Arc<dyn Dir>,
    sync_delay_us: Arc<AtomicU64>,
}

struct FaultyFile {
    inner: Arc<dyn File>,
    sync_delay_us: Arc<AtomicU64>,
}

impl FaultyDir {
    /// Wraps a directory, without a delay.
    pub fn new(inner: Arc<dyn Dir>) -> Arc<Self> {
        Arc::new(FaultyDir { inner, sync_delay_us: Arc::default() })
    }

    /// Sets by how much a sync takes longer, of files that are open already, too.
    pub fn set_sync_delay_us(&self, delay_us: u64) {
        self.sync_delay_us.store(delay_us, Ordering::SeqCst);
    }

    fn wrap(&self, inner: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(FaultyFile { inner, sync_delay_us: Arc::clone(&self.sync_delay_us) })
    }
}

impl FaultyFile {
    #[allow(clippy::disallowed_methods, reason = "a slow disk holds up the thread that waits for it")]
    fn wait(&self) {
        let delay_us = self.sync_delay_us.load(Ordering::SeqCst);
        if delay_us > 0 {
            std::thread::sleep(Duration::from_micros(delay_us));
        }
    }
}

impl Dir for FaultyDir {
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.inner.open(name).map(|file| self.wrap(file))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.inner.create(name).map(|file| self.wrap(file))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.inner.free_bytes()
    }
}

impl File for FaultyFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_at(offset, bytes)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.inner.allocate(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.wait();
        self.inner.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.wait();
        self.inner.sync_all()
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn simulated_sync_delay(&self) -> Duration {
        self.inner.simulated_sync_delay()
    }
}
