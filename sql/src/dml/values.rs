//! The VALUES of an INSERT that only the planner of queries can compute, as a query.
//!
//! ```text
//!   VALUES (1, md5('a'), '7', DEFAULT)   into (id, note, n, d)   ─▶   SELECT 1, md5('a'), '7'::integer   into (id, note, n)
//! ```
//!
//! In VALUES a literal takes the type of its column, which in a query it would not know of: it is given that type here.

use datafusion::sql::sqlparser::ast::{self, Expr, SelectItem, SetExpr, Value};

use super::insert::{is_default, targets};
use crate::catalog::{ColumnDescriptor, Table};
use crate::error::SqlError;
use crate::session::parse_expression;
use crate::types::{PgType, format_type};

/// The INSERT with a query in place of its VALUES; `None` when it has none, or when DEFAULT stands for a column in some rows only.
///
/// # Errors
/// 42601 when the rows have too many values, or too few.
pub(crate) fn as_query(insert: &ast::Insert, table: &Table) -> Result<Option<ast::Insert>, SqlError> {
    let Some(SetExpr::Values(values)) = insert.source.as_deref().map(|query| &*query.body) else { return Ok(None) };
    let targets = targets(insert, table)?;
    let width = values.rows.first().map_or(0, |row| row.len());
    if values.rows.iter().any(|row| row.len() != width) {
        return Err(SqlError::syntax("VALUES lists must all be the same length"));
    }
    let defaults = |at: usize| values.rows.iter().filter(|row| is_default(&row[at])).count();
    if (0..width).any(|at| !matches!(defaults(at), count if count == 0 || count == values.rows.len())) {
        return Ok(None);
    }
    let kept: Vec<usize> = (0..width.min(targets.len())).filter(|at| defaults(*at) == 0).collect();
    if kept.is_empty() {
        return Ok(None);
    }
    let column = |at: usize| &table.columns[targets[at]];
    let mut rows = Vec::with_capacity(values.rows.len());
    for row in &values.rows {
        rows.push(kept.iter().map(|at| typed(&row[*at], column(*at))).collect::<Result<Vec<_>, _>>()?);
    }
    let mut rewritten = insert.clone();
    rewritten.columns = kept.iter().map(|at| ast::ObjectName::from(quoted(&column(*at).name))).collect();
    let source = rewritten.source.as_deref_mut().expect("its VALUES were looked at above");
    match (&mut *source.body, <[Vec<Expr>; 1]>::try_from(rows)) {
        (_, Ok([row])) => source.body = select(row)?,
        (SetExpr::Values(values), Err(rows)) => {
            for (row, with) in values.rows.iter_mut().zip(rows) {
                **row = with;
            }
        }
        _ => {}
    }
    Ok(Some(rewritten))
}

fn quoted(name: &str) -> ast::Ident {
    ast::Ident::with_quote('"', name)
}

/// A value with the type of its column, where it has none of its own.
fn typed(value: &Expr, column: &ColumnDescriptor) -> Result<Expr, SqlError> {
    let Expr::Value(literal) = value else { return Ok(value.clone()) };
    let wanted = match &literal.value {
        Value::SingleQuotedString(_) | Value::EscapedStringLiteral(_) | Value::Null if column.ty.is_string() => {
            return Ok(value.clone());
        }
        Value::SingleQuotedString(_) | Value::EscapedStringLiteral(_) | Value::Null => column.ty,
        // Cut to its length it would be without a word, were it cast to a type that has one.
        Value::Placeholder(_) if column.ty.is_string() => PgType::Text,
        Value::Placeholder(_) => column.ty,
        _ => return Ok(value.clone()),
    };
    let mut cast = parse_expression(&format!("CAST(NULL AS {})", format_type(wanted, -1)))?;
    if let Expr::Cast { expr, .. } = &mut cast {
        **expr = value.clone();
    }
    Ok(cast)
}

/// `SELECT` of these.
fn select(row: Vec<Expr>) -> Result<Box<SetExpr>, SqlError> {
    let Expr::Subquery(query) = parse_expression("(SELECT 1)")? else {
        return Err(SqlError::internal("a query in brackets is not one"));
    };
    let mut body = query.body;
    if let SetExpr::Select(select) = &mut *body {
        select.projection = row.into_iter().map(SelectItem::UnnamedExpr).collect();
    }
    Ok(body)
}
