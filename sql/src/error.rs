//! What a client is told when a statement fails.
//!
//! One error type, shaped like PostgreSQL's error response: SQLSTATE, message, detail, hint, position. There is exactly
//! one map from the errors of the transaction layer to SQLSTATE, and it stands in this file.
//!
//! Sources: PostgreSQL 15 manual, appendix A (error codes) and "Error and Notice Message Fields".

use std::fmt;

/// The SQLSTATE codes this crate answers with, named as in PostgreSQL's appendix A.
pub mod code {
    #![allow(missing_docs, reason = "the names are PostgreSQL's own")]
    pub const WARNING: &str = "01000";
    pub const FEATURE_NOT_SUPPORTED: &str = "0A000";
    pub const CARDINALITY_VIOLATION: &str = "21000";
    pub const DATA_EXCEPTION: &str = "22000";
    pub const STRING_DATA_RIGHT_TRUNCATION: &str = "22001";
    pub const NUMERIC_VALUE_OUT_OF_RANGE: &str = "22003";
    pub const DIVISION_BY_ZERO: &str = "22012";
    pub const INVALID_PARAMETER_VALUE: &str = "22023";
    pub const INVALID_REGULAR_EXPRESSION: &str = "2201B";
    pub const INVALID_TEXT_REPRESENTATION: &str = "22P02";
    pub const INVALID_BINARY_REPRESENTATION: &str = "22P03";
    pub const BAD_COPY_FILE_FORMAT: &str = "22P04";
    pub const SEQUENCE_LIMIT_EXCEEDED: &str = "2200H";
    pub const NOT_NULL_VIOLATION: &str = "23502";
    pub const FOREIGN_KEY_VIOLATION: &str = "23503";
    pub const UNIQUE_VIOLATION: &str = "23505";
    pub const CHECK_VIOLATION: &str = "23514";
    pub const ACTIVE_SQL_TRANSACTION: &str = "25001";
    pub const READ_ONLY_SQL_TRANSACTION: &str = "25006";
    pub const NO_ACTIVE_SQL_TRANSACTION: &str = "25P01";
    pub const IN_FAILED_SQL_TRANSACTION: &str = "25P02";
    pub const INVALID_SQL_STATEMENT_NAME: &str = "26000";
    pub const DEPENDENT_OBJECTS_STILL_EXIST: &str = "2BP01";
    pub const INVALID_AUTHORIZATION_SPECIFICATION: &str = "28000";
    pub const INVALID_CATALOG_NAME: &str = "3D000";
    pub const INVALID_SCHEMA_NAME: &str = "3F000";
    pub const INVALID_SAVEPOINT_SPECIFICATION: &str = "3B001";
    pub const SERIALIZATION_FAILURE: &str = "40001";
    pub const STATEMENT_COMPLETION_UNKNOWN: &str = "40003";
    pub const DEADLOCK_DETECTED: &str = "40P01";
    pub const SYNTAX_ERROR: &str = "42601";
    pub const AMBIGUOUS_COLUMN: &str = "42702";
    pub const UNDEFINED_COLUMN: &str = "42703";
    pub const UNDEFINED_OBJECT: &str = "42704";
    pub const DUPLICATE_OBJECT: &str = "42710";
    pub const DUPLICATE_COLUMN: &str = "42701";
    pub const DATATYPE_MISMATCH: &str = "42804";
    pub const WRONG_OBJECT_TYPE: &str = "42809";
    pub const GENERATED_ALWAYS: &str = "428C9";
    pub const UNDEFINED_FUNCTION: &str = "42883";
    pub const UNDEFINED_TABLE: &str = "42P01";
    pub const UNDEFINED_PARAMETER: &str = "42P02";
    pub const DUPLICATE_DATABASE: &str = "42P04";
    pub const DUPLICATE_PREPARED_STATEMENT: &str = "42P05";
    pub const DUPLICATE_SCHEMA: &str = "42P06";
    pub const DUPLICATE_TABLE: &str = "42P07";
    pub const INVALID_COLUMN_REFERENCE: &str = "42P10";
    pub const INVALID_TABLE_DEFINITION: &str = "42P16";
    pub const INVALID_OBJECT_DEFINITION: &str = "42P17";
    pub const INDETERMINATE_DATATYPE: &str = "42P18";
    pub const CANNOT_COERCE: &str = "42846";
    pub const DISK_FULL: &str = "53100";
    pub const PROGRAM_LIMIT_EXCEEDED: &str = "54000";
    pub const STATEMENT_TOO_COMPLEX: &str = "54001";
    pub const OBJECT_NOT_IN_PREREQUISITE_STATE: &str = "55000";
    pub const LOCK_NOT_AVAILABLE: &str = "55P03";
    pub const OUT_OF_MEMORY: &str = "53200";
    pub const QUERY_CANCELED: &str = "57014";
    pub const ADMIN_SHUTDOWN: &str = "57P01";
    pub const SYSTEM_ERROR: &str = "58000";
    pub const INTERNAL_ERROR: &str = "XX000";
}

