//! Values in PostgreSQL's text format, and the dispatch to the types' own pages.

use std::fmt::Write as _;

use super::{Datum, Numeric, PgType, TypeSettings, format_type, from_sql_name};
use super::{array, bytea, datetime, float, interval, json};
use crate::SqlError;

/// Reads a value in text format, applying the modifier (-1 for none).
///
/// A string too long for its modifier is 22001 unless only blanks are too many; text that does not parse is 22P02, or 22007 and
/// 22008 for dates and times.
pub fn parse_text(text: &str, ty: PgType, typmod: i32, settings: &TypeSettings) -> Result<Datum, SqlError> {
    match ty {
        PgType::Bool => parse_bool(text).map(Datum::Bool),
        PgType::Int2 => parse_integer(text, ty).map(|value: i16| Datum::Int2(value)),
        PgType::Int4 => parse_integer(text, ty).map(|value: i32| Datum::Int4(value)),
        PgType::Int8 => parse_integer(text, ty).map(|value: i64| Datum::Int8(value)),
        PgType::Float4 => float::parse_f32(text).map(Datum::Float4),
        PgType::Float8 => float::parse_f64(text).map(Datum::Float8),
        PgType::Numeric => text.parse::<Numeric>()?.with_typmod(typmod).map(Datum::Numeric),
        PgType::Text | PgType::Unknown => Ok(Datum::Text(text.to_owned())),
        PgType::Varchar | PgType::Bpchar => fit_string(text, ty, typmod, false).map(Datum::Text),
        PgType::Name => Ok(Datum::Text(truncate_name(text).to_owned())),
        PgType::QChar => Ok(Datum::Text(text.chars().next().map(String::from).unwrap_or_default())),
        PgType::Bytea => bytea::parse(text).map(Datum::Bytea),
        PgType::Date => datetime::parse_date(text, settings).map(Datum::Date),
        PgType::Time => datetime::parse_time(text, typmod).map(Datum::Time),
        PgType::Timestamp => datetime::parse_timestamp(text, typmod, settings).map(Datum::Timestamp),
        PgType::TimestampTz => datetime::parse_timestamptz(text, typmod, settings).map(Datum::TimestampTz),
        PgType::Interval => interval::parse(text).map(Datum::Interval),
        PgType::Uuid => parse_uuid(text).map(Datum::Uuid),
        PgType::Json => json::validate(text).map(|()| Datum::Json(text.to_owned())),
        PgType::Jsonb => json::canonical(text).map(Datum::Jsonb),
        PgType::Int2Vector | PgType::OidVector => array::parse_vector(text, ty, settings),
        PgType::Void => Ok(Datum::Text(String::new())),
        PgType::Record => Err(SqlError::unsupported("input of anonymous composite types")),
        ty if ty.is_oid() => parse_oid(text, ty, settings).map(Datum::Oid),
        ty => {
            let element =
                ty.element().ok_or_else(|| SqlError::unsupported(format!("input of type {}", ty.typname())))?;
            array::parse(text, element, typmod, settings)
        }
    }
}

