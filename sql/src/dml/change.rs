//! UPDATE and DELETE.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::sql::sqlparser::ast::{self, AssignmentTarget, Expr};
use txn::{LockStrength, OwnWrites};

use super::insert::{bind_returning, find_column, is_default};
use super::rules::{Rules, default_of, refuse_generated_update};
use crate::bind::{BindError, BindResult, Binder, Scope, name_parts};
use crate::catalog::Table;
use crate::error::{SqlError, code};
use crate::fastpath::access::{Access, Path};
use crate::fastpath::read::{FoundRow, Reader};
use crate::fastpath::select::Output;
use crate::scalar::{EvalContext, Scalar};
use crate::session::{KeptRows, Row, Running};
use crate::types::Datum;

/// What a statement that writes came to.
#[derive(Debug)]
pub(crate) struct Changed {
    /// Rows written.
    pub rows: u64,
    /// What RETURNING yields.
    pub returned: KeptRows,
}

impl Changed {
    /// Nothing yet.
    pub fn nothing(running: &Running) -> Self {
        Changed { rows: 0, returned: KeptRows::new(&running.memory) }
    }
}

/// SET: columns and what they become.
#[derive(Debug)]
pub(crate) struct Assignments {
    list: Vec<(usize, Scalar)>,
}

impl Assignments {
    /// Binds the assignments of an UPDATE, or of ON CONFLICT DO UPDATE. The table's columns come first in the scope.
    pub fn bind(
        assignments: &[ast::Assignment],
        table: &Table,
        alias: Option<&str>,
        binder: &mut Binder<'_>,
    ) -> BindResult<Assignments> {
        let mut list: Vec<(usize, Scalar)> = Vec::with_capacity(assignments.len());
        let mut add = |name: &ast::ObjectName, value: &Expr, binder: &mut Binder<'_>| -> BindResult<()> {
            let mut parts = name_parts(name)?;
            let column_name = parts.pop().unwrap_or_default();
            let _ = alias;
            let position = find_column(table, &column_name)?;
            let column = &table.columns[position];
            let scalar = if is_default(value) {
                default_of(column, binder.catalog, binder.view)?
            } else {
                refuse_generated_update(column)?;
                binder.bind_assigned(value, &column.name, column.ty, column.typmod)?
            };
            if list.iter().any(|(known, _)| *known == position) {
                return Err(BindError::Sql(SqlError::syntax(format!(
                    "multiple assignments to same column \"{column_name}\""
                ))));
            }
            list.push((position, scalar));
            Ok(())
        };
        for assignment in assignments {
            match (&assignment.target, &assignment.value) {
                (AssignmentTarget::ColumnName(name), value) => add(name, value, binder)?,
                (AssignmentTarget::Tuple(names), Expr::Tuple(values)) if names.len() == values.len() => {
                    for (name, value) in names.iter().zip(values) {
                        add(name, value, binder)?;
                    }
                }
                (AssignmentTarget::Tuple(_), _) => {
                    return Err(BindError::Elsewhere("an assignment of a subquery to several columns".into()));
                }
            }
        }
        Ok(Assignments { list })
    }

    /// The expressions.
    pub fn scalars(&self) -> Vec<Scalar> {
        self.list.iter().map(|(_, scalar)| scalar.clone()).collect()
    }

    /// The row as the assignments make it; the context's row is what the expressions see.
    pub fn apply(&self, mut old: Row, context: &EvalContext<'_>) -> Result<Row, SqlError> {
        let values: Vec<Datum> = self.list.iter().map(|(_, scalar)| scalar.eval(context)).collect::<Result<_, _>>()?;
        for ((position, _), value) in self.list.iter().zip(values) {
            old[*position] = value;
        }
        Ok(old)
    }

    fn draws_sequences(&self) -> bool {
        let mut found = Vec::new();
        self.list.iter().for_each(|(_, scalar)| scalar.sequences(&mut found));
        !found.is_empty()
    }

    fn touches(&self, positions: &[usize]) -> bool {
        self.list.iter().any(|(position, _)| positions.contains(position))
    }
}

/// A bound UPDATE or DELETE of one table.
pub(crate) struct ChangePlan {
    pub table: Arc<Table>,
    access: Access,
    /// None for DELETE.
    update: Option<(Assignments, Rules)>,
    pub returning: Option<Output>,
}

