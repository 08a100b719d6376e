//! From names to OIDs and back, and what the search path shows.

use super::{Definition, oid_argument, optional, relation_argument, strict};
use crate::pg_catalog::Context;
use crate::pg_catalog::context::{quote_identifier, role_name};
use crate::pg_catalog::rows::{function_id, function_name};
use crate::types::{Datum, Names, PgType, from_sql_name};

pub(super) const FUNCTIONS: &[Definition] = &[
    strict("pg_table_is_visible", PgType::Bool, (1, 1), |context, arguments| {
        let relation = oid_argument(arguments, 0).and_then(|oid| context.relation(oid));
        relation.map_or(Datum::Null, |relation| Datum::Bool(context.is_visible(&relation)))
    }),
    strict("pg_type_is_visible", PgType::Bool, (1, 1), |_, arguments| {
        let known = oid_argument(arguments, 0).and_then(PgType::from_oid);
        known.map_or(Datum::Null, |_| Datum::Bool(true))
    }),
    strict("pg_function_is_visible", PgType::Bool, (1, 1), |_, arguments| {
        let known = oid_argument(arguments, 0).and_then(function_name);
        known.map_or(Datum::Null, |_| Datum::Bool(true))
    }),
    // All of these stand in pg_catalog, which is always searched.
    strict("pg_operator_is_visible", PgType::Bool, (1, 1), visible),
    strict("pg_opclass_is_visible", PgType::Bool, (1, 1), visible),
    strict("pg_opfamily_is_visible", PgType::Bool, (1, 1), visible),
    strict("pg_collation_is_visible", PgType::Bool, (1, 1), visible),
    strict("pg_conversion_is_visible", PgType::Bool, (1, 1), visible),
    strict("pg_statistics_obj_is_visible", PgType::Bool, (1, 1), visible),
    strict("pg_ts_config_is_visible", PgType::Bool, (1, 1), visible),
    strict("pg_ts_dict_is_visible", PgType::Bool, (1, 1), visible),
    strict("pg_ts_parser_is_visible", PgType::Bool, (1, 1), visible),
    strict("pg_ts_template_is_visible", PgType::Bool, (1, 1), visible),
    strict("to_regclass", PgType::Regclass, (1, 1), |context, arguments| {
        relation_argument(context, arguments, 0).map_or(Datum::Null, Datum::Oid)
    }),
    strict("to_regtype", PgType::Regtype, (1, 1), |_, arguments| {
        let ty = arguments[0].as_str().and_then(from_sql_name);
        ty.map_or(Datum::Null, |ty| Datum::Oid(ty.oid()))
    }),
    strict("to_regnamespace", PgType::Regnamespace, (1, 1), |context, arguments| {
        let schema = arguments[0].as_str().and_then(|name| context.schema_id_of(name.trim_matches('"')));
        schema.map_or(Datum::Null, Datum::Oid)
    }),
    strict("to_regrole", PgType::Regrole, (1, 1), |context, arguments| {
        let role = arguments[0].as_str().and_then(|name| context.role_oid(name.trim_matches('"')));
        role.map_or(Datum::Null, Datum::Oid)
    }),
    strict("to_regproc", PgType::Regproc, (1, 1), |_, arguments| {
        arguments[0].as_str().and_then(function_id).map_or(Datum::Null, Datum::Oid)
    }),
    strict("pg_get_userbyid", PgType::Name, (1, 1), |_, arguments| {
        let oid = oid_argument(arguments, 0).unwrap_or(0);
        Datum::Text(role_name(oid).map_or_else(|| format!("unknown (OID={oid})"), str::to_owned))
    }),
    strict("pg_get_serial_sequence", PgType::Text, (2, 2), serial_sequence),
    strict("current_schemas", PgType::NameArray, (1, 1), |context, arguments| {
        let implicit = arguments[0] == Datum::Bool(true);
        let named = |name: &str| context.session.search_path.iter().any(|path| path == name);
        let schemas = context.searched_schemas().into_iter().filter_map(|id| context.schema_name_of(id));
        let shown = schemas.filter(|name| implicit || *name != "pg_catalog" || named(name));
        Datum::array(PgType::Name, shown.map(Datum::from).collect())
    }),
    strict("current_setting", PgType::Text, (1, 2), |context, arguments| {
        let name = arguments[0].as_str().unwrap_or_default().to_lowercase();
        let settings = &context.session.settings;
        let found = settings.iter().find(|(setting, _)| setting.eq_ignore_ascii_case(&name));
        optional(found.map(|(_, value)| value.as_str()))
    }),
    strict("quote_ident", PgType::Text, (1, 1), |_, arguments| optional(arguments[0].as_str().map(quote_identifier))),
    strict("pg_encoding_to_char", PgType::Name, (1, 1), |_, arguments| {
        Datum::from(match arguments[0].as_i64() {
            Some(6) => "UTF8",
            Some(0) => "SQL_ASCII",
            _ => "",
        })
    }),
    strict("pg_char_to_encoding", PgType::Int4, (1, 1), |_, arguments| {
        let name = arguments[0].as_str().unwrap_or_default().to_lowercase();
        Datum::Int4(if matches!(name.as_str(), "utf8" | "utf-8" | "unicode") { 6 } else { -1 })
    }),
    strict("pg_is_in_recovery", PgType::Bool, (0, 0), |_, _| Datum::Bool(false)),
    strict("pg_is_wal_replay_paused", PgType::Bool, (0, 0), |_, _| Datum::Bool(false)),
    strict("pg_my_temp_schema", PgType::Oid, (0, 0), |_, _| Datum::Oid(0)),
    strict("pg_is_other_temp_schema", PgType::Bool, (1, 1), |_, _| Datum::Bool(false)),
    strict("pg_tablespace_location", PgType::Text, (1, 1), |_, _| Datum::from("")),
    strict("inet_server_addr", PgType::Text, (0, 0), super::null),
    strict("inet_server_port", PgType::Int4, (0, 0), super::null),
    strict("inet_client_addr", PgType::Text, (0, 0), super::null),
    strict("inet_client_port", PgType::Int4, (0, 0), super::null),
];

fn visible(_: &Context, _: &[Datum]) -> Datum {
    Datum::Bool(true)
}

/// The qualified name of the sequence that belongs to a column: the table by name as SQL has it, the column by its bare name.
fn serial_sequence(context: &Context, arguments: &[Datum]) -> Datum {
    let found = relation_argument(context, arguments, 0).and_then(|oid| context.catalog.table(oid)).and_then(|table| {
        let column = table.column(arguments[1].as_str()?)?;
        let owns = |owned: Option<(u32, u32)>| owned == Some((table.id, column.id));
        let by_owner = context.sequences().find(|sequence| owns(sequence.owned_by));
        let sequence = by_owner.or_else(|| context.catalog.sequence(column.sequence_id?))?;
        Some(context.qualified_name(&crate::pg_catalog::context::Relation::Sequence(sequence.clone())))
    });
    optional(found)
}
