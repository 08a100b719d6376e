//! What column names may refer to.

use super::{BindError, BindResult};
use crate::catalog::Table;
use crate::error::{SqlError, code};
use crate::types::PgType;

/// The columns that names refer to; a column's place is its position in the row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    pub columns: Vec<ScopeColumn>,
}

/// One column in scope.
#[derive(Clone, Debug)]
pub(crate) struct ScopeColumn {
    /// The table's name or alias.
    pub qualifier: String,
    pub name: String,
    pub ty: PgType,
    pub typmod: i32,
    /// Not found by name: the hidden row ID.
    pub hidden: bool,
}

impl Scope {
    /// All columns of a table, under its name or alias.
    pub fn of_table(table: &Table, alias: Option<&str>) -> Self {
        let mut scope = Scope::default();
        scope.add_table(table, alias.unwrap_or(&table.name));
        scope
    }

    /// Adds all columns of a table.
    pub fn add_table(&mut self, table: &Table, qualifier: &str) {
        self.columns.extend(table.columns.iter().map(|column| ScopeColumn {
            qualifier: qualifier.to_owned(),
            name: column.name.clone(),
            ty: column.ty,
            typmod: column.typmod,
            hidden: column.hidden,
        }));
    }

    /// The position of a column by name.
    pub fn find(&self, qualifier: Option<&str>, name: &str) -> BindResult<usize> {
        let mut found = self.columns.iter().enumerate().filter(|(_, column)| {
            column.name == name && !column.hidden && qualifier.is_none_or(|qualifier| column.qualifier == qualifier)
        });
        match (found.next(), found.next()) {
            (Some((position, _)), None) => Ok(position),
            (Some(_), Some(_)) => Err(BindError::Sql(SqlError::new(
                code::AMBIGUOUS_COLUMN,
                format!("column reference \"{name}\" is ambiguous"),
            ))),
            (None, _) => Err(BindError::Sql(self.missing(qualifier, name))),
        }
    }

    fn missing(&self, qualifier: Option<&str>, name: &str) -> SqlError {
        match qualifier {
            Some(qualifier) if !self.columns.iter().any(|column| column.qualifier == qualifier) => {
                missing_from_entry(qualifier)
            }
            Some(qualifier) => {
                SqlError::new(code::UNDEFINED_COLUMN, format!("column {qualifier}.{name} does not exist"))
            }
            None if self.columns.iter().any(|column| column.qualifier == name) => {
                SqlError::unsupported(format!("the whole row {name} as a value"))
            }
            None => SqlError::new(code::UNDEFINED_COLUMN, format!("column \"{name}\" does not exist")),
        }
    }
}

/// The error for a table that the statement does not name.
pub(crate) fn missing_from_entry(qualifier: &str) -> SqlError {
    SqlError::new(code::UNDEFINED_TABLE, format!("missing FROM-clause entry for table \"{qualifier}\""))
}
