//! COPY … FROM STDIN: bytes in, rows written.

use std::sync::Arc;

use bytes::Bytes;
use clock::TimeSlice;

use super::fields::{Cutter, Field};
use super::options::{CopyFormat, CopyOptions};
use crate::catalog::Table;
use crate::dml::rules::{Rules, default_of};
use crate::dml::writer::Writer;
use crate::error::{SqlError, code};
use crate::memory::{Hold, PIECE_BYTES};
use crate::scalar::{EvalContext, Scalar};
use crate::session::{Deadline, Row, Running, timed_out};
use crate::types::parse_text;

/// Rows written at a time.
const BATCH_ROWS: usize = 1024;
/// Characters of the data that an error shows.
const MAX_SHOWN: usize = 100;

/// A COPY under way: the client's data goes in. After [`CopyIn::finish`] end the statement by [`crate::Session::sync`]; after an
/// error, or when the client gives up, drop it and call [`crate::Session::fail`]. Nothing else may be asked of the session meanwhile.
pub struct CopyIn {
    /// How many columns are expected.
    pub columns: usize,
    /// How the data is laid out.
    pub format: CopyFormat,
    running: Running,
    table: Arc<Table>,
    targets: Vec<usize>,
    /// What columns get that are not in the data.
    defaults: Vec<(usize, Scalar)>,
    rules: Rules,
    cutter: Cutter,
    /// The first line names columns.
    header: bool,
    /// Nobody else can see the table, and nothing of it is unique.
    invisible: bool,
    pending: Vec<Vec<Field>>,
    pending_bytes: usize,
    /// What is not a row yet.
    held: Hold,
    lines: u64,
    deadline: Deadline,
}

impl CopyIn {
    pub(super) fn new(
        running: Running,
        table: Arc<Table>,
        targets: Vec<usize>,
        options: CopyOptions,
        invisible: bool,
    ) -> Result<CopyIn, SqlError> {
        let mut defaults = Vec::new();
        for (position, column) in table.columns.iter().enumerate() {
            if !targets.contains(&position) {
                defaults.push((position, default_of(column, &running.catalog, &running.view)?));
            }
        }
        let rules = Rules::bind(&table, &running.catalog, &running.view)?;
        Ok(CopyIn {
            columns: targets.len(),
            format: options.format,
            header: options.header,
            cutter: Cutter::new(options),
            held: running.memory.nothing(),
            pending_bytes: 0,
            running,
            table,
            targets,
            defaults,
            rules,
            invisible,
            pending: Vec::new(),
            lines: 0,
            deadline: Deadline::after(None),
        })
    }

    /// Has it end by then.
    pub(crate) fn until(self, deadline: Deadline) -> Self {
        CopyIn { deadline, ..self }
    }

    /// Takes more data, cut anywhere.
    ///
    /// # Errors
    /// What parsing or writing the rows meets.
    pub async fn write(&mut self, data: Bytes) -> Result<(), SqlError> {
        // The buffer doubles when it grows.
        self.held.resize(2 * (self.cutter.kept_bytes() + data.len()))?;
        self.cutter.push(&data);
        drop(data);
        let mut slice = TimeSlice::begin();
        while let Some(fields) = self.cutter.next_row().map_err(|error| self.at_next_line(error))? {
            self.pending_bytes += fields.iter().flatten().map(String::len).sum::<usize>();
            self.pending.push(fields);
            if self.pending.len() >= BATCH_ROWS || self.pending_bytes >= PIECE_BYTES {
                self.flush_in_time().await?;
            }
            slice.give_way().await;
        }
        self.held.resize(2 * self.cutter.kept_bytes())
    }

    /// No more data. Returns the command tag, `COPY 5`.
    ///
    /// # Errors
    /// As [`CopyIn::write`].
    pub async fn finish(mut self) -> Result<String, SqlError> {
        let last = self.cutter.finish().map_err(|error| self.at_next_line(error))?;
        self.pending.extend(last);
        self.flush_in_time().await?;
        Ok(format!("COPY {}", self.lines))
    }

    async fn flush_in_time(&mut self) -> Result<(), SqlError> {
        let mut deadline = std::mem::replace(&mut self.deadline, Deadline::after(None));
        let result = tokio::select! {
            biased;
            () = deadline.reached() => Err(timed_out()),
            result = self.flush() => result,
        };
        self.deadline = deadline;
        result
    }

