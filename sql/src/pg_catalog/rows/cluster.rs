//! What stands outside tables: databases, schemas, roles, settings, sessions.

use super::super::context::owner_id;
use super::super::{Context, ROLES, SUPERUSER_OID, SystemTable};
use super::{FALSE, Rows, TRUE, char, oid, text};
use crate::catalog::{INFORMATION_SCHEMA_OID, PG_CATALOG_OID};
use crate::session::Row;
use crate::types::Datum;

/// PostgreSQL's number for UTF-8.
pub(super) const UTF8: i32 = 6;
/// The OID of the tablespace `pg_default`.
const DEFAULT_TABLESPACE: u32 = 1663;

pub(super) fn pg_namespace(table: &SystemTable, context: &Context) -> Vec<Row> {
    let mut rows = Rows::new(table, ["oid", "nspname", "nspowner"]);
    rows.push([oid(PG_CATALOG_OID), text("pg_catalog"), oid(SUPERUSER_OID)]);
    rows.push([oid(INFORMATION_SCHEMA_OID), text("information_schema"), oid(SUPERUSER_OID)]);
    for schema in context.schemas() {
        rows.push([oid(schema.id), text(schema.name.as_str()), oid(owner_id(&schema.owner))]);
    }
    rows.finish()
}

pub(super) fn pg_database(table: &SystemTable, context: &Context) -> Vec<Row> {
    let mut rows = Rows::new(
        table,
        [
            "oid",
            "datname",
            "datdba",
            "encoding",
            "datlocprovider",
            "datallowconn",
            "datconnlimit",
            "dattablespace",
            "datcollate",
            "datctype",
        ],
    );
    for database in context.catalog.databases() {
        rows.push([
            oid(database.id),
            text(database.name.as_str()),
            oid(owner_id(&database.owner)),
            Datum::Int4(UTF8),
            char('c'),
            TRUE,
            Datum::Int4(-1),
            oid(DEFAULT_TABLESPACE),
            text("C.UTF-8"),
            text("C.UTF-8"),
        ]);
    }
    rows.finish()
}

/// `pg_roles` and `pg_authid`, which share these columns; nobody has a password.
pub(super) fn roles(table: &SystemTable, _: &Context) -> Vec<Row> {
    let mut rows = Rows::new(
        table,
        [
            "oid",
            "rolname",
            "rolsuper",
            "rolinherit",
            "rolcreaterole",
            "rolcreatedb",
            "rolcanlogin",
            "rolreplication",
            "rolbypassrls",
            "rolconnlimit",
        ],
    );
    for (id, name) in ROLES {
        rows.push([oid(id), text(name), TRUE, TRUE, TRUE, TRUE, TRUE, FALSE, TRUE, Datum::Int4(-1)]);
    }
    rows.finish()
}

/// `pg_user` and `pg_shadow`.
pub(super) fn users(table: &SystemTable, _: &Context) -> Vec<Row> {
    let mut rows = Rows::new(table, ["usename", "usesysid", "usecreatedb", "usesuper", "userepl", "usebypassrls"]);
    for (id, name) in ROLES {
        rows.push([text(name), oid(id), TRUE, TRUE, FALSE, TRUE]);
    }
    rows.finish()
}

pub(super) fn pg_settings(table: &SystemTable, context: &Context) -> Vec<Row> {
    let mut rows = Rows::new(
        table,
        ["name", "setting", "category", "context", "vartype", "source", "boot_val", "reset_val", "pending_restart"],
    );
    for (name, value) in &context.session.settings {
        rows.push([
            text(name.as_str()),
            text(value.as_str()),
            text("Settings"),
            text("user"),
            text("string"),
            text("session"),
            Datum::Null,
            Datum::Null,
            FALSE,
        ]);
    }
    rows.finish()
}

/// The session that asks: others are not told of.
pub(super) fn pg_stat_activity(table: &SystemTable, context: &Context) -> Vec<Row> {
    let session = &context.session;
    let mut rows = Rows::new(
        table,
        ["datid", "datname", "pid", "usesysid", "usename", "application_name", "xact_start", "state", "backend_type"],
    );
    let application = session.settings.get("application_name").cloned().unwrap_or_default();
    rows.push([
        oid(session.database_id),
        text(session.database.as_str()),
        Datum::Int4(session.backend_pid as i32),
        oid(owner_id(&session.user)),
        text(session.user.as_str()),
        text(application),
        Datum::TimestampTz(session.types.transaction_micros),
        text("active"),
        text("client backend"),
    ]);
    rows.finish()
}

/// The databases with none of their statistics, which nobody keeps.
pub(super) fn pg_stat_database(table: &SystemTable, context: &Context) -> Vec<Row> {
    let mut rows = Rows::new(table, ["datid", "datname"]);
    for database in context.catalog.databases() {
        rows.push([oid(database.id), text(database.name.as_str())]);
    }
    rows.finish()
}
