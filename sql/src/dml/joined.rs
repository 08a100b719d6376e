//! UPDATE and DELETE whose rows only a query can find: subqueries, FROM and USING, functions of every kind.
//!
//! ```text
//!   UPDATE t SET c = e FROM u WHERE w  ─▶  SELECT t.key…, e… FROM t, u WHERE w  ─▶ rows locked by key, changed, written
//! ```
//!
//! A row that the query finds twice is changed once, by whichever came first.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::sql::sqlparser::ast::{self, AssignmentTarget, Expr, TableFactor, TableWithJoins, UpdateTableFromKind};
use txn::LockStrength;

use super::change::Changed;
use super::codec::{decode_row, row_key};
use super::insert::{bind_returning, find_column, is_default};
use super::rules::{Rules, default_of, refuse_generated_update};
use crate::bind::{BindResult, Binder, Bound, ScopeColumn, name_parts, normalize};
use crate::catalog::Table;
use crate::error::SqlError;
use crate::fastpath::select::Output;
use crate::scalar::{EvalContext, Scalar};
use crate::session::{Column, Row, Running, Source};
use crate::types::{Datum, format_type};

/// Rows changed at a time.
const BATCH_ROWS: usize = 1024;

/// Before a table's name: a column of the query, of no use itself, that says whose columns come next.
const OF_TABLE: &str = "columns of ";

/// What an UPDATE or DELETE says, as far as it matters here.
pub(crate) struct Joined<'a> {
    /// The table's name or alias in the statement.
    pub alias: &'a str,
    /// The table as the statement writes it.
    pub target: String,
    /// The other tables.
    pub others: Vec<&'a TableWithJoins>,
    pub selection: Option<&'a Expr>,
    /// Column and expression of each assignment; none for DELETE.
    pub assignments: Option<Vec<(usize, &'a Expr)>>,
    pub returning: Option<&'a [ast::SelectItem]>,
}

/// A bound UPDATE or DELETE over a query.
pub(crate) struct JoinedPlan {
    pub table: Arc<Table>,
    source: Source,
    update: Option<(Vec<(usize, Scalar)>, Rules)>,
    /// Where in the query's rows the other tables' columns begin.
    others_from: usize,
    pub returning: Option<Output>,
}

impl<'a> Joined<'a> {
    /// Reads an UPDATE.
    pub fn update(update: &'a ast::Update, table: &Table, alias: &'a str) -> Result<Joined<'a>, SqlError> {
        let others = match &update.from {
            None => Vec::new(),
            Some(UpdateTableFromKind::AfterSet(from) | UpdateTableFromKind::BeforeSet(from)) => from.iter().collect(),
        };
        let mut assignments = Vec::with_capacity(update.assignments.len());
        for assignment in &update.assignments {
            match (&assignment.target, &assignment.value) {
                (AssignmentTarget::ColumnName(name), value) => assignments.push((position(table, name)?, value)),
                (AssignmentTarget::Tuple(names), Expr::Tuple(values)) if names.len() == values.len() => {
                    for (name, value) in names.iter().zip(values) {
                        assignments.push((position(table, name)?, value));
                    }
                }
                _ => return Err(SqlError::unsupported("an assignment of a subquery to several columns")),
            }
        }
        Ok(Joined {
            alias,
            target: update.table.to_string(),
            others,
            selection: update.selection.as_ref(),
            assignments: Some(assignments),
            returning: update.returning.as_deref(),
        })
    }

    /// Reads a DELETE.
    pub fn delete(delete: &'a ast::Delete, target: &TableWithJoins, alias: &'a str) -> Joined<'a> {
        Joined {
            alias,
            target: target.to_string(),
            others: delete.using.iter().flatten().collect(),
            selection: delete.selection.as_ref(),
            assignments: None,
            returning: delete.returning.as_deref(),
        }
    }

    /// The query that finds the rows: the key's columns, then what is assigned.
    pub fn query(&self, table: &Table) -> String {
        let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let mut items: Vec<String> = table
            .primary_positions
            .iter()
            .map(|at| format!("{}.{}", quote(self.alias), quote(&table.columns[*at].name)))
            .collect();
        for (position, value) in self.computed() {
            let column = &table.columns[position];
            // A parameter or literal takes the column's type.
            items.push(match value {
                Expr::Value(_) => format!("CAST({value} AS {})", format_type(column.ty, column.typmod)),
                _ => value.to_string(),
            });
        }
        for factor in self.returned_factors() {
            items.push(format!("NULL AS {}", quote(&format!("{OF_TABLE}{factor}"))));
            items.push(format!("{}.*", quote(&factor)));
        }
        let mut from = vec![self.target.clone()];
        from.extend(self.others.iter().map(ToString::to_string));
        let condition = self.selection.map(|condition| format!(" WHERE {condition}")).unwrap_or_default();
        format!("SELECT {} FROM {}{condition}", items.join(", "), from.join(", "))
    }

    /// The names of the other tables, if RETURNING may want their columns.
    fn returned_factors(&self) -> Vec<String> {
        if self.returning.is_none() {
            return Vec::new();
        }
        let joined = |from: &'a TableWithJoins| {
            std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation))
        };
        self.others.iter().flat_map(|from| joined(from)).filter_map(factor_name).collect()
    }

    fn computed(&self) -> impl Iterator<Item = (usize, &'a Expr)> + '_ {
        self.assignments.iter().flatten().copied().filter(|(_, value)| !is_default(value))
    }

    /// Binds the rest of the statement to the planned query.
    pub fn bind(&self, table: &Arc<Table>, source: Source, binder: &mut Binder<'_>) -> BindResult<JoinedPlan> {
        let columns = source.columns();
        let mut next = table.primary_positions.len();
        let update = match &self.assignments {
            None => None,
            Some(assignments) => {
                let mut set = Vec::with_capacity(assignments.len());
                for (position, value) in assignments {
                    let column = &table.columns[*position];
                    let scalar = if is_default(value) {
                        default_of(column, binder.catalog, binder.view)?
                    } else {
                        refuse_generated_update(column)?;
                        let given = &columns[next];
                        let bound = Bound { scalar: Scalar::Column(next), ty: given.ty, typmod: given.typmod };
                        next += 1;
                        binder.assign(bound, &column.name, column.ty, column.typmod)?
                    };
                    set.push((*position, scalar));
                }
                Some((set, Rules::bind(table, binder.catalog, binder.view)?))
            }
        };
        let others = others_scope(&columns[next..]);
        let returning = bind_returning(self.returning, table, Some(self.alias), others, binder)?;
        Ok(JoinedPlan { table: table.clone(), source, update, others_from: next, returning })
    }
}

