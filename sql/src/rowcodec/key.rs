//! Index keys: columns in an encoding whose byte order is their order.
//!
//! ```text
//!   primary key     prefix · columns                          value: the row
//!   unique index    prefix · columns                          value: the primary key's columns
//!                   prefix · columns · primary key columns    when a column is NULL: NULLs never collide
//!   other index     prefix · columns · primary key columns    value: empty
//! ```
//!
//! An array is `2 element 2 element … 1`, so that a shorter one sorts first.

use txn::encoding::{self, Decimal};

use crate::SqlError;
use crate::types::numeric::BigInt;
use crate::types::{Datum, Interval, Numeric, PgType};

const ARRAY_END: u8 = 1;
const ARRAY_ITEM: u8 = 2;

/// A column of an index key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyColumn {
    /// What its values are.
    pub ty: PgType,
    /// From high to low.
    pub descending: bool,
    /// NULLs before all values; PostgreSQL's default is after them when ascending, before them when descending.
    pub nulls_first: bool,
}

impl KeyColumn {
    /// Ascending, NULLs last.
    pub const fn ascending(ty: PgType) -> KeyColumn {
        KeyColumn { ty, descending: false, nulls_first: false }
    }

    /// Descending, NULLs first.
    pub const fn descending(ty: PgType) -> KeyColumn {
        KeyColumn { ty, descending: true, nulls_first: true }
    }
}

/// Whether values of a type can be index keys: all but json, jsonb and pseudo-types.
pub fn is_key_type(ty: PgType) -> bool {
    match ty.element() {
        Some(element) => is_key_type(element),
        None => !matches!(ty, PgType::Json | PgType::Jsonb | PgType::Record | PgType::Void | PgType::Unknown),
    }
}

/// Whether a key gives back the very value: not the display scale of numerics, not an interval's fields, not a float's negative zero.
pub fn key_keeps_value(ty: PgType) -> bool {
    match ty.element() {
        Some(element) => key_keeps_value(element),
        None => !matches!(ty, PgType::Numeric | PgType::Interval | PgType::Float4 | PgType::Float8) && is_key_type(ty),
    }
}

/// Appends a value as a key column. REQUIRES: a value of the column's type, which [`is_key_type`] admits.
pub fn encode_key(out: &mut Vec<u8>, datum: &Datum, column: &KeyColumn) {
    match (datum, column.descending) {
        (Datum::Null, _) => out.push(if column.nulls_first { encoding::NULL_FIRST } else { encoding::NULL_LAST }),
        (datum, false) => put_value(out, datum),
        (datum, true) => encoding::descending(out, |out| put_value(out, datum)),
    }
}

/// Takes a key column from the front; XX001 when the bytes are no such key.
pub fn decode_key(input: &mut &[u8], column: &KeyColumn) -> Result<Datum, SqlError> {
    if encoding::take_null(input) {
        return Ok(Datum::Null);
    }
    let taken = match column.descending {
        false => take_value(input, column.ty),
        true => encoding::take_descending(input, |input| take_value(input, column.ty)),
    };
    taken.map_err(|error| SqlError::new("XX001", format!("a stored key does not decode: {error}")))
}

/// The key of an index entry: `prefix`, the index's columns, and behind them the primary key's unless the index is unique and
/// no column is NULL. For a primary key pass no `primary`.
pub fn index_entry_key(
    prefix: &[u8],
    columns: &[(KeyColumn, &Datum)],
    unique: bool,
    primary: &[(KeyColumn, &Datum)],
) -> Vec<u8> {
    let mut out = Vec::with_capacity(prefix.len() + 10 * (columns.len() + primary.len()));
    out.extend_from_slice(prefix);
    columns.iter().for_each(|(column, datum)| encode_key(&mut out, datum, column));
    if !unique || columns.iter().any(|(_, datum)| datum.is_null()) {
        primary.iter().for_each(|(column, datum)| encode_key(&mut out, datum, column));
    }
    out
}

