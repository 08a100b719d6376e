//! The arithmetic operators: numbers, dates, times, intervals.

use super::datetime::{self, add_months, date_to_timestamp, is_infinite, timestamp};
use super::interval::DAY;
use super::{Datum, Interval, Numeric, PgType, format_type};
use crate::SqlError;

/// An arithmetic operator of two operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOperator {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Modulo,
    /// `^`
    Power,
}

use BinaryOperator::{Add, Divide, Modulo, Multiply, Power, Subtract};

impl BinaryOperator {
    /// The operator as written.
    pub const fn symbol(self) -> &'static str {
        match self {
            Add => "+",
            Subtract => "-",
            Multiply => "*",
            Divide => "/",
            Modulo => "%",
            Power => "^",
        }
    }
}

fn out_of_range(name: &str) -> SqlError {
    SqlError::new("22003", format!("{name} out of range"))
}

fn division_by_zero() -> SqlError {
    SqlError::new("22012", "division by zero")
}

/// The type of `left operator right`; none when PostgreSQL has no such operator. Meant for planning: [`arithmetic`] gives a value of
/// this type.
pub fn result_type(operator: BinaryOperator, left: PgType, right: PgType) -> Option<PgType> {
    use PgType::{Date, Float4, Float8, Int4, Interval, Numeric, Time, Timestamp, TimestampTz};
    if left.is_number() && right.is_number() {
        let widest = if rank(left) >= rank(right) { left } else { right };
        return Some(match operator {
            Power if matches!(widest, Numeric) => Numeric,
            Power => Float8,
            Modulo if matches!(widest, Float4 | Float8) => return None,
            _ if widest == Float4 && left != right => Float8,
            _ => widest,
        });
    }
    Some(match (operator, left, right) {
        (Add, Date, PgType::Int2 | Int4) | (Add, PgType::Int2 | Int4, Date) => Date,
        (Subtract, Date, PgType::Int2 | Int4) => Date,
        (Subtract, Date, Date) => Int4,
        (Add | Subtract, Date, Interval) | (Add, Interval, Date) | (Add, Date, Time) | (Add, Time, Date) => Timestamp,
        (Add | Subtract, Timestamp, Interval) | (Add, Interval, Timestamp) => Timestamp,
        (Add | Subtract, TimestampTz, Interval) | (Add, Interval, TimestampTz) => TimestampTz,
        (Subtract, Timestamp | TimestampTz | Date, Timestamp | TimestampTz | Date) => Interval,
        (Add | Subtract, Time, Interval) | (Add, Interval, Time) => Time,
        (Subtract, Time, Time) | (Add | Subtract, Interval, Interval) => Interval,
        (Multiply | Divide, Interval, number) if number.is_number() => Interval,
        (Multiply, number, Interval) if number.is_number() => Interval,
        (_, Time, Time) => return None,
        (_, Time, _) => return result_type(operator, Interval, right),
        (_, _, Time) => return result_type(operator, left, Interval),
        _ => return None,
    })
}

fn rank(ty: PgType) -> u8 {
    match ty {
        PgType::Int2 => 0,
        PgType::Int4 => 1,
        PgType::Int8 => 2,
        PgType::Numeric => 3,
        PgType::Float4 => 4,
        _ => 5,
    }
}

