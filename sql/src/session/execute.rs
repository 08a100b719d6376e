//! Executing statements: transaction control, automatic retries, the end of implicit transactions.

use std::sync::Arc;
use std::time::Duration;

use datafusion::sql::sqlparser::ast;

use super::plan::{Plan, Planned, Planner};
use super::statement::StatementKind;
use super::timeouts::Deadline;
use super::transaction::Open;
use super::utility::tell_commit;
use super::{Column, ExecuteOptions, LONG_TEXT_BYTES, Outcome, Prepared, RowStream, RowsTag, Session, Statement};
use crate::dml::change::Changed;
use crate::error::{RetryScope, SqlError, code};
use crate::stack::contained_async;
use crate::types::{Datum, PgType};

/// How often a statement, or an implicit transaction, is tried before its client hears of a conflict.
const ATTEMPTS: u32 = 64;

impl Session {
    /// Executes a statement; in the open transaction, or in an implicit one.
    ///
    /// # Errors
    /// Whatever the statement meets. The transaction has failed then, or is gone if it was implicit.
    pub async fn execute(
        &mut self,
        prepared: &Arc<Prepared>,
        params: Vec<Datum>,
        options: ExecuteOptions,
    ) -> Result<Outcome, SqlError> {
        if self.open.failed && !prepared.statement.ends_transaction() {
            return Err(SqlError::in_failed_transaction());
        }
        if params.len() < prepared.params.len() {
            return Err(SqlError::new(
                code::SYNTAX_ERROR,
                format!("{} parameters were given where {} are needed", params.len(), prepared.params.len()),
            ));
        }
        self.activity.runs(&prepared.statement.sql);
        let result = match self.adopt_as_of(&prepared.statement).await {
            Ok(()) => self.dispatch(prepared, params, &options).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(outcome) => Ok(outcome),
            Err(error) => {
                let error = self.in_words(error);
                self.fail().await;
                Err(error)
            }
        }
    }

    async fn dispatch(
        &mut self,
        prepared: &Arc<Prepared>,
        params: Vec<Datum>,
        options: &ExecuteOptions,
    ) -> Result<Outcome, SqlError> {
        match &**prepared.statement.kind {
            StatementKind::Empty => Ok(Outcome::Empty),
            StatementKind::Sql(statement) => match self.control(statement, options).await {
                Some(done) => done,
                None => self.attempt(prepared, params.into(), options).await,
            },
            _ => self.attempt(prepared, params.into(), options).await,
        }
    }

    /// The end of a batch of statements: commits what is left of the implicit transaction.
    ///
    /// # Errors
    /// What committing meets; the implicit transaction is gone then.
    pub async fn sync(&mut self) -> Result<(), SqlError> {
        if self.open.explicit {
            return Ok(());
        }
        self.commit().await.map(|_| ()).map_err(|error| self.in_words(error))
    }

    /// Something of the conversation failed: ends the implicit transaction, or marks the explicit one as failed.
    pub async fn fail(&mut self) {
        if self.open.explicit {
            if self.open.savepoints.is_empty() {
                // A transaction that cannot go on holds nothing while its client makes up its mind.
                let Open { handle, locked, abandoned, read_only, .. } = std::mem::take(&mut self.open);
                self.discard(handle).await;
                locked.release().await;
                self.clear(abandoned);
                self.open.explicit = true;
                self.open.read_only = read_only;
            }
            self.open.failed = true;
        } else {
            self.roll_back().await;
        }
    }

    /// The client is gone: rolls back whatever is open.
    pub async fn close(mut self) {
        self.roll_back().await;
    }

