//! SELECT on one table, or on none.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Ident, LimitClause, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr,
    TableFactor, Value,
};
use futures::stream;
use txn::{LockStrength, OwnWrites};

use super::access::Access;
use super::read::Reader;
use crate::bind::{BindError, BindResult, Binder, Scope, ScopeColumn, missing_from_entry, name_parts, normalize};
use crate::catalog::{RelationRef, Table};
use crate::error::{SqlError, code};
use crate::scalar::{EvalContext, Scalar};
use crate::select::column_name;
use crate::session::{Batch, Column, Row, RowStream, Running};
use crate::types::Datum;

/// A bound SELECT.
#[derive(Debug)]
pub(crate) struct SelectPlan {
    /// The table and how its rows are found; none for `SELECT 1`.
    pub source: Option<(Arc<Table>, Access)>,
    pub output: Output,
    limit: Option<u64>,
}

/// What a SELECT list or RETURNING yields.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub columns: Arc<[Column]>,
    pub scalars: Vec<Scalar>,
}

impl Output {
    /// Binds the items of a SELECT list. `table` is what `*` names, with its alias.
    pub fn bind(items: &[SelectItem], table: Option<(&Table, &str)>, binder: &mut Binder<'_>) -> BindResult<Output> {
        let mut columns = Vec::with_capacity(items.len());
        let mut scalars = Vec::with_capacity(items.len());
        for item in items {
            let (expr, alias) = match item {
                SelectItem::UnnamedExpr(expr) => (expr, None),
                SelectItem::ExprWithAlias { alias, .. } if alias.quote_style == Some('\'') => {
                    return Err(BindError::Sql(string_for_name(alias)));
                }
                SelectItem::ExprWithAlias { expr, alias } => (expr, Some(normalize(alias))),
                SelectItem::Wildcard(_) => {
                    let Some((table, _)) = table else {
                        return Err(BindError::Elsewhere("* without a table".into()));
                    };
                    for position in &table.visible_positions {
                        columns.push(table_column(table, *position, None));
                        scalars.push(Scalar::Column(*position));
                    }
                    // In RETURNING, the other tables' columns.
                    for (position, column) in binder.scope.columns.iter().enumerate().skip(table.columns.len()) {
                        if !column.hidden {
                            columns.push(scope_column(column));
                            scalars.push(Scalar::Column(position));
                        }
                    }
                    continue;
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    let parts = name_parts(name)?;
                    let ([qualifier], Some((table, _))) = (&parts[..], table) else {
                        return Err(BindError::Elsewhere(format!("the item {item}")));
                    };
                    let of_it = |column: &ScopeColumn| column.qualifier == *qualifier;
                    if !binder.scope.columns.iter().any(of_it) {
                        return Err(BindError::Sql(missing_from_entry(qualifier)));
                    }
                    for (position, column) in binder.scope.columns.iter().enumerate() {
                        if of_it(column) && !column.hidden {
                            columns.push(match position < table.columns.len() {
                                true => table_column(table, position, None),
                                false => scope_column(column),
                            });
                            scalars.push(Scalar::Column(position));
                        }
                    }
                    continue;
                }
                other => return Err(BindError::Elsewhere(format!("the item {other}"))),
            };
            let bound = binder.bind(expr)?;
            let bound = binder.settle(bound)?;
            let name = alias.unwrap_or_else(|| column_name(expr));
            columns.push(match (&bound.scalar, table) {
                (Scalar::Column(position), Some((table, _))) if *position < table.columns.len() => {
                    table_column(table, *position, Some(name))
                }
                _ => Column { typmod: bound.typmod, ..Column::computed(name, bound.ty) },
            });
            scalars.push(bound.scalar);
        }
        Ok(Output { columns: columns.into(), scalars })
    }

    /// The output for one row.
    pub fn row(&self, context: &EvalContext<'_>) -> Result<Row, SqlError> {
        self.scalars.iter().map(|scalar| scalar.eval(context)).collect()
    }

