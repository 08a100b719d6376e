//! The end of a node, as its clients see it: every one of them is told before its connection closes.
//!
//! ```text
//!   stop ─▶ no new clients ─▶ waiting for a statement: FATAL 57P01
//!                             running one: cancelled, unless it commits, then FATAL 57P01
//!           until all have left, or for so long
//! ```
//!
//! Source: what PostgreSQL does on a fast shutdown.

use std::time::Duration;

use sql::SqlError;
use tokio::sync::watch;

/// How long clients have to hear it.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// Tells clients that the node stops.
#[derive(Debug)]
pub struct Farewell(watch::Sender<bool>);

/// A client that is to be told. Dropped when its connection is closed.
#[derive(Debug)]
pub struct Guest(watch::Receiver<bool>);

impl Default for Farewell {
    fn default() -> Self {
        Farewell(watch::Sender::new(false))
    }
}

impl Farewell {
    /// A client has come.
    pub fn welcome(&self) -> Guest {
        Guest(self.0.subscribe())
    }

    /// Tells everybody.
    pub fn say(&self) {
        self.0.send_replace(true);
    }

    /// Returns once all have left; those who do not hear it are not waited for.
    pub async fn all_left(&self) {
        if tokio::time::timeout(FAREWELL_TIMEOUT, self.0.closed()).await.is_err() {
            tracing::info!(clients = self.0.receiver_count(), "some clients have not left in time");
        }
    }
}

impl Guest {
    /// Whether the node stops.
    pub fn must_leave(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns once the node stops. Cancel safe.
    pub async fn told(&mut self) {
        // Without the node there is nobody left to stay for either.
        let _ = self.0.wait_for(|stopping| *stopping).await;
    }
}

/// What a client is told whose session ends with the node.
pub fn terminating() -> SqlError {
    SqlError::new("57P01", "terminating connection due to administrator command")
}

/// What a client is told who comes too late.
pub fn shutting_down() -> SqlError {
    SqlError::new("57P03", "the database system is shutting down")
}

#[cfg(test)]
mod tests;
