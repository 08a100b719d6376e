//! `OVER (w …)`: the window that WINDOW names, copied where it is used, since the planner library forgets what is copied from.
//!
//! Source: PostgreSQL's transformWindowDefinitions.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, NamedWindowDefinition, NamedWindowExpr, OrderByKind, Query, Select, SetExpr, VisitMut, VisitorMut,
    WindowSpec, WindowType,
};

use crate::bind::normalize;
use crate::error::SqlError;

/// Copies the named windows of a SELECT to where they are named in brackets: in its own clauses and in the query's ORDER BY.
pub(super) fn copy_named(query: &mut Query) -> Result<(), SqlError> {
    let SetExpr::Select(select) = &mut *query.body else { return Ok(()) };
    settle_definitions(&mut select.named_window)?;
    let mut copier = Copier { windows: select.named_window.clone(), depth: 0 };
    let copied = visit_own(select, &mut copier);
    let order_by = query.order_by.as_mut().map(|order_by| &mut order_by.kind);
    let copied = match (copied, order_by) {
        (ControlFlow::Continue(()), Some(OrderByKind::Expressions(keys))) => {
            keys.iter_mut().try_for_each(|key| key.expr.visit(&mut copier))
        }
        (copied, _) => copied,
    };
    match copied {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Windows that are defined by those before them.
fn settle_definitions(windows: &mut [NamedWindowDefinition]) -> Result<(), SqlError> {
    for place in 0..windows.len() {
        let (before, from) = windows.split_at_mut(place);
        if let NamedWindowExpr::WindowSpec(spec) = &mut from[0].1 {
            copy(spec, before)?;
        }
    }
    Ok(())
}

fn visit_own(select: &mut Select, copier: &mut Copier) -> ControlFlow<SqlError> {
    select.projection.visit(copier)?;
    select.distinct.visit(copier)?;
    ControlFlow::Continue(())
}

struct Copier {
    windows: Vec<NamedWindowDefinition>,
    depth: usize,
}

impl VisitorMut for Copier {
    type Break = SqlError;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<SqlError> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<SqlError> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        if let (0, Expr::Function(function)) = (self.depth, expr)
            && let Some(WindowType::WindowSpec(spec)) = &mut function.over
            && let Err(error) = copy(spec, &self.windows)
        {
            return ControlFlow::Break(error);
        }
        ControlFlow::Continue(())
    }
}

/// Completes a window by the one it names.
fn copy(spec: &mut WindowSpec, windows: &[NamedWindowDefinition]) -> Result<(), SqlError> {
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
