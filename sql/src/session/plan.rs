//! From a statement to what executes it.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{self, FromTable, SetExpr, TableWithJoins};

use super::statement::{Statement, StatementKind};
use super::{Column, SessionView, Source};
use crate::bind::{BindError, BindResult, Binder, ParamTypes, Scope};
use crate::catalog::{Catalog, RelationRef, Table};
use crate::dml::change::{ChangePlan, not_a_table};
use crate::dml::insert::{InsertPlan, query_of, target_name};
use crate::dml::joined::{Joined, JoinedPlan};
use crate::dml::values::as_query;
use crate::error::SqlError;
use crate::fastpath::select::{SelectPlan, plain_table, undefined_table};
use crate::memory::ClientMemory;
use crate::node::{SessionSequences, Shared};
use crate::pg_catalog;
use crate::query::QueryContext;
use crate::scalar::Sequences;
use crate::stack::{contained_async, with_room};
use crate::types::PgType;

/// What executes a statement.
#[derive(Clone)]
pub(crate) enum Plan {
    /// Nothing.
    Empty,
    /// Read from the statement itself when executed: DDL, SET, SHOW, transaction control, COPY.
    Utility,
    Rows(Source),
    Insert(Arc<InsertPlan>),
    Change(Arc<ChangePlan>, &'static str),
    Joined(Arc<JoinedPlan>, &'static str),
}

/// A plan, and what it was made for.
pub(crate) struct Planned {
    pub plan: Plan,
    pub params: Vec<PgType>,
    pub columns: Option<Arc<[Column]>>,
    /// The tables it uses, by ID.
    pub tables: Vec<u32>,
    /// The catalog it was bound to; 0 for a catalog that is not committed.
    pub catalog_version: u64,
    /// The session's settings it was bound to.
    pub settings_version: u64,
    /// How deep its statement nests.
    pub levels: usize,
}

impl Drop for Planned {
    fn drop(&mut self) {
        let plan = std::mem::replace(&mut self.plan, Plan::Empty);
        with_room(self.levels, || drop(plan));
    }
}

impl std::fmt::Debug for Planned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Planned").field("tables", &self.tables).finish_non_exhaustive()
    }
}

/// What statements are planned in.
pub(crate) struct Planner<'a> {
    pub shared: &'a Arc<Shared>,
    pub catalog: &'a Arc<Catalog>,
    pub view: &'a Arc<SessionView>,
    pub sequences: &'a Arc<Sequences>,
    pub memory: &'a ClientMemory,
    pub settings_version: u64,
}

