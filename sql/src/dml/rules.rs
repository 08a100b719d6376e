//! What a table demands of its rows: NOT NULL, CHECK, and defaults; bound once per plan.

use crate::bind::{Binder, ParamTypes, Scope};
use crate::catalog::{Catalog, ColumnDescriptor, Identity, Table};
use crate::error::{SqlError, code};
use crate::scalar::{EvalContext, Scalar};
use crate::session::{SessionView, parse_expression};
use crate::types::{Datum, PgType, to_text};

/// A table's checks.
#[derive(Debug)]
pub(crate) struct Rules {
    checks: Vec<(String, Scalar)>,
}

impl Rules {
    /// Binds the table's CHECK constraints.
    pub fn bind(table: &Table, catalog: &Catalog, view: &SessionView) -> Result<Rules, SqlError> {
        let scope = Scope::of_table(table, None);
        let mut checks = Vec::with_capacity(table.checks.len());
        for check in &table.checks {
            let expr = parse_expression(&check.expression)?;
            let mut params = ParamTypes::default();
            let mut binder = Binder::new(catalog, view, &scope, &check.expression, &mut params);
            checks.push((check.name.clone(), binder.bind_condition(&expr)?));
        }
        Ok(Rules { checks })
    }

    /// Verifies a row.
    ///
    /// # Errors
    /// 23502, 23514.
    pub fn verify(&self, table: &Table, context: &EvalContext<'_>) -> Result<(), SqlError> {
        for (column, value) in table.columns.iter().zip(context.row) {
            if value.is_null() && !column.nullable {
                return Err(SqlError::new(
                    code::NOT_NULL_VIOLATION,
                    format!(
                        "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
                        column.name, table.name
                    ),
                )
                .detail(failing_row(table, context))
                .table(&table.name)
                .column(&column.name));
            }
        }
        for (name, check) in &self.checks {
            // A check that is NULL holds.
            if *check.eval_ref(context)? == Datum::Bool(false) {
                return Err(SqlError::new(
                    code::CHECK_VIOLATION,
                    format!("new row for relation \"{}\" violates check constraint \"{name}\"", table.name),
                )
                .detail(failing_row(table, context))
                .table(&table.name)
                .constraint(name));
            }
        }
        Ok(())
    }
}

fn failing_row(table: &Table, context: &EvalContext<'_>) -> String {
    let values: Vec<String> = table
        .visible_positions
        .iter()
        .map(|position| {
            let column = &table.columns[*position];
            match &context.row[*position] {
                Datum::Null => "null".to_owned(),
                value => shown(to_text(value, column.ty, column.typmod, &context.view.types)),
            }
        })
        .collect();
    format!("Failing row contains ({}).", values.join(", "))
}

/// As much of a value as an error shows: PostgreSQL's 64 bytes.
fn shown(mut value: String) -> String {
    const MAX_SHOWN_BYTES: usize = 64;
    if value.len() > MAX_SHOWN_BYTES {
        value.truncate(value.floor_char_boundary(MAX_SHOWN_BYTES));
        value.push_str("...");
    }
    value
}

/// The expression a column has when none is given.
pub(crate) fn default_of(column: &ColumnDescriptor, catalog: &Catalog, view: &SessionView) -> Result<Scalar, SqlError> {
    if column.hidden {
        return Ok(Scalar::Call(crate::scalar::Function::RowId, Vec::new()));
    }
    if let (Some(_), Some(sequence)) = (column.identity, column.sequence_id) {
        return Ok(narrowed(Scalar::NextVal(sequence), column.ty));
    }
    let Some(text) = &column.default else { return Ok(Scalar::Const(Datum::Null)) };
    let expr = parse_expression(text)?;
    let (mut params, scope) = (ParamTypes::default(), Scope::default());
    let mut binder = Binder::new(catalog, view, &scope, text, &mut params);
    Ok(binder.bind_assigned(&expr, &column.name, column.ty, column.typmod)?)
}

fn narrowed(scalar: Scalar, ty: PgType) -> Scalar {
    if ty == PgType::Int8 {
        return scalar;
    }
    let context = crate::types::CastContext::Assignment;
    Scalar::Cast(Box::new(scalar), crate::scalar::CastTo { from: PgType::Int8, to: ty, typmod: -1, context })
}

/// Refuses a value given to a column that only the system fills.
pub(crate) fn refuse_generated(column: &ColumnDescriptor) -> Result<(), SqlError> {
    if column.identity == Some(Identity::Always) {
        return Err(SqlError::new(
            code::GENERATED_ALWAYS,
            format!("cannot insert a non-DEFAULT value into column \"{}\"", column.name),
        )
        .detail(format!("Column \"{}\" is an identity column defined as GENERATED ALWAYS.", column.name))
        .hint("Use OVERRIDING SYSTEM VALUE to override."));
    }
    Ok(())
}

/// Likewise of an UPDATE, which nothing can override.
pub(crate) fn refuse_generated_update(column: &ColumnDescriptor) -> Result<(), SqlError> {
    match column.identity {
        Some(Identity::Always) => Err(SqlError::new(
            code::GENERATED_ALWAYS,
            format!("column \"{}\" can only be updated to DEFAULT", column.name),
        )
        .detail(format!("Column \"{}\" is an identity column defined as GENERATED ALWAYS.", column.name))),
        _ => Ok(()),
    }
}
