//! Indexes.

use super::super::context::{collation_id, index_columns, shown_indexes};
use super::super::define::index_definition;
use super::super::{Context, SystemTable};
use super::{Rows, TRUE, builtin, int2, oid, optional, text};
use crate::session::Row;
use crate::types::{Datum, PgType};

/// The bits of `pg_index.indoption`.
const DESCENDING: usize = 1;
const NULLS_FIRST: usize = 2;

pub(super) fn pg_index(table: &SystemTable, context: &Context) -> Vec<Row> {
    let mut rows = Rows::new(
        table,
        [
            "indexrelid",
            "indrelid",
            "indnatts",
            "indnkeyatts",
            "indisunique",
            "indisprimary",
            "indimmediate",
            "indisvalid",
            "indisready",
            "indislive",
            "indkey",
            "indcollation",
            "indclass",
            "indoption",
        ],
    );
    let classes = operator_classes();
    for user in context.tables() {
        for index in shown_indexes(user) {
            let columns = index_columns(user, index);
            let count = int2(columns.len());
            let options = index.columns.iter().map(|part| {
                int2(if part.descending { DESCENDING } else { 0 } | if part.nulls_first { NULLS_FIRST } else { 0 })
            });
            let class = |ty: PgType| {
                let of = |wanted: u32| classes.iter().find(|(input, _)| *input == wanted).map(|(_, class)| *class);
                of(comparison_type(ty)).unwrap_or(0)
            };
            rows.push([
                oid(index.id),
                oid(user.id),
                count.clone(),
                count,
                Datum::Bool(index.unique),
                Datum::Bool(user.has_primary_key && index.id == user.primary.id),
                TRUE,
                TRUE,
                TRUE,
                TRUE,
                Datum::array(PgType::Int2, columns.iter().map(|column| int2(column.id as usize)).collect()),
                Datum::array(PgType::Oid, columns.iter().map(|column| oid(collation_id(column.ty))).collect()),
                Datum::array(PgType::Oid, columns.iter().map(|column| oid(class(column.ty))).collect()),
                Datum::array(PgType::Int2, options.collect()),
            ]);
        }
    }
    rows.finish()
}

/// The default operator classes of btree: input type and OID.
fn operator_classes() -> Vec<(u32, u32)> {
    let Some(table) = super::super::table("pg_catalog", "pg_opclass") else { return Vec::new() };
    let at = |name| table.columns.iter().position(|column| column.name == name).expect("a column of pg_opclass");
    let (input, default) = (at("opcintype"), at("opcdefault"));
    let number = |datum: &Datum| datum.as_i64().and_then(|value| u32::try_from(value).ok()).unwrap_or(0);
    let rows = builtin::rows(table);
    let defaults = rows.iter().filter(|row| row[default] == TRUE);
    defaults.map(|row| (number(&row[input]), number(&row[0]))).collect()
}

/// The type whose operator class orders values of this type.
fn comparison_type(ty: PgType) -> u32 {
    match ty {
        PgType::Varchar => PgType::Text.oid(),
        ty if ty.is_oid() && ty != PgType::Xid => PgType::Oid.oid(),
        // anyarray
        ty if ty.is_array() && ty != PgType::OidVector => 2277,
        ty => ty.oid(),
    }
}

pub(super) fn pg_indexes(table: &SystemTable, context: &Context) -> Vec<Row> {
    let mut rows = Rows::new(table, ["schemaname", "tablename", "indexname", "indexdef"]);
    for user in context.tables() {
        for index in shown_indexes(user) {
            rows.push([
                optional(context.schema_name_of(user.schema_id)),
                text(user.name.as_str()),
                text(index.name.as_str()),
                text(index_definition(context, user, index)),
            ]);
        }
    }
    rows.finish()
}