    async fn flush(&mut self) -> Result<(), SqlError> {
        let pending = std::mem::take(&mut self.pending);
        let mut slice = TimeSlice::begin();
        self.pending_bytes = 0;
        for lines in pending.chunks(BATCH_ROWS) {
            for (_, default) in &self.defaults {
                self.running.prepare_sequences(std::slice::from_ref(default), lines.len()).await?;
            }
            let mut rows = Vec::with_capacity(lines.len());
            for fields in lines {
                self.lines += 1;
                rows.push(self.row(fields).map_err(|error| self.in_line(error, fields))?);
                slice.give_way().await;
            }
            let writer = Writer {
                transaction: &self.running.transaction,
                table: &self.table,
                view: &self.running.view,
                invisible: self.invisible,
            };
            let first = self.lines + 1 - lines.len() as u64;
            writer.insert(&rows).await.map_err(|error| match lines.len() {
                1 => error.context(format!("COPY {}, line {}", self.table.name, self.line_number(first))),
                _ => error.context(format!(
                    "COPY {}, lines {} to {}",
                    self.table.name,
                    self.line_number(first),
                    self.line_number(self.lines)
                )),
            })?;
        }
        Ok(())
    }

    /// A row's line in the data: a header counts.
    fn line_number(&self, row: u64) -> u64 {
        row + u64::from(self.header)
    }

    /// An error of the line after all that were cut.
    fn at_next_line(&self, error: SqlError) -> SqlError {
        let line = self.line_number(self.lines + self.pending.len() as u64 + 1);
        error.context(format!("COPY {}, line {line}", self.table.name))
    }

    /// An error of the line in hand, as PostgreSQL places it: by column where the value is at fault, else with the line.
    fn in_line(&self, error: SqlError, fields: &[Field]) -> SqlError {
        let line = self.line_number(self.lines);
        let at_fault = error.column.as_ref().filter(|_| !error.code.starts_with("23")).and_then(|name| {
            let place = self.targets.iter().position(|target| self.table.columns[*target].name == *name)?;
            Some((name.clone(), fields.get(place)?.as_deref()))
        });
        let table = &self.table.name;
        let context = match at_fault {
            Some((column, Some(value))) => format!("COPY {table}, line {line}, column {column}: \"{}\"", shown(value)),
            Some((column, None)) => format!("COPY {table}, line {line}, column {column}: null input"),
            None => {
                let values: Vec<&str> = fields.iter().map(|field| field.as_deref().unwrap_or("\\N")).collect();
                let separator = if self.format == CopyFormat::Csv { "," } else { "\t" };
                format!("COPY {table}, line {line}: \"{}\"", shown(&values.join(separator)))
            }
        };
        error.context(context)
    }

    fn row(&self, fields: &[Field]) -> Result<Row, SqlError> {
        if fields.len() > self.targets.len() {
            return Err(SqlError::new(code::BAD_COPY_FILE_FORMAT, "extra data after last expected column"));
        }
        if let Some(position) = self.targets.get(fields.len()) {
            return Err(SqlError::new(
                code::BAD_COPY_FILE_FORMAT,
                format!("missing data for column \"{}\"", self.table.columns[*position].name),
            ));
        }
        let context = self.running.eval_context();
        let mut row: Row = vec![crate::types::Datum::Null; self.table.columns.len()];
        for (field, position) in fields.iter().zip(&self.targets) {
            let column = &self.table.columns[*position];
            if let Some(text) = field {
                row[*position] = parse_text(text, column.ty, column.typmod, &context.view.types)
                    .map_err(|error| error.column(&column.name))?;
            }
        }
        for (position, default) in &self.defaults {
            row[*position] = default.eval(&context)?;
        }
        self.rules.verify(&self.table, &EvalContext { row: &row, ..context })?;
        Ok(row)
    }
}

/// As much of the data as an error shows.
fn shown(data: &str) -> String {
    match data.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}...", &data[..end]),
        None => data.to_owned(),
    }
}

impl std::fmt::Debug for CopyIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CopyIn").field("table", &self.table.name).field("lines", &self.lines).finish_non_exhaustive()
    }
}
