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

mod as_of;
mod cancel;
mod conflict;
mod execute;
mod outcome;
mod parse;
mod plan;
mod prepared;
mod running;
mod savepoint;
mod settings;
mod statement;
mod table_locks;
mod timeouts;
mod transaction;
mod utility;
mod view;
mod weight;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use cancel::CancelToken;
pub use outcome::{Column, CopyChunk, CopyStream, Outcome, Row, RowStream, RowsTag};
pub use prepared::Prepared;
pub use statement::Statement;
pub use timeouts::Timeouts;
pub use view::{AskedSettings, RowIds, SessionBase, SessionView};

pub(crate) use outcome::{Batch, KeptRows, rows_in_piece};
pub(crate) use parse::{check_kept, levels_of, parse_expression, position_of, tree_of};
pub(crate) use plan::find_table;
pub(crate) use running::{Running, Source};
pub(crate) use timeouts::{Deadline, timed_out};
pub(crate) use transaction::{DdlState, Handle};
pub(crate) use utility::done;

use crate::catalog::Activity;
use crate::error::{SqlError, code};
use crate::memory::{ClientMemory, Hold};
use crate::node::Shared;
use crate::pg_catalog;
use crate::scalar::Sequences;
use crate::types::PgType;
use settings::{Settings, Severity};
use transaction::Open;
use weight::Weight;

/// What `version()` answers.
pub(crate) const VERSION: &str = concat!("PostgreSQL 15.0 (Meridian ", env!("CARGO_PKG_VERSION"), ")");
/// `server_version`.
pub(crate) const SERVER_VERSION: &str = "15.0";

/// A text that is longer than this is parsed and bound apart.
const LONG_TEXT_BYTES: usize = 16 << 10;
/// What a prepared statement takes beside its text.
const PREPARED_BYTES: usize = 1 << 10;

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
    /// When the client asked for it, from which its time counts; now if it is not given.
    pub begun: Option<tokio::time::Instant>,
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
    pub(crate) shared: Arc<Shared>,
    /// Unique on this node.
    id: u64,
    settings: Settings,
    /// What others are told of it.
    activity: Arc<Activity>,
    open: Open,
    /// By name, each with what its name and its place take.
    prepared: BTreeMap<String, (Arc<Prepared>, Hold)>,
    memory: ClientMemory,
    /// The settings'.
    settings_hold: Hold,
    sequences: Arc<Sequences>,
    notices: Vec<Notice>,
    parameter_changes: Vec<(String, String)>,
}

impl Session {
    pub(crate) async fn open(shared: Arc<Shared>, id: u64, params: SessionParams) -> Result<Session, SqlError> {
        if pg_catalog::role_id(&params.user).is_none() {
            return Err(SqlError::new(
                code::INVALID_AUTHORIZATION_SPECIFICATION,
                format!("role \"{}\" does not exist", params.user),
            ));
        }
        let mut catalog = shared.manager.current();
        if catalog.database(&params.database).is_none() {
            shared.manager.refresh().await?;
            catalog = shared.manager.current();
        }
        let Some(database) = catalog.database(&params.database) else {
            return Err(SqlError::new(
                code::INVALID_CATALOG_NAME,
                format!("database \"{}\" does not exist", params.database),
            ));
        };
        let settings = Settings::new(&params, database.id, &shared)?;
        let memory = ClientMemory::new(&shared.memory);
        Ok(Session {
            shared,
            id,
            settings,
            activity: Activity::new(params.backend_pid),
            open: Open::default(),
            prepared: BTreeMap::new(),
            settings_hold: memory.nothing(),
            memory,
            sequences: Arc::default(),
            notices: Vec::new(),
            parameter_changes: Vec::new(),
        })
    }

    /// Cuts the text into statements.
    ///
    /// # Errors
    /// 42601 with a position in `sql`.
    pub fn parse(&self, sql: &str) -> Result<Vec<Statement>, SqlError> {
        parse::parse(sql)
    }

    /// [`Session::parse`], with long texts apart from what serves clients, and what the statements take counted.
    ///
    /// # Errors
    /// As [`Session::parse`]; 57014, 53200.
    pub async fn parse_in_time(&self, sql: String, options: &ExecuteOptions) -> Result<Vec<Statement>, SqlError> {
        let weight = Weight::of(&sql);
        let mut hold = self.memory.hold(weight.parsing_bytes())?;
        let mut statements = if sql.len() <= LONG_TEXT_BYTES {
            parse::parse(&sql)?
        } else {
            let parsed = self.shared.apart.run(async move { parse::parse(&sql) });
            self.deadline(options).hold(&options.cancel, parsed).await?
        };
        hold.resize(weight.kept_bytes())?;
        let hold = Arc::new(hold);
        statements.iter_mut().for_each(|statement| statement.hold = Some(hold.clone()));
        Ok(statements)
    }

    /// When a statement that is executed so has to be over.
    fn deadline(&self, options: &ExecuteOptions) -> Deadline {
        Deadline::since(options.begun, self.settings.timeouts().statement)
    }

