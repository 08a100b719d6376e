//! What is built in and the same everywhere: types, functions, casts, operator classes, as PostgreSQL 15 has them.
//!
//! `<table>.tsv` holds a table's rows in COPY's text format, restricted to the types and functions there are.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::super::{SystemTable, layout};
use crate::session::Row;
use crate::types::{TypeSettings, parse_text};

const FILES: [(&str, &str); 9] = [
    ("pg_am", include_str!("pg_am.tsv")),
    ("pg_cast", include_str!("pg_cast.tsv")),
    ("pg_collation", include_str!("pg_collation.tsv")),
    ("pg_language", include_str!("pg_language.tsv")),
    ("pg_opclass", include_str!("pg_opclass.tsv")),
    ("pg_opfamily", include_str!("pg_opfamily.tsv")),
    ("pg_proc", include_str!("pg_proc.tsv")),
    ("pg_tablespace", include_str!("pg_tablespace.tsv")),
    ("pg_type", include_str!("pg_type.tsv")),
];

static ROWS: LazyLock<BTreeMap<&'static str, Vec<Row>>> = LazyLock::new(|| {
    let read = |(name, file): (&'static str, &'static str)| {
        let table = layout::table("pg_catalog", name).expect("the files are of tables of pg_catalog");
        (name, file.lines().map(|line| parse(table, line)).collect())
    };
    FILES.into_iter().map(read).collect()
});

/// How a function is written down.
pub(in super::super) struct Signature {
    /// Its result's type.
    pub result: &'static str,
    /// Its arguments' types.
    pub arguments: &'static str,
}

static SIGNATURES: LazyLock<BTreeMap<u32, Signature>> = LazyLock::new(|| {
    let read = |line: &'static str| {
        let mut fields = line.split('\t');
        let mut next = || fields.next().expect("function_signatures.tsv has three fields a line");
        let oid = next().parse().expect("function_signatures.tsv starts each line with an OID");
        (oid, Signature { result: next(), arguments: next() })
    };
    include_str!("function_signatures.tsv").lines().map(read).collect()
});

/// A built-in table's rows; none for a table there is nothing to say of.
pub(super) fn rows(table: &SystemTable) -> Vec<Row> {
    ROWS.get(table.name).cloned().unwrap_or_default()
}

/// Whether the table has rows of its own here.
pub(super) fn has_rows(table: &SystemTable) -> bool {
    table.schema == "pg_catalog" && ROWS.contains_key(table.name)
}

/// The signature of the function with that OID.
pub(in super::super) fn function_signature(oid: u32) -> Option<&'static Signature> {
    SIGNATURES.get(&oid)
}

/// The name of the function with that OID.
pub(in super::super) fn function_name(oid: u32) -> Option<&'static str> {
    ROWS.get("pg_proc")?.iter().find(|row| row[0].as_i64() == Some(i64::from(oid)))?[1].as_str()
}

/// The OID of the function of that name, possibly qualified; none if there is not exactly one.
pub(in super::super) fn function_id(name: &str) -> Option<u32> {
    let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
    let mut found = ROWS.get("pg_proc")?.iter().filter(|row| row[1].as_str() == Some(name));
    let (first, second) = (found.next()?, found.next());
    if second.is_some() {
        return None;
    }
    u32::try_from(first[0].as_i64()?).ok()
}

fn parse(table: &SystemTable, line: &str) -> Row {
    let settings = TypeSettings::default();
    let parse = |(text, ty)| match text {
        "\\N" => crate::types::Datum::Null,
        text => parse_text(text, ty, -1, &settings).expect("the files hold values of their columns' types"),
    };
    let row: Row = line.split('\t').zip(table.columns.iter().map(|column| column.ty)).map(parse).collect();
    assert_eq!(row.len(), table.columns.len(), "a line of {} has other columns than the table", table.name);
    row
}
