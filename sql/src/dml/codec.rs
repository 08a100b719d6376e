//! Rows and index entries as bytes.
//!
//! ```text
//!   row      \x04 table index  key columns, ordered ─▶ 1  (column id << 3 | shape  payload)…    NULLs left out
//!   entry    \x04 table index  index columns, ordered [key columns, ordered] ─▶ key columns, ordered
//! ```
//!
//! A row's value holds every column, those of the key included, so that nothing has to be read back from an ordered key (which does
//! not keep a numeric's scale). An entry of a unique index lacks the key columns unless one of its own columns is NULL. An
//! entry's value is the tail of the row's key, so that the row is found without decoding anything.
//!
//! Columns that were dropped are skipped; columns that were added later are missing, and read as what the descriptor says.

use bytes::Bytes;
use txn::encoding::{self, Decimal};

use crate::catalog::{IndexColumn, IndexDescriptor, Table};
use crate::error::{SqlError, code};
use crate::types::{Datum, Interval, Numeric, PgType, format_type};

/// The first byte of a row's value.
const ROW_VERSION: u8 = 1;

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;
/// NULL, where leaving the column out would mean something else.
const NULL: u64 = 3;

/// The key of a row.
pub(crate) fn row_key(table: &Table, row: &[Datum]) -> Result<Bytes, SqlError> {
    let mut key = txn::keys::index_prefix(u64::from(table.id), u64::from(table.primary.index_id));
    put_key_columns(&mut key, table, &table.primary, row)?;
    Ok(Bytes::from(key))
}

/// The key of the row that an index entry with this value belongs to.
pub(crate) fn row_key_of_entry(table: &Table, entry_value: &[u8]) -> Bytes {
    let mut key = txn::keys::index_prefix(u64::from(table.id), u64::from(table.primary.index_id));
    key.extend_from_slice(entry_value);
    Bytes::from(key)
}

/// The key and value of a row's entry in a secondary index, and whether another entry with this key is a violation.
pub(crate) fn index_entry(
    table: &Table,
    index: &IndexDescriptor,
    row: &[Datum],
) -> Result<(Bytes, Bytes, bool), SqlError> {
    let mut key = txn::keys::index_prefix(u64::from(table.id), u64::from(index.index_id));
    put_key_columns(&mut key, table, index, row)?;
    let mut value = Vec::with_capacity(16);
    put_key_columns(&mut value, table, &table.primary, row)?;
    let has_null = index
        .columns
        .iter()
        .any(|part| table.position_of_id(part.column_id).is_none_or(|position| row[position].is_null()));
    let exclusive = index.unique && !has_null;
    if !exclusive {
        key.extend_from_slice(&value);
    }
    Ok((Bytes::from(key), Bytes::from(value), exclusive))
}

fn put_key_columns(key: &mut Vec<u8>, table: &Table, index: &IndexDescriptor, row: &[Datum]) -> Result<(), SqlError> {
    for part in &index.columns {
        let position = table
            .position_of_id(part.column_id)
            .ok_or_else(|| SqlError::internal(format!("index \"{}\" has lost a column", index.name)))?;
        put_key(key, &row[position], table.columns[position].ty, part)?;
    }
    Ok(())
}

/// Appends a datum to a key, as an index column of that type sorts it.
pub(crate) fn put_key(out: &mut Vec<u8>, datum: &Datum, ty: PgType, part: &IndexColumn) -> Result<(), SqlError> {
    if datum.is_null() {
        out.push(if part.nulls_first { encoding::NULL_FIRST } else { encoding::NULL_LAST });
        return Ok(());
    }
    if !part.descending {
        return put_ascending(out, datum, ty);
    }
    let mut result = Ok(());
    encoding::descending(out, |out| result = put_ascending(out, datum, ty));
    result
}

