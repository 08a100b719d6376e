//! Syntax that stands for operators and function calls.

use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, BinaryOperator, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    Interval, Query, SetExpr, TrimWhereField, UnaryOperator, Value,
};

use super::rows::{combine, nested};
use super::{call, calls, cast_to};
use crate::bind::normalize;
use crate::error::SqlError;
use crate::types::PgType;

/// `INTERVAL '1' DAY` is a cast of the text with its unit.
pub(super) fn interval(interval: Interval) -> Result<Expr, SqlError> {
    let Interval { value, leading_field, last_field, .. } = interval;
    let text = match *value {
        Expr::Value(value) => match value.value {
            Value::SingleQuotedString(text) => text,
            other => return Err(SqlError::syntax(format!("an interval is written as a string, not as {other}"))),
        },
        other => return Err(SqlError::syntax(format!("an interval is written as a string, not as {other}"))),
    };
    let bare = text.trim().parse::<f64>().is_ok();
    let text = match (leading_field, last_field) {
        (Some(unit), None) if bare => format!("{text} {unit}"),
        (Some(_), Some(_)) if bare => return Err(SqlError::unsupported("an interval of this form")),
        _ => text,
    };
    Ok(call(&calls::cast_name(PgType::Interval, -1), vec![Expr::value(Value::SingleQuotedString(text))]))
}

/// The number that a minus before this makes; none if it is not a plain number.
pub(super) fn negated_number(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Nested(inner) => negated_number(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => negated_number(expr)?.strip_prefix('-').map(str::to_owned),
        Expr::Value(value) => match &value.value {
            Value::Number(number, false) if !number.starts_with('-') => Some(format!("-{number}")),
            Value::Number(number, false) => Some(number.trim_start_matches('-').to_owned()),
            _ => None,
        },
        _ => None,
    }
}

/// The digits that `current_timestamp(3)` asks for; none if it asks for none.
pub(super) fn digits_of_seconds(args: &FunctionArguments) -> Option<i32> {
    let FunctionArguments::List(list) = args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(digits))] = &list.args[..] else { return None };
    // The number has become one of its type already.
    let digits: &Expr = match digits {
        Expr::Cast { expr, .. } => expr,
        other => other,
    };
    match digits {
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => digits.parse().ok().map(|digits: i32| digits.min(6)),
            _ => None,
        },
        _ => None,
    }
}

/// `ARRAY(SELECT …)`: an array even where there are no rows.
pub(super) fn array_of_rows(query: Query) -> Expr {
    let empty = Expr::value(Value::SingleQuotedString("{}".to_owned()));
    call("coalesce", vec![Expr::Subquery(Box::new(super::query::gathered(query))), empty])
}

/// `(a, b) OVERLAPS (c, d)`.
pub(super) fn overlaps(left: Expr, right: Expr) -> Result<Expr, SqlError> {
    let (Expr::Tuple(mut periods), Expr::Tuple(second)) = (left, right) else {
        return Err(SqlError::syntax("OVERLAPS stands between two periods: (start, end) OVERLAPS (start, end)"));
    };
    for (side, period) in [("left", &periods), ("right", &second)] {
        if period.len() != 2 {
            let message = format!("wrong number of parameters on {side} side of OVERLAPS expression");
            return Err(SqlError::syntax(message));
        }
    }
    periods.extend(second);
    Ok(call("overlaps", periods))
}

/// `make_interval(days => 3)` with all parts up to the last named one, in their order.
pub(super) fn order_interval_parts(function: &mut Function) -> Result<(), SqlError> {
    const PARTS: [&str; 7] = ["years", "months", "weeks", "days", "hours", "mins", "secs"];
    let FunctionArguments::List(list) = &mut function.args else { return Ok(()) };
    let mut parts: Vec<Option<Expr>> = Vec::new();
    for arg in std::mem::take(&mut list.args) {
        let (place, expr) = match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => (parts.len(), expr),
            FunctionArg::ExprNamed { name: Expr::Identifier(name), arg: FunctionArgExpr::Expr(expr), .. }
            | FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => {
                let name = normalize(&name);
                let place = PARTS.iter().position(|part| *part == name);
                let unknown = || SqlError::new("42883", format!("make_interval has no part {name}"));
                (place.ok_or_else(unknown)?, expr)
            }
            other => return Err(SqlError::syntax(format!("make_interval cannot take {other}"))),
        };
        parts.resize(parts.len().max(place + 1), None);
        parts[place] = Some(expr);
    }
    let zero = || super::typed_number("0".to_owned());
    let args = parts.into_iter().map(|part| FunctionArg::Unnamed(FunctionArgExpr::Expr(part.unwrap_or_else(zero))));
    list.args = args.collect();
    Ok(())
}

