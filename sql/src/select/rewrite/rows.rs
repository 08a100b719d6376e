//! Comparisons of rows, taken apart into comparisons of columns.

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, ObjectNamePart, UnaryOperator, Value,
};

use super::{call, calls, last_part};
use crate::error::SqlError;
use crate::session::tree_of;
use crate::types::PgType;

/// Whether an expression is `(a, b)` or `ROW(a, b)`.
pub(super) fn is_row(expr: &Expr) -> bool {
    matches!(expr, Expr::Tuple(_)) || constructed(expr).is_some()
}

/// The columns of `ROW(a, b)`.
fn constructed(expr: &Expr) -> Option<Vec<Expr>> {
    let Expr::Function(function) = expr else { return None };
    let FunctionArguments::List(list) = &function.args else { return None };
    let [ObjectNamePart::Identifier(name)] = function.name.0.as_slice() else { return None };
    let is_row = name.quote_style.is_none() && name.value.eq_ignore_ascii_case("row");
    let column = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    is_row.then(|| list.args.iter().map(column).collect()).flatten()
}

/// `ROW(a, b)` is `(a, b)`.
pub(super) fn spell_out(expr: &mut Expr) {
    if let Some(columns) = constructed(expr) {
        *expr = Expr::Tuple(columns);
    }
}

/// `(a, b) IS [NOT] NULL`: of a row it says that of every column; anything else stays as it is.
pub(super) fn null_test(tested: Expr, test: fn(Box<Expr>) -> Expr) -> Expr {
    match tested {
        Expr::Tuple(columns) if !columns.is_empty() => {
            join(columns.into_iter().map(|column| test(Box::new(column))).collect(), BinaryOperator::And)
        }
        other => test(Box::new(other)),
    }
}

/// `(a, b) IS [NOT] DISTINCT FROM (c, d)`; anything else stays as it is.
pub(super) fn distinct(left: Expr, right: Expr, distinct: bool) -> Result<Expr, SqlError> {
    let test = |left: Expr, right: Expr| match distinct {
        true => Expr::IsDistinctFrom(Box::new(left), Box::new(right)),
        false => Expr::IsNotDistinctFrom(Box::new(left), Box::new(right)),
    };
    match (left, right) {
        (Expr::Tuple(lefts), Expr::Tuple(rights)) => {
            if lefts.len() != rights.len() {
                return Err(SqlError::syntax("unequal number of entries in row expressions"));
            }
            let op = if distinct { BinaryOperator::Or } else { BinaryOperator::And };
            Ok(join(lefts.into_iter().zip(rights).map(|(left, right)| test(left, right)).collect(), op))
        }
        (left, right) => Ok(test(left, right)),
    }
}

/// `(a, b) op (c, d)`; anything else stays as it is.
pub(super) fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Result<Expr, SqlError> {
    let (Expr::Tuple(lefts), Expr::Tuple(rights)) = (&left, &right) else {
        return Ok(combine(left, op, right));
    };
    if lefts.len() != rights.len() {
        return Err(SqlError::syntax("unequal number of entries in row expressions"));
    }
    let pairs: Vec<(Expr, Expr)> = lefts.iter().cloned().zip(rights.iter().cloned()).collect();
    match op {
        BinaryOperator::Eq => Ok(equal(pairs)),
        BinaryOperator::NotEq => Ok(negate(equal(pairs))),
        BinaryOperator::Lt | BinaryOperator::LtEq => Ok(ordered(pairs, BinaryOperator::Lt, op)),
        BinaryOperator::Gt | BinaryOperator::GtEq => Ok(ordered(pairs, BinaryOperator::Gt, op)),
        other => Err(SqlError::unsupported(format!("{other} of rows"))),
    }
}

/// `(a, b) IN ((1, 2), …)`; a list of single values stays as it is.
pub(super) fn in_list(expr: Expr, list: Vec<Expr>, negated: bool) -> Result<Expr, SqlError> {
    if !matches!(expr, Expr::Tuple(_)) {
        return Ok(Expr::InList { expr: Box::new(expr), list, negated });
    }
    let rows: Result<Vec<Expr>, SqlError> =
        list.into_iter().map(|row| binary(expr.clone(), BinaryOperator::Eq, row)).collect();
    let any = join(rows?, BinaryOperator::Or);
    Ok(if negated { negate(any) } else { any })
}

fn equal(pairs: Vec<(Expr, Expr)>) -> Expr {
    join(pairs.into_iter().map(|(left, right)| combine(left, BinaryOperator::Eq, right)).collect(), BinaryOperator::And)
}

/// `a < c OR (a = c AND b < d)`, the last column by the operator asked for.
fn ordered(pairs: Vec<(Expr, Expr)>, strict: BinaryOperator, last: BinaryOperator) -> Expr {
    let mut result: Option<Expr> = None;
    for (left, right) in pairs.into_iter().rev() {
        result = Some(match result {
            None => combine(left, last.clone(), right),
            Some(rest) => {
                let tie = combine(combine(left.clone(), BinaryOperator::Eq, right.clone()), BinaryOperator::And, rest);
                nested(combine(combine(left, strict.clone(), right), BinaryOperator::Or, nested(tie)))
            }
        });
    }
    result.unwrap_or_else(|| Expr::value(Value::Boolean(false)))
}

fn join(parts: Vec<Expr>, op: BinaryOperator) -> Expr {
    nested(tree_of(parts, &op))
}

pub(super) fn combine(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

pub(super) fn nested(expr: Expr) -> Expr {
    Expr::Nested(Box::new(expr))
}

fn negate(expr: Expr) -> Expr {
    Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(expr) }
}

/// Integers that stand in a column with other numbers become numerics, as those are.
pub(super) fn level<'a>(rows: impl Iterator<Item = &'a mut Vec<Expr>>) {
    let numeric = calls::cast_name(PgType::Numeric, -1);
    let is_numeric = |expr: &Expr| matches!(expr, Expr::Function(function) if last_part(&function.name) == numeric);
    let is_integer = |expr: &Expr| match expr {
        Expr::Cast { expr, .. } => matches!(&**expr, Expr::Value(value) if matches!(value.value, Value::Number(..))),
        Expr::Value(value) => matches!(value.value, Value::Number(..)),
        _ => false,
    };
    let mut rows: Vec<&mut Vec<Expr>> = rows.collect();
    for place in 0..rows.first().map_or(0, |row| row.len()) {
        if !rows.iter().any(|row| row.get(place).is_some_and(is_numeric)) {
            continue;
        }
        for cell in rows.iter_mut().filter_map(|row| row.get_mut(place)).filter(|cell| is_integer(cell)) {
            let integer = std::mem::replace(cell, Expr::value(Value::Null));
            *cell = call(&numeric, vec![integer]);
        }
    }
}
