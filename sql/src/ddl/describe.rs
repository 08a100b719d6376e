//! A table as the CREATE TABLE statement that would make it.

use super::build::quoted;
use crate::catalog::{IndexDescriptor, Table};
use crate::types::format_type;

/// The statement.
pub(crate) fn create_statement(table: &Table) -> String {
    let mut lines = Vec::new();
    for position in &table.visible_positions {
        let column = &table.columns[*position];
        let mut line = format!("{} {}", quoted(&column.name), format_type(column.ty, column.typmod));
        if !column.nullable {
            line.push_str(" NOT NULL");
        }
        if let Some(default) = &column.default {
            line.push_str(" DEFAULT ");
            line.push_str(default);
        }
        lines.push(line);
    }
    if let Some(primary) = table.primary_key() {
        lines.push(format!("CONSTRAINT {} PRIMARY KEY ({})", quoted(&primary.name), columns(table, primary)));
    }
    for index in table.indexes.iter().filter(|index| index.constraint) {
        lines.push(format!("CONSTRAINT {} UNIQUE ({})", quoted(&index.name), columns(table, index)));
    }
    for check in &table.checks {
        let not_valid = if check.not_valid { " NOT VALID" } else { "" };
        lines.push(format!("CONSTRAINT {} CHECK ({}){not_valid}", quoted(&check.name), check.expression));
    }
    let mut out = format!("CREATE TABLE {} (\n    {}\n)", quoted(&table.name), lines.join(",\n    "));
    if !table.options.is_empty() {
        let options: Vec<String> = table.options.iter().map(|(name, value)| format!("{name}={value}")).collect();
        out.push_str(&format!(" WITH ({})", options.join(", ")));
    }
    for index in table.indexes.iter().filter(|index| !index.constraint) {
        let unique = if index.unique { "UNIQUE " } else { "" };
        out.push_str(&format!(
            ";\nCREATE {unique}INDEX {} ON {} ({})",
            quoted(&index.name),
            quoted(&table.name),
            columns(table, index)
        ));
    }
    out
}

fn columns(table: &Table, index: &IndexDescriptor) -> String {
    let parts = index.columns.iter().filter_map(|part| {
        let name = quoted(&table.column_by_id(part.column_id)?.name);
        Some(if part.descending { format!("{name} DESC") } else { name })
    });
    parts.collect::<Vec<_>>().join(", ")
}