/// Applies an operator; NULL if either side is NULL. Overflow is 22003, division by zero 22012, no such operator 42883.
///
/// Operands of different numeric types meet at the wider one (int2 < int4 < int8 < numeric < float4 < float8); dates, times and
/// intervals combine as PostgreSQL's operators do. Days and months added to a timestamptz are UTC's here; the functions
/// that know the session's zone use [`add_interval_in_zone`].
pub fn arithmetic(operator: BinaryOperator, left: &Datum, right: &Datum) -> Result<Datum, SqlError> {
    let (Some(left_type), Some(right_type)) = (left.natural_type(), right.natural_type()) else {
        return Ok(Datum::Null);
    };
    if let (Datum::Int4(a), Datum::Int4(b)) = (left, right) {
        return int4(operator, *a, *b);
    }
    let ty =
        result_type(operator, left_type, right_type).ok_or_else(|| no_operator(operator, left_type, right_type))?;
    match ty {
        PgType::Int2 => integer(operator, left, right, i64::from(i16::MIN)..=i64::from(i16::MAX), "smallint")
            .map(|value| Datum::Int2(value as i16)),
        PgType::Int4 if left_type.is_number() => {
            integer(operator, left, right, i64::from(i32::MIN)..=i64::from(i32::MAX), "integer")
                .map(|value| Datum::Int4(value as i32))
        }
        PgType::Int8 => integer(operator, left, right, i64::MIN..=i64::MAX, "bigint").map(Datum::Int8),
        PgType::Numeric => numeric(operator, &as_numeric(left), &as_numeric(right)).map(Datum::Numeric),
        PgType::Float4 => {
            let (Datum::Float4(a), Datum::Float4(b)) = (left, right) else {
                return Err(SqlError::internal("not reals"));
            };
            let value = float(operator, f64::from(*a), f64::from(*b))? as f32;
            let overflow = value.is_infinite() && a.is_finite() && b.is_finite();
            if overflow {
                Err(SqlError::new("22003", "value out of range: overflow"))
            } else {
                Ok(Datum::Float4(value))
            }
        }
        PgType::Float8 => float(operator, as_f64(left), as_f64(right)).map(Datum::Float8),
        _ => match (temporal(operator, left, right), left, right) {
            (Some(result), _, _) => result,
            // Failing all else a time of day counts as the interval since midnight.
            (None, Datum::Time(micros), _) => arithmetic(operator, &since_midnight(*micros), right),
            (None, _, Datum::Time(micros)) => arithmetic(operator, left, &since_midnight(*micros)),
            _ => Err(no_operator(operator, left_type, right_type)),
        },
    }
}

fn no_operator(operator: BinaryOperator, left: PgType, right: PgType) -> SqlError {
    let (left, right) = (format_type(left, -1), format_type(right, -1));
    SqlError::new("42883", format!("operator does not exist: {left} {} {right}", operator.symbol()))
        .hint("No operator matches the given name and argument types. You might need to add explicit type casts.")
}

fn since_midnight(micros: i64) -> Datum {
    Datum::Interval(Interval::new(0, 0, micros))
}

/// Unary minus.
pub fn negate(operand: &Datum) -> Result<Datum, SqlError> {
    match operand {
        Datum::Null => Ok(Datum::Null),
        Datum::Int2(value) => value.checked_neg().map(Datum::Int2).ok_or_else(|| out_of_range("smallint")),
        Datum::Int4(value) => value.checked_neg().map(Datum::Int4).ok_or_else(|| out_of_range("integer")),
        Datum::Int8(value) => value.checked_neg().map(Datum::Int8).ok_or_else(|| out_of_range("bigint")),
        Datum::Float4(value) => Ok(Datum::Float4(-value)),
        Datum::Float8(value) => Ok(Datum::Float8(-value)),
        Datum::Numeric(value) => Ok(Datum::Numeric(value.negate())),
        Datum::Interval(value) => value.negate().map(Datum::Interval),
        other => {
            let name = other.natural_type().map_or_else(String::new, |ty| format_type(ty, -1));
            Err(SqlError::new("42883", format!("operator does not exist: - {name}")))
        }
    }
}

fn int4(operator: BinaryOperator, a: i32, b: i32) -> Result<Datum, SqlError> {
    let value = match operator {
        Add => a.checked_add(b),
        Subtract => a.checked_sub(b),
        Multiply => a.checked_mul(b),
        Divide | Modulo if b == 0 => return Err(division_by_zero()),
        Divide => a.checked_div(b),
        Modulo => Some(a.wrapping_rem(b)),
        Power => return float(Power, f64::from(a), f64::from(b)).map(Datum::Float8),
    };
    value.map(Datum::Int4).ok_or_else(|| out_of_range("integer"))
}

