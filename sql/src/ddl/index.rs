//! CREATE INDEX, ALTER INDEX.

use datafusion::sql::sqlparser::ast::{self, AlterIndexOperation};

use super::backfill::Fill;
use super::build::{TableBuilder, index_columns};
use super::{exists_already, resolve};
use crate::bind::name_parts;
use crate::catalog::RelationRef;
use crate::error::{SqlError, code};
use crate::session::{Outcome, Session, done};

impl Session {
    pub(super) async fn create_index(&mut self, create: &ast::CreateIndex) -> Result<Outcome, SqlError> {
        let refused = [
            (create.predicate.is_some(), "a partial index"),
            (!create.include.is_empty(), "INCLUDE in an index"),
            (create.nulls_distinct == Some(false), "NULLS NOT DISTINCT"),
            (!matches!(create.using, None | Some(ast::IndexType::BTree)), "an index other than btree"),
        ];
        if let Some((_, what)) = refused.iter().find(|(asked, _)| *asked) {
            return Err(SqlError::unsupported(what));
        }
        let table = self.table_to_change(&name_parts(&create.table_name)?).await?;
        let (_, catalog, view) = self.ddl();
        let name = match &create.name {
            Some(name) => name_parts(name)?.pop(),
            None => None,
        };
        if let Some(name) = &name
            && catalog.relation(table.schema_id, name).is_some()
        {
            if create.if_not_exists {
                self.notice(format!("relation \"{name}\" already exists, skipping"));
                return done("CREATE INDEX");
            }
            return Err(exists_already(name));
        }
        let manager = self.shared.manager.clone();
        let mut builder = TableBuilder::of(table.descriptor().clone(), &view, &catalog, "");
        let columns = index_columns(&create.columns)?;
        let index_id = builder.add_index(name, columns, create.unique, false, &manager).await?;
        self.mark_fresh(table.id, index_id);
        let new = self.put_table(builder.table).await?;
        let index = new
            .indexes
            .iter()
            .find(|index| index.index_id == index_id)
            .ok_or_else(|| SqlError::internal("a new index vanished"))?;
        self.backfill(&table, &new, &Fill::Index(index)).await?;
        done("CREATE INDEX")
    }

    pub(super) async fn alter_index(&mut self, sql: &ast::Statement) -> Result<Outcome, SqlError> {
        let ast::Statement::AlterIndex { name, operation } = sql else {
            return Err(SqlError::internal("not ALTER INDEX"));
        };
        let AlterIndexOperation::RenameIndex { index_name } = operation;
        self.begin_ddl().await?;
        let (_, catalog, view) = self.ddl();
        let (found, full) = resolve(&catalog, &view, name)?;
        let Some(RelationRef::Index { table, index }) = found else {
            return Err(SqlError::new(code::UNDEFINED_TABLE, format!("relation \"{full}\" does not exist")));
        };
        let table = self.table_to_change_by_id(table).await?;
        let new_name = name_parts(index_name)?.pop().unwrap_or_default();
        if catalog.relation(table.schema_id, &new_name).is_some() {
            return Err(exists_already(&new_name));
        }
        let mut descriptor = table.descriptor().clone();
        for place in std::iter::once(&mut descriptor.primary).chain(&mut descriptor.indexes) {
            if place.id == index {
                place.name = new_name.clone();
            }
        }
        self.put_table(descriptor).await?;
        done("ALTER INDEX")
    }
}
