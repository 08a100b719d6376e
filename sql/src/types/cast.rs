//! Casts between types: which there are, where they apply, what they do.
//!
//! | from → to | context |
//! |---|---|
//! | narrower number → wider, int → float | implicit |
//! | wider number → narrower | assignment |
//! | anything → text, varchar, bpchar | assignment (implicit among strings) |
//! | strings → anything | explicit, through the text format |
//! | date → timestamp → timestamptz | implicit; back by assignment |
//! | int → oid, regclass | implicit |
//!
//! A literal of no type yet (`unknown`) becomes anything implicitly.
//!
//! Sources: `pg_cast` of PostgreSQL 15.

use super::datetime::{date_to_timestamp, local_to_utc, round_micros, split, timestamp_to_date, utc_to_local};
use super::float::{parse_f32, parse_f64};
use super::text::{fit_string, truncate_name};
use super::{Datum, Interval, Numeric, PgType, TypeSettings, format_type, json, parse_text, to_text};
use crate::SqlError;

/// Where a cast is applied without being asked for; each level includes those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CastContext {
    /// In any expression.
    Implicit,
    /// When storing into a column.
    Assignment,
    /// Only by `CAST` or `::`.
    Explicit,
}

/// The rank of a number type: wider is higher.
fn number_rank(ty: PgType) -> Option<u8> {
    Some(match ty {
        PgType::Int2 => 0,
        PgType::Int4 => 1,
        PgType::Int8 => 2,
        PgType::Numeric => 3,
        PgType::Float4 => 4,
        PgType::Float8 => 5,
        _ => return None,
    })
}

/// The least context in which a value of `from` becomes one of `to`; none if there is no such cast.
pub fn cast_context(from: PgType, to: PgType) -> Option<CastContext> {
    use CastContext::{Assignment, Explicit, Implicit};
    if from == to || from == PgType::Unknown {
        return Some(Implicit);
    }
    if let (Some(a), Some(b)) = (number_rank(from), number_rank(to)) {
        return Some(if a < b { Implicit } else { Assignment });
    }
    if let (Some(a), Some(b)) = (from.element(), to.element()) {
        return cast_context(a, b);
    }
    match (from, to) {
        (PgType::Name, PgType::Text) | (PgType::Text | PgType::Varchar | PgType::Bpchar, PgType::Name) => {
            Some(Implicit)
        }
        (a, PgType::Text | PgType::Varchar | PgType::Bpchar) if a.is_string() => {
            Some(if a == PgType::QChar && to != PgType::Text || a == PgType::Name { Assignment } else { Implicit })
        }
        (a, PgType::QChar) if a.is_string() => Some(Assignment),
        (PgType::Int4, PgType::Bool) | (PgType::Bool, PgType::Int4) => Some(Explicit),
        (PgType::Int4, PgType::QChar) | (PgType::QChar, PgType::Int4) => Some(Explicit),
        (a, b) if a.is_oid() && b.is_oid() => Some(Implicit),
        (a, b) if a.is_integer() && b.is_oid() => Some(Implicit),
        (a, PgType::Int4 | PgType::Int8) if a.is_oid() => Some(Assignment),
        (PgType::Text | PgType::Varchar, PgType::Regclass) => Some(Implicit),
        (PgType::Date, PgType::Timestamp | PgType::TimestampTz) | (PgType::Timestamp, PgType::TimestampTz) => {
            Some(Implicit)
        }
        (PgType::Time, PgType::Interval) => Some(Implicit),
        (PgType::Timestamp | PgType::TimestampTz, PgType::Date | PgType::Time)
        | (PgType::TimestampTz, PgType::Timestamp)
        | (PgType::Interval, PgType::Time)
        | (PgType::Json, PgType::Jsonb)
        | (PgType::Jsonb, PgType::Json) => Some(Assignment),
        (PgType::Jsonb, PgType::Bool) => Some(Explicit),
        (PgType::Jsonb, b) if b.is_number() => Some(Explicit),
        (PgType::Void, _) | (_, PgType::Void) | (PgType::Record, _) | (_, PgType::Record) => None,
        (_, b) if b.is_string() => Some(Assignment),
        (a, _) if a.is_string() => Some(Explicit),
        _ => None,
    }
}

/// Casts a value to a type and its modifier (-1 for none). With `Explicit`, strings too long for the modifier are cut;
/// otherwise that is 22001. A cast that the context does not allow is 42804 (assignment) or 42846; a value that does not fit is 22003.
pub fn cast(
    datum: Datum,
    from: PgType,
    to: PgType,
    typmod: i32,
    context: CastContext,
    settings: &TypeSettings,
) -> Result<Datum, SqlError> {
    match cast_context(from, to) {
        Some(least) if least <= context => {}
        Some(_) if context == CastContext::Assignment => {
            let (to, from) = (format_type(to, -1), format_type(from, -1));
            return Err(SqlError::new("42804", format!("expression is of type {from}, but {to} is expected"))
                .hint("You will need to rewrite or cast the expression."));
        }
        _ => {
            let (to, from) = (format_type(to, -1), format_type(from, -1));
            return Err(SqlError::new("42846", format!("cannot cast type {from} to {to}")));
        }
    }
    convert(datum, from, to, typmod, context == CastContext::Explicit, settings)
}

