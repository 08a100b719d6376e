//! Statements that are executed as they are read: SET and SHOW, PREPARE and EXECUTE, DDL, EXPLAIN.

mod cluster;
mod show;

pub(super) use show::tell_commit;

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{self, Expr};

use super::settings::boolean;
use super::statement::{Statement, StatementKind};
use super::{Column, Outcome, Prepared, RowStream, RowsTag, Session};
use crate::bind::{Binder, ParamTypes, Scope, normalize};
use crate::error::{SqlError, code};
use crate::pg_catalog;
use crate::types::{Datum, PgType, from_sqlparser};

/// What the rows of a utility statement consist of; `None` when it has none.
pub(super) fn columns(statement: &Statement) -> Option<Arc<[Column]>> {
    let texts = |names: &[&str]| -> Option<Arc<[Column]>> {
        Some(names.iter().map(|name| Column::computed(*name, PgType::Text)).collect())
    };
    match &**statement.kind {
        StatementKind::ShowSetting { .. }
        | StatementKind::ShowObjects { .. }
        | StatementKind::ShowRanges { .. }
        | StatementKind::ShowNodes => show::columns(&statement.kind),
        StatementKind::CheckReplicas { .. }
        | StatementKind::ShowClusterSettings { .. }
        | StatementKind::ExplainRange { .. } => cluster::columns(&statement.kind),
        StatementKind::Sql(ast::Statement::Explain { .. }) => texts(&["QUERY PLAN"]),
        _ => None,
    }
}

impl Session {
    /// Executes a statement that has no plan.
    pub(super) async fn run_utility(
        &mut self,
        statement: &Statement,
        params: &Arc<[Datum]>,
    ) -> Result<Outcome, SqlError> {
        match &**statement.kind {
            StatementKind::Empty => Ok(Outcome::Empty),
            StatementKind::Ignored { tag, notice } => {
                if let Some(notice) = notice {
                    self.notice(format!("{tag} does nothing: {notice}"));
                }
                done(*tag)
            }
            StatementKind::SplitAt { table, rows } => self.split_at(statement, table, rows, params).await,
            StatementKind::Sql(sql) => self.run_sql_utility(statement, sql, params).await,
            kind @ (StatementKind::CheckReplicas { .. }
            | StatementKind::ShowClusterSettings { .. }
            | StatementKind::ExplainRange { .. }
            | StatementKind::SetClusterSetting { .. }) => self.run_cluster_statement(kind).await,
            kind => self.show(kind).await,
        }
    }

    fn run_discard(&mut self, what: &ast::DiscardObject) -> Result<Outcome, SqlError> {
        if matches!(what, ast::DiscardObject::ALL) {
            if self.open.explicit {
                let message = "DISCARD ALL cannot run inside a transaction block";
                return Err(SqlError::new(code::ACTIVE_SQL_TRANSACTION, message));
            }
            self.settings.reset_all(&mut self.parameter_changes)?;
            self.prepared.clear();
            self.sequences = Arc::default();
        }
        done(format!("DISCARD {what}"))
    }

    async fn run_sql_utility(
        &mut self,
        statement: &Statement,
        sql: &ast::Statement,
        params: &Arc<[Datum]>,
    ) -> Result<Outcome, SqlError> {
        match sql {
            ast::Statement::Set(set) => {
                let done = self.set(set)?;
                self.hold_settings()?;
                Ok(done)
            }
            ast::Statement::Reset(reset) => {
                match &reset.reset {
                    ast::Reset::ALL => self.settings.reset_all(&mut self.parameter_changes)?,
                    ast::Reset::ConfigurationParameter(name) => {
                        self.settings.set(&plain(name), None, false, &mut self.parameter_changes)?;
                    }
                }
                done("RESET")
            }
            ast::Statement::Discard { object_type } => self.run_discard(object_type),
            ast::Statement::Prepare { name, data_types, statement: inner } => {
                let given = data_types
                    .iter()
                    .map(|data_type| from_sqlparser(data_type).map(|(ty, _)| Some(ty)))
                    .collect::<Result<Vec<_>, _>>()?;
                if !can_be_prepared(inner) {
                    return Err(SqlError::syntax(
                        "only SELECT, VALUES, INSERT, UPDATE and DELETE can be prepared by name",
                    )
                    .hint("Over the protocol, drivers prepare any statement."));
                }
                let inner = statement.inner((**inner).clone());
                let planned = self.plan(&inner, &given).await?;
                self.handle().await?;
                self.store_prepared(&normalize(name), Arc::new(Prepared::new(inner, &given, planned)))?;
                done("PREPARE")
            }
            ast::Statement::Execute { name: Some(name), parameters, .. } => {
                let prepared = self.prepared(&plain(name))?;
                let params = self.execute_arguments(statement, &prepared, parameters)?;
                Box::pin(self.run_nested(&prepared, params)).await
            }
            ast::Statement::Deallocate { name, .. } => {
                if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("all") {
                    self.prepared.clear();
                    return done("DEALLOCATE ALL");
                }
                let name = normalize(name);
                self.prepared(&name)?;
                self.close_prepared(&name);
                done("DEALLOCATE")
            }
            ast::Statement::Explain { statement: inner, analyze, verbose, options, .. } => {
                let options = options.as_deref().unwrap_or_default();
                if let Some(format) = explain_option(options, "format").filter(|format| format != "text") {
                    return Err(SqlError::unsupported(format!("EXPLAIN (FORMAT {format})")));
                }
                let is_on =
                    |name| explain_option(options, name).is_some_and(|value| !matches!(&*value, "false" | "off" | "0"));
                let (analyze, verbose) = (*analyze || is_on("analyze"), *verbose || is_on("verbose"));
                Box::pin(self.explain(statement.inner((**inner).clone()), analyze, verbose, params)).await
            }
            ast::Statement::Lock(_) | ast::Statement::LockTables { .. } => Err(SqlError::unsupported("LOCK TABLE")),
            ast::Statement::Grant(_) => Err(SqlError::unsupported("GRANT")),
            ast::Statement::Revoke(_) => Err(SqlError::unsupported("REVOKE")),
            ast::Statement::Comment { .. } => Err(SqlError::unsupported("COMMENT ON")),
            _ => self.run_ddl(statement, sql, params).await,
        }
    }

