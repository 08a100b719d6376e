//! Cutting a rewritten query's deep expressions.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    AccessExpr, BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident,
    Query, Select, SelectItem, SetExpr, Subscript, Value, VisitMut, VisitorMut,
};

use super::{HEIGHT_MAX, LOGIC_HEIGHT_MAX, STEP_HEIGHT, argument_name, name_of, number_of};
use crate::bind::normalize;
use crate::select::names::last_part;
use crate::select::rewrite::{call, is_aggregate};
use crate::select::sequences;

/// A piece of a deep expression.
#[derive(Debug)]
pub(in crate::select) struct Step {
    /// What it computes, of arguments and of steps before it.
    pub body: Expr,
    /// The client's parameters in it, and the arguments that they come in: their types are learnt where they stand.
    pub params: Vec<(String, usize)>,
    /// The steps it calls.
    pub below: Vec<usize>,
}

/// Cuts all deep expressions of a query.
pub(in crate::select) fn cut(query: &mut Query) -> Arc<[Step]> {
    let mut cutter = Cutter { steps: Vec::new(), known: BTreeMap::new(), grouped: Vec::new() };
    let _ = query.visit(&mut cutter);
    cutter.steps.into()
}

struct Cutter {
    steps: Vec<Step>,
    /// What reads alike is the same step, so that it is the same expression wherever it stands.
    known: BTreeMap<Expr, usize>,
    /// What the queries around group by.
    grouped: Vec<Vec<Expr>>,
}

impl VisitorMut for Cutter {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        self.grouped.push(match &*query.body {
            SetExpr::Select(select) => grouped_by(select),
            _ => Vec::new(),
        });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Self::Break> {
        self.grouped.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        self.grouped.push(grouped_by(select));
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _: &mut Select) -> ControlFlow<Self::Break> {
        self.grouped.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        let is_condition = logic(expr).is_some() && !is_higher_logic(expr, LOGIC_HEIGHT_MAX);
        if !is_condition && is_higher(expr, HEIGHT_MAX) {
            self.cut_inside(expr);
        }
        ControlFlow::Continue(())
    }
}

impl Cutter {
    /// Cuts an expression into steps, but for what stays an argument; how high what is left of it is.
    fn lower(&mut self, expr: &mut Expr) -> usize {
        if self.is_grouped(expr) { 0 } else { self.cut_inside(expr) }
    }

    fn cut_inside(&mut self, expr: &mut Expr) -> usize {
        let nested = matches!(expr, Expr::Nested(_));
        let Some(parts) = parts(expr) else { return 0 };
        let below = parts.into_iter().map(|part| self.lower(part)).max().unwrap_or(0);
        if nested {
            return below;
        }
        if below + 1 < STEP_HEIGHT {
            return below + 1;
        }
        self.make_step(expr);
        1
    }

    /// Puts a call of a step in the place of what the step computes.
    fn make_step(&mut self, expr: &mut Expr) {
        let mut body = std::mem::replace(expr, Expr::value(Value::Null));
        let mut leaves = Leaves::default();
        self.take_leaves(&mut body, &mut leaves);
        let Leaves { args, params, mut below } = leaves;
        let number = match self.known.get(&body) {
            Some(number) => *number,
            None => {
                below.sort_unstable();
                below.dedup();
                self.known.insert(body.clone(), self.steps.len());
                self.steps.push(Step { body, params, below });
                self.steps.len() - 1
            }
        };
        *expr = call(&name_of(number), args);
    }

    /// Makes arguments of what a step does not compute itself.
    fn take_leaves(&self, expr: &mut Expr, leaves: &mut Leaves) {
        let grouped = self.is_grouped(expr);
        if !grouped && let Expr::Function(function) = &*expr {
            leaves.below.extend(number_of(&last_part(&function.name)));
        }
        if !grouped && let Some(parts) = parts(expr) {
            return parts.into_iter().for_each(|part| self.take_leaves(part, leaves));
        }
        if is_constant(expr) {
            return;
        }
        let name = match &*expr {
            Expr::Value(value) => match &value.value {
                Value::Placeholder(name) if name[1..].parse::<usize>().is_ok() => Some(name.clone()),
                _ => None,
            },
            _ => None,
        };
        let place = match &name {
            Some(_) => leaves.place_of(expr.clone()),
            None => leaves.place_of(std::mem::replace(expr, Expr::value(Value::Null))),
        };
        match name {
            Some(name) => leaves.params.push((name, place)),
            None => *expr = Expr::Identifier(Ident::with_quote('"', argument_name(place))),
        }
    }

    fn is_grouped(&self, expr: &Expr) -> bool {
        self.grouped.last().is_some_and(|grouped| grouped.iter().any(|other| other == expr))
    }
}

/// What a step is given.
#[derive(Default)]
struct Leaves {
    args: Vec<Expr>,
    params: Vec<(String, usize)>,
    below: Vec<usize>,
}

impl Leaves {
    /// The place of an argument; columns and parameters are given once.
    fn place_of(&mut self, leaf: Expr) -> usize {
        let same = match &leaf {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_) => {
                self.args.iter().position(|other| *other == leaf)
            }
            _ => None,
        };
        same.unwrap_or_else(|| {
            self.args.push(leaf);
            self.args.len() - 1
        })
    }
}

