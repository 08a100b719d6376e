//! Work that may take long, apart from the threads that serve clients.
//!
//! ```text
//!   session ── run(work) ──▶ a thread of its own, of lower priority ── value ──▶ session
//!      └────── stream(…) ──▶             ″ ── rows, a batch ahead at most ──▶ as they are asked for
//!   the session lets go: cancelled, out of time, client gone ─▶ the work's token is set, and its next look at it ends the work
//! ```
//!
//! Planning and queries take as long as they take. Each has a thread, so that the system shares the processors out among them, and
//! a lower priority than what serves and replicates, so that both answer beside them. The session stays where it is and can say at any
//! time that it no longer waits.
//!
//! In simulation the same work runs inline: a second thread would make the order of events a race.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use datafusion::execution::memory_pool::MemoryPool;
use futures::{Stream, StreamExt, TryStreamExt};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};

use crate::error::{SqlError, code};
use crate::interrupt::{self, Work};
use crate::memory::Account;
use crate::session::CancelToken;

/// Items that come as they are computed.
pub(crate) type Items<T> = Pin<Box<dyn Stream<Item = Result<T, SqlError>> + Send>>;

/// Where such work runs.
#[derive(Clone, Debug)]
pub(crate) struct Apart {
    tasks: clock::Tasks,
}

/// Sets the token of work when whoever waited for it lets go.
struct Waiting(CancelToken);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Apart {
    /// With threads from there.
    pub fn new(tasks: clock::Tasks) -> Self {
        Apart { tasks }
    }

    /// What work on the calling thread answers to. It is counted what it holds, but in simulation, where all have one thread.
    pub fn work(&self, token: CancelToken, pool: &Arc<dyn MemoryPool>) -> Work {
        Work { token, account: (!self.tasks.is_deterministic()).then(|| Account::open(pool)) }
    }

    /// The value of some work. Dropping the future has the work stop.
    ///
    /// # Errors
    /// Those of the work; 57P01 when the node stops meanwhile.
    pub async fn run<T, W>(&self, work: W) -> Result<T, SqlError>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, SqlError>> + Send + 'static,
    {
        let token = CancelToken::new();
        if self.tasks.is_deterministic() {
            return interrupt::scope(Work::of(token), work).await;
        }
        let waiting = Waiting(token.clone());
        let done = self.tasks.compute("work apart", until(token, work)).await;
        drop(waiting);
        done.unwrap_or_else(|ended| Err(ended_early(ended)))
    }

    /// The items of some work, which stays one ahead of whoever takes them. Dropping the stream has the work stop.
    pub fn stream<T, W>(&self, work: impl FnOnce(CancelToken) -> W) -> Items<T>
    where
        T: Send + 'static,
        W: Future<Output = Result<Items<T>, SqlError>> + Send + 'static,
    {
        let token = CancelToken::new();
        let work = work(token.clone());
        if self.tasks.is_deterministic() {
            return Box::pin(futures::stream::once(interrupt::scope(Work::of(token), work)).try_flatten());
        }
        let (sender, items) = mpsc::channel(1);
        let stop = token.clone();
        let task = self.tasks.compute("stream apart", async move {
            let sending = send_all(work, &sender);
            if let Err(error) = until(stop, sending).await {
                // Whoever no longer listens knows why.
                let _ = sender.send(Err(error)).await;
            }
        });
        let taking = Taking { items, task: Some(task), _waiting: Waiting(token) };
        Box::pin(futures::stream::unfold(taking, |mut taking| async move {
            let item = taking.next().await?;
            Some((item, taking))
        }))
    }
}

/// The work, ended at the next place where it waits or looks at its token.
async fn until<T>(token: CancelToken, work: impl Future<Output = Result<T, SqlError>>) -> Result<T, SqlError> {
    tokio::select! {
        biased;
        () = token.cancelled() => Err(SqlError::cancelled()),
        result = interrupt::scope(Work::of(token.clone()), work) => result,
    }
}

async fn send_all<T>(
    work: impl Future<Output = Result<Items<T>, SqlError>>,
    sender: &mpsc::Sender<Result<T, SqlError>>,
) -> Result<(), SqlError> {
    let mut items = work.await?;
    while let Some(item) = items.next().await {
        if sender.send(Ok(item?)).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// The session's end of a stream.
struct Taking<T> {
    items: mpsc::Receiver<Result<T, SqlError>>,
    task: Option<JoinHandle<()>>,
    _waiting: Waiting,
}

impl<T> Taking<T> {
    async fn next(&mut self) -> Option<Result<T, SqlError>> {
        if let Some(item) = self.items.recv().await {
            return Some(item);
        }
        // All there was, unless the work has broken off.
        let ended = self.task.take()?.await.err()?;
        Some(Err(ended_early(ended)))
    }
}

/// Goes on with a panic of the work; else the node is stopping.
fn ended_early(ended: JoinError) -> SqlError {
    match ended.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => SqlError::new(code::ADMIN_SHUTDOWN, "terminating connection due to administrator command"),
    }
}

#[cfg(test)]
mod tests;
