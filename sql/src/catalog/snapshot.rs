//! The whole catalog as of one version, in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use clock::Timestamp;

use super::{DatabaseDescriptor, Descriptor, SchemaDescriptor, SequenceDescriptor, Table};
use crate::error::{SqlError, code};

/// Every database, schema, table and sequence, as of one catalog version. Never changes; a transaction that alters the
/// catalog works on a copy of its own.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// Rises with every committed change, from 1; 0 for what was never committed: no plan made for that is good for another.
    pub version: u64,
    /// The snapshot it was read at.
    pub read_timestamp: Timestamp,
    databases: BTreeMap<u32, Arc<DatabaseDescriptor>>,
    schemas: BTreeMap<u32, Arc<SchemaDescriptor>>,
    tables: BTreeMap<u32, Arc<Table>>,
    sequences: BTreeMap<u32, Arc<SequenceDescriptor>>,
    /// By schema and name.
    relations: BTreeMap<u32, BTreeMap<String, RelationRef>>,
}

/// What a name in a schema stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelationRef {
    /// The table of this ID.
    Table(u32),
    /// The index with this OID, of the table of this ID.
    Index {
        /// The table.
        table: u32,
        /// The index's OID.
        index: u32,
    },
    /// The sequence of this ID.
    Sequence(u32),
}

impl Catalog {
    /// A catalog with nothing in it.
    pub(crate) fn empty(version: u64, read_timestamp: Timestamp) -> Self {
        Catalog { version, read_timestamp, ..Catalog::default() }
    }

    /// The databases, by OID.
    pub fn databases(&self) -> impl Iterator<Item = &Arc<DatabaseDescriptor>> {
        self.databases.values()
    }

    /// The database of that name.
    pub fn database(&self, name: &str) -> Option<&Arc<DatabaseDescriptor>> {
        self.databases.values().find(|database| database.name == name)
    }

    /// The database with that OID.
    pub fn database_by_id(&self, id: u32) -> Option<&Arc<DatabaseDescriptor>> {
        self.databases.get(&id)
    }

    /// The schemas of all databases, by OID.
    pub fn schemas(&self) -> impl Iterator<Item = &Arc<SchemaDescriptor>> {
        self.schemas.values()
    }

    /// The schema of that name in a database.
    pub fn schema(&self, database_id: u32, name: &str) -> Option<&Arc<SchemaDescriptor>> {
        self.schemas.values().find(|schema| schema.database_id == database_id && schema.name == name)
    }

    /// The schema with that OID.
    pub fn schema_by_id(&self, id: u32) -> Option<&Arc<SchemaDescriptor>> {
        self.schemas.get(&id)
    }

