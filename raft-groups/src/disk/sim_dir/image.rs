//! What a simulated disk holds: what its users see, and what would be found after power loss.
//!
//! Per file, `seen` is what reads answer and `durable` what the last sync left. Every sector written since then
//! keeps all the states it passed through: the disk may have been writing it at any moment.

use std::collections::BTreeMap;
use std::io;

use clock::Random;

use crate::disk::SECTOR_BYTES;

/// A file, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct InodeId(u64);

/// The files of a disk and their names.
#[derive(Clone, Default)]
pub(super) struct Image {
    inodes: BTreeMap<InodeId, Inode>,
    names: BTreeMap<String, InodeId>,
    durable_names: BTreeMap<String, InodeId>,
    /// Changes of names since they were last synced, oldest first.
    changes: Vec<NameChange>,
    next_inode: u64,
}

#[derive(Clone, Default)]
struct Inode {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// By sector: its states since the last sync, oldest first.
    dirty: BTreeMap<usize, Vec<[u8; SECTOR_BYTES]>>,
}

#[derive(Clone)]
enum NameChange {
    Set(String, InodeId),
    Remove(String),
    Rename(String, String),
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, InodeId>) {
        match self {
            NameChange::Set(name, inode) => {
                names.insert(name.clone(), *inode);
            }
            NameChange::Remove(name) => {
                names.remove(name);
            }
            NameChange::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
        }
    }
}

impl Image {
    pub(super) fn find(&self, name: &str) -> io::Result<InodeId> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.names.keys().cloned().collect()
    }

    pub(super) fn create(&mut self, name: &str) -> io::Result<InodeId> {
        if self.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = InodeId(self.next_inode);
        self.next_inode += 1;
        self.inodes.insert(inode, Inode::default());
        self.change_names(NameChange::Set(name.to_owned(), inode));
        Ok(inode)
    }

    pub(super) fn remove(&mut self, name: &str) -> io::Result<()> {
        self.find(name)?;
        self.change_names(NameChange::Remove(name.to_owned()));
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.find(from)?;
        self.change_names(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn change_names(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }

    pub(super) fn sync_names(&mut self) {
        self.durable_names = self.names.clone();
        self.changes.clear();
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.names.values().map(|inode| self.len(*inode)).sum()
    }

    pub(super) fn len(&self, inode: InodeId) -> u64 {
        self.inodes[&inode].seen.len() as u64
    }

    pub(super) fn read(&self, inode: InodeId, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let seen = &self.inodes[&inode].seen;
        let bytes = seen.get(offset..offset + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    pub(super) fn write(&mut self, inode: InodeId, offset: u64, bytes: &[u8]) {
        let inode = self.inodes.get_mut(&inode).expect("inodes are never removed");
        inode.write(usize::try_from(offset).expect("offsets of a simulated disk are small"), bytes);
    }

    pub(super) fn sync(&mut self, inode: InodeId) {
        let inode = self.inodes.get_mut(&inode).expect("inodes are never removed");
        inode.durable.resize(inode.seen.len(), 0);
        for sector in std::mem::take(&mut inode.dirty).into_keys() {
            let range = sector_range(sector, inode.seen.len());
            inode.durable[range.clone()].copy_from_slice(&inode.seen[range]);
        }
    }

    /// The sync fails: some dirty sectors have reached the disk, the others never will, yet all read as written
    /// and count as clean.
    pub(super) fn sync_fails(&mut self, inode: InodeId, random: &Random) {
        let inode = self.inodes.get_mut(&inode).expect("inodes are never removed");
        inode.durable = inode.torn(random);
        inode.dirty.clear();
    }

    /// The disk as found after power loss.
    pub(super) fn after_power_loss(&self, random: &Random) -> Image {
        let mut names = self.durable_names.clone();
        let survivors = random.range(0, self.changes.len() as u64 + 1);
        for change in self.changes.iter().take(usize::try_from(survivors).expect("at most a vector's length")) {
            change.apply(&mut names);
        }
        let mut inodes = BTreeMap::new();
        for id in names.values() {
            let bytes = self.inodes[id].torn(random);
            inodes.insert(*id, Inode { seen: bytes.clone(), durable: bytes, dirty: BTreeMap::new() });
        }
        let durable_names = names.clone();
        Image { inodes, names, durable_names, changes: Vec::new(), next_inode: self.next_inode }
    }

    pub(super) fn corrupt(&mut self, name: &str, offset: u64, mask: u8) -> io::Result<()> {
        let inode = self.find(name)?;
        let inode = self.inodes.get_mut(&inode).expect("inodes are never removed");
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        *inode.seen.get_mut(offset).ok_or(io::ErrorKind::NotFound)? ^= mask;
        if let Some(byte) = inode.durable.get_mut(offset) {
            *byte ^= mask;
        }
        Ok(())
    }
}

impl Inode {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        let first = offset.min(self.seen.len()) / SECTOR_BYTES;
        if self.seen.len() < end {
            self.seen.resize(end, 0);
        }
        self.seen[offset..end].copy_from_slice(bytes);
        for sector in first..end.div_ceil(SECTOR_BYTES) {
            let range = sector_range(sector, self.seen.len());
            let mut state = [0; SECTOR_BYTES];
            state[..range.len()].copy_from_slice(&self.seen[range]);
            self.dirty.entry(sector).or_default().push(state);
        }
    }

    /// The content with each dirty sector in one of the states it may be found in.
    fn torn(&self, random: &Random) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        if self.seen.len() > bytes.len() {
            let len = random.range(bytes.len() as u64, self.seen.len() as u64 + 1);
            bytes.resize(usize::try_from(len).expect("a vector's length"), 0);
        }
        // Whole writes often survive or vanish together; mixtures are drawn sector by sector.
        let mood = random.range(0, 4);
        for (sector, states) in &self.dirty {
            let choice = match mood {
                0 => 0,
                1 => states.len() as u64,
                _ => random.range(0, states.len() as u64 + 1),
            };
            let range = sector_range(*sector, bytes.len());
            if choice > 0 && !range.is_empty() {
                let state = &states[usize::try_from(choice - 1).expect("an index of the states")];
                let len = range.len();
                bytes[range].copy_from_slice(&state[..len]);
            }
        }
        bytes
    }
}

/// The bytes of a sector in a file of the given length.
fn sector_range(sector: usize, len: usize) -> std::ops::Range<usize> {
    let start = (sector * SECTOR_BYTES).min(len);
    start..((sector + 1) * SECTOR_BYTES).min(len)
}