    fn set(&mut self, set: &ast::Set) -> Result<Outcome, SqlError> {
        match set {
            ast::Set::SingleAssignment { scope, variable, values, .. } => {
                let local = matches!(scope, Some(ast::ContextModifier::Local));
                let name = plain(variable);
                let value = match &values[..] {
                    [Expr::Identifier(word)] if word.value.eq_ignore_ascii_case("default") => None,
                    values => {
                        Some(values.iter().map(|value| setting_text(value, &name)).collect::<Vec<_>>().join(", "))
                    }
                };
                if name == "role" || name == "session_authorization" {
                    self.stay_in_role(value.filter(|value| name != "role" || value != "none"))?;
                    return done("SET");
                }
                if name == "transaction_read_only" {
                    return self.set_read_only(value.as_deref());
                }
                self.settings.set(&name, value.as_deref(), local, &mut self.parameter_changes)?;
                if name == "transaction_isolation" || name == "default_transaction_isolation" {
                    let asked = value.as_deref().unwrap_or("serializable").to_lowercase();
                    if asked != "serializable" {
                        self.notice(format!("isolation level {} runs as SERIALIZABLE", asked.to_uppercase()));
                    }
                }
            }
            ast::Set::SetTimeZone { local, value } => {
                let value = setting_text(value, "timezone");
                let value = if value.eq_ignore_ascii_case("local") || value.eq_ignore_ascii_case("default") {
                    None
                } else {
                    Some(value)
                };
                self.settings.set("TimeZone", value.as_deref(), *local, &mut self.parameter_changes)?;
            }
            ast::Set::SetNames { charset_name, .. } => {
                let name = charset_name.value.clone();
                self.settings.set("client_encoding", Some(&name), false, &mut self.parameter_changes)?;
            }
            ast::Set::SetTransaction { snapshot: Some(_), .. } => {
                return Err(SqlError::unsupported("SET TRANSACTION SNAPSHOT"));
            }
            ast::Set::SetTransaction { modes, session: true, .. } => self.set_default_modes(modes)?,
            ast::Set::SetTransaction { modes, .. } => self.set_modes(modes)?,
            ast::Set::SetRole { role_name, .. } => self.stay_in_role(role_name.as_ref().map(normalize))?,
            ast::Set::SetSessionAuthorization(wanted) => match &wanted.kind {
                ast::SetSessionAuthorizationParamKind::Default => {}
                ast::SetSessionAuthorizationParamKind::User(role) => self.stay_in_role(Some(normalize(role)))?,
            },
            other => return Err(SqlError::unsupported(other)),
        }
        done("SET")
    }

    /// SET transaction_read_only, which means something within a transaction.
    fn set_read_only(&mut self, value: Option<&str>) -> Result<Outcome, SqlError> {
        let default = self.settings.read_only_by_default();
        let read_only = value.map_or(Ok(default), |value| boolean("transaction_read_only", value))?;
        if self.open.explicit {
            let mode =
                if read_only { ast::TransactionAccessMode::ReadOnly } else { ast::TransactionAccessMode::ReadWrite };
            self.set_modes(&[ast::TransactionMode::AccessMode(mode)])?;
        }
        done("SET")
    }

