//! What tables there are, and how every node agrees on it.
//!
//! ```text
//!   \x03q  d <id>              a descriptor: database, schema, table or sequence
//!          g <id>              what transactions that change this database take turns by; 0: which databases there are
//!          v                   the catalog version: rises with every committed change
//!          w                   the counter of IDs
//!          x <node>            a node's lease: which version it uses, until when, and what older tables are in use
//!          y <id>              a sequence's counter
//! ```
//!
//! A node plans by its own copy of the catalog ([`Catalog`]), which it may use as long as its lease is good. Whoever changes an existing table
//! first locks it: a small transaction writes the lock into the descriptor, and then waits until each
//! other node has seen it, or its lease has run out, and no transaction anywhere still uses the older table. Only then is the
//! table changed, in the client's own transaction; its commit carries the new descriptor and takes the lock away.
//!
//! Invariants:
//! - `two_versions`: no transaction uses a table's version while another uses one that is not its neighbour; between neighbours
//!   stands the lock, under which nobody but its holder uses the table at all.
//! - `lease_bounds_use`: no statement starts on a node whose lease has run out, and a change waits for the lease of a silent node to run out,
//!   with a margin. A dead node blocks nobody for longer than that.
//! - A transaction never uses a table that is newer than its snapshot.
//! - `parts_change_alone`: a transaction that changes a database depends on nothing of the catalog but that database, so that what
//!   happens in another one neither waits for it nor aborts it.
//!
//! Knows nothing of rows and statements.
//!
//! Sources: Rae et al., "Online, Asynchronous Schema Change in F1", VLDB 2013, for leases and the two-versions rule.

mod descriptor;
mod keys;
mod lease;
mod manager;
mod readable;
mod snapshot;
mod store;
mod table;

pub use descriptor::{
    CheckDescriptor, ColumnDescriptor, DatabaseDescriptor, Descriptor, Identity, IndexColumn, IndexDescriptor,
    SchemaDescriptor, SequenceDescriptor, TableDescriptor, TableLock,
};
pub use readable::{readable_end, readable_key};
pub use snapshot::{Catalog, RelationRef};
pub use table::{Table, index_span};

pub(crate) use descriptor::FIRST_INDEX_ID;
pub(crate) use keys::sequence_key;
pub(crate) use manager::{Activity, CatalogManager, Pin};
pub(crate) use readable::key_in_words;
pub(crate) use store::{CatalogPart, CatalogWriter};

/// `pg_catalog`'s OID.
pub const PG_CATALOG_OID: u32 = 11;
/// `information_schema`'s OID.
pub const INFORMATION_SCHEMA_OID: u32 = 13_000;
/// The first ID given to what users create.
pub const FIRST_USER_ID: u32 = 16_384;
