//! A simulated disk: in memory, seeded, with the faults of a real one.

mod image;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use clock::Random;
use parking_lot::Mutex;

use super::{Dir, File};
use image::{Image, InodeId};

/// What goes wrong, and how often. All off by default.
#[derive(Clone, Debug, Default)]
pub struct SimFaults {
    /// Probability that a read fails with EIO.
    pub read_error: f64,
    /// Probability that a write fails with EIO, having written a part.
    pub write_error: f64,
    /// Probability that a sync fails with EIO, losing what it was to make durable.
    pub sync_error: f64,
    /// Virtual time a sync takes: drawn evenly from this range, `(least, most)`.
    pub sync_delay: (Duration, Duration),
    /// Bytes the disk holds; writes beyond answer `StorageFull`. `None`: no limit.
    pub capacity_bytes: Option<u64>,
    /// The machine loses power at the write, sync or name change that comes after this many: it fails, and so
    /// does everything later. What it was to write or sync is in the lap of the gods. `None`: never.
    pub power_loss_after: Option<u64>,
}

/// A simulated directory on a disk of its own. Clones share it.
#[derive(Clone)]
pub struct SimDir {
    disk: Arc<Mutex<Disk>>,
}

struct Disk {
    image: Image,
    faults: SimFaults,
    random: Random,
    /// Writes, syncs and name changes so far.
    operations: u64,
    /// The process or the machine that had this disk open is gone.
    dead: bool,
}

impl SimDir {
    /// An empty directory whose faults are drawn from the given randomness.
    pub fn new(random: Random) -> Self {
        SimDir::with_image(Image::default(), SimFaults::default(), random)
    }

    fn with_image(image: Image, faults: SimFaults, random: Random) -> Self {
        SimDir { disk: Arc::new(Mutex::new(Disk { image, faults, random, operations: 0, dead: false })) }
    }

    /// Changes what goes wrong from now on.
    pub fn set_faults(&self, faults: SimFaults) {
        self.disk.lock().faults = faults;
    }

    /// Writes, syncs and name changes so far.
    pub fn operations(&self) -> u64 {
        self.disk.lock().operations
    }

    /// Bytes that its files take.
    pub fn used_bytes(&self) -> u64 {
        self.disk.lock().image.used_bytes()
    }

    /// Power loss: every open handle is dead from now on, and the answer is the directory as found afterwards,
    /// with each unsynced sector in one of its states since the last sync, and a prefix of the unsynced
    /// name changes. Faults are off in it, save the sync delay and the capacity.
    #[must_use]
    pub fn crash(&self) -> SimDir {
        let mut disk = self.disk.lock();
        disk.dead = true;
        let random = disk.random.fork("after power loss");
        let image = disk.image.after_power_loss(&disk.random);
        SimDir::with_image(image, disk.faults.lasting(), random)
    }

    /// The process is killed: every open handle is dead from now on, and the answer is the directory with all
    /// that was written, what is unsynced still at risk. Faults as in [`SimDir::crash`].
    #[must_use]
    pub fn kill(&self) -> SimDir {
        let mut disk = self.disk.lock();
        disk.dead = true;
        let random = disk.random.fork("after a kill");
        SimDir::with_image(disk.image.clone(), disk.faults.lasting(), random)
    }

    /// Flips the bits of `mask` in one byte of a file, synced or not: the decay of a disk.
    ///
    /// # Errors
    /// `NotFound` when there is no such file or byte.
    pub fn corrupt(&self, name: &str, offset: u64, mask: u8) -> io::Result<()> {
        self.disk.lock().image.corrupt(name, offset, mask)
    }
}

impl SimFaults {
    fn lasting(&self) -> SimFaults {
        SimFaults { sync_delay: self.sync_delay, capacity_bytes: self.capacity_bytes, ..SimFaults::default() }
    }
}

/// What becomes of an operation.
enum Fate {
    Succeeds,
    /// Fails after a part, chosen by chance, was done.
    Fails,
}

fn input_output_error() -> io::Error {
    io::Error::from_raw_os_error(libc::EIO)
}

impl Disk {
    fn check_alive(&self) -> io::Result<()> {
        if self.dead { Err(input_output_error()) } else { Ok(()) }
    }

