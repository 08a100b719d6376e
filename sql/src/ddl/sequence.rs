//! CREATE SEQUENCE, and the sequences of serial and identity columns.

use datafusion::sql::sqlparser::ast::{self, Expr, SequenceOptions};

use super::{exists_already, place};
use crate::bind::name_parts;
use crate::catalog::{Descriptor, SequenceDescriptor, TableDescriptor};
use crate::error::{SqlError, code};
use crate::session::{Outcome, Session, done};
use crate::types::{PgType, from_sqlparser};

impl Session {
    pub(super) async fn create_sequence(&mut self, sql: &ast::Statement) -> Result<Outcome, SqlError> {
        let ast::Statement::CreateSequence { temporary, if_not_exists, name, data_type, sequence_options, owned_by } =
            sql
        else {
            return Err(SqlError::internal("not CREATE SEQUENCE"));
        };
        if *temporary {
            return Err(SqlError::unsupported("CREATE TEMPORARY SEQUENCE"));
        }
        self.begin_ddl().await?;
        let (_, catalog, view) = self.ddl();
        let (schema_id, name) = place(&catalog, &view, name)?;
        if catalog.relation(schema_id, &name).is_some() {
            if *if_not_exists {
                self.notice(format!("relation \"{name}\" already exists, skipping"));
                return done("CREATE SEQUENCE");
            }
            return Err(exists_already(&name));
        }
        let ty = match data_type {
            Some(data_type) => from_sqlparser(data_type)?.0,
            None => PgType::Int8,
        };
        let id = self.shared.manager.allocate_id().await?;
        let mut sequence = with_options(plain(id, schema_id, &name, &view.user, ty)?, sequence_options)?;
        if let Some(owner) = owned_by {
            sequence.owned_by = owner_of(&catalog, &view, owner)?;
        }
        self.put_descriptor(Descriptor::Sequence(sequence)).await?;
        done("CREATE SEQUENCE")
    }
}

fn owner_of(
    catalog: &crate::catalog::Catalog,
    view: &crate::session::SessionView,
    owner: &ast::ObjectName,
) -> Result<Option<(u32, u32)>, SqlError> {
    let mut parts = name_parts(owner)?;
    let Some(column) = parts.pop() else { return Ok(None) };
    if parts.is_empty() && column == "none" {
        return Ok(None);
    }
    let table = crate::session::find_table(catalog, view, &parts)?;
    let column = table.column(&column).ok_or_else(|| {
        SqlError::new(
            code::UNDEFINED_COLUMN,
            format!("column \"{column}\" of relation \"{}\" does not exist", table.name),
        )
    })?;
    Ok(Some((table.id, column.id)))
}

/// The sequence of a serial or identity column.
pub(super) fn sequence_of_column(
    id: u32,
    table: &TableDescriptor,
    column_id: u32,
    name: &str,
    ty: PgType,
    options: &[SequenceOptions],
) -> Result<SequenceDescriptor, SqlError> {
    let mut sequence = with_options(plain(id, table.schema_id, name, &table.owner, ty)?, options)?;
    sequence.owned_by = Some((table.id, column_id));
    Ok(sequence)
}

fn plain(id: u32, schema_id: u32, name: &str, owner: &str, ty: PgType) -> Result<SequenceDescriptor, SqlError> {
    let max = match ty {
        PgType::Int2 => i64::from(i16::MAX),
        PgType::Int4 => i64::from(i32::MAX),
        PgType::Int8 => i64::MAX,
        _ => {
            return Err(SqlError::new(
                code::INVALID_PARAMETER_VALUE,
                "sequence type must be smallint, integer, or bigint",
            ));
        }
    };
    Ok(SequenceDescriptor {
        id,
        schema_id,
        name: name.to_owned(),
        owner: owner.to_owned(),
        ty,
        start: 1,
        increment: 1,
        min: 1,
        max,
        cycle: false,
        cache: 0,
        owned_by: None,
    })
}

/// Takes in the options of CREATE SEQUENCE.
fn with_options(mut sequence: SequenceDescriptor, options: &[SequenceOptions]) -> Result<SequenceDescriptor, SqlError> {
    let (mut start, mut min, mut max) = (None, None, None);
    for option in options {
        match option {
            SequenceOptions::IncrementBy(value, _) => sequence.increment = integer(value)?,
            SequenceOptions::MinValue(value) => min = value.as_ref().map(integer).transpose()?,
            SequenceOptions::MaxValue(value) => max = value.as_ref().map(integer).transpose()?,
            SequenceOptions::StartWith(value, _) => start = Some(integer(value)?),
            SequenceOptions::Cache(value) => sequence.cache = integer(value)?,
            SequenceOptions::Cycle(no) => sequence.cycle = !no,
        }
    }
    let invalid = |message: String| SqlError::new(code::INVALID_PARAMETER_VALUE, message);
    if sequence.increment == 0 {
        return Err(invalid("INCREMENT must not be zero".into()));
    }
    let largest = sequence.max;
    let (default_min, default_max) = if sequence.increment > 0 { (1, largest) } else { (-largest - 1, -1) };
    sequence.min = min.unwrap_or(default_min);
    sequence.max = max.unwrap_or(default_max);
    if sequence.min >= sequence.max {
        return Err(invalid(format!("MINVALUE ({}) must be less than MAXVALUE ({})", sequence.min, sequence.max)));
    }
    sequence.start = start.unwrap_or(if sequence.increment > 0 { sequence.min } else { sequence.max });
    if sequence.start < sequence.min || sequence.start > sequence.max {
        return Err(invalid(format!("START value ({}) is out of bounds", sequence.start)));
    }
    Ok(sequence)
}

fn integer(value: &Expr) -> Result<i64, SqlError> {
    value
        .to_string()
        .replace(' ', "")
        .parse()
        .map_err(|_| SqlError::new(code::INVALID_PARAMETER_VALUE, format!("{value} is not a bigint")))
}