    /// The output for a row that is not needed afterwards: columns used once are moved, not copied.
    fn row_from(&self, mut row: Vec<Datum>, context: &EvalContext<'_>) -> Result<Row, SqlError> {
        let plain = self.scalars.iter().all(|scalar| matches!(scalar, Scalar::Column(_)));
        if !plain || self.scalars.len() > row.len() {
            return self.row(&EvalContext { row: &row, ..*context });
        }
        let mut out = Vec::with_capacity(self.scalars.len());
        for (at, scalar) in self.scalars.iter().enumerate() {
            let Scalar::Column(position) = scalar else { continue };
            let again = self.scalars[at + 1..].contains(scalar);
            out.push(if again { row[*position].clone() } else { std::mem::take(&mut row[*position]) });
        }
        Ok(out)
    }
}

fn scope_column(column: &ScopeColumn) -> Column {
    Column { typmod: column.typmod, ..Column::computed(&column.name, column.ty) }
}

/// A result column that is a table's.
pub(crate) fn table_column(table: &Table, position: usize, name: Option<String>) -> Column {
    let column = &table.columns[position];
    Column {
        name: name.unwrap_or_else(|| column.name.clone()),
        ty: column.ty,
        typmod: column.typmod,
        table_oid: table.id,
        column_number: i16::try_from(column.id).unwrap_or(0),
    }
}

/// The table a FROM item names, with its alias.
pub(crate) fn plain_table(factor: &TableFactor, binder: &Binder<'_>) -> BindResult<(Arc<Table>, String)> {
    let TableFactor::Table { name, alias, args: None, sample: None, version: None, .. } = factor else {
        return Err(BindError::Elsewhere("this FROM item".into()));
    };
    if alias.as_ref().is_some_and(|alias| !alias.columns.is_empty()) {
        return Err(BindError::Elsewhere("column aliases".into()));
    }
    let parts = name_parts(name)?;
    let names: Vec<&str> = parts.iter().map(String::as_str).collect();
    match binder.catalog.resolve_in_query(binder.view.database_id, &binder.view.search_path, &names)? {
        Some(RelationRef::Table(id)) => {
            let table = binder.catalog.table(id).ok_or_else(|| SqlError::internal("a name leads to no table"))?;
            let alias = alias.as_ref().map_or_else(|| table.name.clone(), |alias| normalize(&alias.name));
            Ok((table.clone(), alias))
        }
        Some(RelationRef::Sequence(_) | RelationRef::Index { .. }) | None => {
            Err(BindError::UnknownRelation(parts.join(".")))
        }
    }
}

impl SelectPlan {
    /// Binds a query, if it is of the kind served here.
    pub fn bind(query: &Query, binder: &mut Binder<'_>) -> BindResult<SelectPlan> {
        let elsewhere = || BindError::Elsewhere("this query".into());
        let SetExpr::Select(select) = &*query.body else { return Err(elsewhere()) };
        let simple_query = query.with.is_none()
            && query.order_by.is_none()
            && query.fetch.is_none()
            && query.locks.is_empty()
            && query.for_clause.is_none()
            && query.pipe_operators.is_empty();
        if !simple_query || !is_simple(select) {
            return Err(elsewhere());
        }
        let limit = limit_of(query.limit_clause.as_ref())?;
        let (source, table) = match &select.from[..] {
            [] => (None, None),
            [from] if from.joins.is_empty() => {
                let (table, alias) = plain_table(&from.relation, binder)?;
                let scope = Scope::of_table(&table, Some(&alias));
                let mut inner = binder.within(&scope);
                let condition =
                    select.selection.as_ref().map(|condition| inner.bind_condition(condition)).transpose()?;
                let output = Output::bind(&select.projection, Some((&table, &alias)), &mut inner)?;
                let access = Access::choose(&table, condition, binder.params);
                (Some((table, access)), Some(output))
            }
            _ => return Err(elsewhere()),
        };
        let output = match table {
            Some(output) => output,
            None if select.selection.is_some() => return Err(elsewhere()),
            None => Output::bind(&select.projection, None, binder)?,
        };
        Ok(SelectPlan { source, output, limit })
    }