    /// Counts a write, sync or name change, and decides its fate.
    fn operate(&mut self, error: f64) -> io::Result<Fate> {
        self.check_alive()?;
        self.operations += 1;
        if self.faults.power_loss_after.is_some_and(|after| self.operations > after) {
            self.dead = true;
            return Ok(Fate::Fails);
        }
        Ok(if error > 0.0 && self.random.chance(error) { Fate::Fails } else { Fate::Succeeds })
    }

    fn rename_or_remove(&mut self, change: impl FnOnce(&mut Image) -> io::Result<()>) -> io::Result<()> {
        match self.operate(0.0)? {
            Fate::Succeeds => change(&mut self.image),
            Fate::Fails => Err(input_output_error()),
        }
    }

    fn check_space(&self, more: u64) -> io::Result<()> {
        match self.faults.capacity_bytes {
            // What is written in its place takes no room, however full the disk is.
            Some(capacity) if more > 0 && self.image.used_bytes() + more > capacity => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }
}

impl Dir for SimDir {
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let disk = self.disk.lock();
        disk.check_alive()?;
        let inode = disk.image.find(name)?;
        Ok(Arc::new(SimFile { disk: self.disk.clone(), inode }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut disk = self.disk.lock();
        match disk.operate(0.0)? {
            Fate::Succeeds => {
                let inode = disk.image.create(name)?;
                Ok(Arc::new(SimFile { disk: self.disk.clone(), inode }))
            }
            Fate::Fails => Err(input_output_error()),
        }
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let disk = self.disk.lock();
        disk.check_alive()?;
        Ok(disk.image.names())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.lock().rename_or_remove(|image| image.remove(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.lock().rename_or_remove(|image| image.rename(from, to))
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let error = disk.faults.sync_error;
        match disk.operate(error)? {
            Fate::Succeeds => {
                disk.image.sync_names();
                Ok(())
            }
            Fate::Fails => Err(input_output_error()),
        }
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let disk = self.disk.lock();
        disk.check_alive()?;
        Ok(disk.faults.capacity_bytes.map_or(u64::MAX, |capacity| capacity.saturating_sub(disk.image.used_bytes())))
    }
}

/// An open file of a simulated directory.
struct SimFile {
    disk: Arc<Mutex<Disk>>,
    inode: InodeId,
}

impl SimFile {
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let error = disk.faults.write_error;
        let fate = disk.operate(error)?;
        let growth = (offset + bytes.len() as u64).saturating_sub(disk.image.len(self.inode));
        disk.check_space(growth)?;
        match fate {
            Fate::Succeeds => {
                disk.image.write(self.inode, offset, bytes);
                Ok(())
            }
            Fate::Fails => {
                let part = disk.random.range(0, bytes.len() as u64 + 1);
                disk.image.write(self.inode, offset, &bytes[..usize::try_from(part).expect("part of a slice")]);
                Err(input_output_error())
            }
        }
    }
}

impl File for SimFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let disk = self.disk.lock();
        disk.check_alive()?;
        if disk.faults.read_error > 0.0 && disk.random.chance(disk.faults.read_error) {
            return Err(input_output_error());
        }
        disk.image.read(self.inode, offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write(offset, bytes)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let old = self.len()?;
        if len <= old {
            return Ok(());
        }
        self.write(old, &vec![0; usize::try_from(len - old).map_err(io::Error::other)?])
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let error = disk.faults.sync_error;
        match disk.operate(error)? {
            Fate::Succeeds => {
                disk.image.sync(self.inode);
                Ok(())
            }
            Fate::Fails if disk.dead => Err(input_output_error()),
            Fate::Fails => {
                let Disk { image, random, .. } = &mut *disk;
                image.sync_fails(self.inode, random);
                Err(input_output_error())
            }
        }
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        let disk = self.disk.lock();
        disk.check_alive()?;
        Ok(disk.image.len(self.inode))
    }

    fn simulated_sync_delay(&self) -> Duration {
        let disk = self.disk.lock();
        let (least, most) = disk.faults.sync_delay;
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(disk.random.range(nanos(least), nanos(most)))
    }
}
