//! Constraints, and what depends on what.

use super::super::context::{index_columns, shown_columns, shown_indexes};
use super::super::{Context, SystemTable};
use super::{Rows, TRUE, char, int2, int4, oid, text};
use crate::session::Row;
use crate::types::{Datum, PgType};

/// `pg_class`'s own OID.
const PG_CLASS: u32 = 1259;
/// `pg_constraint`'s own OID.
const PG_CONSTRAINT: u32 = 2606;

pub(super) fn pg_constraint(table: &SystemTable, context: &Context) -> Vec<Row> {
    let mut rows = Rows::new(
        table,
        [
            "oid",
            "conname",
            "connamespace",
            "contype",
            "convalidated",
            "conrelid",
            "conindid",
            "confupdtype",
            "confdeltype",
            "confmatchtype",
            "conislocal",
            "connoinherit",
            "conkey",
            "conbin",
        ],
    );
    for user in context.tables() {
        let mut push = |id: u32, name: &str, kind: char, index: u32, key: Datum, expression: Datum, valid: bool| {
            rows.push([
                oid(id),
                text(name),
                oid(user.schema_id),
                char(kind),
                Datum::Bool(valid),
                oid(user.id),
                oid(index),
                char(' '),
                char(' '),
                char(' '),
                TRUE,
                Datum::Bool(kind != 'c'),
                key,
                expression,
            ]);
        };
        for index in shown_indexes(user).filter(|index| index.constraint || index.id == user.primary.id) {
            let kind = if index.id == user.primary.id { 'p' } else { 'u' };
            let key = index_columns(user, index).iter().map(|column| int2(column.id as usize)).collect();
            push(index.id, &index.name, kind, index.id, Datum::array(PgType::Int2, key), Datum::Null, true);
        }
        for check in &user.checks {
            let columns = shown_columns(user).filter(|column| mentions(&check.expression, &column.name));
            let key = columns.map(|column| int2(column.id as usize)).collect();
            let key = Datum::array(PgType::Int2, key);
            push(check.id, &check.name, 'c', 0, key, text(check.expression.as_str()), !check.not_valid);
        }
    }
    rows.finish()
}

/// Whether an expression names a column: the name stands in it as a word.
pub(super) fn mentions(expression: &str, column: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    expression.match_indices(column).any(|(at, found)| {
        let before = expression[..at].chars().next_back();
        let after = expression[at + found.len()..].chars().next();
        !before.is_some_and(word) && !after.is_some_and(word)
    })
}

/// Sequences depend on the columns they belong to, indexes on their constraints or columns.
pub(super) fn pg_depend(table: &SystemTable, context: &Context) -> Vec<Row> {
    let mut rows =
        Rows::new(table, ["classid", "objid", "objsubid", "refclassid", "refobjid", "refobjsubid", "deptype"]);
    let mut push = |object: (u32, u32), on: (u32, u32, usize), kind: char| {
        rows.push([oid(object.0), oid(object.1), int4(0), oid(on.0), oid(on.1), int4(on.2), char(kind)]);
    };
    for sequence in context.sequences() {
        let Some((table_id, column_id)) = sequence.owned_by else { continue };
        let column = context.catalog.table(table_id).and_then(|table| table.column_by_id(column_id));
        let identity = column.is_some_and(|column| column.identity.is_some());
        let kind = if identity { 'i' } else { 'a' };
        push((PG_CLASS, sequence.id), (PG_CLASS, table_id, column_id as usize), kind);
    }
    for user in context.tables() {
        for index in shown_indexes(user) {
            let is_constraint = index.constraint || index.id == user.primary.id;
            let dependent = if is_constraint { PG_CONSTRAINT } else { PG_CLASS };
            if is_constraint {
                push((PG_CLASS, index.id), (PG_CONSTRAINT, index.id, 0), 'i');
            }
            for column in index_columns(user, index) {
                push((dependent, index.id), (PG_CLASS, user.id, column.id as usize), 'a');
            }
        }
        for check in &user.checks {
            push((PG_CONSTRAINT, check.id), (PG_CLASS, user.id, 0), 'a');
        }
    }
    rows.finish()
}
