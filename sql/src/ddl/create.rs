//! CREATE TABLE.

use datafusion::sql::sqlparser::ast::{self, CreateTableOptions, SqlOption};

use super::build::TableBuilder;
use super::{exists_already, place};
use crate::catalog::Descriptor;
use crate::error::SqlError;
use crate::session::{Outcome, Session, Statement, done};

impl Session {
    pub(super) async fn create_table(
        &mut self,
        statement: &Statement,
        create: &ast::CreateTable,
    ) -> Result<Outcome, SqlError> {
        refuse(create)?;
        self.begin_ddl().await?;
        let (_, catalog, view) = self.ddl();
        let (schema_id, name) = place(&catalog, &view, &create.name)?;
        if catalog.relation(schema_id, &name).is_some() {
            if create.if_not_exists {
                self.notice(format!("relation \"{name}\" already exists, skipping"));
                return done("CREATE TABLE");
            }
            return Err(exists_already(&name));
        }
        let manager = self.shared.manager.clone();
        let id = manager.allocate_id().await?;
        let mut builder = TableBuilder::new(id, schema_id, &name, &view, &catalog, &statement.text);
        for column in &create.columns {
            builder.add_column(column, &manager).await?;
        }
        for constraint in &create.constraints {
            builder.add_constraint(constraint, &manager).await?;
        }
        let (mut table, sequences, notices) = builder.finish(&manager).await?;
        table.options = options(&create.table_options);
        for notice in notices {
            self.notice(notice);
        }
        for sequence in sequences {
            self.put_descriptor(Descriptor::Sequence(sequence)).await?;
        }
        let indexes: Vec<u32> = table.all_indexes().map(|index| index.index_id).collect();
        self.put_table(table).await?;
        for index in indexes {
            self.mark_fresh(id, index);
        }
        done("CREATE TABLE")
    }
}

fn refuse(create: &ast::CreateTable) -> Result<(), SqlError> {
    let refused = [
        (create.temporary, "CREATE TEMPORARY TABLE"),
        (create.query.is_some(), "CREATE TABLE AS"),
        (create.like.is_some(), "CREATE TABLE LIKE"),
        (create.inherits.is_some(), "INHERITS"),
        (create.partition_by.is_some() || create.partition_of.is_some(), "PARTITION"),
        (create.or_replace, "CREATE OR REPLACE TABLE"),
        (create.on_commit.is_some(), "ON COMMIT"),
    ];
    match refused.iter().find(|(asked, _)| *asked) {
        Some((_, what)) => Err(SqlError::unsupported(what)),
        None => Ok(()),
    }
}

/// Storage parameters as they are kept: without effect, but shown.
fn options(options: &CreateTableOptions) -> Vec<(String, String)> {
    let CreateTableOptions::With(options) = options else { return Vec::new() };
    options
        .iter()
        .filter_map(|option| match option {
            SqlOption::KeyValue { key, value } => Some((key.value.to_lowercase(), value.to_string())),
            _ => None,
        })
        .collect()
}
