//! Subqueries on system tables in a form that can be joined.
//!
//! ```text
//!   (SELECT x FROM d WHERE d.a = o.a AND o.b)      CASE WHEN o.b THEN (SELECT first_value(x) FROM d WHERE d.a = o.a) END
//!   (SELECT x FROM d WHERE d.a = o.a AND o.a <> d.c)        (SELECT first_value(x) FROM d WHERE d.a = o.a AND d.a <> d.c)
//!   (SELECT f(d.x, o.y) FROM d WHERE d.a = o.a)    CASE WHEN EXISTS (…) THEN f((SELECT d.x FROM d WHERE d.a = o.a), o.y) END
//!   EXISTS (SELECT … FROM d WHERE d.a = o.a)       (SELECT count(*) FROM d WHERE d.a = o.a) > 0     in a select list
//! ```
//!
//! The catalogs are read by their keys, so that a second row, which would be an error, does not occur.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, Query, Select, SelectItem, SetExpr, TableFactor, TableWithJoins, VisitMut, VisitorMut,
    visit_expressions,
};
use datafusion::sql::sqlparser::parser::Parser;

use super::{aggregates, parse, same, system_table};
use crate::session::tree_of;

/// What stands for a scalar subquery on system tables that depends on the query around it.
pub(super) fn scalar(query: &Query) -> Option<Expr> {
    let (mut query, own) = correlated(query)?;
    let whole = query.clone();
    let SetExpr::Select(select) = &mut *query.body else { return None };
    let [SelectItem::UnnamedExpr(item) | SelectItem::ExprWithAlias { expr: item, .. }] = &select.projection[..] else {
        return None;
    };
    if select.distinct.is_some() || query.limit_clause.is_some() || query.order_by.is_some() || aggregates(select) {
        return None;
    }
    let alias = match (&select.projection[0], item) {
        (SelectItem::ExprWithAlias { alias, .. }, _) => Some(alias.clone()),
        (_, Expr::Function(function)) => function.name.0.last().map(|part| Ident::new(part.to_string())),
        (_, Expr::CompoundIdentifier(parts)) => parts.last().cloned(),
        (_, Expr::Identifier(name)) => Some(name.clone()),
        _ => None,
    };
    if foreign(item, &own) {
        return apart(whole, &own, item.clone());
    }
    let first = parse(&format!("first_value({item})"), |parser| parser.parse_expr())?;
    select.projection = vec![SelectItem::ExprWithAlias { expr: first, alias: alias.unwrap_or_else(unnamed) }];
    let outer = settle(select, &own);
    let subquery = Expr::Subquery(Box::new(query));
    if outer.is_empty() {
        return Some(subquery);
    }
    let condition = outer.iter().map(|expr| format!("({expr})")).collect::<Vec<_>>().join(" AND ");
    parse(&format!("CASE WHEN {condition} THEN {subquery} END"), |parser| parser.parse_expr())
}

/// What stands for EXISTS in a select list.
pub(super) fn exists(query: &Query, negated: bool) -> Option<Expr> {
    let (mut query, own) = correlated(query)?;
    let SetExpr::Select(select) = &mut *query.body else { return None };
    if query.limit_clause.is_some() || aggregates(select) {
        return None;
    }
    let count = parse("count(*)", |parser| parser.parse_expr())?;
    select.projection = vec![SelectItem::UnnamedExpr(count)];
    let outer = settle(select, &own);
    let mut text = format!("(({query}) > 0)");
    for expr in &outer {
        text = format!("({text} AND ({expr}))");
    }
    if negated {
        text = format!("(NOT {text})");
    }
    parse(&text, |parser: &mut Parser<'_>| parser.parse_expr())
}

fn unnamed() -> Ident {
    Ident::new("?column?")
}

/// A subquery that reads system tables only and names columns of other tables than its own, with the names of its own.
fn correlated(query: &Query) -> Option<(Query, BTreeSet<String>)> {
    let SetExpr::Select(select) = &*query.body else { return None };
    let mut own = BTreeSet::new();
    if query.with.is_some() || select.from.is_empty() || !select.from.iter().all(|from| names(from, &mut own)) {
        return None;
    }
    foreign(select.selection.as_ref()?, &own).then(|| (query.clone(), own))
}

/// Whether an expression names columns of tables other than these.
fn foreign(expr: &Expr, own: &BTreeSet<String>) -> bool {
    let found = visit_expressions(expr, |expr| match qualifier(expr) {
        Some(name) if !own.contains(name) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}

/// A subquery whose result also depends on outer columns: computed outside, of inner columns that are looked up one by one.
fn apart(query: Query, own: &BTreeSet<String>, mut item: Expr) -> Option<Expr> {
    let found = exists(&query, false)?;
    let _ = VisitMut::visit(&mut item, &mut Lookup { query: &query, own });
    parse(&format!("CASE WHEN {found} THEN {item} END"), |parser| parser.parse_expr())
}

/// Puts a subquery in the place of each inner column.
struct Lookup<'a> {
    query: &'a Query,
    own: &'a BTreeSet<String>,
}

impl VisitorMut for Lookup<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if qualifier(expr).is_some_and(|name| self.own.contains(name)) {
            let mut query = self.query.clone();
            if let SetExpr::Select(select) = &mut *query.body {
                select.projection = vec![SelectItem::UnnamedExpr(expr.clone())];
            }
            if let Some(lookup) = scalar(&query) {
                *expr = lookup;
            }
        }
        ControlFlow::Continue(())
    }
}