/// What helps when a transaction could not be serialized.
const TRY_AGAIN: &str = "Roll back, and try the transaction again.";

/// An error as the client sees it. The fields are reached through [`std::ops::Deref`].
#[derive(Clone, PartialEq, Eq)]
pub struct SqlError(Box<ErrorFields>);

/// The fields of a [`SqlError`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorFields {
    /// SQLSTATE, five characters.
    pub code: &'static str,
    /// What was expected and what was found, one sentence.
    pub message: String,
    /// More about this occurrence.
    pub detail: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Where in the statement's text: the character, counted from 1.
    pub position: Option<u32>,
    /// Where in the data or the work in hand.
    pub context: Option<String>,
    /// The table it is about.
    pub table: Option<String>,
    /// The column it is about.
    pub column: Option<String>,
    /// The constraint it is about.
    pub constraint: Option<String>,
    /// Executing the statement again may help, nothing of it having reached the client. Never leaves the session.
    pub(crate) retry: RetryScope,
    /// What stood in the way, as the layer below knows it: put in words by the session, and gone then.
    pub(crate) conflict: Option<Box<txn::Conflict>>,
}

/// How much must be executed again for an error to go away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum RetryScope {
    /// Nothing helps.
    #[default]
    None,
    /// The statement, in the same transaction, which has refreshed its reads.
    Statement,
    /// The whole transaction.
    Transaction,
}

