//! Whose catalog it is, and who asks: the objects of one database, and which of them the search path shows.

use std::sync::Arc;

use super::rows::{function_id, function_name};
use super::{SystemTable, layout};
use crate::catalog::{
    Catalog, ColumnDescriptor, INFORMATION_SCHEMA_OID, IndexDescriptor, PG_CATALOG_OID, RelationRef, SchemaDescriptor,
    SequenceDescriptor, Table,
};
use crate::session::SessionView;
use crate::types::{Names, PgType};

/// The roles there are: OID and name. All are superusers.
pub const ROLES: [(u32, &str); 2] = [(SUPERUSER_OID, "postgres"), (16_383, "root")];

/// The OID of the role that owns what is built in.
pub const SUPERUSER_OID: u32 = 10;

/// The OID of a role; none when it does not exist.
pub fn role_id(name: &str) -> Option<u32> {
    ROLES.iter().find(|(_, role)| *role == name).map(|(oid, _)| *oid)
}

/// What the system tables and functions are told from.
#[derive(Clone, Debug)]
pub struct Context {
    /// The catalog as the transaction sees it.
    pub catalog: Arc<Catalog>,
    /// The session.
    pub session: Arc<SessionView>,
}

/// A relation of the session's database, or a system table.
#[derive(Clone, Debug)]
pub(super) enum Relation {
    System(&'static SystemTable),
    Table(Arc<Table>),
    Index(Arc<Table>, IndexDescriptor),
    Sequence(Arc<SequenceDescriptor>),
}

impl Context {
    /// The schemas of the session's database.
    pub(super) fn schemas(&self) -> impl Iterator<Item = &Arc<SchemaDescriptor>> {
        self.catalog.schemas().filter(|schema| schema.database_id == self.session.database_id)
    }

    /// The tables of the session's database.
    pub(super) fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.catalog.tables().filter(|table| self.is_own_schema(table.schema_id))
    }

    /// The sequences of the session's database.
    pub(super) fn sequences(&self) -> impl Iterator<Item = &Arc<SequenceDescriptor>> {
        self.catalog.sequences().filter(|sequence| self.is_own_schema(sequence.schema_id))
    }

    fn is_own_schema(&self, schema_id: u32) -> bool {
        self.catalog.schema_by_id(schema_id).is_some_and(|schema| schema.database_id == self.session.database_id)
    }

    /// A schema's name, built-in ones included.
    pub(super) fn schema_name_of(&self, schema_id: u32) -> Option<&str> {
        match schema_id {
            PG_CATALOG_OID => Some("pg_catalog"),
            INFORMATION_SCHEMA_OID => Some("information_schema"),
            _ => self.catalog.schema_by_id(schema_id).map(|schema| schema.name.as_str()),
        }
    }

    /// A schema's OID, built-in ones included.
    pub(super) fn schema_id_of(&self, name: &str) -> Option<u32> {
        match name {
            "pg_catalog" => Some(PG_CATALOG_OID),
            "information_schema" => Some(INFORMATION_SCHEMA_OID),
            _ => self.catalog.schema(self.session.database_id, name).map(|schema| schema.id),
        }
    }

    /// The schemas searched for unqualified names, in order, those that exist; `pg_catalog` first unless it is named.
    pub(super) fn searched_schemas(&self) -> Vec<u32> {
        let named = self.session.search_path.iter().filter_map(|name| self.schema_id_of(name));
        let mut schemas: Vec<u32> = Vec::new();
        if !self.session.search_path.iter().any(|name| name == "pg_catalog") {
            schemas.push(PG_CATALOG_OID);
        }
        for schema in named {
            if !schemas.contains(&schema) {
                schemas.push(schema);
            }
        }
        schemas
    }

    /// The relation of that OID.
    pub(super) fn relation(&self, oid: u32) -> Option<Relation> {
        if let Some(system) = layout::table_by_oid(oid) {
            return Some(Relation::System(system));
        }
        if let Some(table) = self.catalog.table(oid) {
            return Some(Relation::Table(table.clone()));
        }
        if let Some(sequence) = self.catalog.sequence(oid) {
            return Some(Relation::Sequence(sequence.clone()));
        }
        self.tables().find_map(|table| {
            let index = shown_indexes(table).find(|index| index.id == oid)?;
            Some(Relation::Index(table.clone(), index.clone()))
        })
    }

    /// The OID of the relation of that name in a schema.
    pub(super) fn relation_id(&self, schema_id: u32, name: &str) -> Option<u32> {
        match schema_id {
            PG_CATALOG_OID => layout::table("pg_catalog", name).map(|table| table.oid),
            INFORMATION_SCHEMA_OID => layout::table("information_schema", name).map(|table| table.oid),
            _ => self.catalog.relation(schema_id, name).map(|relation| match relation {
                RelationRef::Table(id) | RelationRef::Sequence(id) => id,
                RelationRef::Index { index, .. } => index,
            }),
        }
    }

    /// The OID of the relation that a possibly qualified name, its parts unquoted, stands for.
    pub(super) fn find_relation(&self, parts: &[String]) -> Option<u32> {
        match parts {
            [name] => self.searched_schemas().into_iter().find_map(|schema| self.relation_id(schema, name)),
            [schema, name] => self.relation_id(self.schema_id_of(schema)?, name),
            [database, schema, name] if *database == self.session.database => {
                self.relation_id(self.schema_id_of(schema)?, name)
            }
            _ => None,
        }
    }

