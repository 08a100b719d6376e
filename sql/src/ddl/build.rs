//! A table's descriptor, put together from column definitions and constraints.

use std::collections::BTreeSet;

use datafusion::sql::sqlparser::ast::{self, ColumnOption, DataType, Expr, GeneratedAs, TableConstraint};

use super::free_name;
use super::sequence::sequence_of_column;
use crate::bind::{Binder, ParamTypes, Scope, check_collation, normalize};
use crate::catalog::{
    Catalog, CatalogManager, CheckDescriptor, ColumnDescriptor, FIRST_INDEX_ID, Identity, IndexColumn, IndexDescriptor,
    SequenceDescriptor, TableDescriptor,
};
use crate::error::{SqlError, code};
use crate::session::SessionView;
use crate::types::{PgType, from_sqlparser};

/// The name of the hidden row ID.
pub(super) const ROW_ID: &str = "rowid";

/// Puts a table's descriptor together.
pub(super) struct TableBuilder<'a> {
    pub table: TableDescriptor,
    /// Sequences of serial and identity columns.
    pub sequences: Vec<SequenceDescriptor>,
    pub notices: Vec<String>,
    view: &'a SessionView,
    catalog: &'a Catalog,
    text: &'a str,
    has_primary: bool,
    /// Names given to indexes and sequences so far.
    taken: Vec<String>,
}

/// Constraints are checked as each statement writes.
pub(super) fn refuse_deferral(asked: Option<&ast::ConstraintCharacteristics>) -> Result<(), SqlError> {
    let Some(asked) = asked else { return Ok(()) };
    if asked.deferrable == Some(true) || asked.initially == Some(ast::DeferrableInitial::Deferred) {
        return Err(SqlError::unsupported("a DEFERRABLE constraint"));
    }
    refuse_unenforced(asked.enforced)
}

fn refuse_unenforced(enforced: Option<bool>) -> Result<(), SqlError> {
    match enforced {
        Some(false) => Err(SqlError::unsupported("a NOT ENFORCED constraint")),
        _ => Ok(()),
    }
}

impl<'a> TableBuilder<'a> {
    pub fn new(
        id: u32,
        schema_id: u32,
        name: &str,
        view: &'a SessionView,
        catalog: &'a Catalog,
        text: &'a str,
    ) -> Self {
        let primary = IndexDescriptor {
            id: 0,
            index_id: FIRST_INDEX_ID,
            name: String::new(),
            columns: vec![],
            unique: true,
            constraint: true,
        };
        let table = TableDescriptor {
            id,
            version: 0,
            schema_id,
            name: name.to_owned(),
            owner: view.user.clone(),
            columns: Vec::new(),
            next_column_id: 1,
            primary,
            has_primary_key: false,
            indexes: Vec::new(),
            checks: Vec::new(),
            options: Vec::new(),
            lock: None,
        };
        let taken = vec![name.to_owned()];
        TableBuilder { table, sequences: vec![], notices: vec![], view, catalog, text, has_primary: false, taken }
    }

    /// Goes on with a table that exists.
    pub fn of(table: TableDescriptor, view: &'a SessionView, catalog: &'a Catalog, text: &'a str) -> Self {
        let has_primary = table.has_primary_key;
        TableBuilder { table, sequences: vec![], notices: vec![], view, catalog, text, has_primary, taken: vec![] }
    }

    /// Adds a column with its constraints.
    pub async fn add_column(&mut self, definition: &ast::ColumnDef, manager: &CatalogManager) -> Result<(), SqlError> {
        let name = normalize(&definition.name);
        if self.table.column(&name).is_some() {
            return Err(SqlError::new(code::DUPLICATE_COLUMN, format!("column \"{name}\" specified more than once")));
        }
        let serial = serial_type(&definition.data_type);
        let (ty, typmod) = match serial {
            Some(ty) => (ty, -1),
            None => from_sqlparser(&definition.data_type)?,
        };
        let id = self.table.next_column_id;
        self.table.next_column_id += 1;
        self.table.columns.push(ColumnDescriptor {
            id,
            name: name.clone(),
            ty,
            typmod,
            nullable: serial.is_none(),
            default: None,
            missing: None,
            identity: None,
            sequence_id: None,
            hidden: false,
        });
        if serial.is_some() {
            let sequence = self.add_sequence(&name, ty, &[], manager).await?;
            // Not every search path leads to another schema than the one that all have.
            let schema = self.catalog.schema_by_id(self.table.schema_id).filter(|schema| schema.name != "public");
            let schema = schema.map(|schema| quoted(&schema.name) + ".").unwrap_or_default();
            let place = self.column_mut(&name)?;
            place.default = Some(format!("nextval('{schema}{}'::regclass)", quoted(&sequence)));
        }
        for option in &definition.options {
            self.add_option(&name, option, manager).await?;
        }
        Ok(())
    }

