//! The rows of each system table.
//!
//! A maker names the columns it fills, and gives rows in that order; the other columns hold what PostgreSQL
//! has where there is nothing to say: false, 0 and "" in the fixed columns of its catalogs, NULL everywhere else.

mod attribute;
mod builtin;
mod cluster;
mod constraint;
mod index;
mod information;
mod relation;
mod sequence;

pub(super) use attribute::{has_default, shown_default};
pub(super) use builtin::{Signature, function_id, function_name, function_signature};

use super::{Context, SystemTable};
use crate::session::Row;
use crate::types::{Datum, PgType};

impl SystemTable {
    /// The rows, each with the table's columns.
    pub fn rows(&self, context: &Context) -> Vec<Row> {
        match maker(self) {
            Some(make) => make(self, context),
            None => builtin::rows(self),
        }
    }
}

/// Whether a table ever has rows.
pub(super) fn has_rows(table: &SystemTable) -> bool {
    maker(table).is_some() || builtin::has_rows(table)
}

type Maker = fn(&SystemTable, &Context) -> Vec<Row>;

/// What makes the rows of a table that tells of the catalog or the session.
fn maker(table: &SystemTable) -> Option<Maker> {
    if table.schema == "information_schema" {
        return information::maker(table);
    }
    Some(match table.name {
        "pg_class" => relation::pg_class,
        "pg_tables" => relation::pg_tables,
        "pg_attribute" => attribute::pg_attribute,
        "pg_attrdef" => attribute::pg_attrdef,
        "pg_index" => index::pg_index,
        "pg_indexes" => index::pg_indexes,
        "pg_constraint" => constraint::pg_constraint,
        "pg_depend" => constraint::pg_depend,
        "pg_sequence" => sequence::pg_sequence,
        "pg_sequences" => sequence::pg_sequences,
        "pg_namespace" => cluster::pg_namespace,
        "pg_database" => cluster::pg_database,
        "pg_roles" | "pg_authid" => cluster::roles,
        "pg_user" | "pg_shadow" => cluster::users,
        "pg_settings" => cluster::pg_settings,
        "pg_stat_activity" => cluster::pg_stat_activity,
        "pg_stat_database" => cluster::pg_stat_database,
        "pg_stat_user_tables" | "pg_stat_all_tables" => relation::pg_stat_tables,
        _ => return None,
    })
}

/// Rows of a table in the making, of which `N` columns are given.
struct Rows<const N: usize> {
    positions: [usize; N],
    blank: Row,
    rows: Vec<Row>,
}

impl<const N: usize> Rows<N> {
    /// No rows yet; `names` are the columns that will be given.
    fn new(table: &SystemTable, names: [&str; N]) -> Self {
        let positions = names.map(|name| {
            let found = table.columns.iter().position(|column| column.name == name);
            found.expect("the makers of rows name columns of their table")
        });
        let catalog = table.kind == 'r' && table.schema == "pg_catalog";
        let blank = table.columns.iter().map(|column| if catalog { blank(column.ty) } else { Datum::Null }).collect();
        Rows { positions, blank, rows: Vec::new() }
    }

    /// Adds a row.
    fn push(&mut self, values: [Datum; N]) {
        let mut row = self.blank.clone();
        for (position, value) in self.positions.iter().zip(values) {
            row[*position] = value;
        }
        self.rows.push(row);
    }

    fn finish(self) -> Vec<Row> {
        self.rows
    }
}

/// What a fixed column of a catalog holds where there is nothing to say.
fn blank(ty: PgType) -> Datum {
    match ty {
        PgType::Bool => Datum::Bool(false),
        PgType::Int2 => Datum::Int2(0),
        PgType::Int4 => Datum::Int4(0),
        PgType::Int8 => Datum::Int8(0),
        PgType::Float4 => Datum::Float4(0.0),
        PgType::Name | PgType::QChar => text(""),
        ty if ty.is_oid() => Datum::Oid(0),
        _ => Datum::Null,
    }
}

fn text(value: impl Into<String>) -> Datum {
    Datum::Text(value.into())
}

fn oid(value: u32) -> Datum {
    Datum::Oid(value)
}

fn int2(value: usize) -> Datum {
    Datum::Int2(i16::try_from(value).unwrap_or(i16::MAX))
}

fn int4(value: usize) -> Datum {
    Datum::Int4(i32::try_from(value).unwrap_or(i32::MAX))
}

fn char(value: char) -> Datum {
    Datum::Text(value.into())
}

fn optional(value: Option<impl Into<String>>) -> Datum {
    value.map_or(Datum::Null, text)
}

const TRUE: Datum = Datum::Bool(true);
const FALSE: Datum = Datum::Bool(false);
