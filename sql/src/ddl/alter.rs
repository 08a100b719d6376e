//! ALTER TABLE.

use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    self, AlterColumnOperation, AlterTableOperation as Operation, ColumnOption, RenameTableNameKind, TableConstraint,
};
use txn::ScanRequest;

use super::backfill::{Fill, null_in};
use super::build::{TableBuilder, index_columns, refuse_deferral};
use super::create::storage_parameters;
use super::{exists_already, place, role_named};
use crate::bind::{name_parts, normalize};
use crate::catalog::{Descriptor, Table, TableDescriptor};
use crate::dml::codec::decode_row;
use crate::dml::insert::find_column;
use crate::dml::rules::{Rules, default_of};
use crate::error::{SqlError, code};
use crate::scalar::{EvalContext, Scalar, Sequences};
use crate::session::{Outcome, Session, Statement, done};
use crate::types::{Datum, PgType, to_text};

impl Session {
    pub(super) async fn alter_table(
        &mut self,
        statement: &Statement,
        alter: &ast::AlterTable,
    ) -> Result<Outcome, SqlError> {
        let parts = name_parts(&alter.name)?;
        self.handle().await?;
        let mut table = match self.table_to_change(&parts).await {
            Err(error) if alter.if_exists && error.code == code::UNDEFINED_TABLE => {
                self.notice(format!("relation \"{}\" does not exist, skipping", parts.join(".")));
                return done("ALTER TABLE");
            }
            found => found?,
        };
        for operation in &alter.operations {
            table = self.alter_once(statement, table, operation).await?;
        }
        done("ALTER TABLE")
    }

    async fn alter_once(
        &mut self,
        statement: &Statement,
        table: Arc<Table>,
        operation: &Operation,
    ) -> Result<Arc<Table>, SqlError> {
        match operation {
            Operation::AddColumn { if_not_exists, column_def, .. } => {
                if *if_not_exists && table.column(&normalize(&column_def.name)).is_some() {
                    let name = normalize(&column_def.name);
                    self.notice(format!("column \"{name}\" of relation \"{}\" already exists, skipping", table.name));
                    return Ok(table);
                }
                self.add_column(statement, &table, column_def).await
            }
            Operation::DropColumn { column_names, if_exists, .. } => {
                let mut table = table;
                for name in column_names {
                    table = self.drop_column(&table, &normalize(name), *if_exists).await?;
                }
                Ok(table)
            }
            Operation::AddConstraint { constraint: TableConstraint::Check(check), not_valid } => {
                self.add_check(statement, &table, check, *not_valid).await
            }
            Operation::AddConstraint { constraint, not_valid: true } => {
                Err(SqlError::unsupported(format!("{constraint} NOT VALID")))
            }
            Operation::AddConstraint { constraint, .. } => self.add_constraint(statement, &table, constraint).await,
            Operation::ValidateConstraint { name } => self.validate_constraint(&table, &normalize(name)).await,
            Operation::DropConstraint { if_exists, name, .. } => {
                self.drop_constraint(&table, &normalize(name), *if_exists).await
            }
            Operation::RenameColumn { old_column_name, new_column_name } => {
                let old = normalize(old_column_name);
                let missing = |_| SqlError::new(code::UNDEFINED_COLUMN, format!("column \"{old}\" does not exist"));
                let position = find_column(&table, &old).map_err(missing)?;
                let new = normalize(new_column_name);
                if table.column(&new).is_some() {
                    return Err(duplicate_column(&table, &new));
                }
                if !table.checks.is_empty() {
                    return Err(SqlError::unsupported("renaming a column of a table with CHECK constraints"));
                }
                let mut descriptor = table.descriptor().clone();
                descriptor.columns[position].name = new;
                self.put_table(descriptor).await
            }
            Operation::RenameTable { table_name } => {
                let (RenameTableNameKind::As(name) | RenameTableNameKind::To(name)) = table_name;
                let (_, catalog, view) = self.ddl();
                let (_, name) = place(&catalog, &view, name)?;
                if catalog.relation(table.schema_id, &name).is_some() {
                    return Err(exists_already(&name));
                }
                let mut descriptor = table.descriptor().clone();
                descriptor.name = name;
                self.put_table(descriptor).await
            }
            Operation::AlterColumn { column_name, op } => {
                self.alter_column(statement, &table, &normalize(column_name), op).await
            }
            Operation::OwnerTo { new_owner } => self.set_owner(&table, new_owner).await,
            Operation::SetOptionsParens { options } => {
                storage_parameters(options)?;
                Ok(table)
            }
            Operation::ReplicaIdentity { identity: ast::ReplicaIdentity::Default } => Ok(table),
            other => Err(SqlError::unsupported(format!("ALTER TABLE {other}"))),
        }
    }