    /// BEGIN, COMMIT, ROLLBACK.
    async fn control(
        &mut self,
        statement: &ast::Statement,
        options: &ExecuteOptions,
    ) -> Option<Result<Outcome, SqlError>> {
        let tag = |tag: &str| Some(Ok(Outcome::Command { tag: tag.to_owned() }));
        match statement {
            ast::Statement::StartTransaction { modes, begin, .. } => {
                if self.open.explicit {
                    self.warning(SqlError::new(
                        code::ACTIVE_SQL_TRANSACTION,
                        "there is already a transaction in progress",
                    ));
                }
                if let Err(error) = self.set_modes(modes) {
                    return Some(Err(error));
                }
                self.open.explicit = true;
                // The default of the moment: a later one is for transactions that begin later.
                let read_only = self.is_read_only();
                self.open.read_only = Some(read_only);
                tag(if *begin { "BEGIN" } else { "START TRANSACTION" })
            }
            ast::Statement::Commit { chain: true, .. } if !self.open.explicit => Some(no_chain("COMMIT")),
            ast::Statement::Rollback { chain: true, savepoint: None } if !self.open.explicit => {
                Some(no_chain("ROLLBACK"))
            }
            ast::Statement::Commit { chain, .. } => {
                let next = self.next_in_chain(*chain);
                let failed = self.open.failed;
                if !self.open.explicit {
                    self.no_transaction();
                }
                if failed {
                    self.roll_back().await;
                } else if let Err(error) = self.commit().await {
                    return Some(Err(error));
                }
                self.open = next;
                tag(if failed { "ROLLBACK" } else { "COMMIT" })
            }
            ast::Statement::Rollback { savepoint: Some(name), .. } => {
                Some(Box::pin(self.roll_back_to_savepoint(name, options)).await)
            }
            ast::Statement::Rollback { chain, .. } => {
                let next = self.next_in_chain(*chain);
                if !self.open.explicit {
                    self.no_transaction();
                }
                self.roll_back().await;
                self.open = next;
                tag("ROLLBACK")
            }
            ast::Statement::Savepoint { name } => Some(Box::pin(self.set_savepoint(name, options)).await),
            ast::Statement::ReleaseSavepoint { name } => Some(self.release_savepoint(name).await),
            _ => None,
        }
    }

    /// How the transaction after this one begins: with AND CHAIN in a block, with the same modes.
    fn next_in_chain(&self, chain: bool) -> Open {
        Open { explicit: chain, read_only: self.open.read_only.filter(|_| chain), ..Open::default() }
    }

    fn no_transaction(&mut self) {
        self.warning(SqlError::new(code::NO_ACTIVE_SQL_TRANSACTION, "there is no transaction in progress"));
    }

    /// Whether the transaction that is open, or would be, only reads.
    pub(super) fn is_read_only(&self) -> bool {
        self.open.read_only.unwrap_or_else(|| self.settings.read_only_by_default())
    }

    /// Takes in the modes of BEGIN or SET TRANSACTION.
    pub(super) fn set_modes(&mut self, modes: &[ast::TransactionMode]) -> Result<(), SqlError> {
        for mode in modes {
            match mode {
                ast::TransactionMode::AccessMode(access) => {
                    let read_only = *access == ast::TransactionAccessMode::ReadOnly;
                    if !read_only && self.open.statements > 0 && self.is_read_only() {
                        let message = "transaction read-write mode must be set before any query";
                        return Err(SqlError::new(code::ACTIVE_SQL_TRANSACTION, message));
                    }
                    self.open.read_only = Some(read_only);
                }
                ast::TransactionMode::IsolationLevel(level) => self.tell_level(level),
            }
        }
        Ok(())
    }

    /// Says what a weaker level runs as.
    pub(super) fn tell_level(&mut self, level: &ast::TransactionIsolationLevel) {
        if *level != ast::TransactionIsolationLevel::Serializable {
            self.notice(format!("isolation level {level} runs as SERIALIZABLE"));
        }
    }

    /// Executes a statement, again and again while that may help and nothing has reached the client.
    async fn attempt(
        &mut self,
        prepared: &Arc<Prepared>,
        params: Arc<[Datum]>,
        options: &ExecuteOptions,
    ) -> Result<Outcome, SqlError> {
        let mut attempt = 0;
        let mut deadline = self.deadline(options);
        loop {
            attempt += 1;
            if options.cancel.is_cancelled() {
                return Err(SqlError::cancelled());
            }
            // Only the first statement of a transaction stands for all of it.
            let first = self.open.statements == 0;
            let error = match self.once(prepared, &params, options, &mut deadline).await {
                Ok(outcome) => {
                    if self.settings.take_asked(&mut self.parameter_changes)? {
                        self.hold_settings()?;
                    }
                    self.open.statements += u64::from(!prepared.statement.is_about_session());
                    let complete = !self.open.explicit && options.end_of_implicit && outcome.is_complete();
                    if !complete {
                        return Ok(deadline.bind(outcome));
                    }
                    let attempts = self.open.attempts;
                    let begun = self.shared.database.now()?;
                    match self.commit().await {
                        Ok(committed) => {
                            // It has committed, whatever the clock says by now.
                            let now = self.shared.database.now().unwrap_or(begun);
                            let took = now.wall_ns.saturating_sub(begun.wall_ns);
                            return Ok(tell_commit(&prepared.statement, outcome, committed, took));
                        }
                        Err(error) => {
                            self.open.attempts = attempts;
                            error
                        }
                    }
                }
                Err(error) => error,
            };
            let again = match error.retry {
                RetryScope::None => false,
                RetryScope::Statement => true,
                RetryScope::Transaction => first && prepared.statement.can_be_repeated(),
            };
            if !again || attempt >= ATTEMPTS {
                return Err(error);
            }
            tracing::debug!(%error, attempt, verb = prepared.statement.verb(), "a statement is tried again");
            if error.retry == RetryScope::Transaction {
                let attempts = self.open.attempts + 1;
                let handle = self.open.handle.take();
                self.discard(handle).await;
                self.open.attempts = attempts;
                let spread = self.shared.random.range(0, 1 + u64::from(attempt.min(20)));
                tokio::time::sleep(Duration::from_millis(spread)).await;
            }
        }
    }

