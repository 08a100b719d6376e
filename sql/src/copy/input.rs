//! COPY … FROM STDIN: bytes in, rows written.

use std::sync::Arc;

use bytes::Bytes;

use super::fields::{Cutter, Field};
use super::options::{CopyFormat, CopyOptions};
use crate::catalog::Table;
use crate::dml::rules::{Rules, default_of};
use crate::dml::writer::Writer;
use crate::error::{SqlError, code};
use crate::scalar::{EvalContext, Scalar};
use crate::session::{Row, Running};
use crate::types::parse_text;

/// Rows written at a time.
const BATCH_ROWS: usize = 1024;

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
    /// Nobody else can see the table, and nothing of it is unique.
    invisible: bool,
    pending: Vec<Vec<Field>>,
    lines: u64,
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
            cutter: Cutter::new(options),
            running,
            table,
            targets,
            defaults,
            rules,
            invisible,
            pending: Vec::new(),
            lines: 0,
        })
    }

    /// Takes more data, cut anywhere.
    ///
    /// # Errors
    /// What parsing or writing the rows meets.
    pub async fn write(&mut self, data: Bytes) -> Result<(), SqlError> {
        self.cutter.push(&data, &mut self.pending)?;
        if self.pending.len() >= BATCH_ROWS { self.flush().await } else { Ok(()) }
    }

    /// No more data. Returns the command tag, `COPY 5`.
    ///
    /// # Errors
    /// As [`CopyIn::write`].
    pub async fn finish(mut self) -> Result<String, SqlError> {
        self.cutter.finish(&mut self.pending)?;
        self.flush().await?;
        Ok(format!("COPY {}", self.lines))
    }

    async fn flush(&mut self) -> Result<(), SqlError> {
        let pending = std::mem::take(&mut self.pending);
        for lines in pending.chunks(BATCH_ROWS) {
            for (_, default) in &self.defaults {
                self.running.prepare_sequences(std::slice::from_ref(default), lines.len()).await?;
            }
            let mut rows = Vec::with_capacity(lines.len());
            for fields in lines {
                self.lines += 1;
                let row = self.row(fields);
                rows.push(row.map_err(|error| match &error.detail {
                    None => error.detail(format!("COPY {}, line {}", self.table.name, self.lines)),
                    Some(_) => error,
                })?);
            }
            let writer = Writer {
                transaction: &self.running.transaction,
                table: &self.table,
                view: &self.running.view,
                invisible: self.invisible,
            };
            writer.insert(&rows).await?;
        }
        Ok(())
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

impl std::fmt::Debug for CopyIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CopyIn").field("table", &self.table.name).field("lines", &self.lines).finish_non_exhaustive()
    }
}
