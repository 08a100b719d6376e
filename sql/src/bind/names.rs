//! Identifiers.

use datafusion::sql::sqlparser::ast::{Ident, ObjectName};

use crate::error::SqlError;

/// There is one collation, byte order, which may be named.
///
/// # Errors
/// 0A000 for any other.
pub(crate) fn check_collation(collation: &ObjectName) -> Result<(), SqlError> {
    let name = collation.0.last().and_then(|part| part.as_ident()).map(normalize).unwrap_or_default();
    match name.as_str() {
        "c" | "C" | "posix" | "POSIX" | "default" | "ucs_basic" => Ok(()),
        _ => Err(SqlError::unsupported(format!("the collation {collation}"))),
    }
}

/// An identifier as PostgreSQL takes it: folded to lower case unless quoted.
pub(crate) fn normalize(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_lowercase(),
    }
}

/// The parts of a possibly qualified name.
///
/// # Errors
/// 42601 for parts that are not identifiers.
pub(crate) fn name_parts(name: &ObjectName) -> Result<Vec<String>, SqlError> {
    name.0
        .iter()
        .map(|part| part.as_ident().map(normalize).ok_or_else(|| SqlError::syntax(format!("\"{name}\" is not a name"))))
        .collect()
}
