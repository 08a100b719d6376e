//! Which rows are alike: by their values, where what the planner library holds does not tell.
//!
//! A numeric keeps the scale it is shown with, an interval its fields, a float the sign of its zero, and so do arrays of them. The library
//! compares all of that. So whatever it takes for alike or not is given keys instead, which are alike for alike values:
//!
//! ```text
//!   GROUP BY x           by key(x), beside the first x of each group, which is what the group shows
//!   DISTINCT             the same, by all columns
//!   DISTINCT ON (x)      on key(x)
//!   f(DISTINCT x)        count: of key(x); others see for themselves (functions/aggregate.rs)
//!   INTERSECT, EXCEPT    joined on key(x)
//!   OVER (… BY x)        by key(x), unless the frame counts from x
//!   ORDER BY x, y        by key(x), y: what is alike in x is in the order of y. The last one stands for itself where bytes sort as
//!                        values do, so that an index may give the order
//! ```

use std::sync::Arc;

use datafusion::common::{Column, DFSchema, Result, TableReference};
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, Sort, WindowFunction};
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{
    Aggregate, Distinct, DistinctOn, Expr, GroupingSet, Join, LogicalPlan, Projection, WindowFrameUnits, when,
};

use super::super::calls::Kind;
use super::super::operators::{Known, Operators};
use super::window::is_whole;
use crate::functions::aggregate;
use crate::rowcodec::{is_key_type, key_keeps_value};
use crate::types::PgType;

/// The plan's node, with keys where it compares rows.
pub(super) fn by_value(operators: &Operators, plan: LogicalPlan) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::Aggregate(aggregate) => grouped(operators, aggregate),
        LogicalPlan::Distinct(Distinct::All(input)) => {
            let columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
            if columns.iter().all(|column| key(operators, column, input.schema(), Alike::Hashed).is_none()) {
                return Ok(LogicalPlan::Distinct(Distinct::All(input)));
            }
            grouped(operators, Aggregate::try_new(input, columns, Vec::new())?)
        }
        LogicalPlan::Distinct(Distinct::On(on)) => Ok(LogicalPlan::Distinct(Distinct::On(first_on(operators, on)?))),
        LogicalPlan::Join(join) => Ok(LogicalPlan::Join(joined(operators, join))),
        LogicalPlan::Sort(mut sort) => {
            order(operators, &mut sort.expr, sort.input.schema());
            Ok(LogicalPlan::Sort(sort))
        }
        other => Ok(other),
    }
}

/// How the library compares.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Alike {
    /// By hashes and equality, for which both zeros are one.
    Hashed,
    /// By an order, in which they are two.
    Sorted,
}

/// What stands for an expression where rows are compared; `None` where it can stand for itself.
fn key(operators: &Operators, expr: &Expr, schema: &DFSchema, alike: Alike) -> Option<Expr> {
    let Some(Known::Type(ty)) = operators.known(expr, schema) else { return None };
    let is_hashed_float = alike == Alike::Hashed && matches!(ty, PgType::Float4 | PgType::Float8);
    if !is_key_type(ty) || key_keeps_value(ty) || is_hashed_float {
        return None;
    }
    let kind = if ty == PgType::Numeric { Kind::NumericKey } else { Kind::ValueKey };
    Some(operators.call(kind, vec![expr.clone().unalias()]))
}

/// Orders what is alike by what comes next.
fn order(operators: &Operators, sorts: &mut [Sort], schema: &DFSchema) {
    let last = sorts.len().saturating_sub(1);
    for (place, sort) in sorts.iter_mut().enumerate() {
        let Some(key) = key(operators, &sort.expr, schema, Alike::Sorted) else { continue };
        let sorts_alone = matches!(
            operators.known(&sort.expr, schema),
            Some(Known::Type(PgType::Numeric | PgType::Float4 | PgType::Float8))
        );
        if place < last || !sorts_alone {
            sort.expr = key;
        }
    }
}

