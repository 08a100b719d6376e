//! A disk of limited size for one node: a tmpfs, which only root can mount.
//!
//! Mounts are marked with this process's ID and go when dropped; what a killed process left behind goes at the next start.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

const PREFIX: &str = "meridian-";
const FILLER: &str = "filler";

/// A mounted disk.
#[derive(Debug)]
pub struct Volume {
    path: PathBuf,
}

impl Volume {
    /// Why there can be none here; `None` when there can.
    pub fn obstacle() -> Option<String> {
        let make = || -> Result<()> {
            let place = tempfile::TempDir::with_prefix("meridian-probe-")?;
            Volume::mount(place.path(), 1).map(drop)
        };
        make().err().map(|error| format!("{error:#}"))
    }

    /// Mounts a disk of so many mebibytes on an existing directory.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn mount(path: &Path, mebibytes: u64) -> Result<Volume> {
        sweep();
        let source = CString::new(format!("{PREFIX}{}", std::process::id()))?;
        let options = CString::new(format!("size={mebibytes}m"))?;
        let target = c_path(path)?;
        // SAFETY: all pointers are to strings that end in a zero and live until the call returns.
        let status =
            unsafe { libc::mount(source.as_ptr(), target.as_ptr(), c"tmpfs".as_ptr(), 0, options.as_ptr().cast()) };
        ensure!(status == 0, "a tmpfs cannot be mounted: {}", std::io::Error::last_os_error());
        Ok(Volume { path: path.into() })
    }

    /// Takes all that is free but so many bytes.
    ///
    /// # Errors
    /// When the filler cannot be written.
    pub fn fill(&self, leave_bytes: u64) -> Result<()> {
        let path = self.path.join(FILLER);
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&path)?;
        let free = free_bytes(&self.path)?;
        let length = file.metadata()?.len() + free.saturating_sub(leave_bytes);
        // SAFETY: the descriptor is open as long as the file, which outlives the call.
        let status = unsafe { libc::posix_fallocate(std::os::fd::AsRawFd::as_raw_fd(&file), 0, length as i64) };
        // Full before all of it was given is as full as it gets.
        ensure!(status == 0 || status == libc::ENOSPC, "{} cannot be filled: error {status}", path.display());
        Ok(())
    }

    /// Gives back what was taken.
    ///
    /// # Errors
    /// The system's.
    pub fn free(&self) -> Result<()> {
        match std::fs::remove_file(self.path.join(FILLER)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        unmount(&self.path);
    }
}

fn free_bytes(path: &Path) -> Result<u64> {
    let path = c_path(path)?;
    // SAFETY: all-zero bytes are a valid statvfs.
    let mut answer: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends in a zero, and the answer is ours to write to.
    ensure!(unsafe { libc::statvfs(path.as_ptr(), &raw mut answer) } == 0, "{}", std::io::Error::last_os_error());
    Ok(answer.f_bavail * answer.f_frsize)
}

fn unmount(path: &Path) {
    let Ok(target) = c_path(path) else { return };
    // SAFETY: the path ends in a zero and lives until the call returns. Detached: who still has files open keeps them until it ends.
    if unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) } != 0 {
        tracing::warn!(error = %std::io::Error::last_os_error(), path = %path.display(), "a disk was not unmounted");
    }
}

/// Unmounts what processes left behind that were killed.
fn sweep() {
    let Ok(mounts) = std::fs::read_to_string("/proc/mounts") else { return };
    for line in mounts.lines() {
        let mut fields = line.split(' ');
        let (Some(source), Some(path)) = (fields.next(), fields.next()) else { continue };
        let Some(id) = source.strip_prefix(PREFIX).and_then(|id| id.parse::<u32>().ok()) else { continue };
        if !Path::new("/proc").join(id.to_string()).exists() {
            unmount(Path::new(path));
        }
    }
}

fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes()).context("a path contains no zero byte")
}