    /// Whether an unqualified name finds this relation.
    pub(super) fn is_visible(&self, relation: &Relation) -> bool {
        let found = self.searched_schemas().into_iter().find_map(|schema| self.relation_id(schema, relation.name()));
        found == Some(relation.oid())
    }

    /// The relation's name as the search path requires it: qualified where it is not visible, quoted where it must be.
    pub(super) fn display_name(&self, relation: &Relation) -> String {
        if self.is_visible(relation) {
            return quote_identifier(relation.name());
        }
        self.qualified_name(relation)
    }

    /// The relation's name with its schema.
    pub(super) fn qualified_name(&self, relation: &Relation) -> String {
        let schema = self.schema_name_of(relation.schema_id()).unwrap_or_default();
        format!("{}.{}", quote_identifier(schema), quote_identifier(relation.name()))
    }
}

impl Relation {
    pub(super) fn oid(&self) -> u32 {
        match self {
            Relation::System(table) => table.oid,
            Relation::Table(table) => table.id,
            Relation::Index(_, index) => index.id,
            Relation::Sequence(sequence) => sequence.id,
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Relation::System(table) => table.name,
            Relation::Table(table) => &table.name,
            Relation::Index(_, index) => &index.name,
            Relation::Sequence(sequence) => &sequence.name,
        }
    }

    pub(super) fn schema_id(&self) -> u32 {
        match self {
            Relation::System(table) => system_schema_id(table),
            Relation::Table(table) | Relation::Index(table, _) => table.schema_id,
            Relation::Sequence(sequence) => sequence.schema_id,
        }
    }
}

impl Names for Context {
    fn relation_oid(&self, name: &str) -> Option<u32> {
        self.find_relation(&split_name(name)?)
    }

    fn relation_name(&self, oid: u32) -> Option<String> {
        self.relation(oid).map(|relation| self.display_name(&relation))
    }

    fn schema_oid(&self, name: &str) -> Option<u32> {
        self.schema_id_of(name)
    }

    fn schema_name(&self, oid: u32) -> Option<String> {
        self.schema_name_of(oid).map(quote_identifier)
    }

    fn role_oid(&self, name: &str) -> Option<u32> {
        role_id(name)
    }

    fn role_name(&self, oid: u32) -> Option<String> {
        role_name(oid).map(quote_identifier)
    }

    fn function_oid(&self, name: &str) -> Option<u32> {
        function_id(name)
    }

    fn function_name(&self, oid: u32) -> Option<String> {
        function_name(oid).map(quote_identifier)
    }
}

/// The OID of the schema a system table stands in.
pub(super) fn system_schema_id(table: &SystemTable) -> u32 {
    if table.schema == "pg_catalog" { PG_CATALOG_OID } else { INFORMATION_SCHEMA_OID }
}

/// The OID of a role; an owner that is no role counts as the superuser.
pub(super) fn owner_id(name: &str) -> u32 {
    role_id(name).unwrap_or(SUPERUSER_OID)
}

/// The name of a role.
pub(super) fn role_name(oid: u32) -> Option<&'static str> {
    ROLES.iter().find(|(role, _)| *role == oid).map(|(_, name)| *name)
}

/// The indexes a user sees: all but a primary index made of the hidden row ID.
pub(super) fn shown_indexes(table: &Table) -> impl Iterator<Item = &IndexDescriptor> {
    table.primary_key().into_iter().chain(&table.indexes)
}

/// The columns a user sees.
pub(super) fn shown_columns(table: &Table) -> impl Iterator<Item = &ColumnDescriptor> {
    table.columns.iter().filter(|column| !column.hidden)
}

/// The columns of an index that are columns a user sees.
pub(super) fn index_columns<'a>(table: &'a Table, index: &'a IndexDescriptor) -> Vec<&'a ColumnDescriptor> {
    index.columns.iter().filter_map(|part| table.column_by_id(part.column_id)).filter(|column| !column.hidden).collect()
}

/// The collation of a type's values: none, `default`, or `C` for name.
pub(super) fn collation_id(ty: PgType) -> u32 {
    match ty.element().unwrap_or(ty) {
        PgType::Text | PgType::Varchar | PgType::Bpchar => 100,
        PgType::Name => 950,
        _ => 0,
    }
}

/// A possibly qualified, possibly quoted name in its parts, as PostgreSQL reads it.
pub(super) fn split_name(text: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let part;
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut name = String::new();
            let mut characters = quoted.char_indices().peekable();
            let end = loop {
                match characters.next()? {
                    (_, '"') if characters.peek().is_some_and(|(_, next)| *next == '"') => {
                        characters.next();
                        name.push('"');
                    }
                    (at, '"') => break at + 1,
                    (_, other) => name.push(other),
                }
            };
            part = name;
            rest = &quoted[end..];
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            part = rest[..end].trim().to_lowercase();
            rest = &rest[end..];
        }
        if part.is_empty() {
            return None;
        }
        parts.push(part);
        match rest.strip_prefix('.') {
            Some(more) => rest = more,
            None if rest.trim().is_empty() => return Some(parts),
            None => return None,
        }
    }
}

/// PostgreSQL's `quote_ident`: quoted only where needed.
pub(super) fn quote_identifier(name: &str) -> String {
    let plain = name.chars().enumerate().all(|(at, c)| match c {
        'a'..='z' | '_' => true,
        '0'..='9' => at > 0,
        _ => false,
    });
    if plain && !name.is_empty() && !is_reserved(name) {
        return name.to_owned();
    }
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Whether PostgreSQL 15 needs quotes for a name because it is a keyword.
fn is_reserved(name: &str) -> bool {
    include_str!("keywords.txt").lines().any(|keyword| keyword == name)
}
