//! Keys as people read them: by the names and values of what they belong to.
//!
//! ```text
//!   /Min   /System   /Table/accounts   /Table/accounts/accounts_pkey/5000/"eu"   /Table/16390/2   /Max
//! ```

use super::{Catalog, IndexDescriptor, Table};
use crate::rowcodec::{KeyColumn, decode_key};
use crate::types::{Datum, TypeSettings, to_text};

/// A key of the keyspace; a boundary of a range may also be a key's first part. Tables that were dropped show as numbers.
pub fn readable_key(catalog: &Catalog, key: &[u8]) -> String {
    match key {
        [] | [txn::keys::META] => return "/Min".to_owned(),
        [0xff, ..] => return "/Max".to_owned(),
        [txn::keys::META, rest @ ..] => return readable_system("Meta", rest),
        [txn::keys::SYSTEM, rest @ ..] => return readable_system("System", rest),
        [txn::keys::TABLE] => return "/Table".to_owned(),
        _ => {}
    }
    if let Some((table, index, rest)) = txn::keys::decode_index_prefix(key) {
        return readable_entry(catalog, table, index, rest);
    }
    let mut rest = key.strip_prefix(&[txn::keys::TABLE]).unwrap_or(key);
    match txn::encoding::take_u64(&mut rest) {
        Ok(table) if rest.is_empty() => format!("/Table/{}", table_name(catalog, table)),
        _ => format!("/{}", key.escape_ascii()),
    }
}

/// The end of a range: empty is the end of the keyspace.
pub fn readable_end(catalog: &Catalog, key: &[u8]) -> String {
    if key.is_empty() { "/Max".to_owned() } else { readable_key(catalog, key) }
}

fn readable_system(area: &str, rest: &[u8]) -> String {
    if rest.is_empty() { format!("/{area}") } else { format!("/{area}/{}", rest.escape_ascii()) }
}

fn find(catalog: &Catalog, table: u64) -> Option<&Table> {
    u32::try_from(table).ok().and_then(|id| catalog.table(id)).map(|table| &**table)
}

fn table_name(catalog: &Catalog, table: u64) -> String {
    find(catalog, table).map_or_else(|| table.to_string(), |table| table.name.clone())
}

fn readable_entry(catalog: &Catalog, table_id: u64, index_id: u64, mut rest: &[u8]) -> String {
    let mut out = format!("/Table/{}", table_name(catalog, table_id));
    let table = find(catalog, table_id);
    let index = table.and_then(|table| table.all_indexes().find(|index| u64::from(index.index_id) == index_id));
    let (Some(table), Some(index)) = (table, index) else {
        out += &format!("/{index_id}");
        if !rest.is_empty() {
            out += &format!("/{}", rest.escape_ascii());
        }
        return out;
    };
    out += &format!("/{}", index.name);
    for (column, value) in key_columns(table, index, &mut rest) {
        out += &match value {
            Datum::Null => "/NULL".to_owned(),
            Datum::Text(text) => format!("/{text:?}"),
            value => format!("/{}", to_text(&value, column.ty, -1, &TypeSettings::default())),
        };
    }
    if !rest.is_empty() {
        out += &format!("/{}", rest.escape_ascii());
    }
    out
}

/// As many columns as the key holds whole; of an index that is not unique also those of the primary key.
fn key_columns(table: &Table, index: &IndexDescriptor, rest: &mut &[u8]) -> Vec<(KeyColumn, Datum)> {
    let behind = if index.index_id == table.primary.index_id { &[][..] } else { &table.primary.columns[..] };
    let mut values = Vec::new();
    for part in index.columns.iter().chain(behind) {
        let Some(position) = table.position_of_id(part.column_id).filter(|_| !rest.is_empty()) else { break };
        let ty = table.columns[position].ty;
        let column = KeyColumn { ty, descending: part.descending, nulls_first: part.nulls_first };
        let mut ahead = *rest;
        match decode_key(&mut ahead, &column) {
            Ok(value) => values.push((column, value)),
            Err(_) => break,
        }
        *rest = ahead;
    }
    values
}