fn put_ascending(out: &mut Vec<u8>, datum: &Datum, ty: PgType) -> Result<(), SqlError> {
    match datum {
        Datum::Bool(value) => encoding::put_bool(out, *value),
        Datum::Int2(_) | Datum::Int4(_) | Datum::Int8(_) | Datum::Oid(_) => {
            let value = datum.as_i64().unwrap_or_default();
            match ty {
                PgType::Numeric => encoding::put_decimal(out, &decimal(&Numeric::from(value))),
                PgType::Float4 | PgType::Float8 => encoding::put_f64(out, value as f64),
                _ => encoding::put_i64(out, value),
            }
        }
        Datum::Float4(value) => encoding::put_f64(out, f64::from(*value)),
        Datum::Float8(value) => encoding::put_f64(out, *value),
        Datum::Numeric(value) => encoding::put_decimal(out, &decimal(value)),
        Datum::Text(value) => encoding::put_str(out, value),
        Datum::Bytea(value) => encoding::put_bytes(out, value),
        Datum::Date(value) => encoding::put_i64(out, i64::from(*value)),
        Datum::Time(value) | Datum::Timestamp(value) | Datum::TimestampTz(value) => encoding::put_i64(out, *value),
        Datum::Interval(value) => {
            let ordered = (value.comparable_micros() as u128) ^ (1 << 127);
            encoding::put_bytes(out, &ordered.to_be_bytes());
        }
        Datum::Uuid(value) => encoding::put_bytes(out, value),
        Datum::Array(array) => {
            let part = IndexColumn { column_id: 0, descending: false, nulls_first: false };
            for value in &array.values {
                out.push(0x02);
                put_key(out, value, array.element, &part)?;
            }
            out.push(0x01);
        }
        Datum::Null | Datum::Json(_) | Datum::Jsonb(_) => {
            return Err(SqlError::new(
                code::FEATURE_NOT_SUPPORTED,
                format!("a key of type {} is not supported", format_type(ty, -1)),
            ));
        }
    }
    Ok(())
}

fn decimal(value: &Numeric) -> Decimal {
    match value {
        Numeric::NaN => Decimal::NaN,
        Numeric::Infinity => Decimal::Infinity { negative: false },
        Numeric::NegativeInfinity => Decimal::Infinity { negative: true },
        Numeric::Finite { unscaled, scale } => {
            let text = unscaled.to_string();
            let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_digit).map(|digit| digit - b'0').collect();
            Decimal::finite(text.starts_with('-'), digits.len() as i64 - i64::from(*scale), &digits)
        }
    }
}

/// The value of a row.
pub(crate) fn row_value(table: &Table, row: &[Datum]) -> Bytes {
    let mut out = Vec::with_capacity(8 + row.len() * 8);
    out.push(ROW_VERSION);
    for (column, datum) in table.columns.iter().zip(row) {
        if datum.is_null() && column.missing.is_some() {
            put_varint(&mut out, u64::from(column.id) << 3 | NULL);
        }
        put_field(&mut out, u64::from(column.id), datum);
    }
    Bytes::from(out)
}