    /// Binds a statement to the catalog. `param_types` are those the client fixed; more parameters than that are inferred.
    ///
    /// # Errors
    /// Unknown names, types that do not fit, 42P18 for a parameter whose type cannot be inferred, 25P02; 57014.
    pub async fn prepare(
        &mut self,
        statement: &Statement,
        param_types: &[Option<PgType>],
        options: &ExecuteOptions,
    ) -> Result<Arc<Prepared>, SqlError> {
        let mut deadline = self.deadline(options);
        deadline.hold(&options.cancel, self.prepare_at_length(statement, param_types)).await
    }

    async fn prepare_at_length(
        &mut self,
        statement: &Statement,
        param_types: &[Option<PgType>],
    ) -> Result<Arc<Prepared>, SqlError> {
        if self.open.failed && !statement.ends_transaction() {
            return Err(SqlError::in_failed_transaction());
        }
        if !statement.begins_transaction() && !statement.sets_transaction() {
            self.adopt_as_of(statement).await?;
            if self.open.as_of.is_some() && !statement.ends_transaction() && !statement.is_about_session() {
                // The tables are those of that time.
                self.handle().await?;
            }
        }
        // Boxed: every connection has room for the future of a statement, and next to planning a box costs nothing.
        let planned = Box::pin(self.plan(statement, param_types)).await.map_err(|error| self.in_words(error))?;
        Ok(Arc::new(Prepared::new(statement.clone(), param_types, planned)))
    }

    /// Where the transaction stands.
    pub fn transaction_status(&self) -> TransactionStatus {
        match (self.open.explicit, self.open.failed) {
            (true, true) => TransactionStatus::Failed,
            (true, false) => TransactionStatus::InTransaction,
            (false, _) => TransactionStatus::Idle,
        }
    }

    /// How long things may take, by the session's settings.
    pub fn timeouts(&self) -> Timeouts {
        self.settings.timeouts()
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
        self.settings.reported()
    }

    /// The session's settings as they stand; text forms of values depend on its `types`.
    pub fn view(&self) -> Arc<SessionView> {
        match &self.open.handle {
            Some(handle) if handle.ddl.is_none() && self.settings.are_seen_by(&handle.view) => handle.view.clone(),
            // The names of what the transaction itself has made are known only to its own catalog; and what was set since it began
            // holds for the statements that follow.
            Some(handle) => Arc::new(self.settings.view(handle.view.types.transaction_micros, handle.catalog())),
            None => {
                // What is said of the moment ('now', 'today') is said of the time of its planning.
                let now_micros = self.shared.database.now().map_or(0, |now| (now.wall_ns / 1_000) as i64);
                Arc::new(self.settings.view(now_micros, &self.shared.manager.current()))
            }
        }
    }

    /// Keeps a prepared statement by name; the wire's and SQL's PREPARE share one namespace.
    ///
    /// # Errors
    /// 42P05 when the name is taken; 53200.
    pub fn store_prepared(&mut self, name: &str, prepared: Arc<Prepared>) -> Result<(), SqlError> {
        if self.prepared.contains_key(name) {
            return Err(SqlError::new(
                code::DUPLICATE_PREPARED_STATEMENT,
                format!("prepared statement \"{name}\" already exists"),
            ));
        }
        let hold = self.memory.hold(name.len() + PREPARED_BYTES)?;
        self.prepared.insert(name.to_owned(), (prepared, hold));
        Ok(())
    }

    /// The prepared statement of that name.
    ///
    /// # Errors
    /// 26000 when there is none.
    pub fn prepared(&self, name: &str) -> Result<Arc<Prepared>, SqlError> {
        self.prepared.get(name).map(|(prepared, _)| prepared.clone()).ok_or_else(|| {
            SqlError::new(code::INVALID_SQL_STATEMENT_NAME, format!("prepared statement \"{name}\" does not exist"))
        })
    }

    /// Forgets a prepared statement; that there was none is no error.
    pub fn close_prepared(&mut self, name: &str) {
        self.prepared.remove(name);
    }

    /// What the session holds.
    pub fn memory(&self) -> &ClientMemory {
        &self.memory
    }

    /// Counts the settings as they stand.
    ///
    /// # Errors
    /// 53200.
    fn hold_settings(&mut self) -> Result<(), SqlError> {
        self.settings_hold.resize(self.settings.held_bytes())
    }

    /// The values this session has drawn from sequences.
    pub(crate) fn sequences(&self) -> &Sequences {
        &self.sequences
    }

    pub(crate) fn notice(&mut self, message: impl Into<String>) {
        if self.settings.tells(Severity::Notice) {
            self.notices.push(Notice { severity: "NOTICE", error: SqlError::new("00000", message) });
        }
    }

    pub(crate) fn warning(&mut self, error: SqlError) {
        if self.settings.tells(Severity::Warning) {
            self.notices.push(Notice { severity: "WARNING", error });
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("id", &self.id).finish_non_exhaustive()
    }
}