impl Planner<'_> {
    /// Plans a statement of a long text, apart from what serves clients.
    pub async fn plan_apart(&self, statement: &Statement, given: &[Option<PgType>]) -> Result<Planned, SqlError> {
        let (shared, catalog, view) = (self.shared.clone(), self.catalog.clone(), self.view.clone());
        let (sequences, memory, settings_version) =
            (self.sequences.clone(), self.memory.clone(), self.settings_version);
        let (statement, given) = (statement.clone(), given.to_vec());
        let planned = async move {
            let (shared, catalog, view, sequences, memory) = (&shared, &catalog, &view, &sequences, &memory);
            Planner { shared, catalog, view, sequences, memory, settings_version }.plan(&statement, &given).await
        };
        self.shared.apart.run(planned).await
    }

    /// Plans a statement.
    pub async fn plan(&self, statement: &Statement, given: &[Option<PgType>]) -> Result<Planned, SqlError> {
        contained_async(statement.levels(), Box::pin(self.bound(statement, given))).await
    }

    async fn bound(&self, statement: &Statement, given: &[Option<PgType>]) -> Result<Planned, SqlError> {
        let mut params = ParamTypes::given(given);
        let (plan, columns) = match &**statement.kind {
            StatementKind::Empty => (Plan::Empty, None),
            StatementKind::Sql(ast::Statement::Query(query)) => {
                let source = self.source(query, statement, &mut params).await?;
                let columns = source.columns();
                (Plan::Rows(source), Some(columns))
            }
            StatementKind::Sql(ast::Statement::Insert(insert)) => self.insert(insert, statement, &mut params).await?,
            StatementKind::Sql(ast::Statement::Update(update)) => {
                let (table, alias) = self.target(&update.table, statement, &mut params)?;
                let bound = self.try_binding(statement, &mut params, |binder| {
                    ChangePlan::bind_update(update, &table, &alias, binder)
                })?;
                match bound {
                    Some(plan) => self.change(plan, "UPDATE"),
                    None => {
                        let joined = Joined::update(update, &table, &alias)?;
                        self.joined(&joined, &table, statement, &mut params, "UPDATE").await?
                    }
                }
            }
            StatementKind::Sql(ast::Statement::Delete(delete)) => {
                let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
                let [from] = &from[..] else { return Err(SqlError::unsupported("DELETE from several tables")) };
                let (table, alias) = self.target(from, statement, &mut params)?;
                let bound = self.try_binding(statement, &mut params, |binder| {
                    ChangePlan::bind_delete(delete, &table, &alias, binder)
                })?;
                match bound {
                    Some(plan) => self.change(plan, "DELETE"),
                    None => {
                        let joined = Joined::delete(delete, from, &alias);
                        self.joined(&joined, &table, statement, &mut params, "DELETE").await?
                    }
                }
            }
            _ => (Plan::Utility, super::utility::columns(statement)),
        };
        let tables = match &plan {
            Plan::Empty | Plan::Utility => Vec::new(),
            Plan::Rows(source) => source.tables(),
            Plan::Insert(plan) => plan.tables(),
            Plan::Change(plan, _) => vec![plan.table.id],
            Plan::Joined(plan, _) => plan.tables(),
        };
        Ok(Planned {
            plan,
            params: params.finish()?,
            columns,
            tables,
            catalog_version: self.catalog.version,
            settings_version: self.settings_version,
            levels: statement.levels(),
        })
    }

    fn change(&self, plan: ChangePlan, word: &'static str) -> (Plan, Option<Arc<[Column]>>) {
        let columns = plan.returning.as_ref().map(|output| output.columns.clone());
        (Plan::Change(Arc::new(plan), word), columns)
    }

    async fn insert(
        &self,
        insert: &ast::Insert,
        statement: &Statement,
        params: &mut ParamTypes,
    ) -> Result<(Plan, Option<Arc<[Column]>>), SqlError> {
        let table = self.table(&target_name(insert)?)?;
        let plan = match query_of(insert) {
            Some(_) => self.insert_query(insert, &table, statement, params).await?,
            None => {
                let bind = |binder: &mut Binder<'_>| InsertPlan::bind(insert, &table, None, binder);
                match self.try_binding(statement, params, bind)? {
                    Some(plan) => plan,
                    None => match as_query(insert, &table)? {
                        Some(insert) => self.insert_query(&insert, &table, statement, params).await?,
                        None => self.binding(statement, params, bind)?,
                    },
                }
            }
        };
        let columns = plan.returning.as_ref().map(|output| output.columns.clone());
        Ok((Plan::Insert(Arc::new(plan)), columns))
    }

    /// Plans an INSERT of a query's rows.
    async fn insert_query(
        &self,
        insert: &ast::Insert,
        table: &Arc<Table>,
        statement: &Statement,
        params: &mut ParamTypes,
    ) -> Result<InsertPlan, SqlError> {
        let source = match insert.source.as_deref() {
            Some(query) => Some(self.source(query, statement, params).await?),
            None => None,
        };
        self.binding(statement, params, |binder| InsertPlan::bind(insert, table, source, binder))
    }

    /// Plans a query: on the table's keys where that is all there is to it, else by the planner of queries.
    pub async fn source(
        &self,
        query: &ast::Query,
        statement: &Statement,
        params: &mut ParamTypes,
    ) -> Result<Source, SqlError> {
        refuse_locks(query)?;
        let mut tried = params.clone();
        let scope = Scope::default();
        let mut binder = Binder::new(self.catalog, self.view, &scope, &statement.text, &mut tried);
        let bound = SelectPlan::bind(query, &mut binder);
        match bound {
            Ok(plan) if plan.source.as_ref().is_none_or(|(_, access)| access.is_narrow()) => {
                *params = tried;
                Ok(Source::Select(Arc::new(plan)))
            }
            Err(BindError::Sql(error)) => Err(error),
            _ => {
                let context = QueryContext {
                    transaction: None,
                    catalog: self.catalog.clone(),
                    params: Arc::from([]),
                    session: self.view.clone(),
                    sequences: SessionSequences {
                        node: self.shared.sequences.clone(),
                        session: self.sequences.clone(),
                    },
                    memory: self.memory.clone(),
                };
                let plan = self.shared.planner.plan(&pg_catalog::simplify(query), params.known(), &context).await?;
                for (number, ty) in plan.params().iter().enumerate() {
                    params.infer(number, *ty);
                }
                Ok(Source::Query(plan))
            }
        }
    }

    async fn joined(
        &self,
        joined: &Joined<'_>,
        table: &Arc<Table>,
        statement: &Statement,
        params: &mut ParamTypes,
        word: &'static str,
    ) -> Result<(Plan, Option<Arc<[Column]>>), SqlError> {
        let text = joined.query(table);
        let parsed = super::parse::parse(&text)?;
        let Some(ast::Statement::Query(query)) = parsed.first().and_then(|parsed| parsed.ast()) else {
            return Err(SqlError::internal("an UPDATE or DELETE made no query"));
        };
        let catalog = Arc::new(shown_whole(self.catalog, table));
        let whole = Planner { catalog: &catalog, ..*self };
        let source = whole.source(query, &parsed[0], params).await?;
        let plan = self.binding(statement, params, |binder| joined.bind(table, source.clone(), binder))?;
        let columns = plan.returning.as_ref().map(|output| output.columns.clone());
        Ok((Plan::Joined(Arc::new(plan), word), columns))
    }

    /// The table that an UPDATE or DELETE changes, and what the statement calls it.
    fn target(
        &self,
        from: &TableWithJoins,
        statement: &Statement,
        params: &mut ParamTypes,
    ) -> Result<(Arc<Table>, String), SqlError> {
        self.binding(statement, params, |binder| target(from, binder))
    }

    /// Binds without the planner of queries; `None` when only that can, and there is one.
    fn try_binding<T>(
        &self,
        statement: &Statement,
        params: &mut ParamTypes,
        bind: impl FnOnce(&mut Binder<'_>) -> BindResult<T>,
    ) -> Result<Option<T>, SqlError> {
        let mut tried = params.clone();
        let scope = Scope::default();
        let mut binder = Binder::new(self.catalog, self.view, &scope, &statement.text, &mut tried);
        match bind(&mut binder) {
            Ok(bound) => {
                *params = tried;
                Ok(Some(bound))
            }
            Err(BindError::Elsewhere(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn binding<T>(
        &self,
        statement: &Statement,
        params: &mut ParamTypes,
        bind: impl FnOnce(&mut Binder<'_>) -> BindResult<T>,
    ) -> Result<T, SqlError> {
        let scope = Scope::default();
        let mut binder = Binder::new(self.catalog, self.view, &scope, &statement.text, params);
        Ok(bind(&mut binder)?)
    }

    /// The table of a possibly qualified name.
    pub fn table(&self, parts: &[String]) -> Result<Arc<Table>, SqlError> {
        find_table(self.catalog, self.view, parts)
    }
}

/// The catalog with a table's hidden row ID shown, so that a query can ask for it.
fn shown_whole(catalog: &Catalog, table: &Table) -> Catalog {
    let mut catalog = catalog.clone();
    let mut descriptor = table.descriptor().clone();
    descriptor.columns.iter_mut().for_each(|column| column.hidden = false);
    catalog.insert_table(Arc::new(Table::new(descriptor, table.valid_from)));
    catalog
}

/// The table of a possibly qualified name.
pub(crate) fn find_table(catalog: &Catalog, view: &SessionView, parts: &[String]) -> Result<Arc<Table>, SqlError> {
    let names: Vec<&str> = parts.iter().map(String::as_str).collect();
    let name = || parts.join(".");
    match catalog.resolve(view.database_id, &view.search_path, &names)? {
        Some(RelationRef::Table(id)) => catalog.table(id).cloned().ok_or_else(|| undefined_table(&name())),
        Some(_) => Err(not_a_table(&name())),
        None => Err(undefined_table(&name())),
    }
}

/// The table that an UPDATE or DELETE changes.
fn target(from: &TableWithJoins, binder: &Binder<'_>) -> BindResult<(Arc<Table>, String)> {
    if !from.joins.is_empty() {
        return Err(BindError::Sql(SqlError::syntax("a join cannot be changed")));
    }
    plain_table(&from.relation, binder)
}

fn refuse_locks(query: &ast::Query) -> Result<(), SqlError> {
    match query.locks.first() {
        Some(lock) => Err(SqlError::unsupported(format!("SELECT … {lock}"))),
        None => match &*query.body {
            SetExpr::Query(inner) => refuse_locks(inner),
            _ => Ok(()),
        },
    }
}
