//! PostgreSQL's values as Arrow arrays, and back.
//!
//! ```text
//!   int2 int4 int8      Int16 Int32 Int64          text varchar bpchar name   Utf8
//!   float4 float8       Float32 Float64            json jsonb                 LargeUtf8
//!   numeric             LargeBinary ¹              bytea                      Binary
//!   bool                Boolean                    uuid                       FixedSizeBinary(16)
//!   date time           Date32 Time64(µs)          interval                   Interval(MonthDayNano)
//!   timestamp[tz]       Timestamp(µs [, UTC])      oid and its aliases        UInt32
//!   arrays              List of the element
//!
//!   ¹ the order-preserving key of the number, then its display scale in two bytes: byte order is numeric order
//! ```
//!
//! An Arrow type stands for the first type of its line; a field of another one carries the OID as metadata, and so does a
//! type modifier. Metadata that got lost on the way through a plan turns a varchar into a text, nothing worse.
//!
//! Invariants: `arrow_keeps_values` (a datum comes back as it was put, but for the sub-microsecond digits of nothing).
//!
//! Knows nothing of tables and plans.

mod build;
mod number;
mod read;
mod schema;

#[cfg(test)]
mod tests;

pub use build::{DatumBuilder, array_of, first_of, scalar_of};
pub use number::{SCALE_BYTES, numeric_from_bytes, numeric_from_key, numeric_to_bytes};
pub use read::{datum_at, datum_of};
pub use schema::{data_type, field, is_settled, natural_type, settled_text, type_of};
