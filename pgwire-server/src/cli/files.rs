//! How many files a process may have open, connections included.
//!
//! Shells hand down a soft limit of 1,024 so that programs with select(2) do not fail in odd ways. A server needs the hard limit.

/// Raises the limit as far as the system lets this process, and warns where that is low.
pub fn raise_file_limit() {
    const LOW: u64 = 4_096;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is ours and lives until the call returns.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return tracing::warn!(error = %std::io::Error::last_os_error(), "the limit of open files cannot be read");
    }
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: as above.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
            return tracing::warn!(error = %std::io::Error::last_os_error(), "the limit of open files was not raised");
        }
    }
    if limit.rlim_cur < LOW {
        tracing::warn!(
            files = limit.rlim_cur,
            "few files may be open at once: raise the limit (ulimit -n) for many clients"
        );
    }
}
