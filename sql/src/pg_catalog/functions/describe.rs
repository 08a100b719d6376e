//! Objects written down: definitions, signatures, comments.

use super::{Definition, oid_argument, optional, strict};
use crate::pg_catalog::Context;
use crate::pg_catalog::context::Relation;
use crate::pg_catalog::define::{constraint_definition, index_column, index_definition};
use crate::pg_catalog::rows::{Signature, function_signature};
use crate::types::{Datum, PgType};

pub(super) const FUNCTIONS: &[Definition] = &[
    Definition { name: "format_type", result: PgType::Text, arguments: (2, 2), takes_null: true, compute: format_type },
    // Expressions are kept as text.
    strict("pg_get_expr", PgType::Text, (2, 3), |_, arguments| optional(arguments[0].as_str())),
    strict("pg_get_indexdef", PgType::Text, (1, 3), get_index_definition),
    strict("pg_get_constraintdef", PgType::Text, (1, 2), |context, arguments| {
        let pretty = arguments.get(1) == Some(&Datum::Bool(true));
        optional(oid_argument(arguments, 0).and_then(|oid| constraint_definition(context, oid, pretty)))
    }),
    strict("pg_get_function_result", PgType::Text, (1, 1), |_, arguments| {
        optional(signature(arguments).map(|signature| signature.result))
    }),
    strict("pg_get_function_arguments", PgType::Text, (1, 1), |_, arguments| {
        optional(signature(arguments).map(|signature| signature.arguments))
    }),
    strict("pg_get_function_identity_arguments", PgType::Text, (1, 1), |_, arguments| {
        optional(signature(arguments).map(|signature| signature.arguments))
    }),
    // There are no views, triggers, rules, partitions, extended statistics or functions of users'.
    strict("pg_get_viewdef", PgType::Text, (1, 2), super::null),
    strict("pg_get_triggerdef", PgType::Text, (1, 2), super::null),
    strict("pg_get_ruledef", PgType::Text, (1, 2), super::null),
    strict("pg_get_functiondef", PgType::Text, (1, 1), super::null),
    strict("pg_get_function_sqlbody", PgType::Text, (1, 1), super::null),
    strict("pg_get_function_arg_default", PgType::Text, (2, 2), super::null),
    strict("pg_get_partkeydef", PgType::Text, (1, 1), super::null),
    strict("pg_get_partition_constraintdef", PgType::Text, (1, 1), super::null),
    strict("pg_get_statisticsobjdef", PgType::Text, (1, 1), super::null),
    strict("pg_get_statisticsobjdef_columns", PgType::Text, (1, 1), super::null),
    // Comments are not kept.
    strict("obj_description", PgType::Text, (1, 2), super::null),
    strict("col_description", PgType::Text, (2, 2), super::null),
    strict("shobj_description", PgType::Text, (2, 2), super::null),
    strict("pg_sequence_last_value", PgType::Int8, (1, 1), super::null),
];

fn signature(arguments: &[Datum]) -> Option<&'static Signature> {
    oid_argument(arguments, 0).and_then(function_signature)
}

/// NULL for the modifier, unlike -1, asks for the type's name as one declares it.
fn format_type(_: &Context, arguments: &[Datum]) -> Datum {
    if arguments[0].is_null() {
        return Datum::Null;
    }
    let typmod = arguments[1].as_i64().and_then(|typmod| i32::try_from(typmod).ok());
    Datum::Text(match (oid_argument(arguments, 0), typmod) {
        (Some(0) | None, _) => "-".to_owned(),
        (Some(oid), typmod) => match (PgType::from_oid(oid), typmod) {
            (Some(PgType::Bpchar), None) => "character".to_owned(),
            (Some(PgType::BpcharArray), None) => "character[]".to_owned(),
            (Some(ty), typmod) => crate::types::format_type(ty, typmod.unwrap_or(-1)),
            (None, _) => "???".to_owned(),
        },
    })
}

/// The index's definition, or the name of one of its columns.
fn get_index_definition(context: &Context, arguments: &[Datum]) -> Datum {
    let relation = oid_argument(arguments, 0).and_then(|oid| context.relation(oid));
    let Some(Relation::Index(table, index)) = relation else { return Datum::Null };
    match arguments.get(1).and_then(Datum::as_i64).and_then(|number| usize::try_from(number).ok()) {
        None | Some(0) => Datum::Text(index_definition(context, &table, &index)),
        Some(number) => Datum::Text(index_column(&table, &index, number).unwrap_or_default()),
    }
}