    async fn set_owner(&mut self, table: &Arc<Table>, owner: &ast::Owner) -> Result<Arc<Table>, SqlError> {
        let mut descriptor = table.descriptor().clone();
        descriptor.owner = match owner {
            ast::Owner::Ident(role) => role_named(role)?,
            _ => self.view().user.clone(),
        };
        self.put_table(descriptor).await
    }

    async fn add_column(
        &mut self,
        statement: &Statement,
        table: &Arc<Table>,
        definition: &ast::ColumnDef,
    ) -> Result<Arc<Table>, SqlError> {
        let name = normalize(&definition.name);
        if table.column(&name).is_some() {
            return Err(duplicate_column(table, &name));
        }
        let makes_key = definition
            .options
            .iter()
            .any(|option| matches!(option.option, ColumnOption::PrimaryKey(_) | ColumnOption::Unique(_)));
        let (_, catalog, view) = self.ddl();
        let manager = self.shared.manager.clone();
        let mut builder = TableBuilder::of(table.descriptor().clone(), &view, &catalog, &statement.text);
        builder.add_column(definition, &manager).await?;
        builder.verify_checks()?;
        for sequence in std::mem::take(&mut builder.sequences) {
            self.put_descriptor(Descriptor::Sequence(sequence)).await?;
        }
        let mut descriptor = builder.table;
        let (_, catalog, view) = self.ddl();
        let column = descriptor.columns.last_mut().ok_or_else(|| SqlError::internal("no column was added"))?;
        let default = default_of(column, &catalog, &view)?;
        let mut draws = Vec::new();
        default.sequences(&mut draws);
        if draws.is_empty() && default.is_fixed() && !makes_key {
            let sequences = Sequences::default();
            let context = EvalContext { row: &[], params: &[], view: &view, sequences: &sequences };
            let value = default.eval(&context)?;
            let plain = crate::types::TypeSettings::default();
            column.missing = (!value.is_null()).then(|| to_text(&value, column.ty, column.typmod, &plain));
            let refuses_null = !column.nullable && value.is_null();
            let column_name = column.name.clone();
            if (refuses_null || !descriptor.checks.is_empty()) && self.has_rows(table).await? {
                if refuses_null {
                    return Err(null_in(&column_name, &table.name));
                }
                let new = Arc::new(Table::new(descriptor.clone(), table.valid_from));
                self.verify_rows(&new).await?;
            }
            return self.put_table(descriptor).await;
        }
        self.rewrite(table, descriptor, Some(default)).await
    }

    /// Gives the table new places, and fills them from the old; a new last column gets the value of `default` in each row.
    async fn rewrite(
        &mut self,
        table: &Arc<Table>,
        mut descriptor: TableDescriptor,
        default: Option<Scalar>,
    ) -> Result<Arc<Table>, SqlError> {
        let old: Vec<u32> = table.all_indexes().map(|index| index.index_id).collect();
        self.move_indexes(&mut descriptor).await?;
        let new = self.put_table(descriptor).await?;
        let fresh: Vec<u32> = new.all_indexes().map(|index| index.index_id).collect();
        fresh.into_iter().for_each(|index| self.mark_fresh(table.id, index));
        old.into_iter().for_each(|index| self.mark_stale(table.id, index));
        if default.is_some() && self.has_rows(table).await? {
            return Err(SqlError::unsupported(
                "adding a column whose default differs from row to row, or which is a key, to a table that has rows",
            ));
        }
        self.backfill(table, &new, &Fill::Rows).await?;
        Ok(new)
    }

    async fn drop_column(&mut self, table: &Arc<Table>, name: &str, if_exists: bool) -> Result<Arc<Table>, SqlError> {
        let Some(column) = table.column(name).filter(|column| !column.hidden) else {
            if if_exists {
                self.notice(format!("column \"{name}\" of relation \"{}\" does not exist, skipping", table.name));
                return Ok(table.clone());
            }
            return find_column(table, name).map(|_| table.clone());
        };
        let id = column.id;
        if table.primary.columns.iter().any(|part| part.column_id == id) {
            return Err(SqlError::unsupported("dropping a column of the primary key"));
        }
        let mut descriptor = table.descriptor().clone();
        let (gone, kept): (Vec<_>, Vec<_>) =
            descriptor.indexes.drain(..).partition(|index| index.columns.iter().any(|part| part.column_id == id));
        descriptor.indexes = kept;
        descriptor.columns.retain(|column| column.id != id);
        // A check that no longer binds was about the column.
        let (_, catalog, view) = self.ddl();
        let mut checks = std::mem::take(&mut descriptor.checks);
        checks.retain(|check| {
            let alone = TableDescriptor { checks: vec![check.clone()], ..descriptor.clone() };
            Rules::bind(&Table::new(alone, table.valid_from), &catalog, &view).is_ok()
        });
        descriptor.checks = checks;
        if let Some(sequence) = column.sequence_id {
            self.delete_descriptor(sequence).await?;
        }
        for index in gone {
            self.mark_stale(table.id, index.index_id);
        }
        self.put_table(descriptor).await
    }

