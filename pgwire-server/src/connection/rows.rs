//! Rows on their way to the client.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use clock::TimeSlice;
use pgwire::messages::data::{FieldDescription, RowDescription};
use sql::types::{self, Datum, TypeSettings};
use sql::{CancelToken, Column, Row, RowStream, SqlError};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Connection, Failure, PROTOCOL_VIOLATION};
use crate::wire::{Framed, backend};

/// Room for one value while it is encoded, and the settings that its text depends on.
#[derive(Default)]
pub(super) struct Scratch {
    pub settings: TypeSettings,
    text: String,
    binary: Vec<u8>,
}

impl Scratch {
    /// Room for a large value is not kept for the next one.
    fn shrink(&mut self) {
        const KEPT_BYTES: usize = 64 << 10;
        self.text.clear();
        self.text.shrink_to(KEPT_BYTES);
        self.binary.clear();
        self.binary.shrink_to(KEPT_BYTES);
    }
}

/// The format of each column of a result.
#[derive(Clone, Debug)]
pub(super) struct Formats(Arc<[i16]>);

impl Formats {
    /// All columns in text.
    pub fn text(columns: usize) -> Self {
        Formats(vec![0; columns].into())
    }

    /// The formats a Bind asks for: none for all text, one for all columns, or one each.
    pub fn of(requested: &[i16], columns: usize) -> Result<Self, SqlError> {
        match requested {
            [] => Ok(Formats::text(columns)),
            [one] => Ok(Formats(vec![*one; columns].into())),
            each if each.len() == columns => Ok(Formats(each.into())),
            each => {
                let message = format!("bind message has {} result formats but query has {columns} columns", each.len());
                Err(SqlError::new(PROTOCOL_VIOLATION, message))
            }
        }
    }

    fn is_binary(&self, column: usize) -> bool {
        self.0[column] == 1
    }
}

/// What a client is told about a result's columns.
pub(super) fn describe_columns(columns: &[Column], formats: &Formats) -> RowDescription {
    let field = |(index, column): (usize, &Column)| {
        FieldDescription::new(
            column.name.clone(),
            column.table_oid as i32,
            column.column_number,
            column.ty.oid(),
            column.ty.typlen(),
            column.typmod,
            i16::from(formats.is_binary(index)),
        )
    };
    RowDescription::new(columns.iter().enumerate().map(field).collect())
}

/// Appends one row as a DataRow message.
fn append_row(
    out: &mut BytesMut,
    scratch: &mut Scratch,
    row: &[Datum],
    columns: &[Column],
    formats: &Formats,
) -> Result<(), SqlError> {
    backend::in_place(out, b'D', |out| {
        out.put_i16(row.len() as i16);
        for (index, datum) in row.iter().enumerate() {
            if matches!(datum, Datum::Null) {
                out.put_i32(-1);
                continue;
            }
            let column = &columns[index];
            let bytes = if formats.is_binary(index) {
                scratch.binary.clear();
                types::encode_binary(datum, column.ty, column.typmod, &mut scratch.binary)?;
                scratch.binary.as_slice()
            } else {
                scratch.text.clear();
                types::format_text(datum, column.ty, column.typmod, &scratch.settings, &mut scratch.text);
                scratch.text.as_bytes()
            };
            out.put_i32(bytes.len() as i32);
            out.put_slice(bytes);
        }
        Ok(())
    })
}

/// Appends rows, sending whenever the buffer is full.
pub(super) async fn append_rows<S>(
    framed: &mut Framed<S>,
    scratch: &mut Scratch,
    rows: impl IntoIterator<Item = Row>,
    columns: &[Column],
    formats: &Formats,
) -> Result<u64, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut count, mut slice) = (0, TimeSlice::begin());
    for row in rows {
        append_row(framed.outgoing(), scratch, &row, columns, formats)?;
        framed.flush_if_full().await?;
        slice.give_way().await;
        count += 1;
    }
    scratch.shrink();
    Ok(count)
}

/// The next batch of rows, or the error that the client has cancelled or left.
pub(super) async fn next_batch<S>(
    framed: &mut Framed<S>,
    rows: &mut RowStream,
    cancel: &CancelToken,
) -> Result<Option<Vec<Row>>, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    tokio::select! {
        biased;
        batch = rows.next() => Ok(batch?),
        () = cancel.cancelled() => Err(canceled().into()),
        () = framed.closed() => Err(canceled().into()),
    }
}

/// What a cancelled statement fails with.
pub(super) fn canceled() -> SqlError {
    SqlError::new("57014", "canceling statement due to user request")
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Connection<S> {
    pub(super) fn send_row_description(&mut self, columns: &[Column], formats: &Formats) {
        self.framed.send(&describe_columns(columns, formats));
    }

    /// Sends all rows of a stream; returns how many.
    pub(super) async fn send_rows(
        &mut self,
        columns: &[Column],
        formats: &Formats,
        rows: &mut RowStream,
        cancel: &CancelToken,
    ) -> Result<u64, Failure> {
        self.scratch.settings = self.session.view().types.clone();
        let mut count = 0;
        while let Some(batch) = next_batch(&mut self.framed, rows, cancel).await? {
            count += append_rows(&mut self.framed, &mut self.scratch, batch, columns, formats).await?;
        }
        Ok(count)
    }
}
