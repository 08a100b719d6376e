//! CREATE, ALTER, DROP, TRUNCATE: descriptors changed within the client's transaction.
//!
//! ```text
//!   a new table        descriptor put; rows go to an index nobody else knows ─▶ commit shows all at once
//!   an existing table  lock it everywhere ─▶ new descriptor, indexes filled in chunks ─▶ commit shows all, takes the lock away
//!   TRUNCATE           new index IDs, empty; the old ones are cleared after the commit
//! ```
//!
//! A rollback shows nothing of it; what was filled in vain is cleared in the background.
//!
//! Knows nothing of how nodes agree on the catalog: see [`crate::catalog`].

mod alter;
mod backfill;
mod build;
mod create;
mod describe;
mod drop;
mod index;
mod schema;
mod sequence;
mod split;
mod truncate;

use std::sync::Arc;

use datafusion::sql::sqlparser::ast;

pub(crate) use describe::create_statement;

use crate::bind::{name_parts, normalize};
use crate::catalog::{Catalog, CatalogPart, CatalogWriter, Descriptor, RelationRef, Table, TableDescriptor};
use crate::error::{SqlError, code};
use crate::pg_catalog;
use crate::session::{DdlState, Handle, Outcome, Session, SessionView, Statement};
use crate::types::Datum;

impl Session {
    /// Executes a statement that changes the catalog, or whatever else has no plan.
    pub(crate) async fn run_ddl(
        &mut self,
        statement: &Statement,
        sql: &ast::Statement,
        params: &Arc<[Datum]>,
    ) -> Result<Outcome, SqlError> {
        let _ = params;
        match sql {
            ast::Statement::CreateTable(create) => self.create_table(statement, create).await,
            ast::Statement::CreateIndex(create) => self.create_index(create).await,
            ast::Statement::CreateSequence { .. } => self.create_sequence(sql).await,
            ast::Statement::CreateSchema { .. } => self.create_schema(sql).await,
            ast::Statement::CreateDatabase { .. } => self.create_database(sql).await,
            ast::Statement::Drop { .. } => self.drop_objects(sql).await,
            ast::Statement::Truncate(truncate) => self.truncate(truncate).await,
            ast::Statement::AlterTable(alter) => self.alter_table(statement, alter).await,
            ast::Statement::AlterIndex { .. } => self.alter_index(sql).await,
            ast::Statement::Copy { .. } => self.copy(statement, sql).await,
            _ => Err(SqlError::unsupported(statement.verbs())),
        }
    }

    /// Makes the transaction one that changes the session's database.
    pub(crate) async fn begin_ddl(&mut self) -> Result<(), SqlError> {
        let handle = self.handle().await?;
        let part = CatalogPart::Database(handle.view.database_id);
        self.begin_ddl_of(part).await
    }

    /// Makes the transaction one that changes this part of the catalog.
    async fn begin_ddl_of(&mut self, part: CatalogPart) -> Result<(), SqlError> {
        let handle = self.handle().await?;
        let catalog = &handle.catalog;
        let ddl = handle.ddl.get_or_insert_with(|| DdlState::new(CatalogWriter::new(catalog.clone())));
        ddl.writer.enter(&handle.transaction, part).await
    }

    /// The transaction and what it changes. REQUIRES: `begin_ddl`.
    fn ddl(&mut self) -> (&mut Handle, Arc<Catalog>, Arc<SessionView>) {
        let handle = self.open_handle();
        let catalog = handle.catalog().clone();
        let view = handle.view.clone();
        (handle, catalog, view)
    }

    /// Writes an object. A table's version rises, and its lock goes.
    async fn put_descriptor(&mut self, mut descriptor: Descriptor) -> Result<(), SqlError> {
        let handle = self.open_handle();
        let ddl = handle.ddl.as_mut().ok_or_else(|| SqlError::internal("the catalog is changed unprepared"))?;
        if let Descriptor::Table(table) = &mut descriptor {
            table.version += 1;
            table.lock = None;
        }
        ddl.writer.put(&handle.transaction, descriptor).await
    }

    async fn put_table(&mut self, descriptor: TableDescriptor) -> Result<Arc<Table>, SqlError> {
        let id = descriptor.id;
        self.put_descriptor(Descriptor::Table(Box::new(descriptor))).await?;
        let (_, catalog, _) = self.ddl();
        catalog.table(id).cloned().ok_or_else(|| SqlError::internal("a table vanished while it was written"))
    }

