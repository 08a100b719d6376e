//! PostgreSQL's types: values, their text and binary forms, casts, order and arithmetic.
//!
//! ```text
//!   text  ──parse_text──▶          ──format_text──▶  text
//!   bytes ──decode_binary─▶  Datum ──encode_binary─▶ bytes
//!                              │
//!            cast · compare · arithmetic   (by PgType and typmod)
//! ```
//!
//! A [`Datum`] carries a value, a [`PgType`] says what it means: text, varchar, bpchar and name are one variant each in
//! `PgType` and all `Datum::Text`. A bpchar value is held *without* its padding, which PostgreSQL ignores wherever
//! it compares or measures; `format_text` and `encode_binary` put it back from the typmod.
//!
//! Invariants: `datum_matches_type` (a datum is NULL or of the variant its type stores); timestamps are microseconds since 1970-01-01 UTC,
//! dates days since then, whatever the wire says.
//!
//! Knows nothing of tables, sessions, Arrow and the wire's messages.
//!
//! Sources: PostgreSQL 15 manual, chapters 8 (data types), 9 (functions and operators), 10 (type conversion).

mod arithmetic;
mod array;
mod binary;
mod bytea;
mod cast;
mod compare;
pub mod datetime;
mod datum;
mod float;
#[cfg(test)]
pub(crate) mod golden;
pub mod interval;
pub mod json;
pub mod numeric;
mod pg_type;
mod settings;
mod sql_name;
mod text;

pub use arithmetic::{BinaryOperator, add_interval, add_interval_in_zone, arithmetic, negate, result_type};
pub use binary::{decode, decode_binary, encode_binary};
pub use cast::{CastContext, cast, cast_context};
pub use compare::{compare, compare_sql};
pub(crate) use datum::row_bytes;
pub use datum::{ArrayValue, Datum, Interval};
pub use numeric::Numeric;
pub use pg_type::PgType;
pub use settings::{Names, TimeZone, TypeSettings};
pub use sql_name::{format_type, from_sql_name, from_sqlparser};
pub use text::{format_text, parse_text, to_text};
