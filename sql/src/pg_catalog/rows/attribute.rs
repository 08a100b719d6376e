//! Columns and their defaults.

use super::super::context::{collation_id, index_columns, shown_columns, shown_indexes};
use super::super::{Context, SystemTable, layout};
use super::{Rows, TRUE, char, int2, int4, oid, text};
use crate::catalog::{ColumnDescriptor, Identity};
use crate::session::Row;
use crate::types::{Datum, PgType, format_type};

/// A sequence's columns, as `SELECT * FROM sequence` shows them.
const SEQUENCE_COLUMNS: [(&str, PgType); 3] =
    [("last_value", PgType::Int8), ("log_cnt", PgType::Int8), ("is_called", PgType::Bool)];

/// One column of any relation.
struct Attribute<'a> {
    relation: u32,
    number: usize,
    name: &'a str,
    ty: PgType,
    typmod: i32,
    not_null: bool,
    has_default: bool,
    has_missing: bool,
    identity: &'static str,
}

impl<'a> Attribute<'a> {
    fn plain(relation: u32, number: usize, name: &'a str, ty: PgType) -> Self {
        Attribute {
            relation,
            number,
            name,
            ty,
            typmod: -1,
            not_null: false,
            has_default: false,
            has_missing: false,
            identity: "",
        }
    }

    fn of(relation: u32, column: &'a ColumnDescriptor) -> Self {
        Attribute {
            typmod: column.typmod,
            not_null: !column.nullable,
            has_default: has_default(column),
            has_missing: column.missing.is_some(),
            identity: match column.identity {
                Some(Identity::Always) => "a",
                Some(Identity::ByDefault) => "d",
                None => "",
            },
            ..Attribute::plain(relation, column.id as usize, &column.name, column.ty)
        }
    }
}

/// Whether PostgreSQL would show a default: an identity column's sequence is not one.
pub(in super::super) fn has_default(column: &ColumnDescriptor) -> bool {
    column.default.is_some() && column.identity.is_none()
}

pub(super) fn pg_attribute(table: &SystemTable, context: &Context) -> Vec<Row> {
    let mut rows = Rows::new(
        table,
        [
            "attrelid",
            "attname",
            "atttypid",
            "attlen",
            "attnum",
            "atttypmod",
            "attstattarget",
            "attcacheoff",
            "attndims",
            "attbyval",
            "attalign",
            "attstorage",
            "attnotnull",
            "atthasdef",
            "atthasmissing",
            "attidentity",
            "attislocal",
            "attcollation",
        ],
    );
    for attribute in attributes(context) {
        let (by_value, align, storage) = physical(attribute.ty);
        rows.push([
            oid(attribute.relation),
            text(attribute.name),
            oid(attribute.ty.oid()),
            Datum::Int2(attribute.ty.typlen()),
            int2(attribute.number),
            Datum::Int4(attribute.typmod),
            Datum::Int4(-1),
            Datum::Int4(-1),
            int4(usize::from(attribute.ty.is_array())),
            Datum::Bool(by_value),
            char(align),
            char(storage),
            Datum::Bool(attribute.not_null),
            Datum::Bool(attribute.has_default),
            Datum::Bool(attribute.has_missing),
            text(attribute.identity),
            TRUE,
            oid(collation_id(attribute.ty)),
        ]);
    }
    rows.finish()
}

fn attributes(context: &Context) -> Vec<Attribute<'_>> {
    let mut all = Vec::new();
    for system in layout::tables() {
        let columns = system.columns.iter().enumerate();
        all.extend(columns.map(|(at, column)| Attribute::plain(system.oid, at + 1, column.name, column.ty)));
    }
    for table in context.tables() {
        all.extend(shown_columns(table).map(|column| Attribute::of(table.id, column)));
        for index in shown_indexes(table) {
            let columns = index_columns(table, index).into_iter().enumerate();
            all.extend(columns.map(|(at, column)| Attribute {
                typmod: column.typmod,
                ..Attribute::plain(index.id, at + 1, &column.name, column.ty)
            }));
        }
    }
    for sequence in context.sequences() {
        let columns = SEQUENCE_COLUMNS.iter().enumerate();
        all.extend(
            columns.map(|(at, (name, ty))| Attribute {
                not_null: true,
                ..Attribute::plain(sequence.id, at + 1, name, *ty)
            }),
        );
    }
    all
}

/// How PostgreSQL would store a value: by value or not, aligned to what, and how if it is large.
fn physical(ty: PgType) -> (bool, char, char) {
    match (ty, ty.typlen()) {
        (_, 1) => (true, 'c', 'p'),
        (_, 2) => (true, 's', 'p'),
        (_, 4) => (true, 'i', 'p'),
        (_, 8) => (true, 'd', 'p'),
        (PgType::Interval, _) => (false, 'd', 'p'),
        (PgType::Name | PgType::Uuid, _) => (false, 'c', 'p'),
        (PgType::Int2Vector | PgType::OidVector, _) => (false, 'i', 'p'),
        (PgType::Numeric, _) => (false, 'i', 'm'),
        (_, -2) => (false, 'c', 'p'),
        _ => (false, 'i', 'x'),
    }
}

pub(super) fn pg_attrdef(table: &SystemTable, context: &Context) -> Vec<Row> {
    let mut rows = Rows::new(table, ["oid", "adrelid", "adnum", "adbin"]);
    for user in context.tables() {
        for column in shown_columns(user).filter(|column| has_default(column)) {
            let Some(default) = &column.default else { continue };
            rows.push([
                oid(default_id(user.id, column.id)),
                oid(user.id),
                int2(column.id as usize),
                text(shown_default(column, default)),
            ]);
        }
    }
    rows.finish()
}

/// A default as PostgreSQL prints it: a literal with the type it is stored as.
pub(in crate::pg_catalog) fn shown_default(column: &ColumnDescriptor, default: &str) -> String {
    let ty = || format_type(column.ty, -1);
    let is_literal = |text: &str| {
        text.strip_prefix('\'')
            .and_then(|rest| rest.strip_suffix('\''))
            .is_some_and(|inner| !inner.replace("''", "").contains('\''))
    };
    let is_negative = default.strip_prefix('-').is_some_and(|number| number.trim().parse::<f64>().is_ok());
    if is_literal(default) || default.eq_ignore_ascii_case("null") {
        format!("{default}::{}", ty())
    } else if is_negative {
        format!("'{default}'::{}", ty())
    } else {
        default.to_owned()
    }
}

/// The OID of a column's default: made of the table's and the column's, apart from all OIDs given to objects.
fn default_id(table_id: u32, column_id: u32) -> u32 {
    0x8000_0000 | (table_id.wrapping_mul(1 << 11) & 0x7fff_f800) | (column_id & 0x7ff)
}
