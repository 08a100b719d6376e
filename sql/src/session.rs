//! One client's conversation: transaction, settings, prepared statements.
//!
//! ```text
//!   parse ─▶ Statement ─▶ prepare ─▶ Prepared ─▶ execute(parameters) ─▶ Outcome {command tag | rows | copy}
//!                                                     │
//!            implicit transaction until `sync` ◀──────┴──────▶ explicit from BEGIN to COMMIT
//! ```
//!
//! The connection calls [`Session::execute`] for each statement, [`Session::fail`] once whenever anything of the
//! conversation failed (the error it was given, or one of its own), and [`Session::sync`] at the end of each simple query and
//! at each Sync message. With `end_of_implicit` a statement and the commit of its implicit transaction are one
//! step, and only then can they be retried together.
//!
//! Knows nothing of the wire's messages, nor of ranges.

mod cancel;
mod outcome;
mod prepared;
mod statement;
mod view;

use std::sync::Arc;

pub use cancel::CancelToken;
pub use outcome::{Column, CopyStream, Outcome, Row, RowStream, RowsTag};
pub use prepared::Prepared;
pub use statement::Statement;
pub use view::SessionView;

use crate::error::SqlError;
use crate::types::{Datum, PgType};

/// Who opens a session.
#[derive(Clone, Debug, Default)]
pub struct SessionParams {
    /// The user's name.
    pub user: String,
    /// The database's name.
    pub database: String,
    /// `application_name`.
    pub application_name: String,
    /// Settings from the startup message, by name.
    pub settings: Vec<(String, String)>,
    /// The process ID the client was told; `pg_backend_pid()`.
    pub backend_pid: u32,
}

/// How a statement is executed.
#[derive(Clone, Debug, Default)]
pub struct ExecuteOptions {
    /// Nothing follows in the implicit transaction: commit it with the statement, before its rows are handed out
    /// where they are all there.
    pub end_of_implicit: bool,
    /// Stops the statement.
    pub cancel: CancelToken,
}

/// Where a session's transaction stands, as ReadyForQuery tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// None is open. `I`.
    Idle,
    /// An explicit one is open. `T`.
    InTransaction,
    /// An explicit one is open and has failed. `E`.
    Failed,
}

/// Something the client is told beside the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// `NOTICE`, `WARNING`, `INFO`.
    pub severity: &'static str,
    /// SQLSTATE, code and message, as in an error.
    pub error: SqlError,
}

/// One client's conversation.
pub struct Session {
    notices: Vec<Notice>,
    parameter_changes: Vec<(String, String)>,
}

impl Session {
    /// Cuts the text into statements.
    ///
    /// # Errors
    /// 42601 with a position in `sql`.
    pub fn parse(&self, sql: &str) -> Result<Vec<Statement>, SqlError> {
        let _ = sql;
        Err(SqlError::unsupported("SQL"))
    }

    /// Binds a statement to the catalog. `param_types` are those the client fixed; more parameters than that are inferred.
    ///
    /// # Errors
    /// Unknown names, types that do not fit, 42P18 for a parameter whose type cannot be inferred, 25P02.
    pub async fn prepare(
        &mut self,
        statement: &Statement,
        param_types: &[Option<PgType>],
    ) -> Result<Arc<Prepared>, SqlError> {
        let _ = (statement, param_types);
        Err(SqlError::unsupported("SQL"))
    }

    /// Executes a statement; in the open transaction, or in an implicit one.
    ///
    /// # Errors
    /// Whatever the statement meets. Call [`Session::fail`] then.
    pub async fn execute(
        &mut self,
        prepared: &Arc<Prepared>,
        params: Vec<Datum>,
        options: ExecuteOptions,
    ) -> Result<Outcome, SqlError> {
        let _ = (prepared, params, options);
        Err(SqlError::unsupported("SQL"))
    }

    /// The end of a batch of statements: commits what is left of the implicit transaction.
    ///
    /// # Errors
    /// What committing meets; the implicit transaction is gone then.
    pub async fn sync(&mut self) -> Result<(), SqlError> {
        Ok(())
    }

    /// Something of the conversation failed: ends the implicit transaction, or marks the explicit one as failed.
    pub async fn fail(&mut self) {}

    /// The client is gone: rolls back whatever is open.
    pub async fn close(self) {}

    /// Where the transaction stands.
    pub fn transaction_status(&self) -> TransactionStatus {
        TransactionStatus::Idle
    }

    /// What the client is to be told since the last call.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Reported settings that changed since the last call: name and new value.
    pub fn take_parameter_changes(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.parameter_changes)
    }

    /// The settings reported at the start of a session: name and value.
    pub fn reported_parameters(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// What text forms of values depend on in this session.
    pub fn view(&self) -> Arc<SessionView> {
        Arc::new(SessionView {})
    }

    /// Keeps a prepared statement by name; the wire's and SQL's PREPARE share one namespace.
    ///
    /// # Errors
    /// 42P05 when the name is taken.
    pub fn store_prepared(&mut self, name: &str, prepared: Arc<Prepared>) -> Result<(), SqlError> {
        let _ = (name, prepared);
        Ok(())
    }

    /// The prepared statement of that name.
    ///
    /// # Errors
    /// 26000 when there is none.
    pub fn prepared(&self, name: &str) -> Result<Arc<Prepared>, SqlError> {
        Err(SqlError::new("26000", format!("prepared statement \"{name}\" does not exist")))
    }

    /// Forgets a prepared statement; that there was none is no error.
    pub fn close_prepared(&mut self, name: &str) {
        let _ = name;
    }
}
