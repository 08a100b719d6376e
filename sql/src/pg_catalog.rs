//! PostgreSQL 15's system catalogs and its `information_schema`, told from Meridian's own catalog.
//!
//! ```text
//!   table("pg_catalog", "pg_class") ─▶ SystemTable {columns, rows(context)} ─▶ an in-memory provider per query
//!   functions(context)              ─▶ pg_table_is_visible, pg_get_indexdef, format_type, … as DataFusion functions
//! ```
//!
//! Every table that PostgreSQL has is here with PostgreSQL's columns. Those that Meridian has nothing to say about
//! (triggers, policies, publications) are empty, which is the truth. OIDs are the catalog's own IDs, and PostgreSQL's for
//! what is built in.
//!
//! Invariants: a row has exactly its table's columns, each datum NULL or of its column's type (checked in tests); the same
//! catalog gives the same OIDs.
//!
//! Knows nothing of plans: rows are made whole, and filtered by whoever asked.
//!
//! Sources: PostgreSQL 15 manual, chapters 53 (system catalogs), 54 (system views), 37 (information schema), 9.26 (system
//! information functions); the queries that psql 15 sends (`psql -E`).

mod context;
mod define;
mod functions;
mod layout;
mod rows;
mod simplify;

pub use context::{Context, ROLES, SUPERUSER_OID, role_id};
pub use functions::{function, functions};
pub use layout::{SystemColumn, SystemTable, table, table_by_oid, tables};
pub use simplify::simplify;

#[cfg(test)]
mod tests;
