//! The seam of tasks: what runs beside what.
//!
//! ```text
//!   Tasks ── spawn ──▶ runtime
//!     └ scope() ─▶ Tasks of one owner ── stop() ─▶ every one of them has ended, and let go of what it held
//! ```
//!
//! Invariant (`scope_ends_whole`): once [`Tasks::stop`] returns, no task or blocking work of the scope runs, or holds
//! anything, any more; none can be started in it. That is what lets a node stop for good inside a process that goes on.

mod gate;
mod slice;
mod wait;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinHandle};

pub use gate::Gate;
pub use slice::TimeSlice;
pub use wait::wait_for;

/// Starts tasks on one runtime.
///
/// In production, Raft with its log and the queries have a runtime each, so that a big query
/// causes no election. In simulation every node shares one seeded, single-threaded runtime, and
/// blocking work runs inline, because a second thread would make the order of events a race.
#[derive(Clone, Debug)]
pub struct Tasks {
    runtime: Handle,
    inline_blocking: bool,
    scope: Option<Arc<Scope>>,
    gate: Option<Gate>,
}

/// The tasks that one owner started and can end.
#[derive(Debug, Default)]
struct Scope {
    running: Mutex<Running>,
    /// Rings when the last one has ended.
    ended: Notify,
}

#[derive(Debug, Default)]
struct Running {
    next_id: u64,
    /// Blocking work has no handle: it is waited for.
    tasks: BTreeMap<u64, Option<AbortHandle>>,
    is_stopped: bool,
}

/// A task of a scope. Its future is in a box, so that it is there once, however often what wraps it is moved.
struct InScope<F> {
    future: Pin<Box<F>>,
    /// Dropped last, as fields are: a task leaves once its future is gone.
    _member: Member,
}

impl<F: Future> Future for InScope<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.future.as_mut().poll(context)
    }
}

/// Leaves the scope when it is dropped.
struct Member {
    scope: Arc<Scope>,
    id: u64,
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut running = self.scope.running.lock();
        running.tasks.remove(&self.id);
        if running.tasks.is_empty() {
            self.scope.ended.notify_waiters();
        }
    }
}

impl Scope {
    fn enter(self: &Arc<Self>, running: &mut Running) -> Member {
        let id = running.next_id;
        running.next_id += 1;
        running.tasks.insert(id, None);
        Member { scope: self.clone(), id }
    }

    #[allow(clippy::disallowed_methods, reason = "this is the seam")]
    fn spawn<F>(self: &Arc<Self>, runtime: &Handle, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let member = self.enter(&mut self.running.lock());
        let id = member.id;
        let handle = runtime.spawn(InScope { future: Box::pin(future), _member: member });
        // No lock was held: a runtime that shuts down drops the future, and with it the member, before it returns.
        let mut running = self.running.lock();
        if running.is_stopped {
            handle.abort();
        }
        if let Some(entry) = running.tasks.get_mut(&id) {
            *entry = Some(handle.abort_handle());
        }
        handle
    }

    async fn stop(&self) {
        let handles: Vec<AbortHandle> = {
            let mut running = self.running.lock();
            running.is_stopped = true;
            running.tasks.values().flatten().cloned().collect()
        };
        handles.iter().for_each(AbortHandle::abort);
        wait_for(&self.ended, || self.running.lock().tasks.is_empty().then_some(())).await;
    }
}

impl Tasks {
    /// Tasks on the given multi-threaded runtime; blocking work goes to its blocking pool.
    pub fn on(runtime: Handle) -> Self {
        Tasks { runtime, inline_blocking: false, scope: None, gate: None }
    }

    /// Tasks on the given single-threaded runtime; blocking work runs inline.
    pub fn deterministic(runtime: Handle) -> Self {
        Tasks { runtime, inline_blocking: true, scope: None, gate: None }
    }

    /// The same, with every task behind a gate of its simulated process.
    #[must_use]
    pub fn behind(&self, gate: Gate) -> Self {
        Tasks { gate: Some(gate), ..self.clone() }
    }

    /// Tasks on the same runtime that end together, by [`Tasks::stop`] on the scope or any clone of it.
    pub fn scope(&self) -> Tasks {
        Tasks { scope: Some(Arc::default()), ..self.clone() }
    }

    /// Ends every task of this scope where it waits, and returns once they and their blocking work have ended. What is
    /// started in it afterwards ends at once. Tasks outside any scope go on.
    ///
    /// REQUIRES: the caller is no task of the scope, which would wait for itself.
    pub async fn stop(&self) {
        if let Some(scope) = &self.scope {
            scope.stop().await;
        }
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
        let Some(gate) = &self.gate else { return self.launch(future) };
        let task = self.launch(gate.guard(future));
        gate.remember(task.abort_handle());
        task
    }

    #[allow(clippy::disallowed_methods, reason = "this is the seam")]
    fn launch<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        match &self.scope {
            Some(scope) => scope.spawn(&self.runtime, future),
            None => self.runtime.spawn(future),
        }
    }

    /// Starts a task that may compute for long between the places where it waits, on a thread of its own: the system shares the
    /// processors out among such threads, where tasks would wait for one another. It cannot be aborted; [`Tasks::stop`] waits for
    /// its end. In simulation it is a task as any other.
    #[allow(clippy::disallowed_methods, reason = "this is the seam")]
    pub fn compute<F>(&self, name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let member = match &self.scope {
            Some(scope) => {
                let mut running = scope.running.lock();
                (!running.is_stopped).then(|| scope.enter(&mut running))
            }
            None => None,
        };
        // A scope that has stopped ends the task at once.
        if self.inline_blocking || (self.scope.is_some() && member.is_none()) {
            drop(member);
            return self.spawn(name, future);
        }
        tracing::trace!(name, "computing started");
        let runtime = self.runtime.clone();
        self.runtime.spawn_blocking(move || {
            let value = runtime.block_on(future);
            drop(member);
            value
        })
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
        let member = self.scope.as_ref().map(|scope| scope.enter(&mut scope.running.lock()));
        let work = move || {
            let value = work();
            drop(member);
            value
        };
        match self.runtime.spawn_blocking(work).await {
            Ok(value) => value,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => panic!("blocking work was cancelled by the end of its runtime: {error}"),
            },
        }
    }
}

#[cfg(test)]
mod tests;
