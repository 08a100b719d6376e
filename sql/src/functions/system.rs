//! Functions on the session and on types.

use super::registry::{Arg, Registry, Ret};
use crate::SqlError;
use crate::types::{Datum, PgType, format_type};

use PgType::{Bool, Int4, Name, NameArray, Regtype, Text, Uuid};

fn name(value: &str) -> Result<Datum, SqlError> {
    Ok(Datum::from(value))
}

pub(super) fn register(r: &mut Registry) {
    r.strict("version", &[], Text, |call, _| name(&call.context.version)).stable();
    for function in ["current_user", "session_user", "user", "current_role"] {
        r.strict(function, &[], Name, |call, _| name(&call.context.user)).stable();
    }
    for function in ["current_database", "current_catalog"] {
        r.strict(function, &[], Name, |call, _| name(&call.context.database)).stable();
    }
    r.strict("current_schema", &[], Name, |call, _| {
        Ok(call.context.search_path.first().map_or(Datum::Null, |schema| Datum::from(schema.as_str())))
    })
    .stable();
    r.strict("current_schemas", &[Bool], NameArray, |call, a| {
        let implicit = (a[0] == Datum::Bool(true)).then_some("pg_catalog");
        let path = call.context.search_path.iter().map(String::as_str);
        let path = implicit.into_iter().chain(path.filter(|schema| implicit != Some(*schema)));
        Ok(Datum::array(Name, path.map(Datum::from).collect()))
    })
    .stable();
    r.strict("pg_backend_pid", &[], Int4, |call, _| Ok(Datum::Int4(call.context.backend_pid))).stable();
    r.polymorphic("pg_typeof", &[Arg::Any], Ret::Is(Regtype), |call, _| Ok(Datum::Oid(call.types[0].oid())))
        .called_on_null();
    r.strict("current_setting", &[Text], Text, |call, a| setting(&call.context.parameters, &a[0], false)).stable();
    r.strict("current_setting", &[Text, Bool], Text, |call, a| {
        setting(&call.context.parameters, &a[0], a[1] == Datum::Bool(true))
    })
    .stable();
    r.strict("set_config", &[Text, Text, Bool], Text, |call, a| {
        let (key, value) = (a[0].as_str().unwrap_or_default(), a[1].as_str().unwrap_or_default());
        if !key.contains('.') {
            setting(&call.context.parameters, &a[0], false)?;
        }
        call.context.asked_settings.ask(key, value, a[2] == Datum::Bool(true));
        Ok(a[1].clone())
    })
    .volatile();
    r.strict("gen_random_uuid", &[], Uuid, |call, _| {
        let (high, low) = (call.context.random.next_u64(), call.context.random.next_u64());
        let bits = u128::from(high) << 64 | u128::from(low);
        Ok(Datum::Uuid(uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid().into_bytes()))
    })
    .volatile();
    r.strict("to_regtype", &[Text], Regtype, |_, a| {
        let found = crate::types::from_sql_name(a[0].as_str().unwrap_or_default());
        Ok(found.map_or(Datum::Null, |ty| Datum::Oid(ty.oid())))
    });
    r.strict("format_type", &[PgType::Oid, Int4], Text, |_, a| {
        let Some(oid) = a[0].as_i64() else { return Ok(Datum::Null) };
        let typmod = a[1].as_i64().unwrap_or(-1) as i32;
        Ok(Datum::Text(PgType::from_oid(oid as u32).map_or_else(|| "???".to_owned(), |ty| format_type(ty, typmod))))
    })
    .called_on_null();
}

fn setting(
    parameters: &std::collections::BTreeMap<String, String>,
    key: &Datum,
    missing_ok: bool,
) -> Result<Datum, SqlError> {
    let key = key.as_str().unwrap_or_default();
    match parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value) {
        Some(value) => Ok(Datum::from(value.as_str())),
        None if missing_ok => Ok(Datum::Null),
        None => Err(SqlError::new("42704", format!("unrecognized configuration parameter \"{key}\""))),
    }
}
