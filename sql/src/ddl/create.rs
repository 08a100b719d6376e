//! CREATE TABLE.

use datafusion::sql::sqlparser::ast::{self, CreateTableOptions, SqlOption};

use super::build::TableBuilder;
use super::{exists_already, place};
use crate::catalog::Descriptor;
use crate::error::{SqlError, code};
use crate::session::{Outcome, Session, Statement, done};

impl Session {
    pub(super) async fn create_table(
        &mut self,
        statement: &Statement,
        create: &ast::CreateTable,
    ) -> Result<Outcome, SqlError> {
        refuse(create)?;
        let options = match &create.table_options {
            CreateTableOptions::None => Vec::new(),
            CreateTableOptions::With(options) => storage_parameters(options)?,
            CreateTableOptions::Plain(options) => {
                options.iter().try_for_each(check_tablespace)?;
                Vec::new()
            }
            other => return Err(SqlError::unsupported(other)),
        };
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
        table.options = options;
        for notice in notices {
            self.notice(notice);
        }
        for sequence in sequences {
            self.put_descriptor(Descriptor::Sequence(sequence)).await?;
        }
        let indexes: Vec<u32> = table.all_indexes().map(|index| index.index_id).collect();
        self.mark_created(id);
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

/// There is one tablespace for tables, which may be named.
fn check_tablespace(option: &SqlOption) -> Result<(), SqlError> {
    match option {
        SqlOption::TableSpace(space) if space.name == "pg_default" => Ok(()),
        SqlOption::TableSpace(space) => {
            Err(SqlError::new(code::UNDEFINED_OBJECT, format!("tablespace \"{}\" does not exist", space.name)))
        }
        other => Err(SqlError::unsupported(other)),
    }
}

/// What PostgreSQL has storage parameters for, by how they begin.
const PARAMETERS: [&str; 8] = [
    "autovacuum_",
    "fillfactor",
    "log_autovacuum_min_duration",
    "parallel_workers",
    "toast.",
    "toast_tuple_target",
    "user_catalog_table",
    "vacuum_",
];

/// Storage parameters as they are kept: without effect, but shown.
///
/// # Errors
/// 22023 for those that PostgreSQL does not have either.
pub(super) fn storage_parameters(options: &[SqlOption]) -> Result<Vec<(String, String)>, SqlError> {
    let kept = options.iter().map(|option| {
        let (name, value) = match option {
            SqlOption::KeyValue { key, value } => (key.value.to_lowercase(), value.to_string()),
            SqlOption::Ident(key) => (key.value.to_lowercase(), "true".to_owned()),
            other => return Err(SqlError::unsupported(other)),
        };
        if PARAMETERS.iter().any(|known| name.starts_with(known)) {
            return Ok((name, value));
        }
        Err(SqlError::new(code::INVALID_PARAMETER_VALUE, format!("unrecognized parameter \"{name}\"")))
    });
    kept.collect()
}
