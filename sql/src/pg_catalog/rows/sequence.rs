//! Sequences.

use super::super::{Context, SystemTable};
use super::{Rows, oid, optional, text};
use crate::session::Row;
use crate::types::Datum;

pub(super) fn pg_sequence(table: &SystemTable, context: &Context) -> Vec<Row> {
    let mut rows = Rows::new(
        table,
        ["seqrelid", "seqtypid", "seqstart", "seqincrement", "seqmax", "seqmin", "seqcache", "seqcycle"],
    );
    for sequence in context.sequences() {
        rows.push([
            oid(sequence.id),
            oid(sequence.ty.oid()),
            Datum::Int8(sequence.start),
            Datum::Int8(sequence.increment),
            Datum::Int8(sequence.max),
            Datum::Int8(sequence.min),
            Datum::Int8(sequence.cache.max(1)),
            Datum::Bool(sequence.cycle),
        ]);
    }
    rows.finish()
}

/// Without `last_value`, which nodes take in strides of their own.
pub(super) fn pg_sequences(table: &SystemTable, context: &Context) -> Vec<Row> {
    let mut rows = Rows::new(
        table,
        [
            "schemaname",
            "sequencename",
            "sequenceowner",
            "data_type",
            "start_value",
            "min_value",
            "max_value",
            "increment_by",
            "cycle",
            "cache_size",
        ],
    );
    for sequence in context.sequences() {
        rows.push([
            optional(context.schema_name_of(sequence.schema_id)),
            text(sequence.name.as_str()),
            text(sequence.owner.as_str()),
            oid(sequence.ty.oid()),
            Datum::Int8(sequence.start),
            Datum::Int8(sequence.min),
            Datum::Int8(sequence.max),
            Datum::Int8(sequence.increment),
            Datum::Bool(sequence.cycle),
            Datum::Int8(sequence.cache.max(1)),
        ]);
    }
    rows.finish()
}
