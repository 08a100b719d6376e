//! The seam of tasks: everything that runs beside its caller is started here.

use std::future::Future;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Starts tasks on one runtime.
///
/// In production, Raft with its log and the queries have a runtime each, so that a big query
/// causes no election. In simulation every node shares one seeded, single-threaded runtime, and
/// blocking work runs inline, because a second thread would make the order of events a race.
#[derive(Clone, Debug)]
pub struct Tasks {
    runtime: Handle,
    inline_blocking: bool,
}

impl Tasks {
    /// Tasks on the given multi-threaded runtime; blocking work goes to its blocking pool.
    pub fn on(runtime: Handle) -> Self {
        Tasks { runtime, inline_blocking: false }
    }

    /// Tasks on the given single-threaded runtime; blocking work runs inline.
    pub fn deterministic(runtime: Handle) -> Self {
        Tasks { runtime, inline_blocking: true }
    }

    /// Whether blocking work runs inline, as it does in simulation.
    pub fn is_deterministic(&self) -> bool {
        self.inline_blocking
    }

    /// The runtime tasks are started on.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Starts a task. `name` is for people: it shows in traces.
    #[allow(clippy::disallowed_methods, reason = "this is the seam")]
    pub fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        tracing::trace!(name, "task started");
        self.runtime.spawn(future)
    }

    /// Runs work that blocks on a disk, and waits for it.
    #[allow(clippy::disallowed_methods, reason = "this is the seam")]
    pub async fn blocking<T, W>(&self, work: W) -> T
    where
        T: Send + 'static,
        W: FnOnce() -> T + Send + 'static,
    {
        if self.inline_blocking {
            return work();
        }
        match self.runtime.spawn_blocking(work).await {
            Ok(value) => value,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => panic!("blocking work was cancelled by the end of its runtime: {error}"),
            },
        }
    }
}
