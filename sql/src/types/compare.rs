//! PostgreSQL's order of values.
//!
//! NULL sorts after everything (`NULLS LAST`, the default of ascending order); NaN above every number; strings by bytes (the
//! collation is `C`); arrays element by element, the shorter first.

use std::cmp::Ordering;

use super::{ArrayValue, Datum, Interval, Numeric};

mod jsonb;

/// The total order of ORDER BY and of index keys; NULL equals NULL and comes last.
///
/// Values of different numeric types compare by value; otherwise both must be of one type, and values of unlike types
/// fall back to an arbitrary but total order.
pub fn compare(left: &Datum, right: &Datum) -> Ordering {
    match (left, right) {
        (Datum::Null, Datum::Null) => Ordering::Equal,
        (Datum::Null, _) => Ordering::Greater,
        (_, Datum::Null) => Ordering::Less,
        (Datum::Bool(a), Datum::Bool(b)) => a.cmp(b),
        (Datum::Int4(a), Datum::Int4(b)) => a.cmp(b),
        (Datum::Int8(a), Datum::Int8(b)) => a.cmp(b),
        (Datum::Text(a), Datum::Text(b)) | (Datum::Json(a), Datum::Json(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Datum::Bytea(a), Datum::Bytea(b)) => a.cmp(b),
        (Datum::Date(a), Datum::Date(b)) => a.cmp(b),
        (Datum::Time(a), Datum::Time(b)) => a.cmp(b),
        (Datum::Timestamp(a), Datum::Timestamp(b)) | (Datum::TimestampTz(a), Datum::TimestampTz(b)) => a.cmp(b),
        (Datum::Date(a), Datum::Timestamp(b) | Datum::TimestampTz(b)) => date_micros(*a).cmp(&i128::from(*b)),
        (Datum::Timestamp(a) | Datum::TimestampTz(a), Datum::Date(b)) => i128::from(*a).cmp(&date_micros(*b)),
        (Datum::Interval(a), Datum::Interval(b)) => a.cmp(b),
        (Datum::Uuid(a), Datum::Uuid(b)) => a.cmp(b),
        (Datum::Numeric(a), Datum::Numeric(b)) => a.cmp(b),
        (Datum::Jsonb(a), Datum::Jsonb(b)) => jsonb::compare(a, b),
        (Datum::Array(a), Datum::Array(b)) => compare_arrays(a, b),
        _ => compare_numbers(left, right).unwrap_or_else(|| variant_rank(left).cmp(&variant_rank(right))),
    }
}

/// SQL's comparison: none when either side is NULL.
pub fn compare_sql(left: &Datum, right: &Datum) -> Option<Ordering> {
    (!left.is_null() && !right.is_null()).then(|| compare(left, right))
}

/// Doubles in PostgreSQL's order: NaN equals itself and is above infinity; the zeros are equal.
pub(crate) fn compare_f64(left: f64, right: f64) -> Ordering {
    left.partial_cmp(&right).unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()))
}

fn compare_arrays(left: &ArrayValue, right: &ArrayValue) -> Ordering {
    let pairs = left.values.iter().zip(&right.values);
    let differing = pairs.map(|(a, b)| compare(a, b)).find(|order| order.is_ne());
    differing.unwrap_or_else(|| left.values.len().cmp(&right.values.len()))
}

fn compare_numbers(left: &Datum, right: &Datum) -> Option<Ordering> {
    if let (Some(a), Some(b)) = (left.as_i64(), right.as_i64()) {
        return Some(a.cmp(&b));
    }
    if let (Some(a), Some(b)) = (exact(left), exact(right)) {
        return Some(a.cmp(&b));
    }
    Some(compare_f64(as_f64(left)?, as_f64(right)?))
}

fn exact(datum: &Datum) -> Option<Numeric> {
    match datum {
        Datum::Numeric(value) => Some(value.clone()),
        other => other.as_i64().map(Numeric::from),
    }
}

fn as_f64(datum: &Datum) -> Option<f64> {
    match datum {
        Datum::Float4(value) => Some(f64::from(*value)),
        Datum::Float8(value) => Some(*value),
        Datum::Numeric(value) => Some(value.to_f64()),
        other => other.as_i64().map(|value| value as f64),
    }
}

fn date_micros(days: i32) -> i128 {
    match days {
        i32::MAX => i128::from(i64::MAX),
        i32::MIN => i128::from(i64::MIN),
        days => i128::from(days) * 86_400_000_000,
    }
}

fn variant_rank(datum: &Datum) -> u32 {
    datum.natural_type().map_or(u32::MAX, super::PgType::oid)
}

impl Interval {
    /// The length PostgreSQL compares by: a month is 30 days, a day 24 hours.
    pub fn comparable_micros(&self) -> i128 {
        let days = i128::from(self.months) * 30 + i128::from(self.days);
        days * 86_400_000_000 + i128::from(self.micros)
    }
}

impl Ord for Interval {
    fn cmp(&self, other: &Interval) -> Ordering {
        self.comparable_micros().cmp(&other.comparable_micros())
    }
}

impl PartialOrd for Interval {
    fn partial_cmp(&self, other: &Interval) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