/// Appends the text format of a value that is not NULL.
///
/// A value of another variant than `ty` stores prints as its own type would.
pub fn format_text(datum: &Datum, ty: PgType, typmod: i32, settings: &TypeSettings, out: &mut String) {
    // Writing to a String cannot fail.
    let _ = match datum {
        Datum::Null => Ok(()),
        Datum::Bool(value) => out.write_str(if *value { "t" } else { "f" }),
        Datum::Int2(value) => write!(out, "{value}"),
        Datum::Int4(value) => write!(out, "{value}"),
        Datum::Int8(value) => write!(out, "{value}"),
        Datum::Float4(value) => out.write_str(&float::format_f32(*value)),
        Datum::Float8(value) => out.write_str(&float::format_f64(*value)),
        Datum::Numeric(value) => write!(out, "{value}"),
        Datum::Text(value) => {
            out.push_str(value);
            if ty == PgType::Bpchar {
                pad(value, typmod, out);
            }
            Ok(())
        }
        Datum::Bytea(value) => {
            bytea::format(value, out);
            Ok(())
        }
        Datum::Date(days) => out.write_str(&datetime::format_date(*days)),
        Datum::Time(micros) => out.write_str(&datetime::format_time(*micros)),
        Datum::Timestamp(micros) => out.write_str(&datetime::format_timestamp(*micros)),
        Datum::TimestampTz(micros) => out.write_str(&datetime::format_timestamptz(*micros, &settings.timezone)),
        Datum::Interval(value) => write!(out, "{value}"),
        Datum::Uuid(bytes) => write!(out, "{}", uuid::Uuid::from_bytes(*bytes).hyphenated()),
        Datum::Json(value) | Datum::Jsonb(value) => out.write_str(value),
        Datum::Array(value) => {
            array::format(value, ty, typmod, settings, out);
            Ok(())
        }
        Datum::Oid(oid) => out.write_str(&format_oid(*oid, ty, settings)),
    };
}

/// The text format of a value that is not NULL.
pub fn to_text(datum: &Datum, ty: PgType, typmod: i32, settings: &TypeSettings) -> String {
    let mut out = String::new();
    format_text(datum, ty, typmod, settings, &mut out);
    out
}

/// `invalid input syntax for type …`.
pub(crate) fn invalid_syntax(type_name: &str, text: &str) -> SqlError {
    SqlError::new("22P02", format!("invalid input syntax for type {type_name}: \"{text}\""))
}

/// A string made to fit `varchar(n)` or `char(n)`; bpchar loses its trailing blanks. `cut` is the explicit cast's way with what is
/// too long.
pub(crate) fn fit_string(text: &str, ty: PgType, typmod: i32, cut: bool) -> Result<String, SqlError> {
    let text = if ty == PgType::Bpchar { text.trim_end_matches(' ') } else { text };
    let limit = match typmod {
        4.. => typmod as usize - 4,
        _ => return Ok(text.to_owned()),
    };
    if text.len() <= limit {
        return Ok(text.to_owned());
    }
    let Some((end, _)) = text.char_indices().nth(limit) else { return Ok(text.to_owned()) };
    if !cut && text[end..].bytes().any(|byte| byte != b' ') {
        let name = format_type(ty, typmod);
        return Err(SqlError::new("22001", format!("value too long for type {name}")));
    }
    let fitted = &text[..end];
    Ok(if ty == PgType::Bpchar { fitted.trim_end_matches(' ') } else { fitted }.to_owned())
}

/// Appends the blanks that `char(n)` shows.
pub(crate) fn pad(value: &str, typmod: i32, out: &mut String) {
    if typmod > 4 {
        let missing = (typmod as usize - 4).saturating_sub(value.chars().count());
        out.extend(std::iter::repeat_n(' ', missing));
    }
}

/// At most 63 bytes, at a character's end, as `name` keeps.
pub(crate) fn truncate_name(text: &str) -> &str {
    let mut end = text.len().min(63);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn parse_bool(text: &str) -> Result<bool, SqlError> {
    let word = text.trim().to_ascii_lowercase();
    let prefix = |whole: &str, at_least: usize| word.len() >= at_least && whole.starts_with(word.as_str());
    if prefix("true", 1) || prefix("yes", 1) || word == "on" || word == "1" {
        Ok(true)
    } else if prefix("false", 1) || prefix("no", 1) || prefix("off", 2) || word == "0" {
        Ok(false)
    } else {
        Err(invalid_syntax("boolean", text))
    }
}

fn parse_integer<T: TryFrom<i64>>(text: &str, ty: PgType) -> Result<T, SqlError> {
    let name = || format_type(ty, -1);
    let trimmed = text.trim_matches(|c: char| c.is_ascii_whitespace());
    let digits = trimmed.strip_prefix(['-', '+']).unwrap_or(trimmed);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(invalid_syntax(&name(), text));
    }
    let value = trimmed.parse::<i64>().ok().and_then(|value| T::try_from(value).ok());
    value.ok_or_else(|| SqlError::new("22003", format!("value \"{text}\" is out of range for type {}", name())))
}

