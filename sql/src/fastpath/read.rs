//! Reading the rows that a path leads to, page by page.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use txn::{LockStrength, OwnWrites, ScanRequest, Span, Transaction};

use super::access::{Access, Target};
use crate::catalog::Table;
use crate::dml::codec::{decode_row, row_key_of_entry};
use crate::error::SqlError;
use crate::memory::Hold;
use crate::scalar::{EvalContext, Scalar};
use crate::types::{Datum, row_bytes};

/// How many bytes of rows a page has.
const PAGE_BYTES: u64 = 256 << 10;
/// How many entries of a secondary index are followed at once.
const ENTRIES: u64 = 512;

/// A row that is changed is there as it was, as it becomes, and as it is written.
const COPIES: usize = 3;

/// One row found: its key, and a datum for each of the table's columns.
#[derive(Debug)]
pub(crate) struct FoundRow {
    pub key: Bytes,
    pub row: Vec<Datum>,
}

/// Reads the rows of one access, page by page.
pub(crate) struct Reader {
    table: Arc<Table>,
    filter: Option<Scalar>,
    lock: LockStrength,
    own_writes: OwnWrites,
    todo: Todo,
}

enum Todo {
    Nothing,
    Rows(VecDeque<Bytes>),
    Primary(ScanRequest),
    /// Entries that are followed already, then those of the span, if there are more.
    Secondary(VecDeque<Bytes>, Option<ScanRequest>),
}

impl Reader {
    /// Starts to read. For a statement that writes, `lock` is exclusive, and rows the statement itself has written do not show.
    pub fn new(
        table: Arc<Table>,
        access: &Access,
        context: &EvalContext<'_>,
        lock: LockStrength,
        own_writes: OwnWrites,
    ) -> Result<Reader, SqlError> {
        let request = |start, end, lock| ScanRequest { lock, own_writes, ..ScanRequest::over(start, end) };
        let todo = match access.path.resolve(&table, context)? {
            Target::Nothing => Todo::Nothing,
            Target::Rows(keys) => Todo::Rows(keys.into()),
            Target::Primary(start, end) => {
                Todo::Primary(ScanRequest { max_bytes: PAGE_BYTES, ..request(start, end, lock) })
            }
            Target::Secondary(start, end) => {
                let entries = ScanRequest { max_rows: ENTRIES, ..request(start, end, LockStrength::None) };
                Todo::Secondary(VecDeque::new(), Some(entries))
            }
        };
        Ok(Reader { table, filter: access.filter.clone(), lock, own_writes, todo })
    }

    /// The next rows, perhaps none; `None` at the end.
    pub async fn next(
        &mut self,
        transaction: &Transaction,
        params: &EvalContext<'_>,
    ) -> Result<Option<Vec<FoundRow>>, SqlError> {
        let todo = std::mem::replace(&mut self.todo, Todo::Nothing);
        let mut found = Vec::new();
        match todo {
            Todo::Nothing => return Ok(None),
            Todo::Rows(mut keys) => {
                self.fetch(transaction, &mut keys, params, &mut found).await?;
                if !keys.is_empty() {
                    self.todo = Todo::Rows(keys);
                }
            }
            Todo::Primary(request) => {
                let page = transaction.scan(&request).await?;
                for row in page.rows {
                    self.accept(row.key, &row.value, params, &mut found)?;
                }
                self.todo = rest(page.resume, request).map_or(Todo::Nothing, Todo::Primary);
            }
            Todo::Secondary(mut keys, mut request) => {
                if let Some(entries) = request.take_if(|_| keys.is_empty()) {
                    let page = transaction.scan(&entries).await?;
                    keys = page.rows.iter().map(|entry| row_key_of_entry(&self.table, &entry.value)).collect();
                    request = rest(page.resume, entries);
                }
                self.fetch(transaction, &mut keys, params, &mut found).await?;
                if !keys.is_empty() || request.is_some() {
                    self.todo = Todo::Secondary(keys, request);
                }
            }
        }
        Ok(Some(found))
    }

    /// All rows. They are held, with what they are going to be replaced by.
    pub async fn collect(
        mut self,
        transaction: &Transaction,
        params: &EvalContext<'_>,
        held: &mut Hold,
    ) -> Result<Vec<FoundRow>, SqlError> {
        let mut all = Vec::new();
        while let Some(mut rows) = self.next(transaction, params).await? {
            held.grow(COPIES * rows.iter().map(|found| found.key.len() + row_bytes(&found.row)).sum::<usize>())?;
            all.append(&mut rows);
        }
        Ok(all)
    }

    /// The rows of the first keys: as many as hold about a page. They are taken off the list.
    async fn fetch(
        &self,
        transaction: &Transaction,
        keys: &mut VecDeque<Bytes>,
        params: &EvalContext<'_>,
        found: &mut Vec<FoundRow>,
    ) -> Result<(), SqlError> {
        let _ = self.own_writes;
        if keys.len() == 1
            && let Some(key) = keys.pop_front()
        {
            if let Some(value) = transaction.get(key.clone(), self.lock).await? {
                self.accept(key, &value, params, found)?;
            }
            return Ok(());
        }
        if keys.is_empty() {
            return Ok(());
        }
        let values = transaction.get_within(keys.make_contiguous(), self.lock, PAGE_BYTES as usize).await?;
        for (key, value) in keys.drain(..values.len()).zip(values) {
            if let Some(value) = value {
                self.accept(key, &value, params, found)?;
            }
        }
        Ok(())
    }

    fn accept(
        &self,
        key: Bytes,
        value: &[u8],
        params: &EvalContext<'_>,
        found: &mut Vec<FoundRow>,
    ) -> Result<(), SqlError> {
        let row = decode_row(&self.table, value)?;
        if let Some(filter) = &self.filter
            && !filter.eval_condition(&EvalContext { row: &row, ..*params })?
        {
            return Ok(());
        }
        found.push(FoundRow { key, row });
        Ok(())
    }
}

fn rest(resume: Option<Span>, request: ScanRequest) -> Option<ScanRequest> {
    resume.map(|rest| request.resumed(rest))
}
