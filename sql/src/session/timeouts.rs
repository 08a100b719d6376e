//! How long a session lets things take: `statement_timeout`, `lock_timeout`, `idle_in_transaction_session_timeout`.
//!
//! Times are written in milliseconds or with one of PostgreSQL's units, and shown in the largest unit that fits. A statement's time
//! runs from its start until its last row is fetched. Like a cancellation, its end never cuts a commit, nor does it in PostgreSQL,
//! which disarms the timer before it commits: a commit that is not answered ends by its own bound, as 40003. A rollback does not wait.

use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::time::{Instant, Sleep};

use super::{CancelToken, Outcome};
use crate::error::{SqlError, code};

/// The limits in force; `None` for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// `statement_timeout`.
    pub statement: Option<Duration>,
    /// `lock_timeout`: for each wait.
    pub lock: Option<Duration>,
    /// `idle_in_transaction_session_timeout`.
    pub idle_in_transaction: Option<Duration>,
}

/// Units and their length in milliseconds, but for the microsecond.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];

impl Timeouts {
    /// The limit a setting stands for, if it is one.
    pub(super) fn by_name(&mut self, name: &str) -> Option<&mut Option<Duration>> {
        match name {
            "statement_timeout" => Some(&mut self.statement),
            "lock_timeout" => Some(&mut self.lock),
            "idle_in_transaction_session_timeout" => Some(&mut self.idle_in_transaction),
            _ => None,
        }
    }
}

/// Milliseconds from `250`, `1.5s`, `10 min`; `None` when it is no such thing.
pub(super) fn parse_ms(text: &str) -> Option<u64> {
    let text = text.trim();
    let cut = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (text[..cut].parse::<f64>().ok()?, text[cut..].trim());
    let unit_ms = match unit {
        "" => 1.0,
        "us" => 0.001,
        _ => UNITS.iter().find(|(name, _)| *name == unit)?.1 as f64,
    };
    let ms = (number * unit_ms).round();
    (ms <= f64::from(i32::MAX)).then_some(ms as u64)
}

/// As SHOW prints it.
pub(super) fn show_ms(ms: u64) -> String {
    match UNITS.iter().find(|(_, length)| ms > 0 && ms.is_multiple_of(*length)) {
        Some((unit, length)) => format!("{}{unit}", ms / length),
        None => "0".to_owned(),
    }
}

/// When a statement has to be over.
#[derive(Debug)]
pub(crate) struct Deadline(Option<Pin<Box<Sleep>>>);

impl Deadline {
    /// That long from now, or never.
    pub fn after(limit: Option<Duration>) -> Self {
        Deadline(limit.map(|limit| Box::pin(tokio::time::sleep(limit))))
    }

    /// That long from a moment, which is now if it is not given; or never.
    pub fn since(begun: Option<Instant>, limit: Option<Duration>) -> Self {
        match (begun, limit) {
            // A limit beyond all time is none.
            (Some(begun), Some(limit)) => {
                Deadline(begun.checked_add(limit).map(|end| Box::pin(tokio::time::sleep_until(end))))
            }
            (_, limit) => Deadline::after(limit),
        }
    }

    /// Returns when the time is up.
    pub async fn reached(&mut self) {
        match &mut self.0 {
            Some(sleep) => sleep.await,
            None => std::future::pending().await,
        }
    }

    /// What some work comes to, unless it is cancelled or the time is up first.
    ///
    /// # Errors
    /// Those of the work; 57014.
    pub async fn hold<T>(
        &mut self,
        cancel: &CancelToken,
        work: impl Future<Output = Result<T, SqlError>>,
    ) -> Result<T, SqlError> {
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(SqlError::cancelled()),
            () = self.reached() => Err(timed_out()),
            result = work => result,
        }
    }

    /// Holds what is still to be computed to it.
    pub fn bind(self, outcome: Outcome) -> Outcome {
        if self.0.is_none() {
            return outcome;
        }
        match outcome {
            Outcome::Rows { columns, rows, tag } => {
                Outcome::Rows { columns, rows: rows.map_stream(|batches| Box::pin(self.cut(batches))), tag }
            }
            Outcome::CopyOut { columns, data } => {
                Outcome::CopyOut { columns, data: super::CopyStream(Box::pin(self.cut(data.0))) }
            }
            Outcome::CopyIn(copy) => Outcome::CopyIn(Box::new(copy.until(self))),
            other => other,
        }
    }

    /// The stream, ended by an error when the time is up.
    fn cut<T: Send + 'static>(
        self,
        stream: Pin<Box<dyn Stream<Item = Result<T, SqlError>> + Send>>,
    ) -> impl Stream<Item = Result<T, SqlError>> + Send {
        futures::stream::unfold(Some((self, stream)), |state| async move {
            let (mut deadline, mut stream) = state?;
            tokio::select! {
                biased;
                () = deadline.reached() => Some((Err(timed_out()), None)),
                item = stream.next() => item.map(|item| (item, Some((deadline, stream)))),
            }
        })
    }
}

/// What a statement fails with whose time is up.
pub(crate) fn timed_out() -> SqlError {
    SqlError::new(code::QUERY_CANCELED, "canceling statement due to statement timeout")
}

#[cfg(test)]
mod tests;
