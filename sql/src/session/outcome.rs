//! What executing a statement comes to.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt};

use crate::copy::CopyIn;
use crate::error::SqlError;
use crate::memory::{ClientMemory, Hold, PIECE_BYTES};
use crate::stack::DeepStream;
use crate::types::{Datum, PgType, row_bytes};

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
    CopyIn(Box<CopyIn>),
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
            Outcome::Rows { rows, .. } => rows.is_ready(),
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

/// Batches of rows, in order. What large ones hold is counted until the next one is asked for.
pub struct RowStream {
    source: RowSource,
    /// Of the batch that was given last.
    held: Option<Hold>,
}

/// Where rows come from.
enum RowSource {
    /// All rows are here already. Taken whole by the first call of [`RowStream::next`].
    Ready(Batch),
    /// Rows come as they are computed.
    Stream(Batches),
}

/// Rows, with what they hold where that is much.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub rows: Vec<Row>,
    hold: Option<Hold>,
}

/// Batches as they are computed.
pub(crate) type Batches = Pin<Box<dyn Stream<Item = Result<Batch, SqlError>> + Send>>;

impl Batch {
    /// Rows that are there, and may be large. Encoding takes the largest of them twice more: as text, and in the buffer that is sent.
    ///
    /// # Errors
    /// 53200.
    pub fn counted(rows: Vec<Row>, memory: &ClientMemory) -> Result<Batch, SqlError> {
        let (mut bytes, mut largest) = (0, 0);
        for row in &rows {
            let row_bytes = row_bytes(row);
            bytes += row_bytes;
            largest = row_bytes.max(largest);
        }
        let hold = (bytes > PIECE_BYTES).then(|| memory.hold(bytes + 2 * largest)).transpose()?;
        Ok(Batch { rows, hold })
    }
}

/// Rows that a statement keeps, counted.
#[derive(Debug)]
pub(crate) struct KeptRows {
    rows: Vec<Row>,
    hold: Hold,
    /// What is not held yet.
    rest_bytes: usize,
}

impl KeptRows {
    /// None yet.
    pub fn new(memory: &ClientMemory) -> Self {
        KeptRows { rows: Vec::new(), hold: memory.nothing(), rest_bytes: 0 }
    }

    /// Keeps a row.
    ///
    /// # Errors
    /// 53200.
    pub fn push(&mut self, row: Row) -> Result<(), SqlError> {
        self.rest_bytes += row_bytes(&row);
        if self.rest_bytes >= PIECE_BYTES {
            self.hold.grow(std::mem::take(&mut self.rest_bytes))?;
        }
        self.rows.push(row);
        Ok(())
    }

    /// The rows, and what they hold: to be dropped after them.
    pub fn into_parts(self) -> (Vec<Row>, Hold) {
        (self.rows, self.hold)
    }
}

/// Cut from a batch as many rows at a time as hold about [`PIECE_BYTES`], by their average.
pub(crate) fn rows_in_piece(rows: usize, bytes: usize) -> usize {
    let row_bytes = (bytes / rows.max(1)).max(1);
    (PIECE_BYTES / row_bytes).max(1)
}

impl RowStream {
    /// No rows.
    pub fn empty() -> Self {
        Self::from(RowSource::Ready(Batch::default()))
    }

    /// Rows that are here: few, and small.
    pub(crate) fn few(rows: Vec<Row>) -> Self {
        Self::from(RowSource::Ready(Batch { rows, hold: None }))
    }

    /// Rows that are here.
    pub(crate) fn ready(batch: Batch) -> Self {
        Self::from(RowSource::Ready(batch))
    }

    /// Rows that were kept.
    pub(crate) fn kept(rows: KeptRows) -> Self {
        let (rows, hold) = rows.into_parts();
        Self::from(RowSource::Ready(Batch { rows, hold: Some(hold) }))
    }

    /// Rows as they are computed.
    pub(crate) fn stream(batches: impl Stream<Item = Result<Batch, SqlError>> + Send + 'static) -> Self {
        Self::from(RowSource::Stream(Box::pin(batches)))
    }