/// Groups by keys, and shows the first value of each group.
fn grouped(operators: &Operators, aggregate: Aggregate) -> Result<LogicalPlan> {
    let schema = aggregate.input.schema().clone();
    let has_sets = aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_)));
    // In the order in which they come out.
    let grouped: Vec<Expr> = grouping_set_to_exprlist(&aggregate.group_expr)?.into_iter().cloned().collect();
    let keys: Vec<(Expr, Expr)> =
        grouped.iter().filter_map(|expr| Some((expr.clone(), key(operators, expr, &schema, Alike::Hashed)?))).collect();
    let counted: Vec<Expr> =
        aggregate.aggr_expr.iter().map(|expr| aggregated(operators, expr.clone(), &schema)).collect();
    if keys.is_empty() && counted == aggregate.aggr_expr {
        return Ok(LogicalPlan::Aggregate(aggregate));
    }
    let key_of = |expr: &Expr| keys.iter().find(|(from, _)| from == expr).map(|(_, to)| to.clone());
    let replaced = |expr: &Expr| key_of(expr).unwrap_or_else(|| expr.clone());
    let all = |exprs: &[Expr]| exprs.iter().map(replaced).collect::<Vec<Expr>>();
    let group_expr: Vec<Expr> = aggregate
        .group_expr
        .iter()
        .map(|expr| match expr {
            Expr::GroupingSet(GroupingSet::Rollup(exprs)) => Expr::GroupingSet(GroupingSet::Rollup(all(exprs))),
            Expr::GroupingSet(GroupingSet::Cube(exprs)) => Expr::GroupingSet(GroupingSet::Cube(all(exprs))),
            Expr::GroupingSet(GroupingSet::GroupingSets(sets)) => {
                Expr::GroupingSet(GroupingSet::GroupingSets(sets.iter().map(|set| all(set)).collect()))
            }
            other => replaced(other),
        })
        .collect();
    let mut aggr_expr: Vec<Expr> = counted.into_iter().map(|expr| ask_keys(expr, &replaced)).collect();
    let firsts: Vec<String> = (0..keys.len()).map(|place| format!("first {place}")).collect();
    for ((from, _), first) in keys.iter().zip(&firsts) {
        aggr_expr.push(first_value_udaf().call(vec![from.clone().unalias()]).alias(first));
    }
    let by_key = LogicalPlan::Aggregate(Aggregate::try_new(aggregate.input.clone(), group_expr, aggr_expr)?);
    // What came out before, by the same names.
    let new = by_key.schema().columns();
    let mut shown = Vec::with_capacity(aggregate.schema.fields().len());
    for (place, (relation, field)) in aggregate.schema.iter().enumerate() {
        // Nobody asks for it: grouping() is not computed from it yet.
        if field.name() == Aggregate::INTERNAL_GROUPING_ID {
            continue;
        }
        let column = Expr::Column(new[place].clone());
        let shows = grouped.get(place).and_then(|expr| keys.iter().position(|(from, _)| from == expr));
        let shown_as = match shows {
            Some(at) => {
                let first = Expr::Column(Column::from_name(&firsts[at]));
                // A set that leaves it out shows NULL.
                if has_sets { when(column.is_not_null(), first).end()? } else { first }
            }
            None => column,
        };
        shown.push(named(shown_as, relation, field.name()));
    }
    Ok(LogicalPlan::Projection(Projection::try_new(shown, Arc::new(by_key))?))
}

fn named(expr: Expr, relation: Option<&TableReference>, name: &str) -> Expr {
    match &expr {
        Expr::Column(column) if column.relation.as_ref() == relation && column.name == name => expr,
        _ => expr.alias_qualified(relation.cloned(), name),
    }
}

/// An aggregate that tells distinct values apart, and has its rows in their order. Its name stays.
fn aggregated(operators: &Operators, expr: Expr, schema: &DFSchema) -> Expr {
    let name = expr.schema_name().to_string();
    match expr {
        Expr::Alias(mut alias) => {
            *alias.expr = aggregated(operators, *alias.expr, schema).unalias();
            Expr::Alias(alias)
        }
        Expr::AggregateFunction(AggregateFunction { mut func, mut params }) => {
            let before = params.clone();
            order(operators, &mut params.order_by, schema);
            let distinct = params.args.first().filter(|_| params.distinct);
            if let Some(key) = distinct.and_then(|arg| key(operators, arg, schema, Alike::Sorted)) {
                match func.name() {
                    "count" => params.args[0] = key,
                    // The library's own does not see for itself.
                    "array_agg" => func = aggregate("array_agg", &operators.functions).unwrap_or(func),
                    _ => {}
                }
            }
            let is_same = params == before;
            let expr = Expr::AggregateFunction(AggregateFunction { func, params });
            if is_same { expr } else { expr.alias(name) }
        }
        other => other,
    }
}

/// `grouping(x)` is asked of what is grouped by. Its name stays.
fn ask_keys(expr: Expr, replaced: &impl Fn(&Expr) -> Expr) -> Expr {
    let name = expr.schema_name().to_string();
    match expr {
        Expr::Alias(mut alias) => {
            *alias.expr = ask_keys(*alias.expr, replaced).unalias();
            Expr::Alias(alias)
        }
        Expr::AggregateFunction(AggregateFunction { func, mut params }) if func.name() == "grouping" => {
            params.args = params.args.iter().map(replaced).collect();
            Expr::AggregateFunction(AggregateFunction { func, params }).alias(name)
        }
        other => other,
    }
}

fn first_on(operators: &Operators, on: DistinctOn) -> Result<DistinctOn> {
    let schema = on.input.schema().clone();
    let replaced = |expr: Expr| key(operators, &expr, &schema, Alike::Hashed).unwrap_or(expr);
    let on_expr: Vec<Expr> = on.on_expr.into_iter().map(replaced).collect();
    let sort_expr = on.sort_expr.map(|sorts| {
        let sorted = |sort: Sort| Sort { expr: replaced(sort.expr), ..sort };
        sorts.into_iter().map(sorted).collect::<Vec<Sort>>()
    });
    DistinctOn::try_new(on_expr, on.select_expr, sort_expr, on.input)
}

/// What joins rows by columns, as INTERSECT and EXCEPT do.
fn joined(operators: &Operators, mut join: Join) -> Join {
    for (left, right) in &mut join.on {
        let keys = (
            key(operators, left, join.left.schema(), Alike::Hashed),
            key(operators, right, join.right.schema(), Alike::Hashed),
        );
        if let (Some(left_key), Some(right_key)) = keys {
            (*left, *right) = (left_key, right_key);
        }
    }
    join
}

/// A window's parts and peers.
pub(super) fn window(operators: &Operators, mut window: WindowFunction, schema: &DFSchema) -> WindowFunction {
    let params = &mut window.params;
    for expr in &mut params.partition_by {
        if let Some(key) = key(operators, expr, schema, Alike::Sorted) {
            *expr = key;
        }
    }
    // A frame that counts from the value needs the value.
    if params.window_frame.units != WindowFrameUnits::Range || is_whole(&params.window_frame) {
        for sort in &mut params.order_by {
            if let Some(key) = key(operators, &sort.expr, schema, Alike::Sorted) {
                sort.expr = key;
            }
        }
    }
    window
}