/// Unary operators.
pub(super) fn unary(op: UnaryOperator, expr: Expr) -> Result<Expr, SqlError> {
    Ok(match op {
        UnaryOperator::Plus => expr,
        UnaryOperator::Minus => call(calls::NEGATE, vec![expr]),
        UnaryOperator::Not => Expr::UnaryOp { op, expr: Box::new(expr) },
        UnaryOperator::BitwiseNot => call("~", vec![expr]),
        UnaryOperator::PGAbs => call("abs", vec![expr]),
        UnaryOperator::PGSquareRoot => call("sqrt", vec![expr]),
        UnaryOperator::PGCubeRoot => call("cbrt", vec![expr]),
        other => return Err(SqlError::unsupported(format!("the operator {other}"))),
    })
}

/// `x BETWEEN a AND b`: two comparisons of a plain x, which keys are found by. Any other is written and computed once, as what it consists
/// of may be another of these.
pub(super) fn between(expr: Expr, negated: bool, low: Expr, high: Expr) -> Expr {
    if !is_plain(&expr) {
        let between = call(calls::BETWEEN, vec![expr, low, high]);
        return if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(between) } } else { between };
    }
    let (above, below, joined) = if negated {
        (BinaryOperator::Lt, BinaryOperator::Gt, BinaryOperator::Or)
    } else {
        (BinaryOperator::GtEq, BinaryOperator::LtEq, BinaryOperator::And)
    };
    let low = combine(expr.clone(), above, low);
    nested(combine(low, joined, combine(expr, below, high)))
}

/// Whether an expression is a column or a constant, or one step away from them.
fn is_plain(expr: &Expr) -> bool {
    let is_leaf = |expr: &Expr| matches!(expr, Expr::Value(_) | Expr::Identifier(_) | Expr::CompoundIdentifier(_));
    match expr {
        Expr::Nested(inner) => is_plain(inner),
        Expr::Cast { expr, .. } => is_leaf(expr),
        Expr::BinaryOp { left, right, .. } => {
            let is_operand = |expr: &Expr| is_leaf(expr) || matches!(expr, Expr::Cast { expr, .. } if is_leaf(expr));
            is_operand(left) && is_operand(right)
        }
        Expr::Function(Function { args: FunctionArguments::List(list), over: None, .. }) => {
            // Without arguments, it may differ from call to call.
            let mut args = list.args.iter();
            !list.args.is_empty()
                && args.all(|arg| matches!(arg, FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) if is_leaf(expr)))
        }
        other => is_leaf(other),
    }
}

/// An operator written `OPERATOR(pg_catalog.~)` is the operator.
pub(super) fn plain_operator(op: BinaryOperator) -> Result<BinaryOperator, SqlError> {
    let BinaryOperator::PGCustomBinaryOperator(parts) = &op else { return Ok(op) };
    Ok(match parts.last().map_or("", String::as_str) {
        "=" => BinaryOperator::Eq,
        "<>" | "!=" => BinaryOperator::NotEq,
        "<" => BinaryOperator::Lt,
        "<=" => BinaryOperator::LtEq,
        ">" => BinaryOperator::Gt,
        ">=" => BinaryOperator::GtEq,
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        "*" => BinaryOperator::Multiply,
        "/" => BinaryOperator::Divide,
        "||" => BinaryOperator::StringConcat,
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        other => return Err(SqlError::unsupported(format!("the operator {other}"))),
    })
}

