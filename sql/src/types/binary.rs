//! Values in PostgreSQL's binary format (`typsend`, `typreceive`). Integers are big-endian; dates and timestamps count from 2000-01-01.

use super::datetime::{POSTGRES_EPOCH_DAYS, POSTGRES_EPOCH_MICROS};
use super::text::{fit_string, pad};
use super::{ArrayValue, Datum, Interval, Numeric, PgType, TypeSettings, json, parse_text};
use crate::SqlError;

fn insufficient() -> SqlError {
    SqlError::new("08P01", "insufficient data left in message")
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], SqlError> {
    match bytes.len().cmp(&N) {
        std::cmp::Ordering::Equal => Ok(bytes.try_into().expect("the length was compared")),
        std::cmp::Ordering::Less => Err(insufficient()),
        std::cmp::Ordering::Greater => Err(SqlError::new("22P03", "incorrect binary data format")),
    }
}

fn string(bytes: &[u8]) -> Result<&str, SqlError> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| SqlError::new("22021", "invalid byte sequence for encoding \"UTF8\""))?;
    match text.contains('\0') {
        true => Err(SqlError::new("22021", "invalid byte sequence for encoding \"UTF8\": 0x00")),
        false => Ok(text),
    }
}

/// Reads a value in binary format, applying the modifier (-1 for none).
pub fn decode_binary(bytes: &[u8], ty: PgType, typmod: i32) -> Result<Datum, SqlError> {
    Ok(match ty {
        PgType::Bool => Datum::Bool(fixed::<1>(bytes)?[0] != 0),
        PgType::Int2 => Datum::Int2(i16::from_be_bytes(fixed(bytes)?)),
        PgType::Int4 => Datum::Int4(i32::from_be_bytes(fixed(bytes)?)),
        PgType::Int8 => Datum::Int8(i64::from_be_bytes(fixed(bytes)?)),
        PgType::Float4 => Datum::Float4(f32::from_be_bytes(fixed(bytes)?)),
        PgType::Float8 => Datum::Float8(f64::from_be_bytes(fixed(bytes)?)),
        PgType::Numeric => Datum::Numeric(Numeric::decode_binary(bytes)?.with_typmod(typmod)?),
        PgType::Text | PgType::Unknown | PgType::QChar => Datum::Text(string(bytes)?.to_owned()),
        PgType::Name => Datum::Text(super::text::truncate_name(string(bytes)?).to_owned()),
        PgType::Varchar | PgType::Bpchar => Datum::Text(fit_string(string(bytes)?, ty, typmod, false)?),
        PgType::Bytea => Datum::Bytea(bytes.to_vec()),
        PgType::Date => Datum::Date(match i32::from_be_bytes(fixed(bytes)?) {
            infinite @ (i32::MAX | i32::MIN) => infinite,
            days => days.checked_add(POSTGRES_EPOCH_DAYS).ok_or_else(|| SqlError::new("22008", "date out of range"))?,
        }),
        PgType::Time => Datum::Time(i64::from_be_bytes(fixed(bytes)?)),
        PgType::Timestamp => Datum::Timestamp(from_postgres_epoch(i64::from_be_bytes(fixed(bytes)?))?),
        PgType::TimestampTz => Datum::TimestampTz(from_postgres_epoch(i64::from_be_bytes(fixed(bytes)?))?),
        PgType::Interval => {
            let bytes: [u8; 16] = fixed(bytes)?;
            Datum::Interval(Interval {
                micros: i64::from_be_bytes(fixed(&bytes[..8])?),
                days: i32::from_be_bytes(fixed(&bytes[8..12])?),
                months: i32::from_be_bytes(fixed(&bytes[12..])?),
            })
        }
        PgType::Uuid => Datum::Uuid(fixed(bytes)?),
        PgType::Json => {
            let text = string(bytes)?;
            json::validate(text)?;
            Datum::Json(text.to_owned())
        }
        PgType::Jsonb => match bytes.split_first() {
            Some((1, text)) => Datum::Jsonb(json::canonical(string(text)?)?),
            Some((version, _)) => {
                return Err(SqlError::new("XX000", format!("unsupported jsonb version number {version}")));
            }
            None => return Err(insufficient()),
        },
        PgType::Void => Datum::Text(String::new()),
        ty if ty.is_oid() => Datum::Oid(u32::from_be_bytes(fixed(bytes)?)),
        ty => match ty.element() {
            Some(element) => decode_array(bytes, element, typmod)?,
            None => return Err(SqlError::unsupported(format!("binary input of type {}", ty.typname()))),
        },
    })
}

fn from_postgres_epoch(micros: i64) -> Result<i64, SqlError> {
    match micros {
        i64::MAX | i64::MIN => Ok(micros),
        micros => micros.checked_add(POSTGRES_EPOCH_MICROS).ok_or_else(super::datetime::timestamp_out_of_range),
    }
}

fn to_postgres_epoch(micros: i64) -> i64 {
    match micros {
        i64::MAX | i64::MIN => micros,
        micros => micros.saturating_sub(POSTGRES_EPOCH_MICROS),
    }
}