/// What an expression is computed from, where a step may compute it; none for what is an argument, or a constant.
fn parts(expr: &mut Expr) -> Option<Vec<&mut Expr>> {
    if is_constant(expr) {
        return None;
    }
    Some(match expr {
        Expr::Nested(inner)
        | Expr::IsNull(inner)
        | Expr::IsNotNull(inner)
        | Expr::IsTrue(inner)
        | Expr::IsNotTrue(inner)
        | Expr::IsFalse(inner)
        | Expr::IsNotFalse(inner)
        | Expr::IsUnknown(inner)
        | Expr::IsNotUnknown(inner)
        | Expr::UnaryOp { expr: inner, .. }
        | Expr::Cast { expr: inner, .. } => vec![&mut **inner],
        Expr::IsDistinctFrom(left, right)
        | Expr::IsNotDistinctFrom(left, right)
        | Expr::BinaryOp { left, right, .. }
        | Expr::Like { expr: left, pattern: right, .. }
        | Expr::ILike { expr: left, pattern: right, .. } => vec![&mut **left, &mut **right],
        Expr::InList { expr, list, .. } => std::iter::once(&mut **expr).chain(list).collect(),
        Expr::Array(array) => array.elem.iter_mut().collect(),
        Expr::Tuple(columns) => columns.iter_mut().collect(),
        Expr::Case { operand, conditions, else_result, .. } => {
            let branches = conditions.iter_mut().flat_map(|branch| [&mut branch.condition, &mut branch.result]);
            let ends = [operand.as_deref_mut(), else_result.as_deref_mut()];
            branches.chain(ends.into_iter().flatten()).collect()
        }
        Expr::CompoundFieldAccess { root, access_chain } => subscripted(root, access_chain)?,
        Expr::Function(function) if is_computed(function) => arguments(function)?,
        _ => return None,
    })
}

fn subscripted<'a>(root: &'a mut Expr, accesses: &'a mut [AccessExpr]) -> Option<Vec<&'a mut Expr>> {
    let mut parts = vec![root];
    for access in accesses {
        match access {
            AccessExpr::Subscript(Subscript::Index { index }) => parts.push(index),
            AccessExpr::Subscript(Subscript::Slice { lower_bound, upper_bound, stride: None }) => {
                parts.extend(lower_bound.iter_mut().chain(upper_bound));
            }
            _ => return None,
        }
    }
    Some(parts)
}

/// Whether a call depends on nothing but its arguments, and gives one value.
fn is_computed(function: &Function) -> bool {
    let name = last_part(&function.name);
    let is_special = matches!(name.as_str(), "unnest" | "unnest_outer" | "map" | "make_map" | "grouping" | "struct")
        || sequences::MOVERS.contains(&name.as_str())
        || sequences::ASKERS.contains(&name.as_str());
    function.over.is_none()
        && function.filter.is_none()
        && function.null_treatment.is_none()
        && function.within_group.is_empty()
        && !is_special
        && !is_aggregate(&name)
}

fn arguments(function: &mut Function) -> Option<Vec<&mut Expr>> {
    match &mut function.args {
        FunctionArguments::None => Some(Vec::new()),
        FunctionArguments::List(list) if list.duplicate_treatment.is_none() && list.clauses.is_empty() => {
            let arguments = list.args.iter_mut().map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
                _ => None,
            });
            arguments.collect()
        }
        _ => None,
    }
}

/// Whether an expression is a literal, or a number of its type.
fn is_constant(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => !matches!(value.value, Value::Placeholder(_)),
        Expr::Cast { expr, .. } => matches!(&**expr, Expr::Value(value) if matches!(value.value, Value::Number(..))),
        _ => false,
    }
}

/// Whether an expression is higher than that.
fn is_higher(expr: &mut Expr, than: usize) -> bool {
    let nested = matches!(expr, Expr::Nested(_));
    let Some(parts) = parts(expr) else { return false };
    match (nested, than) {
        (true, _) => parts.into_iter().any(|part| is_higher(part, than)),
        (false, 0) => true,
        (false, _) => parts.into_iter().any(|part| is_higher(part, than - 1)),
    }
}

/// What AND or OR stands between.
fn logic(expr: &Expr) -> Option<(&Expr, &Expr)> {
    match expr {
        Expr::Nested(inner) => logic(inner),
        Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => Some((left, right)),
        _ => None,
    }
}

/// Whether a tree of AND and OR is higher than that.
fn is_higher_logic(expr: &Expr, than: usize) -> bool {
    let Some((left, right)) = logic(expr) else { return false };
    than == 0 || is_higher_logic(left, than - 1) || is_higher_logic(right, than - 1)
}

/// What a SELECT groups by, but for plain columns.
fn grouped_by(select: &Select) -> Vec<Expr> {
    let GroupByExpr::Expressions(exprs, _) = &select.group_by else { return Vec::new() };
    let mut grouped = Vec::new();
    let mut todo: Vec<&Expr> = exprs.iter().collect();
    while let Some(expr) = todo.pop() {
        match expr {
            Expr::Nested(inner) => todo.push(inner),
            Expr::GroupingSets(sets) | Expr::Cube(sets) | Expr::Rollup(sets) => todo.extend(sets.iter().flatten()),
            Expr::Value(value) => {
                let Value::Number(digits, _) = &value.value else { continue };
                let place = digits.parse::<usize>().ok().and_then(|position| position.checked_sub(1));
                let item = place.and_then(|place| select.projection.get(place));
                todo.extend(item.and_then(computed));
            }
            Expr::Identifier(name) => {
                let is_named = |item: &&SelectItem| matches!(item, SelectItem::ExprWithAlias { alias, .. } if normalize(alias) == normalize(name));
                let item = select.projection.iter().find(is_named);
                todo.extend(item.and_then(computed));
            }
            other => grouped.push(other.clone()),
        }
    }
    grouped
}

/// What a column of the select list computes.
fn computed(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            (!matches!(expr, Expr::Identifier(_) | Expr::Value(_))).then_some(expr)
        }
        _ => None,
    }
}