fn integer(
    operator: BinaryOperator,
    left: &Datum,
    right: &Datum,
    range: std::ops::RangeInclusive<i64>,
    name: &str,
) -> Result<i64, SqlError> {
    let (Some(a), Some(b)) = (left.as_i64(), right.as_i64()) else { return Err(SqlError::internal("not integers")) };
    let value = match operator {
        Add => a.checked_add(b),
        Subtract => a.checked_sub(b),
        Multiply => a.checked_mul(b),
        Divide | Modulo if b == 0 => return Err(division_by_zero()),
        Divide => a.checked_div(b),
        _ => Some(a.wrapping_rem(b)),
    };
    value.filter(|value| range.contains(value)).ok_or_else(|| out_of_range(name))
}

fn numeric(operator: BinaryOperator, a: &Numeric, b: &Numeric) -> Result<Numeric, SqlError> {
    match operator {
        Add => a.add(b),
        Subtract => a.subtract(b),
        Multiply => a.multiply(b),
        Divide => a.divide(b),
        Modulo => a.remainder(b),
        Power => a.power(b),
    }
}

/// Double arithmetic with PostgreSQL's range checks: an infinite or zero result from operands that give no cause is 22003.
fn float(operator: BinaryOperator, a: f64, b: f64) -> Result<f64, SqlError> {
    let value = match operator {
        Add => a + b,
        Subtract => a - b,
        Multiply => a * b,
        Divide if b == 0.0 && !a.is_nan() => return Err(division_by_zero()),
        Divide => a / b,
        Modulo => a % b,
        Power if a == 0.0 && b < 0.0 => {
            return Err(SqlError::new("2201F", "zero raised to a negative power is undefined"));
        }
        Power if a < 0.0 && b.fract() != 0.0 && b.is_finite() && a.is_finite() => {
            let message = "a negative number raised to a non-integer power yields a complex result";
            return Err(SqlError::new("2201F", message));
        }
        Power => a.powf(b),
    };
    if value.is_infinite() && a.is_finite() && b.is_finite() {
        return Err(SqlError::new("22003", "value out of range: overflow"));
    }
    let vanished = match operator {
        Multiply => value == 0.0 && a != 0.0 && b != 0.0,
        Divide => value == 0.0 && a != 0.0 && b.is_finite(),
        Power => value == 0.0 && a != 0.0 && a.is_finite() && b.is_finite(),
        _ => false,
    };
    if vanished { Err(SqlError::new("22003", "value out of range: underflow")) } else { Ok(value) }
}

fn as_numeric(datum: &Datum) -> Numeric {
    match datum {
        Datum::Numeric(value) => value.clone(),
        other => other.as_i64().map_or(Numeric::NaN, Numeric::from),
    }
}

fn as_f64(datum: &Datum) -> f64 {
    match datum {
        Datum::Float4(value) => f64::from(*value),
        Datum::Float8(value) => *value,
        Datum::Numeric(value) => value.to_f64(),
        other => other.as_i64().map_or(f64::NAN, |value| value as f64),
    }
}

/// A timestamp plus an interval: months first (the day held to the month's last), then days, then microseconds.
pub fn add_interval(micros: i64, interval: Interval) -> Result<i64, SqlError> {
    if is_infinite(micros) {
        return Ok(micros);
    }
    let (days, time) = datetime::split(add_months(micros, interval.months)?);
    let time = time.checked_add(interval.micros).ok_or_else(datetime::timestamp_out_of_range)?;
    timestamp(days + i64::from(interval.days), time)
}

/// The same for an instant in a zone: months and days keep the local time of day.
pub fn add_interval_in_zone(micros: i64, interval: Interval, zone: &super::TimeZone) -> Result<i64, SqlError> {
    if is_infinite(micros) {
        return Ok(micros);
    }
    let mut at = micros;
    if interval.months != 0 || interval.days != 0 {
        let local = datetime::utc_to_local(micros, zone);
        let moved = add_interval(local, Interval { micros: 0, ..interval })?;
        at = datetime::local_to_utc(moved, zone);
    }
    add_interval(at, Interval::new(0, 0, interval.micros))
}

/// The difference of two timestamps in days and microseconds, as `timestamp - timestamp` gives it.
fn difference(left: i64, right: i64) -> Result<Datum, SqlError> {
    if is_infinite(left) || is_infinite(right) {
        return Err(SqlError::new("22008", "cannot subtract infinite timestamps"));
    }
    let micros = left.checked_sub(right).ok_or_else(super::interval::out_of_range)?;
    Ok(Datum::Interval(Interval::new(0, 0, micros).justify_hours()))
}