    /// Executes a statement once.
    async fn once(
        &mut self,
        prepared: &Arc<Prepared>,
        params: &Arc<[Datum]>,
        options: &ExecuteOptions,
        deadline: &mut Deadline,
    ) -> Result<Outcome, SqlError> {
        if prepared.statement.is_about_session() {
            // Whoever asks why nothing is answered is answered.
            let planned = prepared.planned.load_full();
            // Boxed, as savepoints are: every connection has room for the future of a statement.
            let run = Box::pin(contained_async(planned.levels, self.run(&planned, &prepared.statement, params)));
            return deadline.hold(&options.cancel, run).await;
        }
        let planned = deadline.hold(&options.cancel, self.begin(prepared)).await?;
        if self.is_read_only()
            && let Some(what) = planned.plan.writes(&prepared.statement)
        {
            let message = format!("cannot execute {what} in a read-only transaction");
            return Err(SqlError::new(code::READ_ONLY_SQL_TRANSACTION, message));
        }
        let lock_timeout = self.settings.timeouts().lock;
        let handle = self.handle().await?;
        let transaction = handle.transaction.clone();
        transaction.set_lock_timeout(lock_timeout);
        let writer = handle.ddl.as_ref().map(|ddl| ddl.writer.clone());
        let mark = transaction.statement();
        let run = contained_async(planned.levels, self.run(&planned, &prepared.statement, params));
        let mut result = deadline.hold(&options.cancel, run).await;
        if result.is_ok()
            && let Err(error) = deadline.hold(&options.cancel, self.hold_writes()).await
        {
            result = Err(error);
        }
        match result {
            Err(error) if error.retry == RetryScope::Statement => {
                let handle = self.open.handle.as_mut();
                let Some(handle) = handle.filter(|handle| Arc::ptr_eq(&handle.transaction, &transaction)) else {
                    // The statement has begun its transaction anew on the way.
                    return Err(error.retrying(RetryScope::Transaction));
                };
                match (writer, &mut handle.ddl) {
                    (Some(writer), Some(ddl)) => ddl.writer = writer,
                    (None, ddl) => *ddl = None,
                    _ => {}
                }
                transaction.rewind(mark)?;
                Err(error)
            }
            result => result,
        }
    }

    /// Begins the transaction that a statement runs in, with the plan it runs by.
    async fn begin(&mut self, prepared: &Arc<Prepared>) -> Result<Arc<Planned>, SqlError> {
        self.handle().await?;
        let planned = self.current_plan(prepared).await?;
        self.use_tables(&planned.tables).await?;
        Ok(planned)
    }

    pub(super) async fn run(
        &mut self,
        planned: &Planned,
        statement: &Statement,
        params: &Arc<[Datum]>,
    ) -> Result<Outcome, SqlError> {
        let columns = || planned.columns.clone().unwrap_or_else(|| Arc::from([]));
        // Boxed where the way is long or rare, so that the future of a read or an update by key stays small: it is moved each time.
        match &planned.plan {
            Plan::Empty => Ok(Outcome::Empty),
            Plan::Utility => Box::pin(self.run_utility(statement, params)).await,
            Plan::Rows(source) => {
                let running = self.running(params.clone());
                let mut rows = source.execute(&running).await?.with_room(planned.levels);
                // Until the first rows are there, the statement can still be executed again.
                rows.prime().await?;
                Ok(Outcome::Rows { columns: columns(), rows, tag: RowsTag::Counted("SELECT") })
            }
            Plan::Insert(plan) => {
                let changed = Box::pin(plan.execute(&self.running(params.clone()))).await?;
                Ok(written(changed, planned, "INSERT 0"))
            }
            Plan::Change(plan, word) => {
                let changed = plan.execute(&self.running(params.clone())).await?;
                Ok(written(changed, planned, word))
            }
            Plan::Joined(plan, word) => {
                let changed = Box::pin(plan.execute(&self.running(params.clone()))).await?;
                Ok(written(changed, planned, word))
            }
        }
    }