/// The names by which the tables' columns are qualified; whether all are system tables.
fn names(from: &TableWithJoins, own: &mut BTreeSet<String>) -> bool {
    let mut add = |factor: &TableFactor| match factor {
        TableFactor::Table { name, alias, args: None, .. } if system_table(name).is_some() => {
            own.extend(match alias {
                Some(alias) => Some(alias.name.value.clone()),
                None => name.0.last().map(|part| part.to_string()),
            });
            true
        }
        _ => false,
    };
    let relation = add(&from.relation);
    relation && from.joins.iter().all(|join| add(&join.relation))
}

/// The table a qualified column is said to be of.
fn qualifier(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::CompoundIdentifier(parts) => parts.len().checked_sub(2).map(|at| parts[at].value.as_str()),
        _ => None,
    }
}

/// Leaves conditions that a join can take: equalities with outer columns, and what is about inner columns alone. Returns
/// the conditions that are about outer columns alone.
fn settle(select: &mut Select, own: &BTreeSet<String>) -> Vec<Expr> {
    let Some(selection) = select.selection.take() else { return Vec::new() };
    let mut conditions = Vec::new();
    conjuncts(selection, &mut conditions);
    let is_own = |expr: &Expr| qualifier(expr).is_some_and(|name| own.contains(name));
    let is_foreign = |expr: &Expr| qualifier(expr).is_some_and(|name| !own.contains(name));
    let mut equal: Vec<(Vec<Ident>, Expr)> = Vec::new();
    for condition in &conditions {
        let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = condition else { continue };
        for (inner, outer) in [(left, right), (right, left)] {
            if let (true, Expr::CompoundIdentifier(outer)) = (is_own(inner) && is_foreign(outer), &**outer) {
                equal.push((outer.clone(), (**inner).clone()));
            }
        }
    }
    let (mut kept, mut outer): (Vec<Expr>, Vec<Expr>) = (Vec::new(), Vec::new());
    for mut condition in conditions {
        let (mut inner_columns, mut plain_columns, mut outer_columns) = (false, false, false);
        let _ = visit_expressions(&condition, |expr| {
            inner_columns |= is_own(expr);
            outer_columns |= is_foreign(expr);
            plain_columns |= matches!(expr, Expr::Identifier(_));
            ControlFlow::<()>::Continue(())
        });
        let equality = matches!(&condition, Expr::BinaryOp { op: BinaryOperator::Eq, .. });
        if outer_columns && !inner_columns && !plain_columns {
            outer.push(condition);
            continue;
        }
        if outer_columns && !equality {
            let _ = VisitMut::visit(&mut condition, &mut Substitution { equal: &equal });
        }
        kept.push(condition);
    }
    select.selection = (!kept.is_empty()).then(|| tree_of(kept, &BinaryOperator::And));
    outer
}

fn conjuncts(expr: Expr, into: &mut Vec<Expr>) {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            conjuncts(*left, into);
            conjuncts(*right, into);
        }
        other => into.push(other),
    }
}

/// Puts inner columns in the place of outer ones they are equal to.
struct Substitution<'a> {
    equal: &'a [(Vec<Ident>, Expr)],
}

impl VisitorMut for Substitution<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(parts) = expr
            && let Some((_, inner)) = self.equal.iter().find(|(outer, _)| same(outer, parts))
        {
            *expr = inner.clone();
        }
        ControlFlow::Continue(())
    }
}
