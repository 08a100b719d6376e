//! Scalar subqueries, made into aggregates: of one row, or of the first one in their order.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::LazyLock;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArgumentList, FunctionArguments,
    GroupByExpr, Ident, LimitClause, OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr, Value, Visit,
    Visitor,
};

use super::{last_part, object_name};
use crate::bind::normalize;
use crate::functions;
use crate::select::aggregates::SINGLE;
use crate::select::names::name_of;

/// The names of aggregates.
static AGGREGATES: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let library = datafusion::functions_aggregate::all_default_aggregate_functions();
    let mut names: BTreeSet<String> = library
        .iter()
        .flat_map(|function| function.aliases().iter().cloned().chain([function.name().to_owned()]))
        .collect();
    names.extend(functions::aggregate_names().map(str::to_owned));
    names
});

/// Whether a function of this name is an aggregate.
pub(in crate::select) fn is_aggregate(name: &str) -> bool {
    name == SINGLE || AGGREGATES.contains(name)
}

/// Makes a scalar subquery an aggregate, where it is a plain SELECT of one column from something; whether it was.
pub(super) fn aggregate(query: &mut Query) -> bool {
    let first = match &query.limit_clause {
        None => false,
        Some(LimitClause::LimitOffset { limit: Some(Expr::Value(value)), offset: None, limit_by }) => {
            let one = matches!(&value.value, Value::Number(number, _) if number == "1");
            if !one || !limit_by.is_empty() {
                return false;
            }
            true
        }
        Some(_) => return false,
    };
    let order_by = match query.order_by.as_ref().map(|order_by| &order_by.kind) {
        None => Vec::new(),
        Some(OrderByKind::Expressions(exprs)) => exprs.clone(),
        Some(OrderByKind::All(_)) => return false,
    };
    // A position, or an alias, means something else inside an aggregate.
    if order_by.iter().any(|order| matches!(order.expr, Expr::Value(_))) {
        return false;
    }
    let SetExpr::Select(select) = &mut *query.body else { return false };
    if query.fetch.is_some() || !is_plain(select) {
        return false;
    }
    let [item] = &mut select.projection[..] else { return false };
    let (expr, alias) = match item {
        SelectItem::UnnamedExpr(expr) => (expr.clone(), None),
        SelectItem::ExprWithAlias { expr, alias } => (expr.clone(), Some(alias.clone())),
        _ => return false,
    };
    if calls_aggregate(&expr) {
        return false;
    }
    let alias = alias.unwrap_or_else(|| match &expr {
        Expr::Identifier(ident) => ident.clone(),
        Expr::CompoundIdentifier(parts) => parts.last().cloned().unwrap_or_else(|| Ident::new("column")),
        _ => Ident::with_quote('"', "?column?"),
    });
    let expr = if first { call("first_value", expr, order_by) } else { call(SINGLE, expr, Vec::new()) };
    *item = SelectItem::ExprWithAlias { expr, alias };
    query.order_by = None;
    query.limit_clause = None;
    true
}

/// What a subquery of no table has for its one value: `(SELECT 1 + x)` is `(1 + x)`. Only what is computed from numbers and columns, by operators
/// and casts: functions may differ from call to call, and a literal of no type yet would take one that it does not have as a subquery.
pub(super) fn bare_value(query: &Query) -> Option<&Expr> {
    let SetExpr::Select(select) = &*query.body else { return None };
    let is_bare = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && select.from.is_empty()
        && select.selection.is_none()
        && select.having.is_none()
        && select.distinct.is_none()
        && matches!(&select.group_by, GroupByExpr::Expressions(exprs, _) if exprs.is_empty());
    let [SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }] = &select.projection[..] else {
        return None;
    };
    (is_bare && is_computed(expr)).then_some(expr)
}

fn is_computed(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => is_computed(inner),
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Cast { .. } => true,
        Expr::Value(value) => matches!(value.value, Value::Number(..) | Value::Boolean(_)),
        Expr::UnaryOp { expr, .. } => is_computed(expr),
        Expr::BinaryOp { left, right, .. } => is_computed(left) && is_computed(right),
        _ => false,
    }
}

/// A scalar subquery that may have no row has NULL then, whatever its column is made of: the planner library goes by the column.
pub(super) fn allow_none(body: &mut SetExpr) {
    match body {
        SetExpr::Query(query) => allow_none(&mut query.body),
        SetExpr::SetOperation { left, right, .. } => {
            allow_none(left);
            allow_none(right);
        }
        SetExpr::Select(select) => {
            let ungrouped = matches!(&select.group_by, GroupByExpr::Expressions(exprs, _) if exprs.is_empty());
            let is_aggregate = ungrouped && select.having.is_none();
            let [item] = &mut select.projection[..] else { return };
            let (expr, alias) = match item {
                SelectItem::UnnamedExpr(expr) => (&*expr, name_of(expr)),
                SelectItem::ExprWithAlias { expr, alias } => (&*expr, normalize(alias)),
                _ => return,
            };
            // Without groups, aggregates have a row in any case.
            if is_aggregate && calls_aggregate(expr) {
                return;
            }
            let expr = super::call("nullif", vec![expr.clone(), Expr::value(Value::Null)]);
            *item = SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', alias) };
        }
        _ => {}
    }
}

fn is_plain(select: &Select) -> bool {
    let ungrouped = matches!(&select.group_by, GroupByExpr::Expressions(exprs, _) if exprs.is_empty());
    !select.from.is_empty() && ungrouped && select.having.is_none() && select.distinct.is_none()
}

fn calls_aggregate(expr: &Expr) -> bool {
    struct Finder {
        depth: usize,
    }
    impl Visitor for Finder {
        type Break = ();
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.depth += 1;
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            self.depth -= 1;
            ControlFlow::Continue(())
        }
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Function(function)
                    if self.depth == 0
                        && (function.over.is_some() || AGGREGATES.contains(&last_part(&function.name))) =>
                {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    expr.visit(&mut Finder { depth: 0 }).is_break()
}

fn call(name: &str, expr: Expr, order_by: Vec<OrderByExpr>) -> Expr {
    let clauses = if order_by.is_empty() { Vec::new() } else { vec![FunctionArgumentClause::OrderBy(order_by)] };
    let args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))];
    Expr::Function(Function {
        name: object_name(name),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}