    fn from(source: RowSource) -> Self {
        RowStream { source, held: None }
    }

    /// Whether all rows are here.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.source, RowSource::Ready(_))
    }

    /// The rows that are here, to be changed; none where they are still to be computed.
    pub(crate) fn ready_rows(&mut self) -> Option<&mut Vec<Row>> {
        match &mut self.source {
            RowSource::Ready(batch) => Some(&mut batch.rows),
            RowSource::Stream(_) => None,
        }
    }

    /// The same, with what is still to be computed changed.
    pub(crate) fn map_stream(self, change: impl FnOnce(Batches) -> Batches) -> Self {
        match self.source {
            RowSource::Ready(_) => self,
            RowSource::Stream(batches) => Self::from(RowSource::Stream(change(batches))),
        }
    }

    /// The same, computed with trees of so many levels; a panic ends it with an error.
    pub(crate) fn with_room(self, levels: usize) -> Self {
        self.map_stream(|batches| Box::pin(DeepStream::new(levels, batches)))
    }

    /// The next batch, never empty; `None` at the end. The batch before must be gone.
    ///
    /// # Errors
    /// Whatever computing the rows met. Nothing comes after an error.
    pub async fn next(&mut self) -> Result<Option<Vec<Row>>, SqlError> {
        self.held = None;
        let Some(batch) = self.next_batch().await? else { return Ok(None) };
        self.held = batch.hold;
        Ok(Some(batch.rows))
    }

    async fn next_batch(&mut self) -> Result<Option<Batch>, SqlError> {
        match &mut self.source {
            RowSource::Ready(batch) if batch.rows.is_empty() => Ok(None),
            RowSource::Ready(batch) => Ok(Some(std::mem::take(batch))),
            RowSource::Stream(batches) => loop {
                match batches.next().await.transpose()? {
                    None => return Ok(None),
                    Some(batch) if batch.rows.is_empty() => {}
                    Some(batch) => return Ok(Some(batch)),
                }
            },
        }
    }

    /// Computes the first batch, so that an error in it shows now; a stream that ends with it is ready then.
    pub(crate) async fn prime(&mut self) -> Result<(), SqlError> {
        let Some(first) = self.next_batch().await? else {
            *self = RowStream::empty();
            return Ok(());
        };
        *self = match std::mem::replace(&mut self.source, RowSource::Ready(Batch::default())) {
            RowSource::Stream(rest) => RowStream::stream(futures::stream::iter([Ok(first)]).chain(rest)),
            RowSource::Ready(_) => RowStream::ready(first),
        };
        Ok(())
    }

    /// All rows that are left. Not counted: for whoever knows that they are few.
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

    /// All rows that are left, counted.
    ///
    /// # Errors
    /// As [`RowStream::next`]; 53200.
    pub(crate) async fn keep(mut self, memory: &ClientMemory) -> Result<KeptRows, SqlError> {
        let mut kept = KeptRows::new(memory);
        while let Some(rows) = self.next().await? {
            for row in rows {
                kept.push(row)?;
            }
        }
        Ok(kept)
    }
}

impl std::fmt::Debug for RowStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.source {
            RowSource::Ready(batch) => f.debug_tuple("Ready").field(&batch.rows.len()).finish(),
            RowSource::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// Rows of COPY as they are sent, in order.
pub struct CopyStream(pub(crate) Pin<Box<dyn Stream<Item = Result<CopyChunk, SqlError>> + Send>>);

/// A piece of what COPY sends.
#[derive(Debug)]
pub struct CopyChunk {
    /// Its lines, each a message of its own.
    pub lines: Vec<bytes::Bytes>,
    /// How many rows they are: a header is none.
    pub rows: u64,
}

impl CopyStream {
    /// The next chunk; `None` at the end.
    ///
    /// # Errors
    /// Whatever computing the rows met.
    pub async fn next(&mut self) -> Result<Option<CopyChunk>, SqlError> {
        self.0.next().await.transpose()
    }
}

impl std::fmt::Debug for CopyStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CopyStream")
    }
}