/// The conversion itself, whatever the context.
fn convert(
    datum: Datum,
    from: PgType,
    to: PgType,
    typmod: i32,
    cut: bool,
    settings: &TypeSettings,
) -> Result<Datum, SqlError> {
    if datum.is_null() || (from == to && typmod < 0) {
        return Ok(datum);
    }
    if let (Datum::Array(array), Some(element)) = (&datum, to.element()) {
        let values = array.values.iter().cloned();
        let cast: Result<Vec<Datum>, SqlError> =
            values.map(|value| convert(value, array.element, element, typmod, cut, settings)).collect();
        return Ok(Datum::array(element, cast?));
    }
    if to.is_string() {
        return to_string(datum, from, to, typmod, cut, settings).map(Datum::Text);
    }
    if number_rank(to).is_some() && !from.is_string() {
        return to_number(&datum, from, to, typmod);
    }
    match (&datum, to) {
        (Datum::Text(text), PgType::Int4) if from == PgType::QChar => {
            Ok(Datum::Int4(text.bytes().next().map_or(0, i32::from)))
        }
        (Datum::Text(text), to) => parse_text(text, to, typmod, settings),
        (Datum::Int4(value), PgType::Bool) => Ok(Datum::Bool(*value != 0)),
        (Datum::Jsonb(text), PgType::Bool) => match text.as_str() {
            "true" => Ok(Datum::Bool(true)),
            "false" => Ok(Datum::Bool(false)),
            _ => Err(cannot_cast_jsonb(text, "boolean")),
        },
        (Datum::Json(text), PgType::Jsonb) => json::canonical(text).map(Datum::Jsonb),
        (Datum::Jsonb(text), PgType::Json) => Ok(Datum::Json(text.clone())),
        (Datum::Oid(_), to) if to.is_oid() => Ok(datum),
        (number, to) if to.is_oid() => {
            let value = number.as_i64().unwrap_or(-1);
            let fits = (0..1 << 32).contains(&value) || from != PgType::Int8;
            if fits { Ok(Datum::Oid(value as u32)) } else { Err(SqlError::new("22003", "OID out of range")) }
        }
        _ => to_moment(&datum, to, typmod, settings).unwrap_or(Ok(datum)),
    }
}

fn to_string(
    datum: Datum,
    from: PgType,
    to: PgType,
    typmod: i32,
    cut: bool,
    settings: &TypeSettings,
) -> Result<String, SqlError> {
    let text = match datum {
        Datum::Text(text) => text,
        // A cast writes true and false in full; the text format has t and f.
        Datum::Bool(value) if to != PgType::Name => value.to_string(),
        Datum::Int4(code) if to == PgType::QChar => char::from(code as u8).to_string(),
        other => to_text(&other, from, -1, settings),
    };
    Ok(match to {
        PgType::Varchar | PgType::Bpchar => fit_string(&text, to, typmod, cut)?,
        PgType::Name => truncate_name(&text).to_owned(),
        PgType::QChar => text.chars().next().map(String::from).unwrap_or_default(),
        _ => text,
    })
}

fn cannot_cast_jsonb(text: &str, to: &str) -> SqlError {
    let kind = match text.as_bytes().first() {
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b'"') => "string",
        Some(b'n') => "null",
        Some(b't' | b'f') => "boolean",
        _ => "numeric",
    };
    SqlError::new("22023", format!("cannot cast jsonb {kind} to type {to}"))
}

