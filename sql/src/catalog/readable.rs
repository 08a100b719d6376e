//! Keys as people read them: by the names and values of what they belong to.
//!
//! ```text
//!   /Min   /System   /Table/accounts   /Table/accounts/accounts_pkey/5000/"eu"   /Table/16390/2   /Max
//! ```

use super::{Catalog, IndexDescriptor, Table, keys};
use crate::rowcodec::{KeyColumn, decode_key};
use crate::types::{Datum, TypeSettings, to_text};

/// Characters of a value that an error shows.
const MAX_SHOWN: usize = 100;

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

/// A key in the words of an error, and the table it belongs to: `key (id)=(5) of table "t"`.
pub(crate) fn key_in_words(catalog: &Catalog, key: &[u8]) -> (String, Option<String>) {
    if let Some(words) = keys::kind_of(key).and_then(|kind| catalog_in_words(catalog, kind)) {
        return (words, None);
    }
    let found = txn::keys::decode_index_prefix(key).and_then(|(table, index, rest)| {
        let table = find(catalog, table)?;
        Some((table, table.all_indexes().find(|known| u64::from(known.index_id) == index)?, rest))
    });
    let Some((table, index, mut rest)) = found else { return (format!("key {}", readable_key(catalog, key)), None) };
    let of_primary = index.index_id == table.primary.index_id;
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for (part, (column, value)) in index.columns.iter().zip(key_columns(table, index, &mut rest)) {
        if let Some(named) = table.columns.iter().find(|named| named.id == part.column_id && !named.hidden) {
            names.push(named.name.as_str());
            let text = to_text(&value, column.ty, -1, &TypeSettings::default());
            values.push(if value.is_null() { "null".to_owned() } else { shortened(text) });
        }
    }
    let words = match (names.is_empty(), of_primary) {
        (true, _) => format!("a row of table \"{}\"", table.name),
        (false, true) => format!("key ({})=({}) of table \"{}\"", names.join(", "), values.join(", "), table.name),
        (false, false) => format!(
            "key ({})=({}) of index \"{}\" of table \"{}\"",
            names.join(", "),
            values.join(", "),
            index.name,
            table.name
        ),
    };
    (words, Some(table.name.clone()))
}

/// What of the catalog a key of its own stands for.
fn catalog_in_words(catalog: &Catalog, kind: keys::Kind) -> Option<String> {
    let words = match kind {
        keys::Kind::Version => "the version of the catalog".to_owned(),
        keys::Kind::Guard(0) => "the list of databases".to_owned(),
        keys::Kind::Guard(id) => format!("the definitions in database \"{}\"", catalog.database_by_id(id)?.name),
        keys::Kind::Descriptor(id) => match (catalog.table(id), catalog.sequence(id)) {
            (Some(table), _) => format!("the definition of relation \"{}\"", table.name),
            (None, Some(sequence)) => format!("the definition of sequence \"{}\"", sequence.name),
            (None, None) => "a definition in the catalog".to_owned(),
        },
        keys::Kind::Sequence(id) => format!("the counter of sequence \"{}\"", catalog.sequence(id)?.name),
    };
    Some(words)
}

/// No more of a value than an error should show.
fn shortened(text: String) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
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