fn put_field(out: &mut Vec<u8>, id: u64, datum: &Datum) {
    let varint = |out: &mut Vec<u8>, value: i64| {
        put_varint(out, id << 3 | VARINT);
        put_varint(out, zigzag(value));
    };
    let bytes = |out: &mut Vec<u8>, value: &[u8]| {
        put_varint(out, id << 3 | BYTES);
        put_varint(out, value.len() as u64);
        out.extend_from_slice(value);
    };
    match datum {
        Datum::Null => {}
        Datum::Bool(value) => varint(out, i64::from(*value)),
        Datum::Int2(value) => varint(out, i64::from(*value)),
        Datum::Int4(value) | Datum::Date(value) => varint(out, i64::from(*value)),
        Datum::Int8(value) | Datum::Time(value) => varint(out, *value),
        Datum::Oid(value) => varint(out, i64::from(*value)),
        Datum::Float4(value) => {
            put_varint(out, id << 3 | FIXED32);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Datum::Float8(value) => {
            put_varint(out, id << 3 | FIXED64);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Datum::Timestamp(value) | Datum::TimestampTz(value) => {
            put_varint(out, id << 3 | FIXED64);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Datum::Numeric(value) => bytes(out, value.to_string().as_bytes()),
        Datum::Text(value) | Datum::Json(value) | Datum::Jsonb(value) => bytes(out, value.as_bytes()),
        Datum::Bytea(value) => bytes(out, value),
        Datum::Uuid(value) => bytes(out, value),
        Datum::Interval(value) => {
            let mut inner = Vec::with_capacity(16);
            put_varint(&mut inner, zigzag(i64::from(value.months)));
            put_varint(&mut inner, zigzag(i64::from(value.days)));
            put_varint(&mut inner, zigzag(value.micros));
            bytes(out, &inner);
        }
        Datum::Array(array) => {
            // The elements are fields numbered from 1, so that NULLs need no bytes of their own.
            let mut inner = Vec::new();
            put_varint(&mut inner, array.values.len() as u64);
            for (at, value) in array.values.iter().enumerate() {
                put_field(&mut inner, at as u64 + 1, value);
            }
            bytes(out, &inner);
        }
    }
}

/// Reads a row's value: a datum for each of the table's columns.
pub(crate) fn decode_row(table: &Table, value: &[u8]) -> Result<Vec<Datum>, SqlError> {
    let corrupt = || SqlError::internal(format!("a row of \"{}\" cannot be read", table.name));
    let (version, mut rest) = value.split_first().ok_or_else(corrupt)?;
    if *version != ROW_VERSION {
        return Err(corrupt());
    }
    let mut row = table.absent_row();
    let mut expected = 0;
    while !rest.is_empty() {
        let (id, field) = take_field(&mut rest).ok_or_else(corrupt)?;
        // Columns mostly come in order: look at the next place first.
        let place = match table.columns.get(expected) {
            Some(column) if u64::from(column.id) == id => Some(expected),
            _ => table.columns.iter().position(|column| u64::from(column.id) == id),
        };
        if let Some(place) = place {
            row[place] = field.read(table.columns[place].ty).ok_or_else(corrupt)?;
            expected = place + 1;
        }
    }
    Ok(row)
}

enum Field<'a> {
    Null,
    Varint(i64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    Bytes(&'a [u8]),
}

fn take_field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Field<'a>)> {
    let head = take_varint(rest)?;
    let field = match head & 7 {
        NULL => Field::Null,
        FIXED64 => Field::Fixed64(take_bytes(rest, 8)?.try_into().ok()?),
        FIXED32 => Field::Fixed32(take_bytes(rest, 4)?.try_into().ok()?),
        VARINT => Field::Varint(unzigzag(take_varint(rest)?)),
        BYTES => {
            let count = usize::try_from(take_varint(rest)?).ok()?;
            Field::Bytes(take_bytes(rest, count)?)
        }
        _ => return None,
    };
    Some((head >> 3, field))
}

fn take_bytes<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(count)?;
    *rest = left;
    Some(taken)
}

impl Field<'_> {
    fn read(&self, ty: PgType) -> Option<Datum> {
        Some(match (self, ty) {
            (Field::Null, _) => Datum::Null,
            (Field::Varint(value), PgType::Bool) => Datum::Bool(*value != 0),
            (Field::Varint(value), PgType::Int2) => Datum::Int2(i16::try_from(*value).ok()?),
            (Field::Varint(value), PgType::Int4) => Datum::Int4(i32::try_from(*value).ok()?),
            (Field::Varint(value), PgType::Int8) => Datum::Int8(*value),
            (Field::Varint(value), PgType::Date) => Datum::Date(i32::try_from(*value).ok()?),
            (Field::Varint(value), PgType::Time) => Datum::Time(*value),
            (Field::Varint(value), ty) if ty.is_oid() => Datum::Oid(u32::try_from(*value).ok()?),
            (Field::Fixed64(bytes), PgType::Float8) => Datum::Float8(f64::from_le_bytes(*bytes)),
            (Field::Fixed64(bytes), PgType::Timestamp) => Datum::Timestamp(i64::from_le_bytes(*bytes)),
            (Field::Fixed64(bytes), PgType::TimestampTz) => Datum::TimestampTz(i64::from_le_bytes(*bytes)),
            (Field::Fixed32(bytes), PgType::Float4) => Datum::Float4(f32::from_le_bytes(*bytes)),
            (Field::Bytes(bytes), PgType::Bytea) => Datum::Bytea(bytes.to_vec()),
            (Field::Bytes(bytes), PgType::Uuid) => Datum::Uuid((*bytes).try_into().ok()?),
            (Field::Bytes(bytes), PgType::Interval) => {
                let mut rest = *bytes;
                let months = i32::try_from(unzigzag(take_varint(&mut rest)?)).ok()?;
                let days = i32::try_from(unzigzag(take_varint(&mut rest)?)).ok()?;
                Datum::Interval(Interval { months, days, micros: unzigzag(take_varint(&mut rest)?) })
            }
            (Field::Bytes(bytes), ty) => {
                if let Some(element) = ty.element() {
                    return read_array(bytes, element);
                }
                let text = std::str::from_utf8(bytes).ok()?;
                match ty {
                    PgType::Numeric => Datum::Numeric(text.parse().ok()?),
                    PgType::Json => Datum::Json(text.to_owned()),
                    PgType::Jsonb => Datum::Jsonb(text.to_owned()),
                    _ => Datum::Text(text.to_owned()),
                }
            }
            _ => return None,
        })
    }
}

fn read_array(bytes: &[u8], element: PgType) -> Option<Datum> {
    let mut rest = bytes;
    let count = usize::try_from(take_varint(&mut rest)?).ok()?;
    let mut values = vec![Datum::Null; count];
    while !rest.is_empty() {
        let (at, field) = take_field(&mut rest)?;
        let place = values.get_mut(usize::try_from(at).ok()?.checked_sub(1)?)?;
        *place = field.read(element)?;
    }
    Some(Datum::array(element, values))
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, left) = rest.split_first()?;
        *rest = left;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
