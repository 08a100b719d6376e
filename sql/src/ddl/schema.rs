//! CREATE SCHEMA, CREATE DATABASE.

use datafusion::sql::sqlparser::ast::{self, SchemaName};

use super::role_named;
use crate::bind::{name_parts, normalize};
use crate::catalog::{CatalogPart, DatabaseDescriptor, Descriptor, SchemaDescriptor};
use crate::error::{SqlError, code};
use crate::session::{Outcome, Session, done};

impl Session {
    pub(super) async fn create_schema(&mut self, sql: &ast::Statement) -> Result<Outcome, SqlError> {
        let ast::Statement::CreateSchema { schema_name, if_not_exists, .. } = sql else {
            return Err(SqlError::internal("not CREATE SCHEMA"));
        };
        let (name, owner) = match schema_name {
            SchemaName::Simple(name) => (name_parts(name)?.pop().unwrap_or_default(), None),
            SchemaName::NamedAuthorization(name, owner) => {
                (name_parts(name)?.pop().unwrap_or_default(), Some(role_named(owner)?))
            }
            SchemaName::UnnamedAuthorization(owner) => (normalize(owner), Some(role_named(owner)?)),
        };
        self.begin_ddl().await?;
        let (_, catalog, view) = self.ddl();
        if name.starts_with("pg_") || name == "information_schema" {
            return Err(SqlError::new("42939", format!("unacceptable schema name \"{name}\""))
                .detail("The prefix \"pg_\" is reserved for system schemas."));
        }
        if catalog.schema(view.database_id, &name).is_some() {
            if *if_not_exists {
                self.notice(format!("schema \"{name}\" already exists, skipping"));
                return done("CREATE SCHEMA");
            }
            return Err(SqlError::new(code::DUPLICATE_SCHEMA, format!("schema \"{name}\" already exists")));
        }
        let id = self.shared.manager.allocate_id().await?;
        let owner = owner.unwrap_or_else(|| view.user.clone());
        let schema = SchemaDescriptor { id, database_id: view.database_id, name, owner };
        self.put_descriptor(Descriptor::Schema(schema)).await?;
        done("CREATE SCHEMA")
    }

    pub(super) async fn create_database(&mut self, sql: &ast::Statement) -> Result<Outcome, SqlError> {
        let ast::Statement::CreateDatabase { db_name, if_not_exists, .. } = sql else {
            return Err(SqlError::internal("not CREATE DATABASE"));
        };
        let name = name_parts(db_name)?.pop().unwrap_or_default();
        self.begin_ddl_of(CatalogPart::Databases).await?;
        let (_, catalog, view) = self.ddl();
        if catalog.database(&name).is_some() {
            if *if_not_exists {
                self.notice(format!("database \"{name}\" already exists, skipping"));
                return done("CREATE DATABASE");
            }
            return Err(SqlError::new(code::DUPLICATE_DATABASE, format!("database \"{name}\" already exists")));
        }
        let id = self.shared.manager.allocate_id().await?;
        let public = self.shared.manager.allocate_id().await?;
        self.begin_ddl_of(CatalogPart::Database(id)).await?;
        let owner = view.user.clone();
        let database = DatabaseDescriptor { id, name, owner: owner.clone() };
        self.put_descriptor(Descriptor::Database(database)).await?;
        let schema = SchemaDescriptor { id: public, database_id: id, name: "public".into(), owner };
        self.put_descriptor(Descriptor::Schema(schema)).await?;
        done("CREATE DATABASE")
    }
}
