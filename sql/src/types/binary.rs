//! Values in PostgreSQL's binary format.

use super::{Datum, PgType};
use crate::SqlError;

/// Reads a value in binary format.
pub fn decode_binary(bytes: &[u8], ty: PgType, typmod: i32) -> Result<Datum, SqlError> {
    let _ = (bytes, ty, typmod);
    Err(SqlError::new("0A000", "binary format is not supported yet"))
}

/// Appends a value that is not NULL in binary format, without a length prefix.
pub fn encode_binary(datum: &Datum, ty: PgType, typmod: i32, out: &mut Vec<u8>) -> Result<(), SqlError> {
    let _ = (datum, ty, typmod, out);
    Err(SqlError::new("0A000", "binary format is not supported yet"))
}
