//! Values in PostgreSQL's text format.

use super::{Datum, PgType, TypeSettings};
use crate::SqlError;

/// Reads a value in text format, applying the modifier (-1 for none).
pub fn parse_text(text: &str, ty: PgType, typmod: i32, settings: &TypeSettings) -> Result<Datum, SqlError> {
    let _ = (ty, typmod, settings);
    Ok(Datum::Text(text.to_owned()))
}

/// Appends the text format of a value that is not NULL.
pub fn format_text(datum: &Datum, ty: PgType, typmod: i32, settings: &TypeSettings, out: &mut String) {
    let _ = (datum, ty, typmod, settings, out);
}

/// The text format of a value that is not NULL.
pub fn to_text(datum: &Datum, ty: PgType, typmod: i32, settings: &TypeSettings) -> String {
    let mut out = String::new();
    format_text(datum, ty, typmod, settings, &mut out);
    out
}