    async fn add_option(
        &mut self,
        column: &str,
        option: &ast::ColumnOptionDef,
        manager: &CatalogManager,
    ) -> Result<(), SqlError> {
        let constraint_name = option.name.as_ref().map(normalize);
        let columns = || vec![(column.to_owned(), false, false)];
        match &option.option {
            ColumnOption::Null => {}
            ColumnOption::NotNull => self.column_mut(column)?.nullable = false,
            ColumnOption::Default(expr) => {
                self.verify_default(column, expr)?;
                crate::session::check_kept(expr)?;
                self.column_mut(column)?.default = Some(expr.to_string());
            }
            ColumnOption::PrimaryKey(primary) => {
                refuse_deferral(primary.characteristics.as_ref())?;
                self.set_primary(constraint_name, columns(), manager).await?;
            }
            ColumnOption::Unique(unique) => {
                refuse_deferral(unique.characteristics.as_ref())?;
                self.add_unique(constraint_name, columns(), manager).await?;
            }
            ColumnOption::Check(check) => {
                refuse_unenforced(check.enforced)?;
                self.add_check(constraint_name, &check.expr, manager).await?;
            }
            ColumnOption::Generated { generated_as, sequence_options, generation_expr: None, .. } => {
                let identity = match generated_as {
                    GeneratedAs::Always => Identity::Always,
                    GeneratedAs::ByDefault => Identity::ByDefault,
                    GeneratedAs::ExpStored => return Err(SqlError::unsupported("a generated column")),
                };
                let ty = self.column_mut(column)?.ty;
                let options = sequence_options.clone().unwrap_or_default();
                self.add_sequence(column, ty, &options, manager).await?;
                let place = self.column_mut(column)?;
                place.identity = Some(identity);
                place.nullable = false;
            }
            ColumnOption::Collation(collation) => check_collation(collation)?,
            ColumnOption::ForeignKey(_) => return Err(SqlError::unsupported("FOREIGN KEY")),
            other => return Err(SqlError::unsupported(other)),
        }
        Ok(())
    }

    /// Adds a table constraint.
    pub async fn add_constraint(
        &mut self,
        constraint: &TableConstraint,
        manager: &CatalogManager,
    ) -> Result<(), SqlError> {
        match constraint {
            TableConstraint::PrimaryKey(primary) => {
                refuse_deferral(primary.characteristics.as_ref())?;
                let columns = index_columns(&primary.columns)?;
                self.set_primary(primary.name.as_ref().map(normalize), columns, manager).await
            }
            TableConstraint::Unique(unique) => {
                refuse_deferral(unique.characteristics.as_ref())?;
                let columns = index_columns(&unique.columns)?;
                self.add_unique(unique.name.as_ref().map(normalize), columns, manager).await
            }
            TableConstraint::Check(check) => {
                refuse_unenforced(check.enforced)?;
                self.add_check(check.name.as_ref().map(normalize), &check.expr, manager).await
            }
            TableConstraint::ForeignKey(_) => Err(SqlError::unsupported("FOREIGN KEY")),
            other => Err(SqlError::unsupported(other)),
        }
    }

    /// Makes the columns the primary key.
    pub async fn set_primary(
        &mut self,
        name: Option<String>,
        columns: Vec<(String, bool, bool)>,
        manager: &CatalogManager,
    ) -> Result<(), SqlError> {
        if self.has_primary {
            return Err(SqlError::new(
                code::INVALID_TABLE_DEFINITION,
                format!("multiple primary keys for table \"{}\" are not allowed", self.table.name),
            ));
        }
        let parts = self.index_parts(&columns, true)?;
        for part in &parts {
            if let Some(column) = self.table.columns.iter_mut().find(|column| column.id == part.column_id) {
                column.nullable = false;
            }
        }
        let name = self.index_name(name, &format!("{}_pkey", self.table.name))?;
        let index_id = self.table.primary.index_id;
        self.table.primary = IndexDescriptor {
            id: manager.allocate_id().await?,
            index_id,
            name,
            columns: parts,
            unique: true,
            constraint: true,
        };
        self.table.has_primary_key = true;
        self.has_primary = true;
        Ok(())
    }