/// `x op ANY (SELECT …)` and `x op ALL (SELECT …)`, before what they consist of is rewritten: IN where that says the same, else a
/// comparison with an array of the rows. None for arrays.
pub(super) fn quantified_rows(expr: &Expr) -> Result<Option<Expr>, SqlError> {
    let (left, op, right, all) = match expr {
        Expr::AnyOp { left, compare_op, right, .. } => (left, compare_op, right, false),
        Expr::AllOp { left, compare_op, right } => (left, compare_op, right, true),
        _ => return Ok(None),
    };
    let Expr::Subquery(subquery) = unnested(right) else { return Ok(None) };
    let mut subquery = subquery.clone();
    if let SetExpr::Query(inner) = *subquery.body.clone() {
        subquery = inner;
    }
    let op = plain_operator(op.clone())?;
    Ok(Some(match (&op, all) {
        (BinaryOperator::Eq, false) => Expr::InSubquery { expr: left.clone(), subquery, negated: false },
        (BinaryOperator::NotEq, true) => Expr::InSubquery { expr: left.clone(), subquery, negated: true },
        _ => {
            let rows = Box::new(Expr::Subquery(Box::new(super::query::gathered(*subquery))));
            match all {
                false => Expr::AnyOp { left: left.clone(), compare_op: op, right: rows, is_some: false },
                true => Expr::AllOp { left: left.clone(), compare_op: op, right: rows },
            }
        }
    }))
}

/// `x op ANY (…)` and `x op ALL (…)`.
pub(super) fn quantified(left: Expr, op: &BinaryOperator, right: Expr, all: bool) -> Result<Expr, SqlError> {
    let op = plain_operator(op.clone())?;
    if let (Expr::Array(array), BinaryOperator::Eq, false) = (unnested(&right), &op, all)
        && !array.elem.is_empty()
    {
        return Ok(Expr::InList { expr: Box::new(left), list: array.elem.clone(), negated: false });
    }
    let of_rows = matches!(right, Expr::Subquery(_));
    let name = calls::quantified_name(&op, all, of_rows)
        .ok_or_else(|| SqlError::unsupported(format!("{op} {}", if all { "ALL" } else { "ANY" })))?;
    Ok(call(&name, vec![left, right]))
}

fn unnested(expr: &Expr) -> &Expr {
    match expr {
        Expr::Nested(inner) => unnested(inner),
        other => other,
    }
}

/// The library interpolates between doubles only, and PostgreSQL makes doubles of other numbers, too.
pub(super) fn percentile_of_doubles(function: &mut Function) -> Result<(), SqlError> {
    let as_double = |expr: &mut Expr| -> Result<(), SqlError> {
        let taken = std::mem::replace(expr, Expr::value(Value::Null));
        *expr = cast_to(taken, &DataType::DoublePrecision)?;
        Ok(())
    };
    if let FunctionArguments::List(list) = &mut function.args {
        for argument in &mut list.args {
            if let FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) = argument {
                as_double(expr)?;
            }
        }
    }
    function.within_group.iter_mut().try_for_each(|key| as_double(&mut key.expr))
}

/// Functions with a syntax of their own become calls.
pub(super) fn function_syntax(expr: Expr) -> Expr {
    match expr {
        Expr::AtTimeZone { timestamp, time_zone } => call("timezone", vec![*time_zone, *timestamp]),
        Expr::Extract { field, expr, .. } => {
            let field = field.to_string().trim_matches('\'').to_lowercase();
            call("extract", vec![Expr::value(Value::SingleQuotedString(field)), *expr])
        }
        Expr::Ceil { expr, .. } => call("ceil", vec![*expr]),
        Expr::Floor { expr, .. } => call("floor", vec![*expr]),
        Expr::Position { expr, r#in } => call("strpos", vec![*r#in, *expr]),
        Expr::Substring { expr, substring_from, substring_for, .. } => {
            let mut args = vec![*expr];
            match (substring_from, &substring_for) {
                (Some(from), _) => args.push(*from),
                (None, Some(_)) => args.push(super::typed_number("1".to_owned())),
                (None, None) => {}
            }
            args.extend(substring_for.map(|count| *count));
            call("substring", args)
        }
        Expr::Trim { trim_where, trim_what, expr, trim_characters } => {
            let name = match trim_where {
                Some(TrimWhereField::Leading) => "ltrim",
                Some(TrimWhereField::Trailing) => "rtrim",
                _ => "btrim",
            };
            let mut args = vec![*expr];
            args.extend(trim_what.map(|what| *what));
            args.extend(trim_characters.unwrap_or_default());
            call(name, args)
        }
        Expr::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
            let mut args = vec![*expr, *overlay_what, *overlay_from];
            args.extend(overlay_for.map(|count| *count));
            call("overlay", args)
        }
        // An empty array has no type but what it is cast to; text does for the rest.
        Expr::Array(array) if array.elem.is_empty() => {
            let text = DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(DataType::Text), None));
            let empty = Expr::value(Value::SingleQuotedString("{}".to_owned()));
            cast_to(empty.clone(), &text).unwrap_or(empty)
        }
        other => other,
    }
}