/// What a table of FROM or USING is called; none for what has no name of its own.
fn factor_name(factor: &TableFactor) -> Option<String> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. }
        | TableFactor::UNNEST { alias: Some(alias), .. } => Some(normalize(&alias.name)),
        TableFactor::Table { name, .. } => name_parts(name).ok()?.pop(),
        _ => None,
    }
}

/// The other tables' columns as the query yields them, each table's behind a column that names it.
fn others_scope(columns: &[Column]) -> Vec<ScopeColumn> {
    let mut qualifier = String::new();
    let scoped = columns.iter().map(|column| {
        let table = column.name.strip_prefix(OF_TABLE);
        if let Some(table) = table {
            qualifier = table.to_owned();
        }
        ScopeColumn {
            qualifier: qualifier.clone(),
            name: column.name.clone(),
            ty: column.ty,
            typmod: column.typmod,
            hidden: table.is_some(),
        }
    });
    scoped.collect()
}

fn position(table: &Table, name: &ast::ObjectName) -> Result<usize, SqlError> {
    find_column(table, &name_parts(name)?.pop().unwrap_or_default())
}

impl JoinedPlan {
    /// The tables it reads and writes.
    pub fn tables(&self) -> Vec<u32> {
        let mut tables = self.source.tables();
        tables.push(self.table.id);
        tables
    }

    /// Executes it.
    pub async fn execute(&self, running: &Running) -> Result<Changed, SqlError> {
        // All rows are found before the first is written: the query must not meet what the statement writes.
        let (found, _held) = self.source.execute(running).await?.keep(&running.memory).await?.into_parts();
        let mut changed = Changed::nothing(running);
        let mut seen = BTreeSet::new();
        for rows in found.chunks(BATCH_ROWS) {
            let mut keys: Vec<Bytes> = Vec::with_capacity(rows.len());
            let mut inputs: Vec<&Row> = Vec::with_capacity(rows.len());
            for row in rows {
                let mut whole = vec![Datum::Null; self.table.columns.len()];
                for (value, position) in row.iter().zip(&self.table.primary_positions) {
                    whole[*position] = value.clone();
                }
                let key = row_key(&self.table, &whole)?;
                if seen.insert(key.clone()) {
                    keys.push(key);
                    inputs.push(row);
                }
            }
            self.change(running, keys, inputs, &mut changed).await?;
        }
        Ok(changed)
    }

    async fn change(
        &self,
        running: &Running,
        keys: Vec<Bytes>,
        inputs: Vec<&Row>,
        changed: &mut Changed,
    ) -> Result<(), SqlError> {
        if keys.is_empty() {
            return Ok(());
        }
        let context = running.eval_context();
        let writer = running.writer(&self.table);
        let values = running.transaction.get_many(keys.clone(), LockStrength::Exclusive).await?;
        let mut changes = Vec::with_capacity(keys.len());
        let mut changed_by = Vec::with_capacity(keys.len());
        if let Some((set, _)) = &self.update {
            running.prepare_sequences(set.iter().map(|(_, scalar)| scalar), keys.len()).await?;
        }
        for ((key, value), input) in keys.into_iter().zip(values).zip(inputs) {
            let Some(value) = value else { continue };
            let old = decode_row(&self.table, &value)?;
            changed.rows += 1;
            let Some((set, rules)) = &self.update else {
                writer.delete(&key, &old).await?;
                self.note_returned(old, input, &context, changed)?;
                continue;
            };
            let mut new = old.clone();
            for (position, scalar) in set {
                new[*position] = scalar.eval(&EvalContext { row: input, ..context })?;
            }
            rules.verify(&self.table, &EvalContext { row: &new, ..context })?;
            changes.push((key, old, new));
            changed_by.push(input);
        }
        writer.update(&changes).await?;
        for ((_, _, new), input) in changes.into_iter().zip(changed_by) {
            self.note_returned(new, input, &context, changed)?;
        }
        Ok(())
    }

    /// RETURNING's row: over the row as it is or was, and the other tables' columns that it was found with.
    fn note_returned(
        &self,
        mut row: Row,
        input: &Row,
        context: &EvalContext<'_>,
        changed: &mut Changed,
    ) -> Result<(), SqlError> {
        if let Some(returning) = &self.returning {
            row.extend_from_slice(&input[self.others_from..]);
            changed.returned.push(returning.row(&EvalContext { row: &row, ..*context })?)?;
        }
        Ok(())
    }
}