    async fn add_unique(
        &mut self,
        name: Option<String>,
        columns: Vec<(String, bool, bool)>,
        manager: &CatalogManager,
    ) -> Result<(), SqlError> {
        self.add_index(name, columns, true, true, manager).await.map(|_| ())
    }

    /// Adds a secondary index. Returns its place in the table's keyspace.
    pub async fn add_index(
        &mut self,
        name: Option<String>,
        columns: Vec<(String, bool, bool)>,
        unique: bool,
        constraint: bool,
        manager: &CatalogManager,
    ) -> Result<u32, SqlError> {
        let parts = self.index_parts(&columns, constraint)?;
        let names: Vec<&str> = columns.iter().map(|(name, _, _)| name.as_str()).collect();
        let suffix = if constraint { "key" } else { "idx" };
        let name = self.index_name(name, &format!("{}_{}_{suffix}", self.table.name, names.join("_")))?;
        let id = manager.allocate_id().await?;
        self.table.indexes.push(IndexDescriptor { id, index_id: id, name, columns: parts, unique, constraint });
        Ok(id)
    }

    async fn add_check(&mut self, name: Option<String>, expr: &Expr, manager: &CatalogManager) -> Result<(), SqlError> {
        // A check on one column is named after it.
        let named: BTreeSet<String> =
            columns_named(expr).into_iter().filter(|name| self.table.column(name).is_some()).collect();
        let base = match named.first() {
            Some(column) if named.len() == 1 => format!("{}_{column}_check", self.table.name),
            _ => format!("{}_check", self.table.name),
        };
        let exists = |table: &TableDescriptor, name: &str| table.checks.iter().any(|check| check.name == name);
        let name = match name {
            Some(name) if exists(&self.table, &name) => {
                return Err(SqlError::new(
                    code::DUPLICATE_OBJECT,
                    format!("constraint \"{name}\" for relation \"{}\" already exists", self.table.name),
                ));
            }
            Some(name) => name,
            None => std::iter::once(base.clone())
                .chain((1..).map(|number| format!("{base}{number}")))
                .find(|name| !exists(&self.table, name))
                .expect("the numbers do not end"),
        };
        let id = manager.allocate_id().await?;
        crate::session::check_kept(expr)?;
        self.table.checks.push(CheckDescriptor { id, name, expression: expr.to_string(), not_valid: false });
        Ok(())
    }

    async fn add_sequence(
        &mut self,
        column: &str,
        ty: PgType,
        options: &[ast::SequenceOptions],
        manager: &CatalogManager,
    ) -> Result<String, SqlError> {
        let base = format!("{}_{column}_seq", self.table.name);
        let name = free_name(self.catalog, self.table.schema_id, &self.taken, &base);
        self.taken.push(name.clone());
        let id = manager.allocate_id().await?;
        let column_id = self.column_mut(column)?.id;
        let sequence = sequence_of_column(id, &self.table, column_id, &name, ty, options)?;
        self.sequences.push(sequence);
        self.column_mut(column)?.sequence_id = Some(id);
        Ok(name)
    }

    /// Ends: a table without a primary key gets a hidden row ID; checks must be sound.
    pub async fn finish(
        mut self,
        manager: &CatalogManager,
    ) -> Result<(TableDescriptor, Vec<SequenceDescriptor>, Vec<String>), SqlError> {
        if self.table.primary.columns.is_empty() {
            let name = if self.table.column(ROW_ID).is_some() { "rowid_1" } else { ROW_ID };
            let id = self.table.next_column_id;
            self.table.next_column_id += 1;
            self.table.columns.push(ColumnDescriptor {
                id,
                name: name.to_owned(),
                ty: PgType::Int8,
                typmod: -1,
                nullable: false,
                default: None,
                missing: None,
                identity: None,
                sequence_id: None,
                hidden: true,
            });
            let part = IndexColumn { column_id: id, descending: false, nulls_first: false };
            self.table.primary.columns = vec![part];
            self.table.primary.id = manager.allocate_id().await?;
            self.table.primary.name = format!("{}_rowid", self.table.name);
        }
        self.verify_checks()?;
        Ok((self.table, self.sequences, self.notices))
    }

    /// Binds every check, so that a wrong one shows now.
    pub fn verify_checks(&self) -> Result<(), SqlError> {
        let table = crate::catalog::Table::new(self.table.clone(), clock::Timestamp::MIN);
        crate::dml::rules::Rules::bind(&table, self.catalog, self.view).map(|_| ())
    }

