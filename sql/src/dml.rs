//! INSERT, UPDATE, DELETE: rows found, changed, checked, and written with their index entries.
//!
//! ```text
//!   INSERT  values | query ─▶ defaults, casts ─▶ NOT NULL, CHECK ─▶ unique keys read ─▶ row and entries put
//!   UPDATE  access | query ─▶ locked rows ─▶ assignments ─▶ checks ─▶ entries moved
//!   DELETE  access | query ─▶ locked rows ─▶ row and entries deleted
//! ```
//!
//! Invariants: a row and its entries are written in one transaction (`index_agrees`); a unique key is read before it is
//! written, so that two writers of it conflict.
//!
//! Knows nothing of how statements are retried: the session rewinds a statement's writes and executes it again.

pub(crate) mod change;
pub(crate) mod codec;
pub(crate) mod insert;
pub(crate) mod joined;
pub(crate) mod rules;
pub(crate) mod values;
pub(crate) mod writer;
