//! A small value that is replaced as a whole: a crash finds the former or the new one, never a mixture.
//!
//! ```text
//!   <name>      crc32c (4 bytes) ⧺ value
//!   <name>.tmp  the next one, before it is renamed
//! ```

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::Dir;

/// A named value in a directory: the cluster's ID, a format version.
///
/// One writer at a time.
#[derive(Clone)]
pub struct DurableCell {
    pub(super) dir: Arc<dyn Dir>,
    pub(super) name: String,
}

impl DurableCell {
    /// The cell of the given name; it may hold nothing yet.
    pub fn new(dir: Arc<dyn Dir>, name: impl Into<String>) -> Self {
        DurableCell { dir, name: name.into() }
    }

    /// The value; `None` when none was ever written.
    ///
    /// # Errors
    /// `InvalidData` when it is damaged; otherwise the disk's own.
    pub fn read(&self) -> io::Result<Option<Bytes>> {
        let file = match self.dir.open(&self.name) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
        file.read_at(0, &mut bytes)?;
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged", self.name));
        let (crc, value) = bytes.split_at_checked(4).ok_or_else(damaged)?;
        if crc != crc32c::crc32c(value).to_le_bytes() {
            return Err(damaged());
        }
        Ok(Some(Bytes::copy_from_slice(value)))
    }

    /// Replaces the value; it is durable on return.
    ///
    /// # Errors
    /// The disk's own; the former or the new value is then in place.
    pub fn write(&self, value: &[u8]) -> io::Result<()> {
        let next = format!("{}.tmp", self.name);
        match self.dir.remove(&next) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let file = self.dir.create(&next)?;
        let mut bytes = crc32c::crc32c(value).to_le_bytes().to_vec();
        bytes.extend_from_slice(value);
        file.write_at(0, &bytes)?;
        file.sync_all()?;
        self.dir.rename(&next, &self.name)?;
        self.dir.sync()
    }
}