    async fn delete_descriptor(&mut self, id: u32) -> Result<(), SqlError> {
        let handle = self.open_handle();
        let ddl = handle.ddl.as_mut().ok_or_else(|| SqlError::internal("the catalog is changed unprepared"))?;
        ddl.writer.delete(&handle.transaction, id).await
    }

    /// The table of that name, locked against everybody else, for a transaction that changes the catalog.
    async fn table_to_change(&mut self, parts: &[String]) -> Result<Arc<Table>, SqlError> {
        let (_, catalog, view) = {
            self.handle().await?;
            self.ddl()
        };
        let table = crate::session::find_table(&catalog, &view, parts)?;
        self.lock_for_ddl(&table).await?;
        let (_, catalog, _) = self.ddl();
        catalog
            .table(table.id)
            .cloned()
            .ok_or_else(|| SqlError::new(code::UNDEFINED_TABLE, format!("relation \"{}\" does not exist", table.name)))
    }

    /// Gives every index of a table a new, empty place.
    async fn move_indexes(&self, table: &mut TableDescriptor) -> Result<(), SqlError> {
        for index in std::iter::once(&mut table.primary).chain(&mut table.indexes) {
            index.index_id = self.shared.manager.allocate_id().await?;
        }
        Ok(())
    }

    /// Marks a table as one that nobody else can use before the commit.
    fn mark_created(&mut self, table_id: u32) {
        if let Some(ddl) = &mut self.open_handle().ddl {
            ddl.created.insert(table_id);
        }
    }

    /// Marks an index as one that nobody sees before the commit.
    fn mark_fresh(&mut self, table_id: u32, index_id: u32) {
        if let Some(ddl) = &mut self.open_handle().ddl {
            ddl.fresh.insert((table_id, index_id));
        }
    }

    /// Marks an index as one that nobody uses after the commit.
    fn mark_stale(&mut self, table_id: u32, index_id: u32) {
        if let Some(ddl) = &mut self.open_handle().ddl {
            ddl.stale.insert((table_id, index_id));
        }
    }
}

/// The schema a new object goes to, and its name.
fn place(catalog: &Catalog, view: &SessionView, name: &ast::ObjectName) -> Result<(u32, String), SqlError> {
    let mut parts = name_parts(name)?;
    let own = parts.pop().unwrap_or_default();
    let missing =
        |schema: &str| SqlError::new(code::INVALID_SCHEMA_NAME, format!("schema \"{schema}\" does not exist"));
    let schema = match parts.pop() {
        Some(schema) => {
            if matches!(schema.as_str(), "pg_catalog" | "information_schema") {
                return Err(SqlError::new("42501", format!("permission denied to create \"{schema}.{own}\"")));
            }
            catalog.schema(view.database_id, &schema).ok_or_else(|| missing(&schema))?
        }
        None => view
            .search_path
            .iter()
            .find_map(|schema| catalog.schema(view.database_id, schema))
            .ok_or_else(|| SqlError::new(code::INVALID_SCHEMA_NAME, "no schema has been selected to create in"))?,
    };
    Ok((schema.id, own))
}

/// A name of the form PostgreSQL gives, free in the schema: `base`, or `base` with a number.
fn free_name(catalog: &Catalog, schema_id: u32, taken: &[String], base: &str) -> String {
    let is_free = |name: &String| catalog.relation(schema_id, name).is_none() && !taken.contains(name);
    std::iter::once(base.to_owned())
        .chain((1..).map(|number| format!("{base}{number}")))
        .find(is_free)
        .expect("the numbers do not end")
}

/// The error for a name that is in use.
fn exists_already(name: &str) -> SqlError {
    SqlError::new(code::DUPLICATE_TABLE, format!("relation \"{name}\" already exists"))
}

/// What a name stands for, in the open transaction.
fn resolve(
    catalog: &Catalog,
    view: &SessionView,
    name: &ast::ObjectName,
) -> Result<(Option<RelationRef>, String), SqlError> {
    let parts = name_parts(name)?;
    let names: Vec<&str> = parts.iter().map(String::as_str).collect();
    Ok((catalog.resolve(view.database_id, &view.search_path, &names)?, parts.join(".")))
}

/// The role of this name.
///
/// # Errors
/// 42704 when there is none.
fn role_named(name: &ast::Ident) -> Result<String, SqlError> {
    let name = normalize(name);
    if pg_catalog::role_id(&name).is_some() {
        return Ok(name);
    }
    Err(SqlError::new(code::UNDEFINED_OBJECT, format!("role \"{name}\" does not exist")))
}
