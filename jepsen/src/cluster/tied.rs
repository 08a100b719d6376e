//! Processes that end with this one, however it ends.
//!
//! | this process | what ends the child |
//! |---|---|
//! | drops the child, returns, panics | tokio kills what is dropped |
//! | is interrupted | the program drops everything first, then ends |
//! | is killed, aborts | the kernel sends the child SIGKILL |
//!
//! The child has a process group of its own, so that a Ctrl-C in a terminal reaches this process alone, and nodes end in the
//! order that it chooses.

use std::ffi::OsStr;
use std::io;

use tokio::process::Command;

/// A command whose process ends with this one. REQUIRES: it is spawned from a thread that lives as long as the process should,
/// since the kernel looks at the thread: the main thread, or a worker of the runtime.
pub fn tied_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    // SAFETY: getpid(2) always succeeds and touches no memory of ours.
    let parent = unsafe { libc::getpid() };
    command.kill_on_drop(true).process_group(0);
    // SAFETY: between fork and exec only async-signal-safe calls are made, and nothing is allocated.
    unsafe { command.pre_exec(move || tie_to(parent)) };
    command
}

fn tie_to(parent: libc::pid_t) -> io::Result<()> {
    // SAFETY: prctl(2) with this option takes no pointers.
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: getppid(2) always succeeds and touches no memory of ours.
    if unsafe { libc::getppid() } != parent {
        // The parent ended before the kernel was told.
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    Ok(())
}
