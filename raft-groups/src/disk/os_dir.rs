//! The operating system's directories and files.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Dir, File};

/// A directory of the operating system.
#[derive(Clone, Debug)]
pub struct OsDir {
    path: PathBuf,
}

impl OsDir {
    /// The directory at the path, created with its parents if there is none.
    ///
    /// # Errors
    /// The operating system's.
    #[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is the seam")]
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        fs::create_dir_all(&path)?;
        let dir = OsDir { path };
        if let Some(parent) = dir.path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::File::open(parent)?.sync_all()?;
        }
        Ok(dir)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A directory within this one, created if there is none.
    ///
    /// # Errors
    /// The operating system's.
    pub fn subdirectory(&self, name: &str) -> io::Result<OsDir> {
        OsDir::open(self.path.join(name))
    }

    /// Claims the directory for this process until the answer is dropped, by a lock on a file named `LOCK`.
    ///
    /// # Errors
    /// `WouldBlock` when another process holds it; otherwise the operating system's.
    #[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is the seam")]
    pub fn lock(&self) -> io::Result<DirLock> {
        let path = self.path.join("LOCK");
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(DirLock { _file: file }),
            Err(fs::TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

/// A claim on a directory; dropping it gives the directory up.
#[derive(Debug)]
pub struct DirLock {
    #[allow(clippy::disallowed_types, reason = "this is the seam")]
    _file: fs::File,
}

#[allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is the seam")]
impl Dir for OsDir {
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new().read(true).write(true).open(self.path.join(name))?;
        Ok(Arc::new(OsFile { file }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new().read(true).write(true).create_new(true).open(self.path.join(name))?;
        Ok(Arc::new(OsFile { file }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.extend(entry.file_name().into_string());
            }
        }
        names.sort();
        Ok(names)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn sync(&self) -> io::Result<()> {
        fs::File::open(&self.path)?.sync_all()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let path = CString::new(self.path.as_os_str().as_bytes())?;
        // SAFETY: an all-zero `statvfs` is a valid value of a plain C struct.
        let mut answer: libc::statvfs = unsafe { std::mem::zeroed() };
        // SAFETY: the path is NUL-terminated and the answer outlives the call.
        if unsafe { libc::statvfs(path.as_ptr(), &raw mut answer) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(answer.f_bavail as u64 * answer.f_frsize as u64)
    }
}

/// A file of the operating system.
struct OsFile {
    #[allow(clippy::disallowed_types, reason = "this is the seam")]
    file: fs::File,
}

/// How much is written at once when zeros are laid down.
const ZEROS_BYTES: usize = 256 << 10;

impl File for OsFile {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let zeros = vec![0; ZEROS_BYTES];
        let mut offset = self.len()?;
        while offset < len {
            let part = usize::try_from(len - offset).unwrap_or(usize::MAX).min(ZEROS_BYTES);
            self.file.write_all_at(&zeros[..part], offset)?;
            offset += part as u64;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}
