//! The constraint views of `information_schema`. NOT NULL counts as a check there, as PostgreSQL has it.

use super::{Context, Datum, Row, Rows, SystemTable, catalog, schema, shown_columns, text, yes_or_no};
use crate::catalog::{IndexDescriptor, Table};
use crate::pg_catalog::context::{index_columns, quote_identifier, shown_indexes};
use crate::pg_catalog::rows::constraint::mentions;

/// The indexes that stand for constraints.
fn keys(table: &Table) -> impl Iterator<Item = &IndexDescriptor> {
    shown_indexes(table).filter(|index| index.constraint || index.id == table.primary.id)
}

/// The name PostgreSQL gives to a column's NOT NULL.
fn not_null_name(table: &Table, column_id: u32) -> String {
    format!("{}_{}_{column_id}_not_null", table.schema_id, table.id)
}

pub(super) fn table_constraints(table: &SystemTable, context: &Context) -> Vec<Row> {
    let mut rows = Rows::new(
        table,
        [
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
            "table_catalog",
            "table_schema",
            "table_name",
            "constraint_type",
            "is_deferrable",
            "initially_deferred",
            "enforced",
            "nulls_distinct",
        ],
    );
    for user in context.tables() {
        let mut push = |name: &str, kind: &str| {
            let no = yes_or_no(false);
            let place = schema(context, user.schema_id);
            let distinct = if kind == "UNIQUE" { yes_or_no(true) } else { Datum::Null };
            rows.push([
                catalog(context),
                place.clone(),
                text(name),
                catalog(context),
                place,
                text(user.name.as_str()),
                text(kind),
                no.clone(),
                no,
                yes_or_no(true),
                distinct,
            ]);
        };
        for index in keys(user) {
            push(&index.name, if index.id == user.primary.id { "PRIMARY KEY" } else { "UNIQUE" });
        }
        for check in &user.checks {
            push(&check.name, "CHECK");
        }
        for column in shown_columns(user).filter(|column| !column.nullable) {
            push(&not_null_name(user, column.id), "CHECK");
        }
    }
    rows.finish()
}

pub(super) fn key_column_usage(table: &SystemTable, context: &Context) -> Vec<Row> {
    let mut rows = Rows::new(
        table,
        [
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
            "table_catalog",
            "table_schema",
            "table_name",
            "column_name",
            "ordinal_position",
        ],
    );
    for user in context.tables() {
        let place = schema(context, user.schema_id);
        for index in keys(user) {
            for (at, column) in index_columns(user, index).into_iter().enumerate() {
                rows.push([
                    catalog(context),
                    place.clone(),
                    text(index.name.as_str()),
                    catalog(context),
                    place.clone(),
                    text(user.name.as_str()),
                    text(column.name.as_str()),
                    Datum::Int4(at as i32 + 1),
                ]);
            }
        }
    }
    rows.finish()
}

pub(super) fn constraint_column_usage(table: &SystemTable, context: &Context) -> Vec<Row> {
    let mut rows = Rows::new(
        table,
        [
            "table_catalog",
            "table_schema",
            "table_name",
            "column_name",
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
        ],
    );
    for user in context.tables() {
        let place = schema(context, user.schema_id);
        let mut push = |column: &str, constraint: &str| {
            rows.push([
                catalog(context),
                place.clone(),
                text(user.name.as_str()),
                text(column),
                catalog(context),
                place.clone(),
                text(constraint),
            ]);
        };
        for index in keys(user) {
            index_columns(user, index).into_iter().for_each(|column| push(&column.name, &index.name));
        }
        for check in &user.checks {
            let columns = shown_columns(user).filter(|column| mentions(&check.expression, &column.name));
            columns.for_each(|column| push(&column.name, &check.name));
        }
    }
    rows.finish()
}

/// The tables that foreign keys, and only they, would point to besides keys' own.
pub(super) fn constraint_table_usage(table: &SystemTable, context: &Context) -> Vec<Row> {
    let mut rows = Rows::new(
        table,
        ["table_catalog", "table_schema", "table_name", "constraint_catalog", "constraint_schema", "constraint_name"],
    );
    for user in context.tables() {
        let place = schema(context, user.schema_id);
        for index in keys(user) {
            rows.push([
                catalog(context),
                place.clone(),
                text(user.name.as_str()),
                catalog(context),
                place.clone(),
                text(index.name.as_str()),
            ]);
        }
    }
    rows.finish()
}

pub(super) fn check_constraints(table: &SystemTable, context: &Context) -> Vec<Row> {
    let mut rows = Rows::new(table, ["constraint_catalog", "constraint_schema", "constraint_name", "check_clause"]);
    for user in context.tables() {
        let place = schema(context, user.schema_id);
        let mut push = |name: &str, clause: String| {
            rows.push([catalog(context), place.clone(), text(name), text(clause)]);
        };
        for check in &user.checks {
            push(&check.name, format!("({})", check.expression));
        }
        for column in shown_columns(user).filter(|column| !column.nullable) {
            let clause = format!("{} IS NOT NULL", quote_identifier(&column.name));
            push(&not_null_name(user, column.id), clause);
        }
    }
    rows.finish()
}
