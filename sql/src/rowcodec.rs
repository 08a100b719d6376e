//! Rows as bytes: values by column ID, and index keys in order.
//!
//! ```text
//!   value:  header payload · header payload · …                 ascending column IDs
//!           header = varint((ID − previous ID) · 8 + kind)      one byte for neighbours
//!   key:    keys::index_prefix(table, index) · column · column · … [· primary key columns]
//! ```
//!
//! A value names its columns and says how long each is, so that a codec reads rows written before a column was added (its default
//! stands in) and skips columns dropped since. NULL is written; only a column that the row has never heard of is absent.
//!
//! Invariants: `row_round_trip` (decoding gives what was encoded, display scales included); `key_order` (bytes order as [`crate::types::compare`]
//! does, per column direction).
//!
//! Knows nothing of tables: callers say which columns, in which order.

mod key;
mod value;

pub use key::{KeyColumn, decode_key, encode_key, index_entry_key, is_key_type, key_keeps_value};
pub use value::{RowCodec, StoredColumn};

#[cfg(test)]
mod tests;
