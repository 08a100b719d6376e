//! Literals.

use std::str::FromStr;

use datafusion::sql::sqlparser::ast::Value;

use super::{BindError, BindResult, Binder, Bound};
use crate::error::{SqlError, code};
use crate::scalar::Scalar;
use crate::types::{Datum, Numeric, PgType};

impl Binder<'_> {
    pub(super) fn literal(&mut self, value: &Value) -> BindResult<Bound> {
        Ok(match value {
            Value::Number(text, _) => number(text)?,
            Value::SingleQuotedString(text)
            | Value::EscapedStringLiteral(text)
            | Value::UnicodeStringLiteral(text)
            | Value::NationalStringLiteral(text) => Bound::unknown(text.clone()),
            Value::DollarQuotedString(text) => Bound::unknown(text.value.clone()),
            Value::Boolean(value) => Bound::constant(Datum::Bool(*value), PgType::Bool),
            Value::Null => Bound::constant(Datum::Null, PgType::Unknown),
            Value::Placeholder(name) => {
                let number = name.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
                let Some(number) = number.and_then(|number| number.checked_sub(1)).filter(|number| *number < 65_535)
                else {
                    return Err(BindError::Sql(SqlError::new(
                        code::UNDEFINED_PARAMETER,
                        format!("there is no parameter {name}"),
                    )));
                };
                let ty = self.params.get(number).unwrap_or(PgType::Unknown);
                Bound { scalar: Scalar::Param(number), ty, typmod: -1 }
            }
            other => return Err(BindError::Elsewhere(format!("the literal {other}"))),
        })
    }
}

/// A number as PostgreSQL types it: integer, bigint, or numeric.
pub(super) fn number(text: &str) -> BindResult<Bound> {
    let digits: String = text.chars().filter(|at| *at != '_').collect();
    if let Ok(value) = digits.parse::<i32>() {
        return Ok(Bound::constant(Datum::Int4(value), PgType::Int4));
    }
    if let Ok(value) = digits.parse::<i64>() {
        return Ok(Bound::constant(Datum::Int8(value), PgType::Int8));
    }
    match Numeric::from_str(&digits) {
        Ok(value) => Ok(Bound::constant(Datum::Numeric(value), PgType::Numeric)),
        Err(_) => Err(BindError::Elsewhere(format!("the number {text}"))),
    }
}