    /// Binds a default, so that a wrong one shows now.
    pub fn verify_default(&self, column: &str, expr: &Expr) -> Result<(), SqlError> {
        let Some(column) = self.table.column(column) else { return Ok(()) };
        let (mut params, scope) = (ParamTypes::default(), Scope::default());
        let mut binder = Binder::new(self.catalog, self.view, &scope, self.text, &mut params);
        binder.bind_assigned(expr, &column.name, column.ty, column.typmod)?;
        match params.known() {
            [] => Ok(()),
            _ => Err(SqlError::new(code::UNDEFINED_PARAMETER, "a default cannot have parameters")),
        }
    }

    fn column_mut(&mut self, name: &str) -> Result<&mut ColumnDescriptor, SqlError> {
        let missing = missing_column(name, true);
        self.table.columns.iter_mut().find(|column| column.name == name && !column.hidden).ok_or(missing)
    }

    fn index_parts(&self, columns: &[(String, bool, bool)], constraint: bool) -> Result<Vec<IndexColumn>, SqlError> {
        let mut parts: Vec<IndexColumn> = Vec::with_capacity(columns.len());
        for (name, descending, nulls_first) in columns {
            let column = self
                .table
                .column(name)
                .filter(|column| !column.hidden)
                .ok_or_else(|| missing_column(name, constraint))?;
            if matches!(column.ty, PgType::Json | PgType::Jsonb) {
                return Err(SqlError::unsupported(format!("an index on {}", column.ty.typname())));
            }
            if parts.iter().any(|part| part.column_id == column.id) {
                return Err(SqlError::new(
                    code::DUPLICATE_COLUMN,
                    format!("column \"{name}\" appears twice in the constraint"),
                ));
            }
            parts.push(IndexColumn { column_id: column.id, descending: *descending, nulls_first: *nulls_first });
        }
        Ok(parts)
    }

    fn index_name(&mut self, given: Option<String>, base: &str) -> Result<String, SqlError> {
        let name = match given {
            Some(name) => {
                if self.catalog.relation(self.table.schema_id, &name).is_some() || self.taken.contains(&name) {
                    return Err(super::exists_already(&name));
                }
                name
            }
            None => free_name(self.catalog, self.table.schema_id, &self.taken, base),
        };
        self.taken.push(name.clone());
        Ok(name)
    }
}

/// The names that may be columns in an expression.
fn columns_named(expr: &Expr) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let _ = ast::visit_expressions(expr, |expr| {
        match expr {
            Expr::Identifier(ident) => drop(names.insert(normalize(ident))),
            Expr::CompoundIdentifier(parts) => names.extend(parts.last().map(normalize)),
            _ => {}
        }
        std::ops::ControlFlow::<()>::Continue(())
    });
    names
}

fn missing_column(name: &str, constraint: bool) -> SqlError {
    let place = if constraint { " named in key" } else { "" };
    SqlError::new(code::UNDEFINED_COLUMN, format!("column \"{name}\"{place} does not exist"))
}

/// The columns of an index: name, descending, NULLs first.
pub(super) fn index_columns(columns: &[ast::IndexColumn]) -> Result<Vec<(String, bool, bool)>, SqlError> {
    columns
        .iter()
        .map(|column| match &column.column.expr {
            Expr::Identifier(ident) => {
                let descending = column.column.options.asc == Some(false);
                // NULLs are larger than everything else.
                let nulls_first = column.column.options.nulls_first.unwrap_or(descending);
                Ok((normalize(ident), descending, nulls_first))
            }
            other => Err(SqlError::unsupported(format!("an index on the expression {other}"))),
        })
        .collect()
}

fn serial_type(data_type: &DataType) -> Option<PgType> {
    let DataType::Custom(name, modifiers) = data_type else { return None };
    if !modifiers.is_empty() {
        return None;
    }
    match name.to_string().to_lowercase().as_str() {
        "serial" | "serial4" => Some(PgType::Int4),
        "bigserial" | "serial8" => Some(PgType::Int8),
        "smallserial" | "serial2" => Some(PgType::Int2),
        _ => None,
    }
}

/// A name as it must be written for [`crate::bind`] to find it.
pub(super) fn quoted(name: &str) -> String {
    let plain = !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.chars().all(|at| at == '_' || at.is_ascii_lowercase() || at.is_ascii_digit());
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}
