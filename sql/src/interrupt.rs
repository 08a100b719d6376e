//! Telling what computes to stop, and what it holds to stay within bounds.
//!
//! ```text
//!   statement cancelled, out of time, its client gone ─▶ whoever waits for the result lets go ─▶ token
//!                                                                                               ▲ looked at by
//!                                    operators, join filters, functions, planning: check() ─────┤
//!                                                                                               ▼ settled by
//!                                                                        what the query holds ─▶ account
//! ```
//!
//! A future can be dropped only where it waits. What computes for long looks, in its innermost loop, whether anybody still wants the result:
//! PostgreSQL's `CHECK_FOR_INTERRUPTS`. Token and account stand in the thread while the work is polled, since the loops are called
//! through a library that hands nothing of ours down to them.
//!
//! Invariant: they are those of the work that is polled, whatever thread it is polled on, and none outside of it.

use std::cell::RefCell;
use std::future::Future;
use std::sync::Arc;

use datafusion::error::DataFusionError;

use crate::error::{SqlError, code};
use crate::memory::Account;
use crate::session::CancelToken;

/// What work answers to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Work {
    /// Set when nobody wants the result any more.
    pub token: CancelToken,
    /// What it holds, where that is counted.
    pub account: Option<Arc<Account>>,
}

thread_local! {
    static CURRENT: RefCell<Option<Work>> = const { RefCell::new(None) };
}

/// Puts back, when dropped, the work that stood in the thread before.
pub(crate) struct Entered(Option<Work>);

impl Work {
    /// Work of a token, whose memory is not counted.
    pub fn of(token: CancelToken) -> Self {
        Work { token, account: None }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

/// Puts work in the thread until the guard is dropped.
pub(crate) fn enter(work: &Work) -> Entered {
    Entered(CURRENT.replace(Some(work.clone())))
}

/// What a future comes to, with its work in the thread whenever it is polled.
pub(crate) async fn scope<F: Future>(work: Work, future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| {
        let _entered = enter(&work);
        future.as_mut().poll(cx)
    })
    .await
}

/// The token of the work that is polled; one that nobody sets where there is none.
pub(crate) fn current() -> CancelToken {
    CURRENT.with_borrow(|work| work.as_ref().map(|work| work.token.clone())).unwrap_or_default()
}

/// Whether to go on.
///
/// # Errors
/// 57014 when nobody wants the result any more, 53200 when the work holds too much.
pub(crate) fn check() -> Result<(), SqlError> {
    CURRENT.with_borrow(|work| {
        let Some(work) = work else { return Ok(()) };
        if work.token.is_cancelled() {
            return Err(SqlError::cancelled());
        }
        work.account.as_ref().map_or(Ok(()), |account| account.settle()).map_err(refused)
    })
}

/// What a loop within one value looks at after as many parts.
const LOOK_PARTS: usize = 1024;

/// Whether to go on, for a loop that has made so many parts: a part of one byte takes far more than its text did.
///
/// # Errors
/// As [`check`].
pub(crate) fn check_at(parts: usize) -> Result<(), SqlError> {
    if parts.is_multiple_of(LOOK_PARTS) { check() } else { Ok(()) }
}

/// Whether the work may allocate that much at once, for one value.
///
/// # Errors
/// 53200 when that is more than there is.
pub(crate) fn room_for(bytes: usize) -> Result<(), SqlError> {
    CURRENT.with_borrow(|work| {
        let account = work.as_ref().and_then(|work| work.account.as_ref());
        account.map_or(Ok(()), |account| account.room_for(bytes)).map_err(refused)
    })
}

fn refused(error: DataFusionError) -> SqlError {
    let said = error.to_string();
    SqlError::new(code::OUT_OF_MEMORY, "out of memory").detail(said.lines().next().unwrap_or_default())
}

#[cfg(test)]
mod tests;
