//! COPY … FROM STDIN: bytes in, rows written.

use bytes::Bytes;

use crate::error::SqlError;

/// How COPY data is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyFormat {
    /// Tab-separated with backslash escapes.
    Text,
    /// Comma-separated with quotes.
    Csv,
}

/// A COPY under way: the client's data goes in. End it by [`CopyIn::finish`] or [`CopyIn::abort`] before anything else is
/// asked of the session.
#[derive(Debug)]
pub struct CopyIn {
    /// How many columns are expected.
    pub columns: usize,
}

impl CopyIn {
    /// Takes more data, cut anywhere.
    ///
    /// # Errors
    /// What parsing or writing the rows meets; report it with [`crate::Session::fail`].
    pub async fn write(&mut self, data: Bytes) -> Result<(), SqlError> {
        let _ = data;
        Err(SqlError::unsupported("COPY"))
    }

    /// No more data. Returns the command tag, `COPY 5`.
    ///
    /// # Errors
    /// As [`CopyIn::write`]; also what committing meets, when the COPY was its own transaction.
    pub async fn finish(self) -> Result<String, SqlError> {
        Err(SqlError::unsupported("COPY"))
    }
}
