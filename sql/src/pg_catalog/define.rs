//! Objects written down as the SQL that would make them.

use super::Context;
use super::context::{Relation, quote_identifier, shown_indexes};
use crate::catalog::{IndexDescriptor, Table};

/// `CREATE INDEX …`, the table's name always qualified.
pub(super) fn index_definition(context: &Context, table: &std::sync::Arc<Table>, index: &IndexDescriptor) -> String {
    format!(
        "CREATE {}INDEX {} ON {} USING btree ({})",
        if index.unique { "UNIQUE " } else { "" },
        quote_identifier(&index.name),
        context.qualified_name(&Relation::Table(table.clone())),
        index_parts(table, index).join(", ")
    )
}

/// An index's columns with their order, as far as it is not the usual one.
fn index_parts(table: &Table, index: &IndexDescriptor) -> Vec<String> {
    let part = |part: &crate::catalog::IndexColumn| {
        let column = table.column_by_id(part.column_id).filter(|column| !column.hidden)?;
        let order = match (part.descending, part.nulls_first) {
            (false, false) => "",
            (false, true) => " NULLS FIRST",
            (true, true) => " DESC",
            (true, false) => " DESC NULLS LAST",
        };
        Some(format!("{}{order}", quote_identifier(&column.name)))
    };
    index.columns.iter().filter_map(part).collect()
}

/// The name of an index's column, counted from 1.
pub(super) fn index_column(table: &Table, index: &IndexDescriptor, number: usize) -> Option<String> {
    let part = index.columns.get(number.checked_sub(1)?)?;
    table.column_by_id(part.column_id).map(|column| quote_identifier(&column.name))
}

/// A constraint as it stands in a table's definition; the constraint of an index has the index's OID.
pub(super) fn constraint_definition(context: &Context, id: u32, pretty: bool) -> Option<String> {
    context.tables().find_map(|table| {
        if let Some(check) = table.checks.iter().find(|check| check.id == id) {
            let expression = &check.expression;
            let not_valid = if check.not_valid { " NOT VALID" } else { "" };
            let condition = if pretty { format!("({expression})") } else { format!("(({expression}))") };
            return Some(format!("CHECK {condition}{not_valid}"));
        }
        let index = shown_indexes(table).find(|index| index.id == id)?;
        let kind = if index.id == table.primary.id { "PRIMARY KEY" } else { "UNIQUE" };
        let columns = super::context::index_columns(table, index);
        let names: Vec<String> = columns.into_iter().map(|column| quote_identifier(&column.name)).collect();
        Some(format!("{kind} ({})", names.join(", ")))
    })
}
