//! What executing a statement comes to.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt};

use crate::copy::CopyIn;
use crate::error::SqlError;
use crate::stack::DeepStream;
use crate::types::{Datum, PgType};

/// One row: a datum for each column.
pub type Row = Vec<Datum>;

/// A column of a result.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: PgType,
    /// PostgreSQL's type modifier; -1 for none.
    pub typmod: i32,
    /// The table it comes from; 0 for none.
    pub table_oid: u32,
    /// The column's number in that table, from 1; 0 for none.
    pub column_number: i16,
}

impl Column {
    /// A column that comes from no table.
    pub fn computed(name: impl Into<String>, ty: PgType) -> Self {
        Column { name: name.into(), ty, typmod: -1, table_oid: 0, column_number: 0 }
    }
}

/// What executing a statement comes to.
#[derive(Debug)]
pub enum Outcome {
    /// The statement was empty.
    Empty,
    /// Done; `tag` is PostgreSQL's command tag, whole ("INSERT 0 1").
    Command {
        /// The command tag.
        tag: String,
    },
    /// Rows are to be read.
    Rows {
        /// What the rows consist of.
        columns: Arc<[Column]>,
        /// The rows.
        rows: RowStream,
        /// How the command tag is made once all rows were read.
        tag: RowsTag,
    },
    /// The client is to send data.
    CopyIn(CopyIn),
    /// Data is to be sent to the client as it is, chunk by chunk.
    CopyOut {
        /// How many columns the format message declares.
        columns: usize,
        /// Encoded rows.
        data: CopyStream,
    },
}

impl Outcome {
    /// Whether executing it is over, its rows being here if it has any.
    pub(crate) fn is_complete(&self) -> bool {
        match self {
            Outcome::Empty | Outcome::Command { .. } => true,
            Outcome::Rows { rows, .. } => matches!(rows, RowStream::Ready(_)),
            Outcome::CopyIn(_) | Outcome::CopyOut { .. } => false,
        }
    }
}

/// How the command tag of a statement that returns rows is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowsTag {
    /// The word and the number of rows returned: `SELECT 5`, `UPDATE 2`, `INSERT 0 1` (the word being `INSERT 0`).
    Counted(&'static str),
    /// The tag as it is: `SHOW`, `EXPLAIN`.
    Fixed(&'static str),
}

impl RowsTag {
    /// The tag for that many rows.
    pub fn render(&self, rows: u64) -> String {
        match self {
            RowsTag::Counted(word) => format!("{word} {rows}"),
            RowsTag::Fixed(tag) => (*tag).to_owned(),
        }
    }
}

/// Batches of rows, in order.
pub enum RowStream {
    /// All rows are here already. Taken whole by the first call of [`RowStream::next`].
    Ready(Vec<Row>),
    /// Rows come as they are computed.
    Stream(Pin<Box<dyn Stream<Item = Result<Vec<Row>, SqlError>> + Send>>),
}

impl RowStream {
    /// No rows.
    pub fn empty() -> Self {
        RowStream::Ready(Vec::new())
    }

    /// The same, computed with trees of so many levels; a panic ends it with an error.
    pub(crate) fn with_room(self, levels: usize) -> Self {
        match self {
            RowStream::Ready(rows) => RowStream::Ready(rows),
            RowStream::Stream(stream) => RowStream::Stream(Box::pin(DeepStream::new(levels, stream))),
        }
    }

    /// The next batch, never empty; `None` at the end.
    ///
    /// # Errors
    /// Whatever computing the rows met. Nothing comes after an error.
    pub async fn next(&mut self) -> Result<Option<Vec<Row>>, SqlError> {
        match self {
            RowStream::Ready(rows) if rows.is_empty() => Ok(None),
            RowStream::Ready(rows) => Ok(Some(std::mem::take(rows))),
            RowStream::Stream(stream) => loop {
                match stream.next().await {
                    None => return Ok(None),
                    Some(Ok(rows)) if rows.is_empty() => {}
                    Some(Ok(rows)) => return Ok(Some(rows)),
                    Some(Err(error)) => return Err(error),
                }
            },
        }
    }

    /// Computes the first batch, so that an error in it shows now; a stream that ends with it is ready then.
    pub(crate) async fn prime(&mut self) -> Result<(), SqlError> {
        let Some(first) = self.next().await? else {
            *self = RowStream::empty();
            return Ok(());
        };
        if let RowStream::Stream(rest) = std::mem::replace(self, RowStream::empty()) {
            *self = RowStream::Stream(Box::pin(futures::stream::iter([Ok(first)]).chain(rest)));
        } else {
            *self = RowStream::Ready(first);
        }
        Ok(())
    }

    /// All rows that are left.
    ///
    /// # Errors
    /// As [`RowStream::next`].
    pub async fn collect(mut self) -> Result<Vec<Row>, SqlError> {
        let mut all = Vec::new();
        while let Some(mut rows) = self.next().await? {
            all.append(&mut rows);
        }
        Ok(all)
    }
}

impl std::fmt::Debug for RowStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RowStream::Ready(rows) => f.debug_tuple("Ready").field(&rows.len()).finish(),
            RowStream::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// Chunks of COPY data on their way to the client.
pub struct CopyStream(pub Pin<Box<dyn Stream<Item = Result<bytes::Bytes, SqlError>> + Send>>);

impl CopyStream {
    /// The next chunk; `None` at the end.
    ///
    /// # Errors
    /// Whatever computing the rows met.
    pub async fn next(&mut self) -> Result<Option<bytes::Bytes>, SqlError> {
        self.0.next().await.transpose()
    }
}

impl std::fmt::Debug for CopyStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CopyStream")
    }
}
