//! DROP.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{self, ObjectName, ObjectType};

use super::resolve;
use crate::bind::name_parts;
use crate::catalog::{CatalogPart, RelationRef, Table};
use crate::error::{SqlError, code};
use crate::session::{Outcome, Session, done};

impl Session {
    pub(super) async fn drop_objects(&mut self, sql: &ast::Statement) -> Result<Outcome, SqlError> {
        let ast::Statement::Drop { object_type, if_exists, names, cascade, .. } = sql else {
            return Err(SqlError::internal("not DROP"));
        };
        self.handle().await?;
        for name in names {
            let dropped = match object_type {
                ObjectType::Table => self.drop_table(name).await?,
                ObjectType::Index => self.drop_index(name, *cascade).await?,
                ObjectType::Sequence => self.drop_sequence(name, *cascade).await?,
                ObjectType::Schema => self.drop_schema(name, *cascade).await?,
                ObjectType::Database => self.drop_database(name).await?,
                ObjectType::View | ObjectType::MaterializedView | ObjectType::Type => false,
                other => return Err(SqlError::unsupported(format!("DROP {other}"))),
            };
            if !dropped {
                let kind = object_type.to_string().to_lowercase();
                let (code, message) = match object_type {
                    ObjectType::Schema => (code::INVALID_SCHEMA_NAME, format!("schema \"{name}\" does not exist")),
                    ObjectType::Database => (code::INVALID_CATALOG_NAME, format!("database \"{name}\" does not exist")),
                    ObjectType::Index | ObjectType::Type => {
                        (code::UNDEFINED_OBJECT, format!("{kind} \"{name}\" does not exist"))
                    }
                    _ => (code::UNDEFINED_TABLE, format!("{kind} \"{name}\" does not exist")),
                };
                if !if_exists {
                    return Err(SqlError::new(code, message));
                }
                self.notice(format!("{message}, skipping"));
            }
        }
        done(format!("DROP {object_type}"))
    }

    /// What a name stands for; looked up anew on the other nodes' behalf when this node does not know it.
    async fn find(&mut self, name: &ObjectName) -> Result<Option<RelationRef>, SqlError> {
        let (_, catalog, view) = self.ddl();
        match resolve(&catalog, &view, name) {
            Ok((found @ Some(_), _)) => Ok(found),
            // An unknown schema is an unknown object.
            Ok((None, _)) | Err(_) => {
                self.begin_ddl().await?;
                let (_, catalog, view) = self.ddl();
                Ok(resolve(&catalog, &view, name).map_or(None, |(found, _)| found))
            }
        }
    }

    async fn drop_table(&mut self, name: &ObjectName) -> Result<bool, SqlError> {
        match self.find(name).await? {
            None => return Ok(false),
            Some(RelationRef::Table(_)) => {}
            Some(_) => return Err(wrong_kind(name, "table")),
        }
        let table = self.table_to_change(&name_parts(name)?).await?;
        self.drop_whole_table(&table).await?;
        Ok(true)
    }

    async fn drop_whole_table(&mut self, table: &Arc<Table>) -> Result<(), SqlError> {
        for sequence in table.columns.iter().filter_map(|column| column.sequence_id) {
            self.delete_descriptor(sequence).await?;
        }
        for index in table.all_indexes() {
            self.mark_stale(table.id, index.index_id);
        }
        self.delete_descriptor(table.id).await
    }

    async fn drop_index(&mut self, name: &ObjectName, cascade: bool) -> Result<bool, SqlError> {
        let _ = cascade;
        let (table_id, index_oid) = match self.find(name).await? {
            None => return Ok(false),
            Some(RelationRef::Index { table, index }) => (table, index),
            Some(_) => return Err(wrong_kind(name, "index")),
        };
        let table = self.table_to_change_by_id(table_id).await?;
        let mut descriptor = table.descriptor().clone();
        let Some(at) = descriptor.indexes.iter().position(|index| index.id == index_oid) else {
            return Err(constraint_needs(name, &table.name));
        };
        if descriptor.indexes[at].constraint {
            return Err(constraint_needs(name, &table.name));
        }
        let index = descriptor.indexes.remove(at);
        self.mark_stale(table.id, index.index_id);
        self.put_table(descriptor).await?;
        Ok(true)
    }

    /// A table by its ID, locked, as [`Session::table_to_change`].
    pub(super) async fn table_to_change_by_id(&mut self, id: u32) -> Result<Arc<Table>, SqlError> {
        let (_, catalog, _) = self.ddl();
        let gone = || SqlError::new(code::UNDEFINED_TABLE, "the relation was dropped meanwhile");
        let table = catalog.table(id).cloned().ok_or_else(gone)?;
        self.lock_for_ddl(&table).await?;
        let (_, catalog, _) = self.ddl();
        catalog.table(id).cloned().ok_or_else(gone)
    }

