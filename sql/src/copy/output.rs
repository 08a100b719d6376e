//! COPY … TO STDOUT: rows out as lines.

use std::sync::Arc;

use bytes::Bytes;
use clock::TimeSlice;
use datafusion::sql::sqlparser::ast::{self, CopySource};
use futures::stream;

use super::options::{CopyFormat, CopyOptions};
use crate::bind::{name_parts, normalize};
use crate::error::SqlError;
use crate::session::{Column, CopyChunk, CopyStream, Outcome, Row, RowStream, Session, SessionView, Statement};
use crate::types::{Datum, format_text};

/// Lines are put together up to about so much.
const CHUNK_BYTES: usize = 64 << 10;

impl Session {
    pub(super) async fn copy_out(
        &mut self,
        statement: &Statement,
        source: &CopySource,
        options: CopyOptions,
    ) -> Result<Outcome, SqlError> {
        let query = match source {
            CopySource::Query(query) => ast::Statement::Query(query.clone()),
            CopySource::Table { table_name, columns } => {
                let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
                let names: Vec<String> = name_parts(table_name)?.iter().map(|part| quote(part)).collect();
                let items: Vec<String> = columns.iter().map(|column| quote(&normalize(column))).collect();
                let items = if items.is_empty() { "*".to_owned() } else { items.join(", ") };
                let text = format!("SELECT {items} FROM {}", names.join("."));
                let parsed = self.parse(&text)?;
                let query = parsed.first().and_then(|statement| statement.ast()).cloned();
                query.ok_or_else(|| SqlError::internal("COPY made no query"))?
            }
        };
        let (columns, rows) = Box::pin(self.query_rows(&statement.inner(query))).await?;
        let view = self.view();
        let width = columns.len();
        let header = options.header.then(|| {
            let mut line = String::new();
            let names = columns.iter().map(|column| Some(column.name.clone()));
            put_line(names, &options, &mut line);
            Bytes::from(line)
        });
        let output =
            Output { rows, batch: Vec::new().into_iter(), columns, view, options, header, slice: TimeSlice::begin() };
        let data = stream::try_unfold(output, |mut output| async move {
            Ok(output.next_chunk().await?.map(|chunk| (chunk, output)))
        });
        Ok(Outcome::CopyOut { columns: width, data: CopyStream(Box::pin(data)) })
    }
}

/// Rows on their way to be lines.
struct Output {
    rows: RowStream,
    /// What is left of the batch at hand.
    batch: std::vec::IntoIter<Row>,
    columns: Arc<[Column]>,
    view: Arc<SessionView>,
    options: CopyOptions,
    header: Option<Bytes>,
    slice: TimeSlice,
}

impl Output {
    /// The next lines; `None` at the end.
    async fn next_chunk(&mut self) -> Result<Option<CopyChunk>, SqlError> {
        if let Some(header) = self.header.take() {
            return Ok(Some(CopyChunk { lines: vec![header], rows: 0 }));
        }
        if self.batch.as_slice().is_empty() {
            let Some(batch) = self.rows.next().await? else { return Ok(None) };
            self.batch = batch.into_iter();
        }
        let (mut text, mut ends) = (String::with_capacity(CHUNK_BYTES), Vec::new());
        while text.len() < CHUNK_BYTES {
            let Some(row) = self.batch.next() else { break };
            self.put_row(&row, &mut text);
            ends.push(text.len());
            self.slice.give_way().await;
        }
        let rows = ends.len() as u64;
        let mut text = Bytes::from(text);
        let lines = ends.into_iter().scan(0, |start, end| Some(text.split_to(end - std::mem::replace(start, end))));
        Ok(Some(CopyChunk { lines: lines.collect(), rows }))
    }

    fn put_row(&self, row: &[Datum], out: &mut String) {
        let fields = row.iter().zip(self.columns.iter()).map(|(value, column)| match value {
            Datum::Null => None,
            value => {
                let mut text = String::new();
                format_text(value, column.ty, column.typmod, &self.view.types, &mut text);
                Some(text)
            }
        });
        put_line(fields, &self.options, out);
    }
}

fn put_line(fields: impl Iterator<Item = Option<String>>, options: &CopyOptions, out: &mut String) {
    let delimiter = char::from(options.delimiter);
    for (at, field) in fields.enumerate() {
        if at > 0 {
            out.push(delimiter);
        }
        match field {
            None => out.push_str(&options.null),
            Some(text) if options.format == CopyFormat::Text => put_text(&text, delimiter, out),
            Some(text) => put_csv(&text, options, out),
        }
    }
    out.push('\n');
}

fn put_text(text: &str, delimiter: char, out: &mut String) {
    for at in text.chars() {
        match at {
            '\\' => out.push_str("\\\\"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            at if at == delimiter => {
                out.push('\\');
                out.push(at);
            }
            at => out.push(at),
        }
    }
}

fn put_csv(text: &str, options: &CopyOptions, out: &mut String) {
    let (quote, escape) = (char::from(options.quote), char::from(options.escape));
    let special = |at: char| at == char::from(options.delimiter) || at == quote || at == '\n' || at == '\r';
    if !text.contains(special) && text != options.null && text != "\\." {
        out.push_str(text);
        return;
    }
    out.push(quote);
    for at in text.chars() {
        if at == quote || at == escape {
            out.push(escape);
        }
        out.push(at);
    }
    out.push(quote);
}
