//! The clock's ceiling, where a full disk does not keep it from rising.
//!
//! ```text
//!   <name>   slot 0: crc32c ⧺ timestamp      written in turn, each in place, each synced before it is relied on
//!            slot 1: crc32c ⧺ timestamp
//! ```
//!
//! Both slots are written once when the file is made. From then on no write takes room, so that a node whose disk is full
//! goes on reading. Invariant (`ceiling_survives`): a crash in the middle of a write leaves the other slot, which holds the
//! ceiling before; the newest readable slot is at or above everything that was issued.

use std::io;
use std::sync::Arc;

use clock::{CeilingStore, Timestamp};
use parking_lot::Mutex;

use super::durable_cell::DurableCell;
use super::{File, SECTOR_BYTES};

/// Slots lie in sectors of their own, so that a torn write of one leaves the other.
const SLOTS: u64 = 2;

/// Bytes of a slot that are used: checksum and timestamp.
const SLOT_BYTES: usize = 16;

/// The clock's ceiling in a file of its own. One writer at a time.
pub struct CeilingCell {
    place: DurableCell,
    open: Mutex<Option<Open>>,
}

struct Open {
    file: Arc<dyn File>,
    next_slot: u64,
}

/// What a slot holds.
enum Slot {
    /// Nothing was ever written to it.
    Blank,
    Holds(Timestamp),
    /// A write was cut short.
    Torn,
}

impl CeilingCell {
    /// The ceiling kept under the name of the given cell.
    pub fn new(place: DurableCell) -> Self {
        CeilingCell { place, open: Mutex::new(None) }
    }

    /// The ceiling persisted last; [`Timestamp::MIN`] when there is none.
    ///
    /// # Errors
    /// `InvalidData` when neither slot can be read; otherwise the disk's own.
    pub fn read(&self) -> io::Result<Timestamp> {
        match self.place.dir.open(&self.place.name) {
            Ok(file) => self.newest(&*file).map(|(ceiling, _)| ceiling),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Timestamp::MIN),
            Err(error) => Err(error),
        }
    }

    /// The newest ceiling, and the slot that the next one goes to.
    fn newest(&self, file: &dyn File) -> io::Result<(Timestamp, u64)> {
        match (read_slot(file, 0)?, read_slot(file, 1)?) {
            (Slot::Holds(first), Slot::Holds(second)) if second > first => Ok((second, 0)),
            (Slot::Holds(first), _) => Ok((first, 1)),
            (_, Slot::Holds(second)) => Ok((second, 0)),
            // The first write of all did not get through, hence nothing was issued under it.
            (Slot::Blank | Slot::Torn, Slot::Blank) => Ok((Timestamp::MIN, 0)),
            (Slot::Blank | Slot::Torn, Slot::Torn) => {
                Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged", self.place.name)))
            }
        }
    }

    fn open_or_create(&self) -> io::Result<Open> {
        let (dir, name) = (&self.place.dir, &self.place.name);
        let file = match dir.open(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => dir.create(name)?,
            opened => opened?,
        };
        let (_, next_slot) = self.newest(&*file)?;
        file.allocate(SLOTS * SECTOR_BYTES as u64)?;
        file.sync_all()?;
        dir.sync()?;
        Ok(Open { file, next_slot })
    }
}

fn read_slot(file: &dyn File, slot: u64) -> io::Result<Slot> {
    let mut bytes = [0; SLOT_BYTES];
    let offset = slot * SECTOR_BYTES as u64;
    if file.len()? < offset + SLOT_BYTES as u64 {
        return Ok(Slot::Blank);
    }
    file.read_at(offset, &mut bytes)?;
    if bytes == [0; SLOT_BYTES] {
        return Ok(Slot::Blank);
    }
    let (crc, value) = bytes.split_at(4);
    match value.try_into().map(Timestamp::from_bytes) {
        Ok(timestamp) if crc == crc32c::crc32c(value).to_le_bytes() => Ok(Slot::Holds(timestamp)),
        _ => Ok(Slot::Torn),
    }
}

impl CeilingStore for CeilingCell {
    fn persist(&self, ceiling: Timestamp) -> io::Result<()> {
        let mut open = self.open.lock();
        if open.is_none() {
            *open = Some(self.open_or_create()?);
        }
        let Some(Open { file, next_slot }) = open.as_mut() else { unreachable!("it was opened just now") };
        let value = ceiling.to_bytes();
        let bytes = [&crc32c::crc32c(&value).to_le_bytes()[..], &value[..]].concat();
        debug_assert_eq!(bytes.len(), SLOT_BYTES, "a slot holds a checksum and a timestamp");
        file.write_at(*next_slot * SECTOR_BYTES as u64, &bytes)?;
        file.sync_data()?;
        // Only now: after a failure the other slot still holds what is relied on.
        *next_slot = (*next_slot + 1) % SLOTS;
        Ok(())
    }
}
