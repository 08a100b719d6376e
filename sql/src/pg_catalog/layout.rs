//! Which system tables there are, and their columns.
//!
//! `layout.tsv` holds a line for each table of PostgreSQL 15: OID, schema, name, kind (`r` table, `v` view), columns with
//! types. Types that Meridian lacks stand there as the nearest one it has (`pg_node_tree` as text, `information_schema`'s
//! domains as what they are domains of).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::types::PgType;

/// A column of a system table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemColumn {
    /// Name, unique in the table.
    pub name: &'static str,
    /// Type.
    pub ty: PgType,
}

/// A table or view of `pg_catalog` or `information_schema`.
#[derive(Debug, PartialEq, Eq)]
pub struct SystemTable {
    /// PostgreSQL's OID for it.
    pub oid: u32,
    /// `pg_catalog` or `information_schema`.
    pub schema: &'static str,
    /// Name, unique in the schema.
    pub name: &'static str,
    /// `pg_class.relkind`: `r` for a table, `v` for a view.
    pub kind: char,
    /// The columns, in order.
    pub columns: Vec<SystemColumn>,
}

static TABLES: LazyLock<BTreeMap<&'static str, BTreeMap<&'static str, SystemTable>>> = LazyLock::new(|| {
    let mut schemas: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for table in include_str!("layout.tsv").lines().map(parse) {
        schemas.entry(table.schema).or_default().insert(table.name, table);
    }
    schemas
});

static BY_OID: LazyLock<BTreeMap<u32, &'static SystemTable>> =
    LazyLock::new(|| tables().map(|table| (table.oid, table)).collect());

/// The system table of that schema and name.
pub fn table(schema: &str, name: &str) -> Option<&'static SystemTable> {
    TABLES.get(schema)?.get(name)
}

/// The system table with that OID.
pub fn table_by_oid(oid: u32) -> Option<&'static SystemTable> {
    BY_OID.get(&oid).copied()
}

/// Every system table, by schema and name.
pub fn tables() -> impl Iterator<Item = &'static SystemTable> {
    TABLES.values().flat_map(BTreeMap::values)
}

fn parse(line: &'static str) -> SystemTable {
    let mut fields = line.split('\t');
    let mut next = || fields.next().expect("layout.tsv has five fields a line");
    let oid = next().parse().expect("layout.tsv starts each line with an OID");
    let (schema, name) = (next(), next());
    let kind = next().chars().next().expect("layout.tsv gives a kind");
    let columns = next().split(',').map(column).collect();
    SystemTable { oid, schema, name, kind, columns }
}

fn column(text: &'static str) -> SystemColumn {
    let (name, ty) = text.split_once(' ').expect("layout.tsv gives a type to each column");
    SystemColumn { name, ty: PgType::from_typname(ty).expect("layout.tsv names known types") }
}