/// Appends a value that is not NULL in binary format, without a length prefix.
///
/// A value of another variant than `ty` stores is 22P03: a bug above.
pub fn encode_binary(datum: &Datum, ty: PgType, typmod: i32, out: &mut Vec<u8>) -> Result<(), SqlError> {
    match datum {
        Datum::Null => return Err(SqlError::internal("NULL has no binary format")),
        Datum::Bool(value) => out.push(u8::from(*value)),
        Datum::Int2(value) => out.extend_from_slice(&value.to_be_bytes()),
        Datum::Int4(value) => out.extend_from_slice(&value.to_be_bytes()),
        Datum::Int8(value) => out.extend_from_slice(&value.to_be_bytes()),
        Datum::Float4(value) => out.extend_from_slice(&value.to_be_bytes()),
        Datum::Float8(value) => out.extend_from_slice(&value.to_be_bytes()),
        Datum::Numeric(value) => value.encode_binary(out),
        Datum::Text(value) if ty == PgType::Bpchar => {
            let mut padded = value.clone();
            pad(value, typmod, &mut padded);
            out.extend_from_slice(padded.as_bytes());
        }
        Datum::Text(value) | Datum::Json(value) => out.extend_from_slice(value.as_bytes()),
        Datum::Bytea(value) => out.extend_from_slice(value),
        Datum::Date(days @ (i32::MAX | i32::MIN)) => out.extend_from_slice(&days.to_be_bytes()),
        Datum::Date(days) => out.extend_from_slice(&(days.saturating_sub(POSTGRES_EPOCH_DAYS)).to_be_bytes()),
        Datum::Time(micros) => out.extend_from_slice(&micros.to_be_bytes()),
        Datum::Timestamp(micros) | Datum::TimestampTz(micros) => {
            out.extend_from_slice(&to_postgres_epoch(*micros).to_be_bytes());
        }
        Datum::Interval(value) => {
            out.extend_from_slice(&value.micros.to_be_bytes());
            out.extend_from_slice(&value.days.to_be_bytes());
            out.extend_from_slice(&value.months.to_be_bytes());
        }
        Datum::Uuid(bytes) => out.extend_from_slice(bytes),
        Datum::Jsonb(value) => {
            out.push(1);
            out.extend_from_slice(value.as_bytes());
        }
        Datum::Oid(oid) => out.extend_from_slice(&oid.to_be_bytes()),
        Datum::Array(array) => encode_array(array, ty, typmod, out)?,
    }
    Ok(())
}

/// ```text
///   int32 dimensions | int32 has NULLs | int32 element OID | per dimension: int32 length, int32 lower bound
///   per element: int32 length (-1 for NULL), bytes
/// ```
fn encode_array(array: &ArrayValue, ty: PgType, typmod: i32, out: &mut Vec<u8>) -> Result<(), SqlError> {
    let element = ty.element().unwrap_or(array.element);
    let vector = matches!(ty, PgType::Int2Vector | PgType::OidVector);
    let dimensions = i32::from(!array.values.is_empty() || vector);
    let has_nulls = i32::from(array.values.iter().any(Datum::is_null));
    out.extend_from_slice(&dimensions.to_be_bytes());
    out.extend_from_slice(&has_nulls.to_be_bytes());
    out.extend_from_slice(&element.oid().to_be_bytes());
    if dimensions > 0 {
        out.extend_from_slice(&(array.values.len() as i32).to_be_bytes());
        out.extend_from_slice(&i32::from(!vector).to_be_bytes());
    }
    for value in &array.values {
        if value.is_null() {
            out.extend_from_slice(&(-1i32).to_be_bytes());
            continue;
        }
        let at = out.len();
        out.extend_from_slice(&[0; 4]);
        encode_binary(value, element, typmod, out)?;
        let length = (out.len() - at - 4) as i32;
        out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

fn decode_array(bytes: &[u8], element: PgType, typmod: i32) -> Result<Datum, SqlError> {
    let mut rest = bytes;
    let mut take = |count: usize| {
        let (head, tail) = rest.split_at_checked(count).ok_or_else(insufficient)?;
        rest = tail;
        Ok::<&[u8], SqlError>(head)
    };
    let mut word = || Ok::<i32, SqlError>(i32::from_be_bytes(fixed(take(4)?)?));
    let (dimensions, _has_nulls, oid) = (word()?, word()?, word()? as u32);
    if oid != element.oid() && PgType::from_oid(oid).is_none_or(|found| !found.is_string() || !element.is_string()) {
        return Err(SqlError::new("42804", "wrong element type"));
    }
    let length = match dimensions {
        0 => 0,
        1 => {
            let (length, _lower_bound) = (word()?, word()?);
            usize::try_from(length).map_err(|_| SqlError::new("22P03", "invalid array size"))?
        }
        _ => return Err(SqlError::unsupported("an array of more than one dimension")),
    };
    let mut values = Vec::with_capacity(length.min(bytes.len() / 4));
    for _ in 0..length {
        let size = i32::from_be_bytes(fixed(take(4)?)?);
        values.push(match usize::try_from(size) {
            Err(_) => Datum::Null,
            Ok(size) => decode_binary(take(size)?, element, typmod)?,
        });
    }
    Ok(Datum::array(element, values))
}

/// A parameter as it comes from a client: by its format code, 0 for text and 1 for binary.
pub fn decode(bytes: &[u8], binary: bool, ty: PgType, typmod: i32, settings: &TypeSettings) -> Result<Datum, SqlError> {
    if binary { decode_binary(bytes, ty, typmod) } else { parse_text(string(bytes)?, ty, typmod, settings) }
}

#[cfg(test)]
mod tests;
