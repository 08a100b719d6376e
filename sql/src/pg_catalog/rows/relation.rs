//! Tables, indexes and sequences as relations.

use super::super::context::{owner_id, shown_columns, shown_indexes, system_schema_id};
use super::super::{Context, SUPERUSER_OID, SystemTable, layout};
use super::{FALSE, Rows, TRUE, char, int2, oid, optional, text};
use crate::catalog::{FIRST_INDEX_ID, Table};
use crate::session::Row;
use crate::types::{Datum, PgType};

/// The access method of tables.
const HEAP: u32 = 2;
/// The access method of indexes.
const BTREE: u32 = 403;

/// One relation, as far as `pg_class` tells relations apart.
struct Class<'a> {
    id: u32,
    /// Where its rows are: what changes when it is truncated or rewritten.
    place: u32,
    name: &'a str,
    schema_id: u32,
    owner: u32,
    access_method: u32,
    kind: char,
    columns: usize,
    checks: usize,
    has_indexes: bool,
    options: Datum,
}

pub(super) fn pg_class(table: &SystemTable, context: &Context) -> Vec<Row> {
    let mut rows = Rows::new(
        table,
        [
            "oid",
            "relname",
            "relnamespace",
            "relowner",
            "relam",
            "relfilenode",
            "relkind",
            "relnatts",
            "relchecks",
            "relhasindex",
            "reloptions",
            "reltuples",
            "relpersistence",
            "relispopulated",
            "relreplident",
        ],
    );
    for class in classes(context) {
        let is_table = class.kind == 'r';
        rows.push([
            oid(class.id),
            text(class.name),
            oid(class.schema_id),
            oid(class.owner),
            oid(class.access_method),
            oid(class.place),
            char(class.kind),
            int2(class.columns),
            int2(class.checks),
            Datum::Bool(class.has_indexes),
            class.options,
            // Never counted, unless it is always one row.
            Datum::Float4(if class.kind == 'S' { 1.0 } else { -1.0 }),
            char('p'),
            TRUE,
            char(if is_table { 'd' } else { 'n' }),
        ]);
    }
    rows.finish()
}

fn classes(context: &Context) -> Vec<Class<'_>> {
    let mut classes: Vec<Class<'_>> = layout::tables().map(system).collect();
    for table in context.tables() {
        let owner = owner_id(&table.owner);
        classes.push(user_table(table, owner));
        classes.extend(shown_indexes(table).map(|index| Class {
            id: index.id,
            place: if index.index_id == FIRST_INDEX_ID { index.id } else { index.index_id },
            name: &index.name,
            schema_id: table.schema_id,
            owner,
            access_method: BTREE,
            kind: 'i',
            columns: index.columns.len(),
            checks: 0,
            has_indexes: false,
            options: Datum::Null,
        }));
    }
    classes.extend(context.sequences().map(|sequence| Class {
        id: sequence.id,
        place: sequence.id,
        name: &sequence.name,
        schema_id: sequence.schema_id,
        owner: owner_id(&sequence.owner),
        access_method: 0,
        kind: 'S',
        columns: 3,
        checks: 0,
        has_indexes: false,
        options: Datum::Null,
    }));
    classes
}

fn system(table: &'static SystemTable) -> Class<'static> {
    Class {
        id: table.oid,
        place: if table.kind == 'v' { 0 } else { table.oid },
        name: table.name,
        schema_id: system_schema_id(table),
        owner: SUPERUSER_OID,
        access_method: if table.kind == 'r' { HEAP } else { 0 },
        kind: table.kind,
        columns: table.columns.len(),
        checks: 0,
        has_indexes: false,
        options: Datum::Null,
    }
}

fn user_table(table: &Table, owner: u32) -> Class<'_> {
    let options = table.options.iter().map(|(name, value)| text(format!("{name}={value}"))).collect();
    Class {
        id: table.id,
        place: if table.primary.index_id == FIRST_INDEX_ID { table.id } else { table.primary.index_id },
        name: &table.name,
        schema_id: table.schema_id,
        owner,
        access_method: HEAP,
        kind: 'r',
        columns: shown_columns(table).map(|column| column.id as usize).max().unwrap_or(0),
        checks: table.checks.len(),
        has_indexes: shown_indexes(table).next().is_some(),
        options: if table.options.is_empty() { Datum::Null } else { Datum::array(PgType::Text, options) },
    }
}

pub(super) fn pg_tables(table: &SystemTable, context: &Context) -> Vec<Row> {
    let mut rows = Rows::new(
        table,
        ["schemaname", "tablename", "tableowner", "hasindexes", "hasrules", "hastriggers", "rowsecurity"],
    );
    for class in classes(context).into_iter().filter(|class| class.kind == 'r') {
        rows.push([
            optional(context.schema_name_of(class.schema_id)),
            text(class.name),
            optional(super::super::context::role_name(class.owner)),
            Datum::Bool(class.has_indexes),
            FALSE,
            FALSE,
            FALSE,
        ]);
    }
    rows.finish()
}

/// The tables with none of their statistics, which nobody keeps.
pub(super) fn pg_stat_tables(table: &SystemTable, context: &Context) -> Vec<Row> {
    let mut rows = Rows::new(table, ["relid", "schemaname", "relname"]);
    for user in context.tables() {
        rows.push([oid(user.id), optional(context.schema_name_of(user.schema_id)), text(&*user.name)]);
    }
    rows.finish()
}