fn temporal(operator: BinaryOperator, left: &Datum, right: &Datum) -> Option<Result<Datum, SqlError>> {
    let day = |days: i32, count: i64| {
        let sum = i64::from(days) + count;
        let valid = (i64::from(datetime::MIN_DATE)..=i64::from(datetime::MAX_DATE)).contains(&sum);
        match days {
            i32::MAX | i32::MIN => Ok(Datum::Date(days)),
            _ if valid => Ok(Datum::Date(sum as i32)),
            _ => Err(SqlError::new("22008", "date out of range")),
        }
    };
    let signed = |interval: &Interval| if operator == Subtract { interval.negate() } else { Ok(*interval) };
    let clock = |micros: i64, interval: &Interval| {
        signed(interval).map(|by| Datum::Time(micros.wrapping_add(by.micros % DAY).rem_euclid(DAY)))
    };
    Some(match (operator, left, right) {
        (Subtract, Datum::Date(a), Datum::Date(b)) => {
            if [*a, *b].iter().any(|days| matches!(*days, i32::MAX | i32::MIN)) {
                return Some(Err(SqlError::new("22008", "cannot subtract infinite dates")));
            }
            Ok(Datum::Int4(a - b))
        }
        (Add, Datum::Date(days), Datum::Time(micros)) | (Add, Datum::Time(micros), Datum::Date(days)) => {
            date_to_timestamp(*days).map(|start| Datum::Timestamp(start.saturating_add(*micros)))
        }
        (Add | Subtract, Datum::Date(days), Datum::Interval(by)) | (Add, Datum::Interval(by), Datum::Date(days)) => {
            date_to_timestamp(*days).and_then(|start| add_interval(start, signed(by)?)).map(Datum::Timestamp)
        }
        (Add | Subtract, Datum::Timestamp(at), Datum::Interval(by))
        | (Add, Datum::Interval(by), Datum::Timestamp(at)) => {
            signed(by).and_then(|by| add_interval(*at, by)).map(Datum::Timestamp)
        }
        (Add | Subtract, Datum::TimestampTz(at), Datum::Interval(by))
        | (Add, Datum::Interval(by), Datum::TimestampTz(at)) => {
            signed(by).and_then(|by| add_interval(*at, by)).map(Datum::TimestampTz)
        }
        (Add | Subtract, Datum::Time(at), Datum::Interval(by)) | (Add, Datum::Interval(by), Datum::Time(at)) => {
            clock(*at, by)
        }
        (Subtract, Datum::Time(a), Datum::Time(b)) => Ok(Datum::Interval(Interval::new(0, 0, a - b))),
        (Add, Datum::Interval(a), Datum::Interval(b)) => a.checked_add(*b).map(Datum::Interval),
        (Subtract, Datum::Interval(a), Datum::Interval(b)) => {
            b.negate().and_then(|b| a.checked_add(b)).map(Datum::Interval)
        }
        (Multiply, Datum::Interval(by), number) | (Multiply, number, Datum::Interval(by)) => {
            by.scale(as_f64(number)).map(Datum::Interval)
        }
        (Divide, Datum::Interval(by), number) => match as_f64(number) {
            0.0 => Err(division_by_zero()),
            divisor => by.divide(divisor).map(Datum::Interval),
        },
        (Subtract, a, b) if instant(a).is_some() && instant(b).is_some() => difference(instant(a)?, instant(b)?),
        (Add | Subtract, Datum::Date(days), count) => {
            let count = count.as_i64()?;
            day(*days, if operator == Subtract { -count } else { count })
        }
        (Add, count, Datum::Date(days)) => day(*days, count.as_i64()?),
        _ => return None,
    })
}

fn instant(datum: &Datum) -> Option<i64> {
    match datum {
        Datum::Timestamp(micros) | Datum::TimestampTz(micros) => Some(*micros),
        Datum::Date(days) => date_to_timestamp(*days).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
