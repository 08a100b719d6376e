//! Rows and index entries as bytes.
//!
//! ```text
//!   row      \x04 table index  key columns ─▶ every column, by ID
//!   entry    \x04 table index  index columns [key columns] ─▶ key columns, as in the row's key
//! ```
//!
//! A row's value holds every column, those of the key included, so that nothing has to be read back from a key. An entry of a
//! unique index lacks the key columns unless one of its own columns is NULL. An entry's value is the tail of the row's key, so that
//! the row is found without decoding anything.

use bytes::Bytes;

use crate::catalog::{IndexColumn, IndexDescriptor, Table};
use crate::error::{SqlError, code};
use crate::rowcodec::{KeyColumn, encode_key};
use crate::types::{Datum, Numeric, PgType, format_type};

/// What a key may take in the engine, whose keys end at 65,535 bytes: the rest is for what else is kept by key, such as a range's place in
/// the directory, the record of a transaction, a version's timestamp.
const KEY_BYTES_MAX: usize = 65_000;

/// The key of a row.
///
/// # Errors
/// 54000 when it is larger than the engine's keys.
pub(crate) fn row_key(table: &Table, row: &[Datum]) -> Result<Bytes, SqlError> {
    let mut key = txn::keys::index_prefix(u64::from(table.id), u64::from(table.primary.index_id));
    put_key_columns(&mut key, table, &table.primary, row)?;
    check_size(&key, table, &table.primary)?;
    Ok(Bytes::from(key))
}

/// Whether there can be a row or entry of this key.
pub(crate) fn is_possible(key: &[u8]) -> bool {
    key.len() <= KEY_BYTES_MAX && bytes_in_engine(key) <= KEY_BYTES_MAX
}

/// A span that holds the same of all possible keys, and perhaps more, with bounds that are possible keys themselves.
pub(crate) fn possible_span(start: Vec<u8>, end: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    let end = match is_possible(&end) {
        true => end,
        false => txn::keys::prefix_end(&possible_prefix(end)).to_vec(),
    };
    (possible_prefix(start), end)
}

fn possible_prefix(mut key: Vec<u8>) -> Vec<u8> {
    while !is_possible(&key) {
        let over = bytes_in_engine(&key) - KEY_BYTES_MAX;
        key.truncate(key.len() - over.div_ceil(2));
    }
    key
}

/// The engine escapes zeros.
fn bytes_in_engine(key: &[u8]) -> usize {
    key.len() + key.iter().filter(|byte| **byte == 0).count()
}

/// Whether there can be a row or entry of this key.
///
/// # Errors
/// 54000 when it is larger than the engine's keys.
pub(crate) fn check_size(key: &[u8], table: &Table, index: &IndexDescriptor) -> Result<(), SqlError> {
    if is_possible(key) {
        return Ok(());
    }
    let (bytes, name) = (bytes_in_engine(key), &index.name);
    let message = format!("index row size {bytes} exceeds maximum {KEY_BYTES_MAX} for index \"{name}\"");
    Err(SqlError::new(code::PROGRAM_LIMIT_EXCEEDED, message)
        .hint("Index a hash of the value instead, such as its md5.")
        .table(&table.name)
        .constraint(name))
}

/// The key of the row that an index entry with this value belongs to.
pub(crate) fn row_key_of_entry(table: &Table, entry_value: &[u8]) -> Bytes {
    let mut key = txn::keys::index_prefix(u64::from(table.id), u64::from(table.primary.index_id));
    key.extend_from_slice(entry_value);
    Bytes::from(key)
}

/// The key and value of a row's entry in a secondary index, and whether another entry with this key is a violation.
///
/// # Errors
/// 54000 when the key is larger than the engine's.
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
    check_size(&key, table, index)?;
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

/// Appends a datum to a key, as an index column of that type sorts it. An integer is brought to the column's type of number.
pub(crate) fn put_key(out: &mut Vec<u8>, datum: &Datum, ty: PgType, part: &IndexColumn) -> Result<(), SqlError> {
    let column = KeyColumn { ty, descending: part.descending, nulls_first: part.nulls_first };
    match (datum, ty) {
        (Datum::Json(_) | Datum::Jsonb(_), _) => {
            return Err(SqlError::unsupported(format!("a key of type {}", format_type(ty, -1))));
        }
        (Datum::Int2(_) | Datum::Int4(_) | Datum::Int8(_), PgType::Numeric) => {
            let value = Numeric::from(datum.as_i64().unwrap_or_default());
            encode_key(out, &Datum::Numeric(value), &column);
        }
        (Datum::Int2(_) | Datum::Int4(_) | Datum::Int8(_), PgType::Float4 | PgType::Float8) => {
            encode_key(out, &Datum::Float8(datum.as_i64().unwrap_or_default() as f64), &column);
        }
        _ => encode_key(out, datum, &column),
    }
    Ok(())
}

/// The value of a row.
pub(crate) fn row_value(table: &Table, row: &[Datum]) -> Bytes {
    Bytes::from(table.codec.encode(row))
}

/// Reads a row's value: a datum for each of the table's columns.
pub(crate) fn decode_row(table: &Table, value: &[u8]) -> Result<Vec<Datum>, SqlError> {
    table.codec.decode(value)
}