impl ChangePlan {
    /// Binds an UPDATE of one table.
    pub fn bind_update(
        update: &ast::Update,
        table: &Arc<Table>,
        alias: &str,
        binder: &mut Binder<'_>,
    ) -> BindResult<ChangePlan> {
        if update.from.is_some() {
            return Err(BindError::Elsewhere("UPDATE … FROM".into()));
        }
        let scope = Scope::of_table(table, Some(alias));
        let mut inner = binder.within(&scope);
        let assignments = Assignments::bind(&update.assignments, table, Some(alias), &mut inner)?;
        let access = bind_access(update.selection.as_ref(), table, &mut inner)?;
        let rules = Rules::bind(table, binder.catalog, binder.view)?;
        let returning = bind_returning(update.returning.as_deref(), table, Some(alias), Vec::new(), binder)?;
        Ok(ChangePlan { table: table.clone(), access, update: Some((assignments, rules)), returning })
    }

    /// Binds a DELETE from one table.
    pub fn bind_delete(
        delete: &ast::Delete,
        table: &Arc<Table>,
        alias: &str,
        binder: &mut Binder<'_>,
    ) -> BindResult<ChangePlan> {
        if delete.using.is_some() {
            return Err(BindError::Elsewhere("DELETE … USING".into()));
        }
        let scope = Scope::of_table(table, Some(alias));
        let mut inner = binder.within(&scope);
        let access = bind_access(delete.selection.as_ref(), table, &mut inner)?;
        let returning = bind_returning(delete.returning.as_deref(), table, Some(alias), Vec::new(), binder)?;
        Ok(ChangePlan { table: table.clone(), access, update: None, returning })
    }

    /// One line for EXPLAIN: how the rows are found.
    pub fn describe(&self) -> String {
        self.access.describe(&self.table)
    }

    /// Executes it.
    pub async fn execute(&self, running: &Running) -> Result<Changed, SqlError> {
        let context = running.eval_context();
        let mut reader = Reader::new(
            self.table.clone(),
            &self.access,
            &context,
            LockStrength::Exclusive,
            OwnWrites::BeforeStatement,
        )?;
        let mut changed = Changed::nothing(running);
        // Rows that move in the index they are read along must all be found before the first is moved.
        let stays_put = matches!(&self.access.path, Path::Span(span) if span.index_id.is_none())
            && self.update.as_ref().is_none_or(|(set, _)| !set.touches(&self.table.primary_positions));
        if stays_put || self.access.is_point() {
            while let Some(found) = reader.next(&running.transaction, &context).await? {
                self.change(running, found, &mut changed).await?;
            }
        } else {
            let mut held = running.memory.nothing();
            let found = reader.collect(&running.transaction, &context, &mut held).await?;
            self.change(running, found, &mut changed).await?;
        }
        Ok(changed)
    }

    async fn change(&self, running: &Running, found: Vec<FoundRow>, changed: &mut Changed) -> Result<(), SqlError> {
        let context = running.eval_context();
        let writer = running.writer(&self.table);
        changed.rows += found.len() as u64;
        let Some((assignments, rules)) = &self.update else {
            for FoundRow { key, row } in &found {
                writer.delete(key, row).await?;
                if let Some(returning) = &self.returning {
                    changed.returned.push(returning.row(&EvalContext { row, ..context })?)?;
                }
            }
            return Ok(());
        };
        if assignments.draws_sequences() {
            running.prepare_sequences(&assignments.scalars(), found.len()).await?;
        }
        let mut changes: Vec<(Bytes, Row, Row)> = Vec::with_capacity(found.len());
        for FoundRow { key, row } in found {
            let new = assignments.apply(row.clone(), &EvalContext { row: &row, ..context })?;
            rules.verify(&self.table, &EvalContext { row: &new, ..context })?;
            changes.push((key, row, new));
        }
        writer.update(&changes).await?;
        if let Some(returning) = &self.returning {
            for (_, _, new) in &changes {
                changed.returned.push(returning.row(&EvalContext { row: new, ..context })?)?;
            }
        }
        Ok(())
    }
}

fn bind_access(condition: Option<&Expr>, table: &Table, binder: &mut Binder<'_>) -> BindResult<Access> {
    let condition = condition.map(|condition| binder.bind_condition(condition)).transpose()?;
    Ok(Access::choose(table, condition, binder.params))
}

/// The error for a relation that cannot be written to.
pub(crate) fn not_a_table(name: &str) -> SqlError {
    SqlError::new(code::WRONG_OBJECT_TYPE, format!("\"{name}\" is not a table"))
}