    /// Executes it.
    pub async fn execute(self: &Arc<Self>, running: &Running) -> Result<RowStream, SqlError> {
        let context = running.eval_context();
        let Some((table, access)) = &self.source else {
            running.prepare_sequences(&self.output.scalars, 1).await?;
            let rows = if self.limit == Some(0) { vec![] } else { vec![self.output.row(&context)?] };
            return Ok(RowStream::ready(Batch::counted(rows, &running.memory)?));
        };
        let mut reader = Reader::new(table.clone(), access, &context, LockStrength::None, OwnWrites::All)?;
        if access.is_narrow() && self.limit.is_none() {
            let first = reader.next(&running.transaction, &context).await?.unwrap_or_default();
            running.prepare_sequences(&self.output.scalars, first.len()).await?;
            let mut rows = Vec::with_capacity(first.len());
            for found in first {
                rows.push(self.output.row_from(found.row, &context)?);
            }
            if access.is_point() {
                return Ok(RowStream::ready(Batch::counted(rows, &running.memory)?));
            }
            return Ok(self.stream(running, reader, rows));
        }
        Ok(self.stream(running, reader, Vec::new()))
    }

    /// The rows of `first`, then those the reader still has.
    fn stream(self: &Arc<Self>, running: &Running, reader: Reader, first: Vec<Row>) -> RowStream {
        let left = self.limit.unwrap_or(u64::MAX);
        let state = (self.clone(), running.clone(), reader, Some(first), left);
        RowStream::stream(stream::try_unfold(state, |(plan, running, mut reader, first, left)| async move {
            if left == 0 {
                return Ok(None);
            }
            if let Some(first) = first.filter(|first| !first.is_empty()) {
                let first = Batch::counted(first, &running.memory)?;
                return Ok(Some((first, (plan, running, reader, None, left))));
            }
            let context = running.eval_context();
            let Some(found) = reader.next(&running.transaction, &context).await? else { return Ok(None) };
            running.prepare_sequences(&plan.output.scalars, found.len()).await?;
            let mut rows = Vec::with_capacity(found.len());
            for one in found.into_iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
                rows.push(plan.output.row_from(one.row, &context)?);
            }
            let left = left - rows.len() as u64;
            let rows = Batch::counted(rows, &running.memory)?;
            Ok(Some((rows, (plan, running.clone(), reader, None, left))))
        }))
    }
}

fn is_simple(select: &Select) -> bool {
    select.distinct.is_none()
        && select.top.is_none()
        && select.into.is_none()
        && select.lateral_views.is_empty()
        && select.having.is_none()
        && select.named_window.is_empty()
        && select.qualify.is_none()
        && select.connect_by.is_empty()
        && matches!(&select.group_by, GroupByExpr::Expressions(by, modifiers) if by.is_empty() && modifiers.is_empty())
}

fn limit_of(clause: Option<&LimitClause>) -> BindResult<Option<u64>> {
    let elsewhere = || BindError::Elsewhere("this LIMIT".into());
    match clause {
        None => Ok(None),
        Some(LimitClause::LimitOffset { limit, offset: None, limit_by }) if limit_by.is_empty() => match limit {
            None => Ok(None),
            Some(Expr::Value(value)) => match &value.value {
                Value::Number(digits, _) => digits.parse().map(Some).map_err(|_| elsewhere()),
                Value::Null => Ok(None),
                _ => Err(elsewhere()),
            },
            Some(_) => Err(elsewhere()),
        },
        Some(_) => Err(elsewhere()),
    }
}

/// The error for a string literal where a column is given its name.
pub(crate) fn string_for_name(alias: &Ident) -> SqlError {
    SqlError::syntax(format!("syntax error at or near \"{alias}\""))
}

/// The error for a relation that is not there.
pub(crate) fn undefined_table(name: &str) -> SqlError {
    SqlError::new(code::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"))
}
