//! A node as a process on this machine.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::process::Child;

use super::namespaces::Namespace;
use super::node::{Launch, Signal};
use super::tied_command;

/// A process, running or not.
#[derive(Debug)]
pub(super) struct Process {
    /// Where its network is, if not where ours is.
    namespace: Option<Namespace>,
    child: Option<Child>,
}

impl Process {
    pub fn new(namespace: Option<Namespace>) -> Process {
        Process { namespace, child: None }
    }

    /// Starts it. Does nothing when it runs.
    pub fn start(&mut self, launch: &Launch) -> Result<()> {
        if self.child.is_some() {
            return Ok(());
        }
        let log = std::fs::OpenOptions::new().create(true).append(true).open(&launch.log)?;
        let mut command = tied_command(&launch.binary);
        command.args(&launch.arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.envs(launch.environment.iter().map(|(name, value)| (name, value)));
        if let Some(namespace) = &self.namespace {
            namespace.place(&mut command);
        }
        let child = command.spawn().with_context(|| format!("cannot run {}", launch.binary.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Sends a signal. `Kill` and `Terminate` wait until the process has ended.
    pub async fn signal(&mut self, signal: Signal) -> Result<()> {
        let child = self.child.as_mut().context("the process does not run")?;
        let id = child.id().context("the process has ended by itself")? as i32;
        let number = match signal {
            Signal::Kill => libc::SIGKILL,
            Signal::Terminate => libc::SIGTERM,
            Signal::Stop => libc::SIGSTOP,
            Signal::Continue => libc::SIGCONT,
        };
        // SAFETY: kill(2) takes no pointers; the process is our own child and not yet waited for, so its ID is its own.
        if unsafe { libc::kill(id, number) } != 0 {
            return Err(std::io::Error::last_os_error()).context("the signal was not delivered");
        }
        if matches!(signal, Signal::Kill | Signal::Terminate) {
            tokio::time::timeout(Duration::from_secs(20), child.wait())
                .await
                .context("the process did not end within 20 s")??;
            self.child = None;
        }
        Ok(())
    }

    /// Its ID, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Whether it was ended by us, or never started.
    pub fn has_ended(&self) -> bool {
        self.child.is_none()
    }

    /// Whether it runs, as far as is known: one that ended by itself does not.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }
}
