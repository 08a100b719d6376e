//! `information_schema`.

mod columns;
mod constraints;

use super::super::context::shown_columns;
use super::super::{Context, ROLES, SystemTable, layout};
use super::{Maker, Rows, optional, text};
use crate::session::Row;
use crate::types::{Datum, format_type};

/// What makes the rows of an `information_schema` table.
pub(super) fn maker(table: &SystemTable) -> Option<Maker> {
    Some(match table.name {
        "tables" => tables,
        "columns" => columns::columns,
        "views" => views,
        "schemata" => schemata,
        "sequences" => sequences,
        "table_constraints" => constraints::table_constraints,
        "key_column_usage" => constraints::key_column_usage,
        "constraint_column_usage" => constraints::constraint_column_usage,
        "constraint_table_usage" => constraints::constraint_table_usage,
        "check_constraints" => constraints::check_constraints,
        "information_schema_catalog_name" => catalog_name,
        "enabled_roles" => enabled_roles,
        "table_privileges" | "role_table_grants" => table_privileges,
        "character_sets" => character_sets,
        _ => return None,
    })
}

/// The database's name, which the standard calls a catalog.
fn catalog(context: &Context) -> Datum {
    text(context.session.database.as_str())
}

fn schema(context: &Context, schema_id: u32) -> Datum {
    optional(context.schema_name_of(schema_id))
}

/// The standard's booleans.
fn yes_or_no(value: bool) -> Datum {
    text(if value { "YES" } else { "NO" })
}

fn tables(table: &SystemTable, context: &Context) -> Vec<Row> {
    let mut rows = Rows::new(
        table,
        ["table_catalog", "table_schema", "table_name", "table_type", "is_insertable_into", "is_typed"],
    );
    for system in layout::tables() {
        let kind = if system.kind == 'v' { "VIEW" } else { "BASE TABLE" };
        let no = yes_or_no(false);
        rows.push([catalog(context), text(system.schema), text(system.name), text(kind), no.clone(), no]);
    }
    for user in context.tables() {
        rows.push([
            catalog(context),
            schema(context, user.schema_id),
            text(user.name.as_str()),
            text("BASE TABLE"),
            yes_or_no(true),
            yes_or_no(false),
        ]);
    }
    rows.finish()
}

fn views(table: &SystemTable, context: &Context) -> Vec<Row> {
    let mut rows = Rows::new(table, ["table_catalog", "table_schema", "table_name", "check_option", "is_updatable"]);
    for system in layout::tables().filter(|system| system.kind == 'v') {
        rows.push([catalog(context), text(system.schema), text(system.name), text("NONE"), yes_or_no(false)]);
    }
    rows.finish()
}

fn schemata(table: &SystemTable, context: &Context) -> Vec<Row> {
    let mut rows = Rows::new(table, ["catalog_name", "schema_name", "schema_owner"]);
    for built_in in ["pg_catalog", "information_schema"] {
        rows.push([catalog(context), text(built_in), text(ROLES[0].1)]);
    }
    for schema in context.schemas() {
        rows.push([catalog(context), text(schema.name.as_str()), text(schema.owner.as_str())]);
    }
    rows.finish()
}

/// Sequences, but for those of identity columns, which the standard does not count.
fn sequences(table: &SystemTable, context: &Context) -> Vec<Row> {
    let mut rows = Rows::new(
        table,
        [
            "sequence_catalog",
            "sequence_schema",
            "sequence_name",
            "data_type",
            "numeric_precision",
            "numeric_precision_radix",
            "numeric_scale",
            "start_value",
            "minimum_value",
            "maximum_value",
            "increment",
            "cycle_option",
        ],
    );
    for sequence in context.sequences() {
        let owner = sequence.owned_by.and_then(|(table_id, column_id)| {
            context.catalog.table(table_id).and_then(|table| table.column_by_id(column_id))
        });
        if owner.is_some_and(|column| column.identity.is_some()) {
            continue;
        }
        rows.push([
            catalog(context),
            schema(context, sequence.schema_id),
            text(sequence.name.as_str()),
            text(format_type(sequence.ty, -1)),
            Datum::Int4(i32::from(sequence.ty.typlen()) * 8),
            Datum::Int4(2),
            Datum::Int4(0),
            text(sequence.start.to_string()),
            text(sequence.min.to_string()),
            text(sequence.max.to_string()),
            text(sequence.increment.to_string()),
            yes_or_no(sequence.cycle),
        ]);
    }
    rows.finish()
}

fn catalog_name(table: &SystemTable, context: &Context) -> Vec<Row> {
    let mut rows = Rows::new(table, ["catalog_name"]);
    rows.push([catalog(context)]);
    rows.finish()
}

fn enabled_roles(table: &SystemTable, _: &Context) -> Vec<Row> {
    let mut rows = Rows::new(table, ["role_name"]);
    for (_, name) in ROLES {
        rows.push([text(name)]);
    }
    rows.finish()
}

/// What owners may do with their tables; everybody else is a superuser anyway.
fn table_privileges(table: &SystemTable, context: &Context) -> Vec<Row> {
    let mut rows = Rows::new(
        table,
        [
            "grantor",
            "grantee",
            "table_catalog",
            "table_schema",
            "table_name",
            "privilege_type",
            "is_grantable",
            "with_hierarchy",
        ],
    );
    for user in context.tables() {
        for privilege in ["INSERT", "SELECT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"] {
            rows.push([
                text(user.owner.as_str()),
                text(user.owner.as_str()),
                catalog(context),
                schema(context, user.schema_id),
                text(user.name.as_str()),
                text(privilege),
                yes_or_no(true),
                yes_or_no(privilege == "SELECT"),
            ]);
        }
    }
    rows.finish()
}

fn character_sets(table: &SystemTable, context: &Context) -> Vec<Row> {
    let mut rows =
        Rows::new(table, ["character_set_name", "character_repertoire", "form_of_use", "default_collate_catalog"]);
    rows.push([text("UTF8"), text("UCS"), text("UTF8"), catalog(context)]);
    rows.finish()
}