    /// SET SESSION CHARACTERISTICS: for the transactions to come.
    fn set_default_modes(&mut self, modes: &[ast::TransactionMode]) -> Result<(), SqlError> {
        for mode in modes {
            match mode {
                ast::TransactionMode::AccessMode(access) => {
                    let value = if *access == ast::TransactionAccessMode::ReadOnly { "on" } else { "off" };
                    let changes = &mut self.parameter_changes;
                    self.settings.set("default_transaction_read_only", Some(value), false, changes)?;
                }
                ast::TransactionMode::IsolationLevel(level) => self.tell_level(level),
            }
        }
        Ok(())
    }

    /// A session stays what it was opened as; `None` asks for just that.
    fn stay_in_role(&self, wanted: Option<String>) -> Result<(), SqlError> {
        let Some(wanted) = wanted else { return Ok(()) };
        if wanted == self.view().user {
            return Ok(());
        }
        if pg_catalog::role_id(&wanted).is_some() {
            return Err(SqlError::unsupported("SET ROLE to another role"));
        }
        Err(SqlError::new(code::INVALID_PARAMETER_VALUE, format!("role \"{wanted}\" does not exist")))
    }

    fn execute_arguments(
        &self,
        statement: &Statement,
        prepared: &Prepared,
        arguments: &[Expr],
    ) -> Result<Vec<Datum>, SqlError> {
        if arguments.len() != prepared.params.len() {
            return Err(SqlError::syntax("wrong number of parameters for prepared statement").detail(format!(
                "Expected {} parameters but got {}.",
                prepared.params.len(),
                arguments.len()
            )));
        }
        let running = self.running(Arc::from([]));
        let (mut params, scope) = (ParamTypes::default(), Scope::default());
        let mut binder = Binder::new(&running.catalog, &running.view, &scope, &statement.text, &mut params);
        let mut values = Vec::with_capacity(arguments.len());
        for (argument, ty) in arguments.iter().zip(&prepared.params) {
            let scalar = binder.bind_assigned(argument, "parameter", *ty, -1)?;
            values.push(scalar.eval(&running.eval_context())?);
        }
        Ok(values)
    }

    /// Executes a prepared statement as part of the one in hand.
    async fn run_nested(&mut self, prepared: &Arc<Prepared>, params: Vec<Datum>) -> Result<Outcome, SqlError> {
        let planned = self.plan(&prepared.statement, &prepared.given).await?;
        self.handle().await?;
        self.use_tables(&planned.tables).await?;
        self.run(&planned, &prepared.statement, &params.into()).await
    }

    async fn explain(
        &mut self,
        statement: Statement,
        analyze: bool,
        verbose: bool,
        params: &Arc<[Datum]>,
    ) -> Result<Outcome, SqlError> {
        let planned = self.plan(&statement, &[]).await?;
        self.handle().await?;
        self.use_tables(&planned.tables).await?;
        let lines = show::explain(self, &planned, &statement, analyze, verbose, params).await?;
        let rows = lines.into_iter().map(|line| vec![Datum::Text(line)]).collect();
        Ok(Outcome::Rows {
            columns: Arc::from([Column::computed("QUERY PLAN", PgType::Text)]),
            rows: RowStream::few(rows),
            tag: RowsTag::Fixed("EXPLAIN"),
        })
    }
}

/// Whether PREPARE takes a statement.
fn can_be_prepared(statement: &ast::Statement) -> bool {
    use ast::Statement::{Delete, Insert, Query, Update};
    matches!(statement, Query(_) | Insert(_) | Update(_) | Delete(_))
}

/// A statement that has nothing to return.
pub(crate) fn done(tag: impl Into<String>) -> Result<Outcome, SqlError> {
    Ok(Outcome::Command { tag: tag.into() })
}

fn plain(name: &ast::ObjectName) -> String {
    name.0.iter().filter_map(|part| part.as_ident()).map(normalize).collect::<Vec<_>>().join(".")
}

/// A setting's value as text.
fn setting_text(value: &Expr, name: &str) -> String {
    match value {
        Expr::Value(value) => match value.value.clone().into_string() {
            // The schemas of a search path are names, and stay quoted as such.
            Some(text) if name == "search_path" && !text.is_empty() => format!("\"{text}\""),
            Some(text) => text,
            None => value.to_string(),
        },
        Expr::Identifier(ident) if name == "search_path" => ident.to_string(),
        Expr::Identifier(ident) => ident.value.clone(),
        other => other.to_string(),
    }
}

/// What an option of EXPLAIN was last set to, in lower case: nothing where it is only named; none where it is not.
fn explain_option(options: &[ast::UtilityOption], wanted: &str) -> Option<String> {
    let option = options.iter().rfind(|option| option.name.value.eq_ignore_ascii_case(wanted))?;
    let value = option.arg.as_ref().map(|value| value.to_string().trim_matches('\'').to_lowercase());
    Some(value.unwrap_or_default())
}