    async fn drop_sequence(&mut self, name: &ObjectName, cascade: bool) -> Result<bool, SqlError> {
        let id = match self.find(name).await? {
            None => return Ok(false),
            Some(RelationRef::Sequence(id)) => id,
            Some(_) => return Err(wrong_kind(name, "sequence")),
        };
        self.begin_ddl().await?;
        let (_, catalog, _) = self.ddl();
        let user = catalog.tables().find(|table| table.columns.iter().any(|column| column.sequence_id == Some(id)));
        if let Some(table) = user {
            if !cascade {
                return Err(SqlError::new(
                    code::DEPENDENT_OBJECTS_STILL_EXIST,
                    format!("cannot drop sequence {name} because other objects depend on it"),
                )
                .detail(format!("A column of table {} takes its default from it.", table.name))
                .hint("Use DROP ... CASCADE to drop the dependent objects too."));
            }
            let table = self.table_to_change_by_id(table.id).await?;
            let mut descriptor = table.descriptor().clone();
            for column in descriptor.columns.iter_mut().filter(|column| column.sequence_id == Some(id)) {
                column.sequence_id = None;
                column.default = None;
                column.identity = None;
            }
            self.put_table(descriptor).await?;
        }
        self.delete_descriptor(id).await?;
        Ok(true)
    }

    async fn drop_schema(&mut self, name: &ObjectName, cascade: bool) -> Result<bool, SqlError> {
        self.begin_ddl().await?;
        let (_, catalog, view) = self.ddl();
        let name = name_parts(name)?.pop().unwrap_or_default();
        let Some(schema) = catalog.schema(view.database_id, &name).cloned() else { return Ok(false) };
        let relations: Vec<RelationRef> = catalog.relations_in(schema.id).map(|(_, relation)| relation).collect();
        if !relations.is_empty() && !cascade {
            return Err(SqlError::new(
                code::DEPENDENT_OBJECTS_STILL_EXIST,
                format!("cannot drop schema {name} because other objects depend on it"),
            )
            .hint("Use DROP ... CASCADE to drop the dependent objects too."));
        }
        self.drop_relations(&relations).await?;
        self.delete_descriptor(schema.id).await?;
        Ok(true)
    }

    async fn drop_relations(&mut self, relations: &[RelationRef]) -> Result<(), SqlError> {
        for relation in relations {
            if let RelationRef::Table(id) = relation {
                let table = self.table_to_change_by_id(*id).await?;
                self.drop_whole_table(&table).await?;
            }
        }
        for relation in relations {
            if let RelationRef::Sequence(id) = relation {
                self.delete_descriptor(*id).await?;
            }
        }
        Ok(())
    }

    async fn drop_database(&mut self, name: &ObjectName) -> Result<bool, SqlError> {
        self.begin_ddl_of(CatalogPart::Databases).await?;
        let (_, catalog, view) = self.ddl();
        let name = name_parts(name)?.pop().unwrap_or_default();
        let Some(database) = catalog.database(&name).cloned() else { return Ok(false) };
        if database.id == view.database_id {
            return Err(SqlError::new("55006", "cannot drop the currently open database"));
        }
        self.begin_ddl_of(CatalogPart::Database(database.id)).await?;
        let (_, catalog, _) = self.ddl();
        let schemas: Vec<u32> =
            catalog.schemas().filter(|schema| schema.database_id == database.id).map(|schema| schema.id).collect();
        for schema in schemas {
            let relations: Vec<RelationRef> = catalog.relations_in(schema).map(|(_, relation)| relation).collect();
            self.drop_relations(&relations).await?;
            self.delete_descriptor(schema).await?;
        }
        self.delete_descriptor(database.id).await?;
        Ok(true)
    }
}

fn wrong_kind(name: &ObjectName, kind: &str) -> SqlError {
    let article = if kind == "index" { "an" } else { "a" };
    SqlError::new(code::WRONG_OBJECT_TYPE, format!("\"{name}\" is not {article} {kind}"))
}

fn constraint_needs(name: &ObjectName, table: &str) -> SqlError {
    SqlError::new(
        code::DEPENDENT_OBJECTS_STILL_EXIST,
        format!("cannot drop index {name} because constraint {name} on table {table} requires it"),
    )
    .hint(format!("You can drop constraint {name} on table {table} instead."))
}
