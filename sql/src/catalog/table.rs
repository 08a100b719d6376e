//! A table in memory: its descriptor, and what is worked out from it once.

use bytes::Bytes;
use clock::Timestamp;

use super::{IndexDescriptor, TableDescriptor};
use crate::rowcodec::{RowCodec, StoredColumn};
use crate::types::{Datum, TypeSettings, parse_text};

/// A table as of one version of its descriptor. The descriptor's fields are reached through [`std::ops::Deref`].
#[derive(Debug)]
pub struct Table {
    descriptor: TableDescriptor,
    /// Snapshots below this may predate the descriptor, and must not use it.
    pub valid_from: Timestamp,
    /// Reads and writes the values of its rows.
    pub codec: RowCodec,
    /// What a row reads as of which nothing is stored: added columns have their missing values.
    absent: Vec<Datum>,
    /// Positions (in `columns`) of the primary index's columns, in its order.
    pub primary_positions: Vec<usize>,
    /// Positions of the columns that `*` names.
    pub visible_positions: Vec<usize>,
}

impl std::ops::Deref for Table {
    type Target = TableDescriptor;
    fn deref(&self) -> &TableDescriptor {
        &self.descriptor
    }
}

impl Table {
    /// A table from its descriptor.
    pub fn new(descriptor: TableDescriptor, valid_from: Timestamp) -> Self {
        let primary_positions = positions(&descriptor, &descriptor.primary);
        let visible_positions =
            descriptor.columns.iter().enumerate().filter(|(_, column)| !column.hidden).map(|(at, _)| at).collect();
        let settings = TypeSettings::default();
        let absent: Vec<Datum> = descriptor
            .columns
            .iter()
            .map(|column| match &column.missing {
                // The text was printed by this system from a value of this very type.
                Some(text) => parse_text(text, column.ty, column.typmod, &settings).unwrap_or_default(),
                None => Datum::Null,
            })
            .collect();
        let stored = descriptor.columns.iter().zip(&absent);
        let codec = RowCodec::new(stored.map(|(column, missing)| StoredColumn {
            id: column.id,
            ty: column.ty,
            missing: missing.clone(),
        }));
        Table { descriptor, valid_from, codec, absent, primary_positions, visible_positions }
    }

    /// The descriptor.
    pub fn descriptor(&self) -> &TableDescriptor {
        &self.descriptor
    }

    /// A row of which nothing is stored: what added columns read as in older rows, NULL in the others.
    pub fn absent_row(&self) -> Vec<Datum> {
        self.absent.clone()
    }

    /// Where the column of that name stands in `columns`.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.descriptor.columns.iter().position(|column| column.name == name)
    }

    /// Where the column of that ID stands in `columns`.
    pub fn position_of_id(&self, column_id: u32) -> Option<usize> {
        self.descriptor.columns.iter().position(|column| column.id == column_id)
    }

    /// Positions (in `columns`) of an index's columns, in its order.
    pub fn index_positions(&self, index: &IndexDescriptor) -> Vec<usize> {
        positions(&self.descriptor, index)
    }

    /// The span of an index's entries, `[start, end)`.
    pub fn index_span(&self, index: &IndexDescriptor) -> (Bytes, Bytes) {
        index_span(self.descriptor.id, index.index_id)
    }

    /// The span of everything the table has, `[start, end)`.
    pub fn span(&self) -> (Bytes, Bytes) {
        let id = u64::from(self.descriptor.id);
        (txn::keys::table_prefix(id).into(), txn::keys::table_prefix(id + 1).into())
    }
}

/// The span of an index's entries, `[start, end)`.
pub fn index_span(table_id: u32, index_id: u32) -> (Bytes, Bytes) {
    let (table, index) = (u64::from(table_id), u64::from(index_id));
    (txn::keys::index_prefix(table, index).into(), txn::keys::index_prefix(table, index + 1).into())
}

fn positions(descriptor: &TableDescriptor, index: &IndexDescriptor) -> Vec<usize> {
    index
        .columns
        .iter()
        .filter_map(|part| descriptor.columns.iter().position(|column| column.id == part.column_id))
        .collect()
}
