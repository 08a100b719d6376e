//! Filling a new index from the rows that are there, in bounded chunks, straight to a place nobody sees yet.
//!
//! Uniqueness: keys that come in rising order are unique by themselves; otherwise the new index is counted once it is full, and
//! fewer entries than rows mean that two rows had one key.
//!
//! The lock on the table, which the transaction has read, guards the rows: a snapshot that has to move on at the commit would
//! otherwise read all of them again, and meanwhile fall behind whoever polls the catalog.

use bytes::Bytes;
use std::sync::Arc;
use txn::ScanRequest;

use crate::catalog::{IndexDescriptor, Table};
use crate::dml::codec::{decode_row, index_entry, row_key, row_value};
use crate::error::{SqlError, code};
use crate::session::Session;
use crate::types::Datum;

/// Bytes of rows read at a time.
const CHUNK_BYTES: u64 = 1 << 20;

/// What is made of each old row.
pub(super) enum Fill<'a> {
    /// An entry in a secondary index of the new table.
    Index(&'a IndexDescriptor),
    /// The row under the new table's primary key, and its entries in every secondary index.
    Rows,
}

impl Session {
    /// Reads all rows of `old` and writes what is made of them for `new`.
    pub(super) async fn backfill(&mut self, old: &Table, new: &Arc<Table>, fill: &Fill<'_>) -> Result<(), SqlError> {
        let transaction = self.open_handle().transaction.clone();
        let (start, end) = old.index_span(&old.primary);
        let mut request = ScanRequest { max_bytes: CHUNK_BYTES, guarded: true, ..ScanRequest::over(start, end) };
        let mut checks: Vec<Uniqueness> = match fill {
            Fill::Index(index) => vec![Uniqueness::new(index)],
            Fill::Rows => new.all_indexes().map(Uniqueness::new).collect(),
        };
        loop {
            let page = transaction.scan(&request).await?;
            for found in &page.rows {
                let row = moved(old, new, decode_row(old, &found.value)?);
                let entries = match fill {
                    Fill::Index(index) => vec![index_entry(new, index, &row)?],
                    Fill::Rows => {
                        verify_not_null(new, &row)?;
                        let mut entries = vec![(row_key(new, &row)?, row_value(new, &row), true)];
                        for index in &new.indexes {
                            entries.push(index_entry(new, index, &row)?);
                        }
                        entries
                    }
                };
                for ((key, value, exclusive), check) in entries.into_iter().zip(&mut checks) {
                    check.note(&key, exclusive)?;
                    transaction.put_invisible(key, value).await?;
                }
            }
            match page.resume {
                Some(rest) => request = request.resumed(rest),
                None => break,
            }
        }
        for check in checks {
            check.finish(&transaction, new).await?;
        }
        Ok(())
    }
}

/// Watches the keys of one index.
struct Uniqueness {
    index: IndexDescriptor,
    newest: Bytes,
    rising: bool,
    entries: u64,
}

impl Uniqueness {
    fn new(index: &IndexDescriptor) -> Self {
        Uniqueness { index: index.clone(), newest: Bytes::new(), rising: true, entries: 0 }
    }

    fn note(&mut self, key: &Bytes, exclusive: bool) -> Result<(), SqlError> {
        if exclusive && *key == self.newest {
            // The same key must not be written twice.
            return Err(self.violation());
        }
        self.rising &= *key > self.newest;
        self.newest = key.clone();
        self.entries += 1;
        Ok(())
    }

    async fn finish(self, transaction: &txn::Transaction, table: &Table) -> Result<(), SqlError> {
        if self.rising || !self.index.unique {
            return Ok(());
        }
        let (start, end) = table.index_span(&self.index);
        let mut request = ScanRequest { max_bytes: CHUNK_BYTES, guarded: true, ..ScanRequest::over(start, end) };
        let mut count = 0;
        loop {
            let page = transaction.scan(&request).await?;
            count += page.rows.len() as u64;
            match page.resume {
                Some(rest) => request = request.resumed(rest),
                None => break,
            }
        }
        if count < self.entries { Err(self.violation()) } else { Ok(()) }
    }

    fn violation(&self) -> SqlError {
        SqlError::new(code::UNIQUE_VIOLATION, format!("could not create unique index \"{}\"", self.index.name))
            .detail("Some rows have the same key.")
            .constraint(&self.index.name)
    }
}

fn verify_not_null(table: &Table, row: &[Datum]) -> Result<(), SqlError> {
    match table.columns.iter().zip(row).find(|(column, value)| !column.nullable && value.is_null()) {
        Some((column, _)) => Err(null_in(&column.name, &table.name)),
        None => Ok(()),
    }
}

/// The error for a NULL in a column that must not have any from now on.
pub(super) fn null_in(column: &str, table: &str) -> SqlError {
    SqlError::new(code::NOT_NULL_VIOLATION, format!("column \"{column}\" of relation \"{table}\" contains null values"))
        .table(table)
        .column(column)
}

/// An old row as the new table's columns see it.
fn moved(old: &Table, new: &Table, mut row: Vec<Datum>) -> Vec<Datum> {
    let mut out = new.absent_row();
    for (column, place) in new.columns.iter().zip(&mut out) {
        if let Some(position) = old.position_of_id(column.id) {
            *place = std::mem::take(&mut row[position]);
        }
    }
    out
}
