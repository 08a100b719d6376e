//! Who may do what: everybody may do everything with what there is, all roles being superusers.

use super::{Definition, strict};
use crate::pg_catalog::Context;
use crate::types::{Datum, PgType};

pub(super) const FUNCTIONS: &[Definition] = &[
    strict("has_any_column_privilege", PgType::Bool, (2, 3), granted),
    strict("has_column_privilege", PgType::Bool, (3, 4), granted),
    strict("has_database_privilege", PgType::Bool, (2, 3), granted),
    strict("has_foreign_data_wrapper_privilege", PgType::Bool, (2, 3), granted),
    strict("has_function_privilege", PgType::Bool, (2, 3), granted),
    strict("has_language_privilege", PgType::Bool, (2, 3), granted),
    strict("has_schema_privilege", PgType::Bool, (2, 3), granted),
    strict("has_sequence_privilege", PgType::Bool, (2, 3), granted),
    strict("has_server_privilege", PgType::Bool, (2, 3), granted),
    strict("has_table_privilege", PgType::Bool, (2, 3), granted),
    strict("has_tablespace_privilege", PgType::Bool, (2, 3), granted),
    strict("has_type_privilege", PgType::Bool, (2, 3), granted),
    strict("pg_has_role", PgType::Bool, (2, 3), granted),
    strict("row_security_active", PgType::Bool, (1, 1), |_, _| Datum::Bool(false)),
];

fn granted(_: &Context, _: &[Datum]) -> Datum {
    Datum::Bool(true)
}