    /// The tables of all databases, by OID.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.tables.values()
    }

    /// The table with that OID.
    pub fn table(&self, id: u32) -> Option<&Arc<Table>> {
        self.tables.get(&id)
    }

    /// The sequences of all databases, by OID.
    pub fn sequences(&self) -> impl Iterator<Item = &Arc<SequenceDescriptor>> {
        self.sequences.values()
    }

    /// The sequence with that OID.
    pub fn sequence(&self, id: u32) -> Option<&Arc<SequenceDescriptor>> {
        self.sequences.get(&id)
    }

    /// What a name in a schema stands for.
    pub fn relation(&self, schema_id: u32, name: &str) -> Option<RelationRef> {
        self.relations.get(&schema_id)?.get(name).copied()
    }

    /// The names in a schema, in order, with what they stand for.
    pub fn relations_in(&self, schema_id: u32) -> impl Iterator<Item = (&str, RelationRef)> {
        self.relations.get(&schema_id).into_iter().flatten().map(|(name, relation)| (name.as_str(), *relation))
    }

    /// What a possibly qualified name stands for, looked for along the search path (schema names, in order).
    ///
    /// # Errors
    /// 3F000 for an unknown schema, 0A000 for a name in another database. `Ok(None)` when there is no such relation.
    pub fn resolve(
        &self,
        database_id: u32,
        search_path: &[String],
        parts: &[&str],
    ) -> Result<Option<RelationRef>, SqlError> {
        let (schema_name, name) = match parts {
            [name] => {
                return Ok(search_path
                    .iter()
                    .filter_map(|schema| self.schema(database_id, schema))
                    .find_map(|schema| self.relation(schema.id, name)));
            }
            [schema, name] => (schema, name),
            [database, schema, name] => {
                if self.database_by_id(database_id).is_none_or(|own| own.name != **database) {
                    return Err(SqlError::unsupported(format!(
                        "a reference to another database: \"{database}.{schema}.{name}\""
                    )));
                }
                (schema, name)
            }
            _ => return Err(SqlError::syntax(format!("improper qualified name: {}", parts.join(".")))),
        };
        match self.schema(database_id, schema_name) {
            Some(schema) => Ok(self.relation(schema.id, name)),
            None if matches!(*schema_name, "pg_catalog" | "information_schema") => Ok(None),
            None => Err(SqlError::new(code::INVALID_SCHEMA_NAME, format!("schema \"{schema_name}\" does not exist"))),
        }
    }

    /// As [`Catalog::resolve`], where a query names a relation: in a schema that does not exist there is none.
    ///
    /// # Errors
    /// 0A000 for a name in another database.
    pub fn resolve_in_query(
        &self,
        database_id: u32,
        search_path: &[String],
        parts: &[&str],
    ) -> Result<Option<RelationRef>, SqlError> {
        match self.resolve(database_id, search_path, parts) {
            Err(error) if error.code == code::INVALID_SCHEMA_NAME => Ok(None),
            found => found,
        }
    }

    /// The sequence of a possibly qualified, possibly quoted name in a text.
    ///
    /// # Errors
    /// 42P01 when there is no such relation, 42809 when it is no sequence; those of [`Catalog::resolve`].
    pub fn sequence_named(
        &self,
        database_id: u32,
        search_path: &[String],
        name: &str,
    ) -> Result<&Arc<SequenceDescriptor>, SqlError> {
        let parts: Vec<String> = name
            .split('.')
            .map(|part| match part.strip_prefix('"').and_then(|part| part.strip_suffix('"')) {
                Some(quoted) => quoted.to_owned(),
                None => part.to_lowercase(),
            })
            .collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let unknown = || SqlError::new(code::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"));
        match self.resolve(database_id, search_path, &parts)? {
            Some(RelationRef::Sequence(id)) => self.sequence(id).ok_or_else(unknown),
            Some(_) => Err(SqlError::new(code::WRONG_OBJECT_TYPE, format!("\"{name}\" is not a sequence"))),
            None => Err(unknown()),
        }
    }

    /// Adds or replaces an object.
    pub(crate) fn insert(&mut self, descriptor: Descriptor) {
        self.remove(descriptor.id());
        match descriptor {
            Descriptor::Database(database) => {
                self.databases.insert(database.id, Arc::new(database));
            }
            Descriptor::Schema(schema) => {
                self.schemas.insert(schema.id, Arc::new(schema));
            }
            Descriptor::Sequence(sequence) => {
                let names = self.relations.entry(sequence.schema_id).or_default();
                names.insert(sequence.name.clone(), RelationRef::Sequence(sequence.id));
                self.sequences.insert(sequence.id, Arc::new(sequence));
            }
            Descriptor::Table(table) => self.insert_table(Arc::new(Table::new(*table, self.read_timestamp))),
        }
    }

    /// Adds or replaces a table that is known already, as it is.
    pub(crate) fn insert_table(&mut self, table: Arc<Table>) {
        self.remove(table.id);
        let names = self.relations.entry(table.schema_id).or_default();
        names.insert(table.name.clone(), RelationRef::Table(table.id));
        let named = table.indexes.iter().chain(table.primary_key());
        for index in named {
            names.insert(index.name.clone(), RelationRef::Index { table: table.id, index: index.id });
        }
        self.tables.insert(table.id, table);
    }

    /// Takes from the tables the indexes that they no longer have in a newer catalog. What comes of it is of no version.
    pub(crate) fn forget_dropped_indexes(&mut self, newer: &Catalog) {
        let mut changed = Vec::new();
        for table in self.tables.values() {
            let Some(now) = newer.table(table.id) else { continue };
            let still = |id: u32| now.indexes.iter().any(|index| index.index_id == id);
            if table.indexes.iter().any(|index| !still(index.index_id)) {
                let mut descriptor = table.descriptor().clone();
                descriptor.indexes.retain(|index| still(index.index_id));
                changed.push(descriptor);
            }
        }
        if !changed.is_empty() {
            self.version = 0;
        }
        for descriptor in changed {
            self.insert(Descriptor::Table(Box::new(descriptor)));
        }
    }

    /// Removes an object; that there was none is no error.
    pub(crate) fn remove(&mut self, id: u32) {
        self.databases.remove(&id);
        self.schemas.remove(&id);
        if let Some(table) = self.tables.remove(&id)
            && let Some(names) = self.relations.get_mut(&table.schema_id)
        {
            names.retain(|_, relation| !relation.belongs_to(id));
        }
        if let Some(sequence) = self.sequences.remove(&id)
            && let Some(names) = self.relations.get_mut(&sequence.schema_id)
        {
            names.retain(|_, relation| *relation != RelationRef::Sequence(id));
        }
    }
}

impl RelationRef {
    fn belongs_to(self, table_id: u32) -> bool {
        match self {
            RelationRef::Table(id) | RelationRef::Index { table: id, .. } => id == table_id,
            RelationRef::Sequence(_) => false,
        }
    }
}
