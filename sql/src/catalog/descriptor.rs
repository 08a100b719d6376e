//! What the catalog says of each object, as it is stored (JSON, so that older and newer nodes may add fields).

use serde::{Deserialize, Serialize};

use crate::types::PgType;

/// One object of the catalog.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Descriptor {
    /// A database.
    Database(DatabaseDescriptor),
    /// A schema.
    Schema(SchemaDescriptor),
    /// A table.
    Table(Box<TableDescriptor>),
    /// A sequence.
    Sequence(SequenceDescriptor),
}

/// A database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatabaseDescriptor {
    /// OID.
    pub id: u32,
    /// Name, unique.
    pub name: String,
    /// The role that owns it.
    pub owner: String,
}

/// A schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SchemaDescriptor {
    /// OID.
    pub id: u32,
    /// Its database.
    pub database_id: u32,
    /// Name, unique in the database.
    pub name: String,
    /// The role that owns it.
    pub owner: String,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableDescriptor {
    /// OID.
    pub id: u32,
    /// Rises with each change of this table.
    pub version: u64,
    /// Its schema.
    pub schema_id: u32,
    /// Name, unique in the schema among tables, indexes and sequences.
    pub name: String,
    /// The role that owns it.
    pub owner: String,
    /// The columns in order of declaration, the hidden row ID included.
    pub columns: Vec<ColumnDescriptor>,
    /// The ID the next column gets.
    pub next_column_id: u32,
    /// Where the rows are. Unnamed and not a constraint when the table has only the hidden row ID as key.
    pub primary: IndexDescriptor,
    /// Whether the primary index was declared, rather than made of the hidden row ID.
    pub has_primary_key: bool,
    /// The secondary indexes.
    pub indexes: Vec<IndexDescriptor>,
    /// CHECK constraints.
    pub checks: Vec<CheckDescriptor>,
    /// Storage parameters, kept and shown, without effect.
    #[serde(default)]
    pub options: Vec<(String, String)>,
    /// Who is changing it.
    #[serde(default)]
    pub lock: Option<TableLock>,
}

/// Who is changing a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableLock {
    /// The node.
    pub node: u64,
    /// The node's incarnation, so that a restarted node does not keep the locks of its former life.
    pub incarnation: u64,
    /// Which of the node's locks it is.
    #[serde(rename = "session")]
    pub number: u64,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnDescriptor {
    /// Identity within the table, from 1, never reused; PostgreSQL's attribute number.
    pub id: u32,
    /// Name, unique in the table.
    pub name: String,
    /// Type, stored as its OID.
    #[serde(with = "pg_type_oid")]
    pub ty: PgType,
    /// PostgreSQL's type modifier; -1 for none.
    pub typmod: i32,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// The default's SQL text.
    #[serde(default)]
    pub default: Option<String>,
    /// The text form of the value that rows written before the column was added have; `None` for NULL.
    #[serde(default)]
    pub missing: Option<String>,
    /// GENERATED … AS IDENTITY.
    #[serde(default)]
    pub identity: Option<Identity>,
    /// The sequence that belongs to the column (serial, identity) and is dropped with it.
    #[serde(default)]
    pub sequence_id: Option<u32>,
    /// Not named by `*`, not shown: the hidden row ID.
    #[serde(default)]
    pub hidden: bool,
}

/// How an identity column takes values from users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// Never, unless OVERRIDING SYSTEM VALUE says so.
    Always,
    /// When they give one.
    ByDefault,
}

/// The place of a new table's primary index; all others are OIDs that were drawn for them.
pub(crate) const FIRST_INDEX_ID: u32 = 1;

/// An index, the primary one included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IndexDescriptor {
    /// OID.
    pub id: u32,
    /// Its place in the table's keyspace; a truncated or rebuilt index gets a new one. Never used a second time, not even after a
    /// rollback: what was written there may still be on its way, or on its way out.
    pub index_id: u32,
    /// Name, unique in the schema.
    pub name: String,
    /// The columns it is sorted by.
    pub columns: Vec<IndexColumn>,
    /// Whether no two rows may have the same (non-NULL) values.
    pub unique: bool,
    /// Whether it belongs to a PRIMARY KEY or UNIQUE constraint of the same name.
    pub constraint: bool,
}

/// A column of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexColumn {
    /// Which.
    pub column_id: u32,
    /// From the largest to the smallest.
    pub descending: bool,
    /// NULLs before all other values.
    pub nulls_first: bool,
}

/// A CHECK constraint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckDescriptor {
    /// OID.
    pub id: u32,
    /// Name, unique in the table.
    pub name: String,
    /// The condition's SQL text.
    pub expression: String,
    /// Rows that were there before it may break it.
    #[serde(default)]
    pub not_valid: bool,
}

/// A sequence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SequenceDescriptor {
    /// OID.
    pub id: u32,
    /// Its schema.
    pub schema_id: u32,
    /// Name, unique in the schema.
    pub name: String,
    /// The role that owns it.
    pub owner: String,
    /// smallint, integer or bigint, as an OID.
    #[serde(with = "pg_type_oid")]
    pub ty: PgType,
    /// The first value.
    pub start: i64,
    /// The step; not 0.
    pub increment: i64,
    /// The smallest value.
    pub min: i64,
    /// The largest value.
    pub max: i64,
    /// Whether it starts again at the end.
    pub cycle: bool,
    /// Values a node takes at a time; 0 for the node's own choice.
    #[serde(default)]
    pub cache: i64,
    /// The table and column it is dropped with.
    #[serde(default)]
    pub owned_by: Option<(u32, u32)>,
}

impl Descriptor {
    /// The object's OID.
    pub fn id(&self) -> u32 {
        match self {
            Descriptor::Database(database) => database.id,
            Descriptor::Schema(schema) => schema.id,
            Descriptor::Table(table) => table.id,
            Descriptor::Sequence(sequence) => sequence.id,
        }
    }
}

impl TableDescriptor {
    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&ColumnDescriptor> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The column of that ID.
    pub fn column_by_id(&self, id: u32) -> Option<&ColumnDescriptor> {
        self.columns.iter().find(|column| column.id == id)
    }

    /// The primary index, then the secondary ones.
    pub fn all_indexes(&self) -> impl Iterator<Item = &IndexDescriptor> {
        std::iter::once(&self.primary).chain(&self.indexes)
    }

    /// The primary key index as a user sees it: none for a table that has only the hidden row ID.
    pub fn primary_key(&self) -> Option<&IndexDescriptor> {
        self.has_primary_key.then_some(&self.primary)
    }
}

mod pg_type_oid {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::types::PgType;

    pub(super) fn serialize<S: Serializer>(ty: &PgType, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(ty.oid())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PgType, D::Error> {
        let oid = u32::deserialize(deserializer)?;
        PgType::from_oid(oid).ok_or_else(|| serde::de::Error::custom(format!("no type has the OID {oid}")))
    }
}