fn to_number(datum: &Datum, from: PgType, to: PgType, typmod: i32) -> Result<Datum, SqlError> {
    let out_of_range = || SqlError::new("22003", format!("{} out of range", format_type(to, -1)));
    let parsed;
    let datum = match datum {
        Datum::Jsonb(text) => {
            parsed = Datum::Numeric(text.parse().map_err(|_| cannot_cast_jsonb(text, &format_type(to, -1)))?);
            &parsed
        }
        Datum::Bool(value) => return Ok(Datum::Int4(i32::from(*value))),
        other => other,
    };
    let mismatch =
        || SqlError::new("42846", format!("cannot cast type {} to {}", format_type(from, -1), format_type(to, -1)));
    match to {
        PgType::Int2 | PgType::Int4 | PgType::Int8 => {
            let whole = match datum {
                Datum::Numeric(value) => match value {
                    Numeric::Finite { .. } => value.to_i64(),
                    Numeric::NaN => {
                        return Err(SqlError::new("0A000", format!("cannot convert NaN to {}", format_type(to, -1))));
                    }
                    _ => {
                        return Err(SqlError::new(
                            "0A000",
                            format!("cannot convert infinity to {}", format_type(to, -1)),
                        ));
                    }
                },
                Datum::Float4(value) => float_to_integer(f64::from(*value)),
                Datum::Float8(value) => float_to_integer(*value),
                other => Some(other.as_i64().ok_or_else(mismatch)?),
            };
            let whole = whole.ok_or_else(out_of_range)?;
            match to {
                PgType::Int2 => i16::try_from(whole).map(Datum::Int2).map_err(|_| out_of_range()),
                PgType::Int4 => i32::try_from(whole).map(Datum::Int4).map_err(|_| out_of_range()),
                _ => Ok(Datum::Int8(whole)),
            }
        }
        // By way of their text, as PostgreSQL goes.
        PgType::Float8 if matches!(datum, Datum::Numeric(Numeric::Finite { .. })) => {
            let Datum::Numeric(value) = datum else { return Err(mismatch()) };
            parse_f64(&value.to_string()).map(Datum::Float8)
        }
        PgType::Float4 if matches!(datum, Datum::Numeric(Numeric::Finite { .. })) => {
            let Datum::Numeric(value) = datum else { return Err(mismatch()) };
            parse_f32(&value.to_string()).map(Datum::Float4)
        }
        PgType::Float4 | PgType::Float8 => {
            let value = match datum {
                Datum::Float4(value) => f64::from(*value),
                Datum::Float8(value) => *value,
                Datum::Numeric(value) => value.to_f64(),
                other => other.as_i64().ok_or_else(mismatch)? as f64,
            };
            if to == PgType::Float8 {
                return Ok(Datum::Float8(value));
            }
            let narrow = value as f32;
            let lost = (narrow.is_infinite() && value.is_finite()) || (narrow == 0.0 && value != 0.0);
            if lost { Err(out_of_range()) } else { Ok(Datum::Float4(narrow)) }
        }
        _ => {
            let value = match datum {
                Datum::Numeric(value) => value.clone(),
                Datum::Float4(value) => Numeric::from_f32(*value),
                Datum::Float8(value) => Numeric::from_f64(*value),
                other => Numeric::from(other.as_i64().ok_or_else(mismatch)?),
            };
            value.with_typmod(typmod).map(Datum::Numeric)
        }
    }
}

/// Rounded half to even, as C's `rint`; none when it does not fit.
fn float_to_integer(value: f64) -> Option<i64> {
    let rounded = value.round_ties_even();
    (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&rounded).then_some(rounded as i64)
}

/// Casts among dates, times, timestamps and intervals; none when this is no such cast.
fn to_moment(datum: &Datum, to: PgType, typmod: i32, settings: &TypeSettings) -> Option<Result<Datum, SqlError>> {
    let zone = &settings.timezone;
    Some(match (datum, to) {
        (Datum::Date(days), PgType::Timestamp) => date_to_timestamp(*days).map(Datum::Timestamp),
        (Datum::Date(days), PgType::TimestampTz) => {
            date_to_timestamp(*days).map(|micros| Datum::TimestampTz(local_to_utc(micros, zone)))
        }
        (Datum::Timestamp(micros), PgType::Timestamp) => Ok(Datum::Timestamp(round_micros(*micros, typmod))),
        (Datum::Timestamp(micros), PgType::TimestampTz) => {
            Ok(Datum::TimestampTz(round_micros(local_to_utc(*micros, zone), typmod)))
        }
        (Datum::TimestampTz(micros), PgType::TimestampTz) => Ok(Datum::TimestampTz(round_micros(*micros, typmod))),
        (Datum::TimestampTz(micros), PgType::Timestamp) => {
            Ok(Datum::Timestamp(round_micros(utc_to_local(*micros, zone), typmod)))
        }
        (Datum::Timestamp(micros), PgType::Date) => Ok(Datum::Date(timestamp_to_date(*micros))),
        (Datum::TimestampTz(micros), PgType::Date) => Ok(Datum::Date(timestamp_to_date(utc_to_local(*micros, zone)))),
        (Datum::Timestamp(micros), PgType::Time) => Ok(Datum::Time(round_micros(split(*micros).1, typmod))),
        (Datum::TimestampTz(micros), PgType::Time) => {
            Ok(Datum::Time(round_micros(split(utc_to_local(*micros, zone)).1, typmod)))
        }
        (Datum::Time(micros), PgType::Interval) => Ok(Datum::Interval(Interval::new(0, 0, *micros))),
        (Datum::Time(micros), PgType::Time) => Ok(Datum::Time(round_micros(*micros, typmod))),
        (Datum::Interval(interval), PgType::Time) => Ok(Datum::Time(interval.micros.rem_euclid(super::interval::DAY))),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
