//! What a session knows and a plan must not: parameters that a query has without naming them.

use crate::error::SqlError;
use crate::query::QueryContext;
use crate::types::{CastContext, Datum, PgType, cast};

/// A value that is filled in when the plan is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hidden {
    Now,
    LocalTimestamp,
    CurrentDate,
    CurrentTime,
    User,
    Database,
    Schema,
    BackendPid,
    Version,
}

impl Hidden {
    /// The value that a function without arguments of this name has.
    pub fn by_name(name: &str) -> Option<Hidden> {
        Some(match name {
            "now" | "current_timestamp" | "transaction_timestamp" | "statement_timestamp" | "clock_timestamp" => {
                Hidden::Now
            }
            "localtimestamp" => Hidden::LocalTimestamp,
            "current_date" => Hidden::CurrentDate,
            "localtime" | "current_time" => Hidden::CurrentTime,
            "current_user" | "session_user" | "user" | "current_role" => Hidden::User,
            "current_database" | "current_catalog" => Hidden::Database,
            "current_schema" => Hidden::Schema,
            "pg_backend_pid" => Hidden::BackendPid,
            "version" => Hidden::Version,
            _ => return None,
        })
    }

    /// The value, and its type, that a function has which takes how many digits its seconds have behind the point.
    pub fn by_precise_name(name: &str) -> Option<(PgType, Hidden)> {
        match name {
            "current_timestamp" => Some((PgType::TimestampTz, Hidden::Now)),
            "localtimestamp" => Some((PgType::Timestamp, Hidden::LocalTimestamp)),
            "localtime" => Some((PgType::Time, Hidden::CurrentTime)),
            _ => None,
        }
    }

    /// The value that a reserved word by itself has.
    pub fn by_keyword(word: &str) -> Option<Hidden> {
        let word = word.to_lowercase();
        let reserved = matches!(
            word.as_str(),
            "current_timestamp"
                | "current_date"
                | "current_time"
                | "localtime"
                | "localtimestamp"
                | "current_user"
                | "session_user"
                | "current_role"
                | "user"
                | "current_catalog"
                | "current_schema"
        );
        if reserved { Hidden::by_name(&word) } else { None }
    }

    /// The parameter's name.
    pub fn placeholder(self) -> &'static str {
        match self {
            Hidden::Now => "session_now",
            Hidden::LocalTimestamp => "session_localtimestamp",
            Hidden::CurrentDate => "session_date",
            Hidden::CurrentTime => "session_time",
            Hidden::User => "session_user",
            Hidden::Database => "session_database",
            Hidden::Schema => "session_schema",
            Hidden::BackendPid => "session_pid",
            Hidden::Version => "session_version",
        }
    }

    /// Its type.
    pub fn ty(self) -> PgType {
        match self {
            Hidden::Now => PgType::TimestampTz,
            Hidden::LocalTimestamp => PgType::Timestamp,
            Hidden::CurrentDate => PgType::Date,
            Hidden::CurrentTime => PgType::Time,
            Hidden::User | Hidden::Database | Hidden::Schema => PgType::Name,
            Hidden::BackendPid => PgType::Int4,
            Hidden::Version => PgType::Text,
        }
    }

    /// Its value.
    ///
    /// # Errors
    /// When the transaction's time is no date.
    pub fn value(self, context: &QueryContext) -> Result<Datum, SqlError> {
        let session = &context.session;
        let now = Datum::TimestampTz(session.types.transaction_micros);
        let moment = |ty| cast(now.clone(), PgType::TimestampTz, ty, -1, CastContext::Explicit, &session.types);
        Ok(match self {
            Hidden::Now => now,
            Hidden::LocalTimestamp => moment(PgType::Timestamp)?,
            Hidden::CurrentDate => moment(PgType::Date)?,
            Hidden::CurrentTime => moment(PgType::Time)?,
            Hidden::User => Datum::Text(session.user.clone()),
            Hidden::Database => Datum::Text(session.database.clone()),
            Hidden::Schema => {
                let exists = |name: &&String| context.catalog.schema(session.database_id, name).is_some();
                session.search_path.iter().find(exists).map_or(Datum::Null, |name| Datum::Text(name.clone()))
            }
            Hidden::BackendPid => Datum::Int4(session.backend_pid as i32),
            Hidden::Version => Datum::Text(version(context)),
        })
    }
}

/// What `version()` answers.
pub(super) fn version(context: &QueryContext) -> String {
    let setting = context.session.settings.get("server_version").map_or("15", String::as_str);
    format!("PostgreSQL {setting} (Meridian {})", env!("CARGO_PKG_VERSION"))
}
