//! Conditions of a scalar subquery on the outer query, in the forms that the planner library can turn into a join.
//!
//! ```text
//!   WHERE i.x = o.x AND o.x <> i.y      ─▶  WHERE i.x = o.x AND i.x <> i.y      what equals an inner column is that column
//!   (SELECT … WHERE … AND o.flag)       ─▶  CASE WHEN o.flag THEN (SELECT … WHERE …) END
//! ```
//!
//! Whether a column is the outer query's is told by its qualifier; columns without one are left alone.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, Expr, Ident, Query, Select, SetExpr, TableAlias, TableFactor, Visit, VisitMut, Visitor,
    VisitorMut, helpers::attached_token::AttachedToken,
};

use super::last_part;
use crate::bind::normalize;
use crate::session::tree_of;

/// Rewrites the conditions, and takes out those that are on the outer query alone.
pub(super) fn loosen(query: &mut Query) -> Option<Expr> {
    let SetExpr::Select(select) = &mut *query.body else { return None };
    let inner = aliases(select)?;
    let condition = select.selection.take()?;
    let mut conjuncts = Vec::new();
    split(condition, &mut conjuncts);
    let equals: Vec<(Vec<Ident>, Vec<Ident>)> =
        conjuncts.iter().filter_map(|conjunct| equal(conjunct, &inner)).collect();
    for conjunct in &mut conjuncts {
        if equal(conjunct, &inner).is_none() {
            let _ = conjunct.visit(&mut Replacer { equals: &equals });
        }
    }
    let (outer, rest): (Vec<Expr>, Vec<Expr>) = conjuncts.into_iter().partition(|conjunct| is_outer(conjunct, &inner));
    let all = |conjuncts: Vec<Expr>| (!conjuncts.is_empty()).then(|| tree_of(conjuncts, &BinaryOperator::And));
    select.selection = all(rest);
    all(outer)
}

/// The subquery where the condition holds, else NULL.
pub(super) fn guarded(condition: Expr, subquery: Expr) -> Expr {
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition, result: subquery }],
        else_result: None,
    }
}

/// The names of what a SELECT reads; none if they cannot be told.
fn aliases(select: &Select) -> Option<Vec<String>> {
    let factors = select
        .from
        .iter()
        .flat_map(|from| std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)));
    factors
        .map(|factor| match factor {
            TableFactor::Table { alias: Some(TableAlias { name, .. }), .. }
            | TableFactor::Derived { alias: Some(TableAlias { name, .. }), .. } => Some(normalize(name)),
            TableFactor::Table { name, .. } => Some(last_part(name)),
            _ => None,
        })
        .collect()
}

fn split(expr: Expr, conjuncts: &mut Vec<Expr>) {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            split(*left, conjuncts);
            split(*right, conjuncts);
        }
        other => conjuncts.push(other),
    }
}

/// An outer column and the inner one it equals.
fn equal(conjunct: &Expr, inner: &[String]) -> Option<(Vec<Ident>, Vec<Ident>)> {
    let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = conjunct else { return None };
    let (Expr::CompoundIdentifier(left), Expr::CompoundIdentifier(right)) = (&**left, &**right) else { return None };
    match (belongs(left, inner), belongs(right, inner)) {
        (true, false) => Some((right.clone(), left.clone())),
        (false, true) => Some((left.clone(), right.clone())),
        _ => None,
    }
}

fn belongs(column: &[Ident], inner: &[String]) -> bool {
    column.len() == 2 && inner.contains(&normalize(&column[0]))
}

struct Replacer<'a> {
    equals: &'a [(Vec<Ident>, Vec<Ident>)],
}

impl VisitorMut for Replacer<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::CompoundIdentifier(column) = expr
            && let Some((_, own)) = self.equals.iter().find(|(outer, _)| same(outer, column))
        {
            *expr = Expr::CompoundIdentifier(own.clone());
        }
        ControlFlow::Continue(())
    }
}

fn same(left: &[Ident], right: &[Ident]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| normalize(left) == normalize(right))
}

/// Whether a condition names columns, and only qualified ones of the outer query.
fn is_outer(conjunct: &Expr, inner: &[String]) -> bool {
    struct Columns<'a> {
        inner: &'a [String],
        outer: usize,
    }
    impl Visitor for Columns<'_> {
        type Break = ();
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Identifier(_) => ControlFlow::Break(()),
                Expr::CompoundIdentifier(column) if belongs(column, self.inner) || column.len() != 2 => {
                    ControlFlow::Break(())
                }
                Expr::CompoundIdentifier(_) => {
                    self.outer += 1;
                    ControlFlow::Continue(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    let mut columns = Columns { inner, outer: 0 };
    conjunct.visit(&mut columns).is_continue() && columns.outer > 0
}