fn put_value(out: &mut Vec<u8>, datum: &Datum) {
    match datum {
        Datum::Null => out.push(encoding::NULL_LAST),
        Datum::Bool(value) => encoding::put_bool(out, *value),
        Datum::Int2(value) => encoding::put_i64(out, i64::from(*value)),
        Datum::Int4(value) | Datum::Date(value) => encoding::put_i64(out, i64::from(*value)),
        Datum::Int8(value) | Datum::Time(value) | Datum::Timestamp(value) | Datum::TimestampTz(value) => {
            encoding::put_i64(out, *value);
        }
        Datum::Oid(value) => encoding::put_i64(out, i64::from(*value)),
        Datum::Float4(value) => encoding::put_f64(out, f64::from(*value)),
        Datum::Float8(value) => encoding::put_f64(out, *value),
        Datum::Numeric(value) => encoding::put_decimal(out, &to_decimal(value)),
        Datum::Text(value) | Datum::Json(value) | Datum::Jsonb(value) => encoding::put_str(out, value),
        Datum::Bytea(value) => encoding::put_bytes(out, value),
        Datum::Uuid(value) => encoding::put_bytes(out, value),
        Datum::Interval(value) => {
            let all = value.comparable_micros();
            let day = i128::from(crate::types::interval::DAY);
            encoding::put_i64(out, all.div_euclid(day) as i64);
            encoding::put_i64(out, all.rem_euclid(day) as i64);
        }
        Datum::Array(array) => {
            for value in &array.values {
                out.push(ARRAY_ITEM);
                put_value(out, value);
            }
            out.push(ARRAY_END);
        }
    }
}

fn take_value(input: &mut &[u8], ty: PgType) -> Result<Datum, encoding::DecodeError> {
    let wrong = || encoding::DecodeError { expected: "a key of the column's type" };
    Ok(match ty {
        PgType::Bool => Datum::Bool(encoding::take_bool(input)?),
        PgType::Int2 => Datum::Int2(encoding::take_i64(input)?.try_into().map_err(|_| wrong())?),
        PgType::Int4 => Datum::Int4(encoding::take_i64(input)?.try_into().map_err(|_| wrong())?),
        PgType::Int8 => Datum::Int8(encoding::take_i64(input)?),
        PgType::Date => Datum::Date(encoding::take_i64(input)?.try_into().map_err(|_| wrong())?),
        PgType::Time => Datum::Time(encoding::take_i64(input)?),
        PgType::Timestamp => Datum::Timestamp(encoding::take_i64(input)?),
        PgType::TimestampTz => Datum::TimestampTz(encoding::take_i64(input)?),
        PgType::Float4 => Datum::Float4(encoding::take_f64(input)? as f32),
        PgType::Float8 => Datum::Float8(encoding::take_f64(input)?),
        PgType::Numeric => Datum::Numeric(from_decimal(encoding::take_decimal(input)?)),
        PgType::Bytea => Datum::Bytea(encoding::take_bytes(input)?),
        PgType::Uuid => Datum::Uuid(encoding::take_bytes(input)?.try_into().map_err(|_| wrong())?),
        PgType::Interval => {
            let (days, micros) = (encoding::take_i64(input)?, encoding::take_i64(input)?);
            Datum::Interval(Interval::new((days / 30) as i32, (days % 30) as i32, micros))
        }
        ty if ty.is_string() => Datum::Text(encoding::take_str(input)?),
        ty if ty.is_oid() => Datum::Oid(encoding::take_i64(input)?.try_into().map_err(|_| wrong())?),
        ty => {
            let element = ty.element().ok_or_else(wrong)?;
            let mut values = Vec::new();
            loop {
                let (mark, rest) = input.split_first().ok_or_else(wrong)?;
                *input = rest;
                match *mark {
                    ARRAY_END => return Ok(Datum::array(element, values)),
                    ARRAY_ITEM if encoding::take_null(input) => values.push(Datum::Null),
                    ARRAY_ITEM => values.push(take_value(input, element)?),
                    _ => return Err(wrong()),
                }
            }
        }
    })
}

/// `unscaled / 10^scale` as `0.digits × 10^exponent`.
fn to_decimal(value: &Numeric) -> Decimal {
    match value {
        Numeric::NaN => Decimal::NaN,
        Numeric::Infinity => Decimal::Infinity { negative: false },
        Numeric::NegativeInfinity => Decimal::Infinity { negative: true },
        Numeric::Finite { unscaled, scale } => {
            let digits: Vec<u8> = unscaled.magnitude().to_string().bytes().map(|byte| byte - b'0').collect();
            let exponent = digits.len() as i64 - i64::from(*scale);
            Decimal::finite(value.is_negative(), exponent, &digits)
        }
    }
}

fn from_decimal(value: Decimal) -> Numeric {
    match value {
        Decimal::NaN => Numeric::NaN,
        Decimal::Infinity { negative: false } => Numeric::Infinity,
        Decimal::Infinity { negative: true } => Numeric::NegativeInfinity,
        Decimal::Finite { negative, exponent, digits } => {
            let text: String = digits.iter().map(|digit| char::from(b'0' + digit)).collect();
            let magnitude = text.parse::<BigInt>().unwrap_or_default();
            let unscaled = if negative { -magnitude } else { magnitude };
            match digits.len() as i64 - exponent {
                scale @ 0.. => Numeric::new(unscaled, scale as u32),
                zeros => Numeric::new(unscaled * BigInt::from(10).pow(zeros.unsigned_abs() as u32), 0),
            }
        }
    }
}
