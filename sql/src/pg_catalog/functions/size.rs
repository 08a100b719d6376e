//! How large things are, and what can be done with a relation. Sizes are not known here, and told as 0.

use super::{Definition, relation_argument, strict};
use crate::pg_catalog::Context;
use crate::pg_catalog::context::Relation;
use crate::types::{Datum, PgType};

/// The events a table takes, as `pg_relation_is_updatable` numbers them: INSERT, UPDATE, DELETE.
const UPDATABLE: i32 = (1 << 3) | (1 << 2) | (1 << 4);

pub(super) const FUNCTIONS: &[Definition] = &[
    strict("pg_relation_size", PgType::Int8, (1, 2), relation_size),
    strict("pg_table_size", PgType::Int8, (1, 1), relation_size),
    strict("pg_indexes_size", PgType::Int8, (1, 1), relation_size),
    strict("pg_total_relation_size", PgType::Int8, (1, 1), relation_size),
    strict("pg_database_size", PgType::Int8, (1, 1), |_, _| Datum::Int8(0)),
    strict("pg_tablespace_size", PgType::Int8, (1, 1), |_, _| Datum::Int8(0)),
    strict("pg_size_pretty", PgType::Text, (1, 1), |_, arguments| {
        let bytes = match &arguments[0] {
            Datum::Numeric(bytes) => bytes.to_i64(),
            other => other.as_i64(),
        };
        bytes.map_or(Datum::Null, |bytes| Datum::Text(pretty(bytes)))
    }),
    strict("pg_relation_filenode", PgType::Oid, (1, 1), |context, arguments| {
        relation_argument(context, arguments, 0).map_or(Datum::Null, Datum::Oid)
    }),
    strict("pg_relation_is_publishable", PgType::Bool, (1, 1), |context, arguments| {
        user_table(context, arguments).map_or(Datum::Null, Datum::Bool)
    }),
    strict("pg_relation_is_updatable", PgType::Int4, (2, 2), |context, arguments| {
        user_table(context, arguments).map_or(Datum::Null, |table| Datum::Int4(if table { UPDATABLE } else { 0 }))
    }),
    strict("pg_column_is_updatable", PgType::Bool, (3, 3), |context, arguments| {
        user_table(context, arguments).map_or(Datum::Null, Datum::Bool)
    }),
];

/// Whether the first argument is a user's table; none if it is no relation.
fn user_table(context: &Context, arguments: &[Datum]) -> Option<bool> {
    let relation = context.relation(relation_argument(context, arguments, 0)?)?;
    Some(matches!(relation, Relation::Table(_)))
}

fn relation_size(context: &Context, arguments: &[Datum]) -> Datum {
    let relation = relation_argument(context, arguments, 0).and_then(|oid| context.relation(oid));
    relation.map_or(Datum::Null, |_| Datum::Int8(0))
}

/// Bytes in the largest unit that leaves few digits, as PostgreSQL rounds them.
pub(super) fn pretty(bytes: i64) -> String {
    let mut size = i128::from(bytes);
    if size.abs() < 10 * 1024 {
        return format!("{size} bytes");
    }
    // Kept doubled from here on, so that the last step can round half up.
    size /= 512;
    for unit in ["kB", "MB", "GB", "TB"] {
        if size.abs() < 20 * 1024 - 1 {
            return format!("{} {unit}", round_half(size));
        }
        size /= 1024;
    }
    format!("{} PB", round_half(size))
}

fn round_half(doubled: i128) -> i128 {
    if doubled >= 0 { (doubled + 1) / 2 } else { (doubled - 1) / 2 }
}