fn parse_uuid(text: &str) -> Result<[u8; 16], SqlError> {
    let trimmed = text.trim();
    let bare = trimmed.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(trimmed);
    let mut digits = Vec::with_capacity(32);
    for (index, byte) in bare.bytes().enumerate() {
        match byte {
            // Hyphens are allowed between groups of four digits.
            b'-' if index > 0 && digits.len() % 4 == 0 && digits.len() < 32 => {}
            byte if byte.is_ascii_hexdigit() => {
                digits.push(char::from(byte).to_digit(16).expect("a hexadecimal digit") as u8)
            }
            _ => return Err(invalid_syntax("uuid", text)),
        }
    }
    let mut bytes = [0; 16];
    if digits.len() != 32 {
        return Err(invalid_syntax("uuid", text));
    }
    bytes.iter_mut().zip(digits.chunks(2)).for_each(|(byte, pair)| *byte = pair[0] << 4 | pair[1]);
    Ok(bytes)
}

fn parse_oid(text: &str, ty: PgType, settings: &TypeSettings) -> Result<u32, SqlError> {
    let trimmed = text.trim();
    if let Ok(number) = trimmed.parse::<i64>() {
        // oid takes negative numbers as their unsigned twins.
        let fits = (-(1i64 << 31)..1i64 << 32).contains(&number);
        let overflow = || SqlError::new("22003", format!("value \"{text}\" is out of range for type {}", ty.typname()));
        return if fits { Ok(number as u32) } else { Err(overflow()) };
    }
    if trimmed == "-" && ty != PgType::Oid {
        return Ok(0);
    }
    let names = settings.names.as_deref();
    let unquoted = || trimmed.trim_matches('"');
    match ty {
        PgType::Regclass => names
            .and_then(|names| names.relation_oid(trimmed))
            .ok_or_else(|| SqlError::new("42P01", format!("relation \"{trimmed}\" does not exist"))),
        PgType::Regtype => from_sql_name(trimmed)
            .map(PgType::oid)
            .ok_or_else(|| SqlError::new("42704", format!("type \"{trimmed}\" does not exist"))),
        PgType::Regnamespace => names
            .and_then(|names| names.schema_oid(unquoted()))
            .ok_or_else(|| SqlError::new("3F000", format!("schema \"{trimmed}\" does not exist"))),
        PgType::Regrole => names
            .and_then(|names| names.role_oid(unquoted()))
            .ok_or_else(|| SqlError::new("42704", format!("role \"{trimmed}\" does not exist"))),
        PgType::Regproc => names
            .and_then(|names| names.function_oid(unquoted()))
            .ok_or_else(|| SqlError::new("42883", format!("function \"{trimmed}\" does not exist"))),
        _ => Err(invalid_syntax(ty.typname(), text)),
    }
}

fn format_oid(oid: u32, ty: PgType, settings: &TypeSettings) -> String {
    let names = settings.names.as_deref();
    let name = match ty {
        _ if oid == 0 && ty != PgType::Oid && ty != PgType::Xid => Some("-".to_owned()),
        PgType::Regclass => names.and_then(|names| names.relation_name(oid)),
        PgType::Regtype => PgType::from_oid(oid).map(|ty| format_type(ty, -1)),
        PgType::Regnamespace => names.and_then(|names| names.schema_name(oid)),
        PgType::Regrole => names.and_then(|names| names.role_name(oid)),
        PgType::Regproc => names.and_then(|names| names.function_name(oid)),
        _ => None,
    };
    name.unwrap_or_else(|| oid.to_string())
}

#[cfg(test)]
mod tests;