    /// The rows of a query that is part of the statement in hand.
    pub(crate) async fn query_rows(&mut self, statement: &Statement) -> Result<(Arc<[Column]>, RowStream), SqlError> {
        let planned = self.plan(statement, &[]).await?;
        self.handle().await?;
        self.use_tables(&planned.tables).await?;
        match self.run(&planned, statement, &Arc::from([])).await? {
            Outcome::Rows { columns, rows, .. } => Ok((columns, rows)),
            _ => Err(SqlError::unsupported("a statement that returns no rows in this place")),
        }
    }

    /// Plans a statement in the open transaction, or in one begun for it.
    pub(super) async fn plan(
        &mut self,
        statement: &Statement,
        given: &[Option<PgType>],
    ) -> Result<Arc<Planned>, SqlError> {
        let settings_version = self.settings.version();
        let mut refreshed = false;
        loop {
            let (catalog, view) = match &self.open.handle {
                Some(handle) => (handle.catalog().clone(), self.view()),
                None => (self.shared.manager.current(), self.view()),
            };
            let (shared, sequences, memory) = (&self.shared, &self.sequences, &self.memory);
            let planner = Planner { shared, catalog: &catalog, view: &view, sequences, memory, settings_version };
            let result = match statement.text.len() > LONG_TEXT_BYTES {
                true => planner.plan_apart(statement, given).await,
                false => planner.plan(statement, given).await,
            };
            let missing = matches!(&result, Err(error) if is_missing(error));
            // The past has what it had: a newer catalog is not the one to plan by.
            let settled =
                self.open.handle.as_ref().is_some_and(|handle| handle.ddl.is_some()) || self.open.as_of.is_some();
            if !missing || refreshed || settled {
                return result.map(Arc::new);
            }
            // Another node may have created what is missing a moment ago.
            refreshed = true;
            self.shared.manager.refresh().await?;
            if self.shared.manager.version() == catalog.version {
                return result.map(Arc::new);
            }
            if self.open.handle.is_some() {
                if self.open.statements > 0 {
                    return result.map(Arc::new);
                }
                let handle = self.open.handle.take();
                self.discard(handle).await;
            }
        }
    }

    /// The prepared plan, made anew if the catalog or the settings have moved.
    async fn current_plan(&mut self, prepared: &Arc<Prepared>) -> Result<Arc<Planned>, SqlError> {
        let planned = prepared.planned.load();
        let handle = self.handle().await?;
        let version = if handle.ddl.is_some() { 0 } else { handle.catalog.version };
        if version != 0 && planned.catalog_version == version && planned.settings_version == self.settings.version() {
            return Ok(arc_swap::Guard::into_inner(planned));
        }
        drop(planned);
        let new = Box::pin(self.plan(&prepared.statement, &prepared.given)).await?;
        self.handle().await?;
        if new.columns != prepared.columns {
            return Err(SqlError::new(code::FEATURE_NOT_SUPPORTED, "cached plan must not change result type"));
        }
        prepared.planned.store(new.clone());
        Ok(new)
    }
}

fn is_missing(error: &SqlError) -> bool {
    matches!(
        error.code,
        code::UNDEFINED_TABLE | code::UNDEFINED_OBJECT | code::INVALID_SCHEMA_NAME | code::UNDEFINED_COLUMN
    )
}

fn written(changed: Changed, planned: &Planned, word: &'static str) -> Outcome {
    match &planned.columns {
        None => Outcome::Command { tag: format!("{word} {}", changed.rows) },
        Some(columns) => Outcome::Rows {
            columns: columns.clone(),
            rows: RowStream::kept(changed.returned),
            tag: RowsTag::Counted(word),
        },
    }
}

impl Plan {
    /// What in it writes, in words; none when nothing does.
    pub(super) fn writes(&self, statement: &Statement) -> Option<String> {
        let writes = match self {
            Plan::Empty => false,
            Plan::Rows(source) => return source.moves_sequences().map(|function| format!("{function}()")),
            Plan::Insert(_) | Plan::Change(..) | Plan::Joined(..) => true,
            Plan::Utility if matches!(&**statement.kind, StatementKind::SetClusterSetting { .. }) => true,
            Plan::Utility => !matches!(
                statement.ast(),
                None | Some(
                    ast::Statement::Set(_)
                        | ast::Statement::Reset(_)
                        | ast::Statement::Prepare { .. }
                        | ast::Statement::Execute { .. }
                        | ast::Statement::Deallocate { .. }
                        | ast::Statement::Discard { .. }
                        | ast::Statement::Explain { .. }
                        | ast::Statement::Copy { to: true, .. }
                )
            ),
        };
        writes.then(|| statement.verb())
    }
}

fn no_chain(what: &str) -> Result<Outcome, SqlError> {
    let message = format!("{what} AND CHAIN can only be used in transaction blocks");
    Err(SqlError::new(code::NO_ACTIVE_SQL_TRANSACTION, message))
}
