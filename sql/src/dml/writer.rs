//! Rows and their index entries, written.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use clock::TimeSlice;
use txn::{LockStrength, Transaction};

use super::codec::{index_entry, row_key, row_value};
use crate::catalog::{IndexDescriptor, Table};
use crate::error::{SqlError, code};
use crate::session::SessionView;
use crate::types::{Datum, to_text};

/// Writes rows of one table for one statement.
pub(crate) struct Writer<'a> {
    pub transaction: &'a Transaction,
    pub table: &'a Arc<Table>,
    pub view: &'a SessionView,
    /// Nobody else can see the table yet, and nothing of it is unique: rows go straight to the ranges.
    pub invisible: bool,
}

/// A unique key that a new row takes.
struct Claim<'r> {
    key: Bytes,
    index: IndexOf,
    row: &'r [Datum],
}

#[derive(Clone, Copy)]
enum IndexOf {
    Primary,
    Secondary(usize),
}

/// A row to be written: what goes where.
struct Entries {
    row_key: Bytes,
    row_value: Bytes,
    secondary: Vec<(Bytes, Bytes)>,
}

impl Writer<'_> {
    /// Writes new rows. Of each row's unique keys none may exist.
    pub async fn insert(&self, rows: &[Vec<Datum>]) -> Result<(), SqlError> {
        let mut claims = Vec::new();
        let mut writes = Vec::with_capacity(rows.len());
        let mut slice = TimeSlice::begin();
        for row in rows {
            slice.give_way().await;
            writes.push(self.entries(row, &mut claims)?);
        }
        self.verify_unique(&claims).await?;
        for write in writes {
            self.put(write).await?;
        }
        Ok(())
    }

    /// Replaces rows: old and new of each, and the old one's key.
    pub async fn update(&self, changes: &[(Bytes, Vec<Datum>, Vec<Datum>)]) -> Result<(), SqlError> {
        let mut claims = Vec::new();
        let mut writes = Vec::with_capacity(changes.len());
        for (old_key, old, new) in changes {
            let mut own = Vec::new();
            let mut write = self.entries(new, &mut own)?;
            let mut stale = Vec::new();
            for (at, index) in self.table.indexes.iter().enumerate() {
                let (key, value, _) = index_entry(self.table, index, old)?;
                let entry = &write.secondary[at];
                if entry.0 == key {
                    own.retain(|claim: &Claim<'_>| claim.key != key);
                    if entry.1 == value {
                        // An empty key marks an entry that stays as it is.
                        write.secondary[at].0 = Bytes::new();
                    }
                } else {
                    stale.push(key);
                }
            }
            if write.row_key == *old_key {
                own.retain(|claim| claim.key != *old_key);
            } else {
                stale.push(old_key.clone());
            }
            for key in stale {
                self.transaction.delete(key).await?;
            }
            claims.extend(own);
            writes.push(write);
        }
        self.verify_unique(&claims).await?;
        for write in writes {
            self.put(write).await?;
        }
        Ok(())
    }

    /// Deletes a row.
    pub async fn delete(&self, key: &Bytes, row: &[Datum]) -> Result<(), SqlError> {
        for index in &self.table.indexes {
            let (key, _, _) = index_entry(self.table, index, row)?;
            self.transaction.delete(key).await?;
        }
        Ok(self.transaction.delete(key.clone()).await?)
    }

    fn entries<'r>(&self, row: &'r [Datum], claims: &mut Vec<Claim<'r>>) -> Result<Entries, SqlError> {
        let row_key = row_key(self.table, row)?;
        if self.table.has_primary_key {
            claims.push(Claim { key: row_key.clone(), index: IndexOf::Primary, row });
        }
        let mut secondary = Vec::with_capacity(self.table.indexes.len());
        for (at, index) in self.table.indexes.iter().enumerate() {
            let (key, value, exclusive) = index_entry(self.table, index, row)?;
            if exclusive {
                claims.push(Claim { key: key.clone(), index: IndexOf::Secondary(at), row });
            }
            secondary.push((key, value));
        }
        Ok(Entries { row_key, row_value: row_value(self.table, row), secondary })
    }

    async fn put(&self, write: Entries) -> Result<(), SqlError> {
        let rows = std::iter::once((write.row_key, write.row_value)).chain(write.secondary);
        for (key, value) in rows.filter(|(key, _)| !key.is_empty()) {
            if self.invisible {
                self.transaction.put_invisible(key, value).await?;
            } else {
                self.transaction.put(key, value).await?;
            }
        }
        Ok(())
    }

    /// Reads the keys that new rows take; none may exist, and none may be taken twice.
    async fn verify_unique(&self, claims: &[Claim<'_>]) -> Result<(), SqlError> {
        match claims {
            [] => return Ok(()),
            [claim] => {
                return match self.transaction.get(claim.key.clone(), LockStrength::None).await? {
                    Some(_) => Err(self.violation(claim)),
                    None => Ok(()),
                };
            }
            _ => {}
        }
        let mut taken = BTreeSet::new();
        for claim in claims {
            if !taken.insert(&claim.key) {
                return Err(self.violation(claim));
            }
        }
        let keys = claims.iter().map(|claim| claim.key.clone()).collect();
        let found = self.transaction.get_many(keys, LockStrength::None).await?;
        match claims.iter().zip(found).find(|(_, found)| found.is_some()) {
            Some((claim, _)) => Err(self.violation(claim)),
            None => Ok(()),
        }
    }

    fn violation(&self, claim: &Claim<'_>) -> SqlError {
        let index = match claim.index {
            IndexOf::Primary => &self.table.primary,
            IndexOf::Secondary(at) => &self.table.indexes[at],
        };
        unique_violation(self.table, index, claim.row, self.view)
    }
}

/// The error for a row whose key in an index exists already.
pub(crate) fn unique_violation(table: &Table, index: &IndexDescriptor, row: &[Datum], view: &SessionView) -> SqlError {
    let positions = table.index_positions(index);
    let names: Vec<&str> = positions.iter().map(|at| table.columns[*at].name.as_str()).collect();
    let values: Vec<String> = positions
        .iter()
        .map(|at| to_text(&row[*at], table.columns[*at].ty, table.columns[*at].typmod, &view.types))
        .collect();
    SqlError::new(code::UNIQUE_VIOLATION, format!("duplicate key value violates unique constraint \"{}\"", index.name))
        .detail(format!("Key ({})=({}) already exists.", names.join(", "), values.join(", ")))
        .table(&table.name)
        .constraint(&index.name)
}