    async fn add_constraint(
        &mut self,
        statement: &Statement,
        table: &Arc<Table>,
        constraint: &TableConstraint,
    ) -> Result<Arc<Table>, SqlError> {
        let (_, catalog, view) = self.ddl();
        let manager = self.shared.manager.clone();
        let mut builder = TableBuilder::of(table.descriptor().clone(), &view, &catalog, &statement.text);
        match constraint {
            TableConstraint::PrimaryKey(primary) => {
                refuse_deferral(primary.characteristics.as_ref())?;
                let columns = index_columns(&primary.columns)?;
                builder.set_primary(primary.name.as_ref().map(normalize), columns, &manager).await?;
                let mut descriptor = builder.table;
                // The hidden row ID has served its purpose.
                descriptor.columns.retain(|column| !column.hidden);
                self.rewrite(table, descriptor, None).await
            }
            TableConstraint::Unique(unique) => {
                refuse_deferral(unique.characteristics.as_ref())?;
                let columns = index_columns(&unique.columns)?;
                let name = unique.name.as_ref().map(normalize);
                let index_id = builder.add_index(name, columns, true, true, &manager).await?;
                self.mark_fresh(table.id, index_id);
                let new = self.put_table(builder.table).await?;
                let index = new.indexes.iter().find(|index| index.index_id == index_id).cloned();
                let index = index.ok_or_else(|| SqlError::internal("a new index vanished"))?;
                self.backfill(table, &new, &Fill::Index(&index)).await?;
                Ok(new)
            }
            other => Err(SqlError::unsupported(format!("ADD {other}"))),
        }
    }

    async fn add_check(
        &mut self,
        statement: &Statement,
        table: &Arc<Table>,
        check: &ast::CheckConstraint,
        not_valid: bool,
    ) -> Result<Arc<Table>, SqlError> {
        let (_, catalog, view) = self.ddl();
        let manager = self.shared.manager.clone();
        let mut builder = TableBuilder::of(table.descriptor().clone(), &view, &catalog, &statement.text);
        builder.add_constraint(&TableConstraint::Check(check.clone()), &manager).await?;
        builder.verify_checks()?;
        if let Some(added) = builder.table.checks.last_mut() {
            added.not_valid = not_valid;
        }
        let new = self.put_table(builder.table).await?;
        if !not_valid {
            self.verify_rows(&new).await?;
        }
        Ok(new)
    }

    async fn validate_constraint(&mut self, table: &Arc<Table>, name: &str) -> Result<Arc<Table>, SqlError> {
        let mut descriptor = table.descriptor().clone();
        let Some(check) = descriptor.checks.iter_mut().find(|check| check.name == name) else {
            let message = format!("constraint \"{name}\" of relation \"{}\" does not exist", table.name);
            return Err(match table.all_indexes().any(|index| index.constraint && index.name == name) {
                true => SqlError::new(
                    code::WRONG_OBJECT_TYPE,
                    format!(
                        "constraint \"{name}\" of relation \"{}\" is not a foreign key or check constraint",
                        table.name
                    ),
                ),
                false => SqlError::new(code::UNDEFINED_OBJECT, message),
            });
        };
        if !std::mem::take(&mut check.not_valid) {
            return Ok(table.clone());
        }
        let new = self.put_table(descriptor).await?;
        self.verify_rows(&new).await?;
        Ok(new)
    }

    async fn drop_constraint(
        &mut self,
        table: &Arc<Table>,
        name: &str,
        if_exists: bool,
    ) -> Result<Arc<Table>, SqlError> {
        let mut descriptor = table.descriptor().clone();
        if descriptor.has_primary_key && descriptor.primary.name == name {
            return Err(SqlError::unsupported("dropping a primary key"));
        }
        let checks = descriptor.checks.len();
        descriptor.checks.retain(|check| check.name != name);
        let index = descriptor.indexes.iter().position(|index| index.constraint && index.name == name);
        match index {
            Some(at) => {
                let index = descriptor.indexes.remove(at);
                self.mark_stale(table.id, index.index_id);
            }
            None if descriptor.checks.len() < checks => {}
            None if if_exists => {
                self.notice(format!("constraint \"{name}\" of relation \"{}\" does not exist, skipping", table.name));
                return Ok(table.clone());
            }
            None => {
                return Err(SqlError::new(
                    code::UNDEFINED_OBJECT,
                    format!("constraint \"{name}\" of relation \"{}\" does not exist", table.name),
                ));
            }
        }
        self.put_table(descriptor).await
    }

