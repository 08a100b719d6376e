//! A gate before the tasks of one simulated process: closed, they stand still wherever they are; ended, they are gone.
//!
//! ```text
//!   SIGSTOP ─▶ close: no task is polled, its timers ring unheard      SIGCONT ─▶ open: everybody who missed a poll is polled
//!   kill -9 ─▶ end:   every task is dropped where it stands, and none is started any more
//!              end_after: the same, between two polls: virtual time stands still while a task merely yields, so that what is to
//!                         happen between the pieces of a long step cannot be put at a time
//! ```
//!
//! Production processes have no gate. Tasks that a library starts by itself do not pass through one.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::wait::wait_for;

/// See the module. Clones are the same gate.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<Mutex<State>>, Arc<Notify>);

#[derive(Debug, Default)]
struct State {
    closed: bool,
    ended: bool,
    /// Polls that are let pass before it ends by itself.
    polls_left: Option<u64>,
    /// Who was turned away, in order.
    waiting: Vec<Waker>,
    tasks: Vec<AbortHandle>,
    /// Finished tasks are forgotten when there are more than this.
    forget_above: usize,
}

impl Gate {
    /// Nothing passes until [`Gate::open`].
    pub fn close(&self) {
        self.0.lock().closed = true;
    }

    /// Whether nothing passes.
    pub fn is_closed(&self) -> bool {
        self.0.lock().closed
    }

    /// Everything passes again.
    pub fn open(&self) {
        let waiting = {
            let mut state = self.0.lock();
            state.closed = false;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Drops every task.
    pub fn end(&self) {
        let tasks = {
            let mut state = self.0.lock();
            state.ended = true;
            state.waiting.clear();
            std::mem::take(&mut state.tasks)
        };
        tasks.iter().for_each(AbortHandle::abort);
        self.1.notify_waiters();
    }

    /// Ends by itself after so many more polls; never, for `None`.
    pub fn end_after(&self, polls: Option<u64>) {
        self.0.lock().polls_left = polls;
    }

    /// Returns once it has ended.
    pub async fn ended(&self) {
        wait_for(&self.1, || self.0.lock().ended.then_some(())).await;
    }

    /// How many tasks there are that have not ended.
    pub fn live_tasks(&self) -> usize {
        self.0.lock().tasks.iter().filter(|task| !task.is_finished()).count()
    }

    /// A future that is polled only while the gate is open.
    pub fn guard<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        Guarded { gate: self.clone(), future: Box::pin(future) }
    }

    /// Remembers a task, to drop it when all of them are.
    pub(super) fn remember(&self, task: AbortHandle) {
        let mut state = self.0.lock();
        if state.ended {
            task.abort();
            return;
        }
        if state.tasks.len() > state.forget_above {
            state.tasks.retain(|task| !task.is_finished());
            state.forget_above = (2 * state.tasks.len()).max(64);
        }
        state.tasks.push(task);
    }

    fn turns_away(&self, waker: &Waker) -> bool {
        let is_last = {
            let mut state = self.0.lock();
            if state.closed {
                state.waiting.push(waker.clone());
            }
            if state.closed || state.ended {
                return true;
            }
            match &mut state.polls_left {
                Some(0) => true,
                Some(left) => {
                    *left -= 1;
                    false
                }
                None => false,
            }
        };
        if is_last {
            self.end();
        }
        is_last
    }
}

struct Guarded<F> {
    gate: Gate,
    future: Pin<Box<F>>,
}

impl<F: Future> Future for Guarded<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        if self.gate.turns_away(context.waker()) {
            return Poll::Pending;
        }
        self.future.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests;
