//! `OVER (w …)`: the window that WINDOW names, copied where it is used, since the planner library forgets what is copied from.
//!
//! Source: PostgreSQL's transformWindowDefinitions.

use datafusion::sql::sqlparser::ast::{Ident, NamedWindowDefinition, NamedWindowExpr, Query, SetExpr, WindowSpec};

use crate::bind::normalize;
use crate::error::SqlError;

/// The named windows of a query, which its own clauses may name, those that are defined by others completed.
pub(super) fn named(query: &mut Query) -> Result<Vec<NamedWindowDefinition>, SqlError> {
    let SetExpr::Select(select) = &mut *query.body else { return Ok(Vec::new()) };
    let windows = &mut select.named_window;
    for place in 0..windows.len() {
        let (before, from) = windows.split_at_mut(place);
        if let NamedWindowExpr::WindowSpec(spec) = &mut from[0].1 {
            copy(spec, before)?;
        }
    }
    Ok(windows.clone())
}

/// Completes a window by the one it names.
pub(super) fn copy(spec: &mut WindowSpec, windows: &[NamedWindowDefinition]) -> Result<(), SqlError> {
    let Some(name) = spec.window_name.take() else { return Ok(()) };
    let named = found(&name, windows)?;
    let refused = |what: &str| {
        let name = normalize(&name);
        Err(SqlError::new("42P20", what.replace("{}", &name)))
    };
    if !spec.partition_by.is_empty() {
        return refused("cannot override PARTITION BY clause of window \"{}\"");
    }
    if !spec.order_by.is_empty() && !named.order_by.is_empty() {
        return refused("cannot override ORDER BY clause of window \"{}\"");
    }
    if named.window_frame.is_some() {
        return refused("cannot copy window \"{}\" because it has a frame clause");
    }
    spec.partition_by = named.partition_by;
    if spec.order_by.is_empty() {
        spec.order_by = named.order_by;
    }
    Ok(())
}

fn found(name: &Ident, windows: &[NamedWindowDefinition]) -> Result<WindowSpec, SqlError> {
    let wanted = normalize(name);
    let definition = windows.iter().find(|definition| normalize(&definition.0) == wanted);
    match definition.map(|definition| &definition.1) {
        Some(NamedWindowExpr::WindowSpec(spec)) => Ok(spec.clone()),
        Some(NamedWindowExpr::NamedWindow(other)) => found(other, windows),
        None => Err(SqlError::new("42704", format!("window \"{wanted}\" does not exist"))),
    }
}