    async fn alter_column(
        &mut self,
        statement: &Statement,
        table: &Arc<Table>,
        name: &str,
        operation: &AlterColumnOperation,
    ) -> Result<Arc<Table>, SqlError> {
        let position = find_column(table, name)?;
        let mut descriptor = table.descriptor().clone();
        let column = &mut descriptor.columns[position];
        match operation {
            AlterColumnOperation::SetDefault { value } => {
                crate::session::check_kept(value)?;
                column.default = Some(value.to_string());
                let (_, catalog, view) = self.ddl();
                let builder = TableBuilder::of(table.descriptor().clone(), &view, &catalog, &statement.text);
                builder.verify_default(name, value)?;
            }
            AlterColumnOperation::DropDefault => column.default = None,
            AlterColumnOperation::DropNotNull => {
                if table.primary.columns.iter().any(|part| part.column_id == column.id) {
                    return Err(SqlError::new(
                        code::INVALID_TABLE_DEFINITION,
                        format!("column \"{name}\" is in a primary key"),
                    ));
                }
                column.nullable = true;
            }
            AlterColumnOperation::SetNotNull => {
                column.nullable = false;
                let new = Arc::new(Table::new(descriptor.clone(), table.valid_from));
                self.verify_rows(&new).await?;
            }
            AlterColumnOperation::SetDataType { data_type, using: None, .. } => {
                let (ty, typmod) = crate::types::from_sqlparser(data_type)?;
                let wider = ty == column.ty && (typmod < 0 || typmod >= column.typmod && column.typmod >= 0)
                    || matches!(
                        (column.ty, ty),
                        (PgType::Int2, PgType::Int4 | PgType::Int8) | (PgType::Int4, PgType::Int8)
                    )
                    || column.ty.is_string() && ty == PgType::Text;
                if !wider || ty == PgType::Bpchar {
                    return Err(SqlError::unsupported("changing a column's type where rows must be rewritten"));
                }
                (column.ty, column.typmod) = (ty, typmod);
            }
            other => return Err(SqlError::unsupported(format!("ALTER COLUMN {other}"))),
        }
        self.put_table(descriptor).await
    }

    async fn has_rows(&mut self, table: &Table) -> Result<bool, SqlError> {
        let transaction = self.open_handle().transaction.clone();
        let (start, end) = table.index_span(&table.primary);
        let mut request = ScanRequest { max_rows: 1, ..ScanRequest::over(start, end) };
        loop {
            let page = transaction.scan(&request).await?;
            match page.resume {
                _ if !page.rows.is_empty() => return Ok(true),
                Some(rest) => request = request.resumed(rest),
                None => return Ok(false),
            }
        }
    }

    /// Verifies every row against the table's rules.
    async fn verify_rows(&mut self, table: &Arc<Table>) -> Result<(), SqlError> {
        let (handle, catalog, view) = self.ddl();
        let transaction = handle.transaction.clone();
        let mut valid = table.descriptor().clone();
        valid.checks.retain(|check| !check.not_valid);
        let rules = Rules::bind(&Table::new(valid, table.valid_from), &catalog, &view)?;
        let (start, end) = table.index_span(&table.primary);
        let mut request = ScanRequest { max_bytes: 1 << 20, guarded: true, ..ScanRequest::over(start, end) };
        let sequences = Sequences::default();
        loop {
            let page = transaction.scan(&request).await?;
            for found in &page.rows {
                let row: Vec<Datum> = decode_row(table, &found.value)?;
                let context = EvalContext { row: &row, params: &[], view: &view, sequences: &sequences };
                rules.verify(table, &context).map_err(|error| match error.code {
                    code::CHECK_VIOLATION => {
                        let name = error.constraint.clone().unwrap_or_default();
                        SqlError::new(
                            code::CHECK_VIOLATION,
                            format!(
                                "check constraint \"{name}\" of relation \"{}\" is violated by some row",
                                table.name
                            ),
                        )
                        .table(&table.name)
                        .constraint(name)
                    }
                    _ => null_in(error.column.as_deref().unwrap_or_default(), &table.name),
                })?;
            }
            match page.resume {
                Some(rest) => request = request.resumed(rest),
                None => return Ok(()),
            }
        }
    }
}

fn duplicate_column(table: &Table, name: &str) -> SqlError {
    SqlError::new(code::DUPLICATE_COLUMN, format!("column \"{name}\" of relation \"{}\" already exists", table.name))
}
