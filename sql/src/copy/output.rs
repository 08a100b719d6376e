//! COPY … TO STDOUT: rows out as lines.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::sql::sqlparser::ast::{self, CopySource};
use futures::stream;

use super::options::{CopyFormat, CopyOptions};
use crate::bind::{name_parts, normalize};
use crate::error::SqlError;
use crate::session::{Column, CopyChunk, CopyStream, Outcome, Row, Session, SessionView, Statement};
use crate::types::{Datum, format_text};

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
        let state = (rows, columns, view, options, header);
        let data = stream::try_unfold(state, |(mut rows, columns, view, options, header)| async move {
            if let Some(data) = header {
                let chunk = CopyChunk { data, rows: 0, _hold: None };
                return Ok(Some((chunk, (rows, columns, view, options, None))));
            }
            let Some(batch) = rows.next().await? else { return Ok(None) };
            let data = encode(&batch, &columns, &view, &options);
            let chunk = CopyChunk { data, rows: batch.len() as u64, _hold: rows.take_hold() };
            Ok(Some((chunk, (rows, columns, view, options, None))))
        });
        Ok(Outcome::CopyOut { columns: width, data: CopyStream(Box::pin(data)) })
    }
}

fn encode(rows: &[Row], columns: &Arc<[Column]>, view: &SessionView, options: &CopyOptions) -> Bytes {
    let mut out = String::with_capacity(rows.len() * 16);
    for row in rows {
        let fields = row.iter().zip(columns.iter()).map(|(value, column)| match value {
            Datum::Null => None,
            value => {
                let mut text = String::new();
                format_text(value, column.ty, column.typmod, &view.types, &mut text);
                Some(text)
            }
        });
        put_line(fields, options, &mut out);
    }
    Bytes::from(out)
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
