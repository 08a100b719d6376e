//! `AS OF SYSTEM TIME`: the past, by statement or by transaction.
//!
//! ```text
//!   SELECT … AS OF SYSTEM TIME '-10s'              the implicit transaction of the statement reads there
//!   BEGIN AS OF SYSTEM TIME '2026-01-01 12:00'     so does every statement up to COMMIT
//!   SET TRANSACTION AS OF SYSTEM TIME …            likewise, before the first statement
//! ```
//!
//! The time is an expression without columns: a time, an interval counted from now, or nanoseconds since 1970, perhaps with a
//! logical part (`1580361670629466905.0000000001`). The tables are those of that time, too. Nothing is locked, and nothing can be
//! written. The syntax is CockroachDB's; PostgreSQL has none.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast;
use txn::Timestamp;

use super::{Session, Statement};
use crate::bind::{Binder, ParamTypes, Scope};
use crate::error::{SqlError, code};
use crate::scalar::EvalContext;
use crate::types::{CastContext, Datum, Interval, PgType, add_interval, cast, interval, parse_text};

/// The past that a transaction reads.
pub(super) struct AsOf {
    /// What was asked for.
    asked: String,
    /// What that came to.
    pub timestamp: Timestamp,
}

impl Session {
    /// Takes in when the statement wants to read, before it is planned or executed.
    ///
    /// # Errors
    /// 22023 for what is no time, or lies ahead; 25001 when the transaction has begun already.
    pub(super) async fn adopt_as_of(&mut self, statement: &Statement) -> Result<(), SqlError> {
        let Some(asked) = &statement.as_of else { return Ok(()) };
        let text = asked.to_string();
        if self.open.as_of.as_ref().is_some_and(|known| known.asked == text) {
            return Ok(());
        }
        let of_transaction = statement.begins_transaction() || statement.sets_transaction();
        if self.open.as_of.is_some() || self.open.statements > 0 || (self.open.explicit && !of_transaction) {
            return Err(SqlError::new(
                code::ACTIVE_SQL_TRANSACTION,
                "AS OF SYSTEM TIME must come before any query of its transaction, and once",
            )
            .hint("In a transaction block, use BEGIN AS OF SYSTEM TIME."));
        }
        let timestamp = self.past_timestamp(asked, statement)?;
        let now = self.shared.database.now()?;
        if timestamp > now {
            return Err(invalid(&text).detail("It lies in the future."));
        }
        let handle = self.open.handle.take();
        self.discard(handle).await;
        self.open.as_of = Some(AsOf { asked: text, timestamp });
        self.open.read_only = Some(true);
        Ok(())
    }

    fn past_timestamp(&self, asked: &ast::Expr, statement: &Statement) -> Result<Timestamp, SqlError> {
        let (catalog, view) = (self.shared.manager.current(), self.view());
        let now_micros = i64::try_from(self.shared.database.now()?.wall_ns / 1_000).unwrap_or(i64::MAX);
        let mut view = (*view).clone();
        view.types.transaction_micros = now_micros;
        let (mut params, scope) = (ParamTypes::default(), Scope::default());
        let mut binder = Binder::new(&catalog, &view, &scope, &statement.text, &mut params);
        let bound = binder.bind(asked)?;
        let sequences = Arc::default();
        let context = EvalContext { row: &[], params: &[], view: &view, sequences: &sequences };
        let value = bound.scalar.eval(&context)?;
        let wrong = || invalid(&asked.to_string());
        let of_micros = |micros: i64| {
            let wall_ns = u64::try_from(micros).ok().and_then(|micros| micros.checked_mul(1_000));
            wall_ns.map(|wall_ns| Timestamp::new(wall_ns, 0)).ok_or_else(wrong)
        };
        match value {
            Datum::Text(text) => {
                if let Ok(Datum::TimestampTz(micros)) = parse_text(&text, PgType::TimestampTz, -1, &view.types) {
                    return of_micros(micros);
                }
                match (of_decimal(&text), interval::parse(&text)) {
                    (Some(timestamp), _) => Ok(timestamp),
                    (None, Ok(back)) => of_micros(back_from(now_micros, back)?),
                    (None, Err(_)) => Err(wrong()),
                }
            }
            Datum::Interval(back) => of_micros(back_from(now_micros, back)?),
            Datum::Int4(_) | Datum::Int8(_) | Datum::Numeric(_) => {
                let text = crate::types::to_text(&value, bound.ty, -1, &view.types);
                of_decimal(&text).ok_or_else(wrong)
            }
            Datum::Null => Err(wrong()),
            other => match cast(other, bound.ty, PgType::TimestampTz, -1, CastContext::Explicit, &view.types)? {
                Datum::TimestampTz(micros) => of_micros(micros),
                _ => Err(wrong()),
            },
        }
    }
}

fn back_from(now_micros: i64, back: Interval) -> Result<i64, SqlError> {
    add_interval(now_micros, back)
}

/// Nanoseconds since 1970, the logical part as ten decimals.
fn of_decimal(text: &str) -> Option<Timestamp> {
    let (whole, logical) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(logical) || logical.len() > 10 {
        return None;
    }
    Some(Timestamp::new(whole.parse().ok()?, format!("{logical:0<10}").parse().ok()?))
}

fn invalid(asked: &str) -> SqlError {
    SqlError::new(code::INVALID_PARAMETER_VALUE, format!("AS OF SYSTEM TIME: {asked} is no time to read at"))
        .hint("Give a time of the past, or an interval back from now: '-10s'.")
}