impl SqlError {
    /// An error with the given SQLSTATE and message.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        SqlError(Box::new(ErrorFields { code, message: message.into(), ..ErrorFields::default() }))
    }

    /// Something this system refuses by name.
    pub fn unsupported(what: impl fmt::Display) -> Self {
        SqlError::new(code::FEATURE_NOT_SUPPORTED, format!("{what} is not supported"))
    }

    /// No cluster setting has this name.
    pub fn no_cluster_setting(name: &str) -> Self {
        SqlError::new(code::UNDEFINED_OBJECT, format!("unrecognized cluster setting \"{name}\""))
            .hint("SHOW CLUSTER SETTINGS lists them.")
    }

    /// A broken promise inside: never the client's fault.
    pub fn internal(what: impl fmt::Display) -> Self {
        SqlError::new(code::INTERNAL_ERROR, what.to_string())
    }

    /// A syntax error.
    pub fn syntax(message: impl Into<String>) -> Self {
        SqlError::new(code::SYNTAX_ERROR, message)
    }

    /// The statement was cancelled by its user.
    pub fn cancelled() -> Self {
        SqlError::new(code::QUERY_CANCELED, "canceling statement due to user request")
    }

    /// `lock_timeout` went by.
    pub fn lock_timeout() -> Self {
        SqlError::new(code::LOCK_NOT_AVAILABLE, "canceling statement due to lock timeout")
    }

    /// A statement was sent in a failed transaction.
    pub fn in_failed_transaction() -> Self {
        SqlError::new(
            code::IN_FAILED_SQL_TRANSACTION,
            "current transaction is aborted, commands ignored until end of transaction block",
        )
    }

    /// Adds a detail.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the position in the statement's text, counted from 1.
    #[must_use]
    pub fn position(mut self, position: u32) -> Self {
        self.0.position = Some(position);
        self
    }

    /// Adds where in the data it was met.
    #[must_use]
    pub fn context(mut self, context: impl Into<String>) -> Self {
        self.0.context = Some(context.into());
        self
    }

    /// Names the table.
    #[must_use]
    pub fn table(mut self, table: impl Into<String>) -> Self {
        self.0.table = Some(table.into());
        self
    }

    /// Names the column.
    #[must_use]
    pub fn column(mut self, column: impl Into<String>) -> Self {
        self.0.column = Some(column.into());
        self
    }

    /// Names the constraint.
    #[must_use]
    pub fn constraint(mut self, constraint: impl Into<String>) -> Self {
        self.0.constraint = Some(constraint.into());
        self
    }

    /// 40001.
    fn in_conflict(conflict: Box<txn::Conflict>) -> Self {
        let message = format!("restart transaction: {}", conflict.what());
        SqlError::new(code::SERIALIZATION_FAILURE, message).hint(TRY_AGAIN).met(conflict)
    }

    fn met(mut self, conflict: Box<txn::Conflict>) -> Self {
        self.0.conflict = Some(conflict);
        self
    }

    /// What stood in the way, if nobody has put it in words yet.
    pub(crate) fn take_conflict(&mut self) -> Option<Box<txn::Conflict>> {
        self.0.conflict.take()
    }

    /// Says how much to execute again.
    #[must_use]
    pub(crate) fn retrying(mut self, scope: RetryScope) -> Self {
        self.0.retry = scope;
        self
    }
}

/// The one map from the transaction layer to SQLSTATE.
impl From<txn::Error> for SqlError {
    fn from(error: txn::Error) -> Self {
        use txn::Error;
        let message = error.to_string();
        match error {
            Error::StatementRetry(conflict) => SqlError::in_conflict(conflict).retrying(RetryScope::Statement),
            Error::Retry(conflict) => SqlError::in_conflict(conflict).retrying(RetryScope::Transaction),
            Error::Deadlock(conflict) => SqlError::new(code::DEADLOCK_DETECTED, "deadlock detected")
                .hint(TRY_AGAIN)
                .met(conflict)
                .retrying(RetryScope::Transaction),
            Error::LockTimeout(conflict) => SqlError::lock_timeout().met(conflict),
            Error::Ambiguous(_) => SqlError::new(code::STATEMENT_COMPLETION_UNKNOWN, message)
                .hint("Read what the transaction would have written before trying it again."),
            Error::Unavailable { missing_nodes, .. } => {
                let error = SqlError::new(code::SYSTEM_ERROR, message);
                if missing_nodes.is_empty() {
                    return error;
                }
                let nodes: Vec<String> = missing_nodes.iter().map(u64::to_string).collect();
                error.detail(format!("No answer from node(s) {}.", nodes.join(", ")))
            }
            Error::DiskFull(_) => SqlError::new(code::DISK_FULL, message),
            Error::BelowGcThreshold { .. } => SqlError::new(code::OBJECT_NOT_IN_PREREQUISITE_STATE, message),
            Error::TooLarge { .. } => SqlError::new(code::PROGRAM_LIMIT_EXCEEDED, message),
            Error::AsOfFuture { .. } => SqlError::new(code::INVALID_PARAMETER_VALUE, message),
            Error::ReadOnly => SqlError::new(code::READ_ONLY_SQL_TRANSACTION, message),
            Error::Clock(_) => SqlError::new(code::SYSTEM_ERROR, message),
            Error::Finished | Error::Internal(_) => SqlError::new(code::INTERNAL_ERROR, message),
        }
    }
}

impl std::ops::Deref for SqlError {
    type Target = ErrorFields;
    fn deref(&self) -> &ErrorFields {
        &self.0
    }
}

impl fmt::Debug for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SqlError {}
