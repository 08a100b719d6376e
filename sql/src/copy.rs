//! COPY: rows in and out as text or CSV, streamed in bounded memory.
//!
//! ```text
//!   FROM STDIN   chunks ─▶ Fields (text | CSV) ─▶ datums, defaults, checks ─▶ batches of rows written
//!   TO STDOUT    query ─▶ rows ─▶ lines (text | CSV) ─▶ chunks
//! ```
//!
//! Rows for a table that nobody else can see yet go straight to the ranges, past the transaction's buffer.
//!
//! Knows nothing of the wire's messages.
//!
//! Sources: PostgreSQL 15 manual, COPY, "File Formats".

mod fields;
mod input;
mod options;
mod output;
#[cfg(test)]
mod tests;

pub use input::CopyIn;
pub use options::CopyFormat;

use datafusion::sql::sqlparser::ast::{self, CopySource, CopyTarget};

use crate::bind::{name_parts, normalize};
use crate::dml::insert::find_column;
use crate::error::{SqlError, code};
use crate::session::{Outcome, Session, Statement, find_table};
use options::CopyOptions;

impl Session {
    pub(crate) async fn copy(&mut self, statement: &Statement, sql: &ast::Statement) -> Result<Outcome, SqlError> {
        let ast::Statement::Copy { source, to, target, options, legacy_options, .. } = sql else {
            return Err(SqlError::internal("not COPY"));
        };
        if !matches!(target, CopyTarget::Stdin | CopyTarget::Stdout) {
            return Err(SqlError::unsupported("COPY from and to files of the server"));
        }
        let options = CopyOptions::read(options, legacy_options)?;
        if *to {
            return self.copy_out(statement, source, options).await;
        }
        let CopySource::Table { table_name, columns } = source else {
            return Err(SqlError::syntax("COPY FROM needs a table"));
        };
        let running = self.running(std::sync::Arc::from([]));
        let table = find_table(&running.catalog, &running.view, &name_parts(table_name)?)?;
        self.use_tables(&[table.id]).await?;
        let mut targets = Vec::new();
        for column in columns {
            let position = find_column(&table, &normalize(column))?;
            if targets.contains(&position) {
                return Err(SqlError::new(
                    code::DUPLICATE_COLUMN,
                    format!("column \"{}\" specified more than once", normalize(column)),
                ));
            }
            targets.push(position);
        }
        if targets.is_empty() {
            targets.clone_from(&table.visible_positions);
        }
        let indexes: Vec<u32> = table.all_indexes().map(|index| index.index_id).collect();
        let fresh = indexes.into_iter().all(|index| self.is_fresh(table.id, index));
        let unique = table.has_primary_key || table.indexes.iter().any(|index| index.unique);
        CopyIn::new(self.running(std::sync::Arc::from([])), table, targets, options, fresh && !unique)
            .map(|copy| Outcome::CopyIn(Box::new(copy)))
    }
}
