//! The planner library's rules, which look whether to go on, and leave alone what they would take too long for.
//!
//! ```text
//!   every rule: at each node of the plan     told to stop?
//!   order of joins, of more than so many     they are joined as they are written; conditions go down to them all the same
//!   conditions on totals                     they stay above them
//!   aggregates of distinct values            the aggregate tells them apart, where what is held of them does not
//! ```
//!
//! A rule that works through a plan by itself looks once, before it begins: of these, those whose time grows faster than with the square
//! of the plan are kept from plans of that size.
//!
//! Source: PostgreSQL's `join_collapse_limit`, above which it joins as written too.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::optimizer::{ApplyOrder, Optimizer, OptimizerConfig, OptimizerRule};
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_optimizer::{PhysicalOptimizerContext, PhysicalOptimizerRule};
use datafusion::physical_plan::ExecutionPlan;

use super::errors::external;
use crate::arrow::type_of;
use crate::interrupt;
use crate::rowcodec::key_keeps_value;
use crate::types::PgType;

/// The most joins that are put in another order than the one they are written in.
const ORDERED_JOINS_MAX: usize = 24;

/// The rules for logical plans.
pub(super) fn logical() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let watched = |rule: Arc<dyn OptimizerRule + Send + Sync>| -> Arc<dyn OptimizerRule + Send + Sync> {
        let leaves: fn(&LogicalPlan) -> Result<bool> = match rule.name() {
            // It looks at all pairs of all joins below each join.
            "eliminate_cross_join" => has_many_joins,
            "push_down_filter" => filters_totals,
            "single_distinct_aggregation_to_group_by" => is_distinct_by_value,
            _ => |_| Ok(false),
        };
        Arc::new(Watched { rule, leaves })
    };
    Optimizer::new().rules.into_iter().map(watched).collect()
}

/// The rules for physical plans.
pub(super) fn physical() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let watched = |rule| -> Arc<dyn PhysicalOptimizerRule + Send + Sync> { Arc::new(WatchedPhysical(rule)) };
    PhysicalOptimizer::new().rules.into_iter().map(watched).collect()
}

/// Stands for a rule.
struct Watched {
    rule: Arc<dyn OptimizerRule + Send + Sync>,
    /// The plans that it is kept from.
    leaves: fn(&LogicalPlan) -> Result<bool>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rule.fmt(f)
    }
}

impl OptimizerRule for Watched {
    fn name(&self) -> &str {
        self.rule.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.rule.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        interrupt::check().map_err(external)?;
        match (self.leaves)(&plan)? {
            true => Ok(Transformed::no(plan)),
            false => self.rule.rewrite(plan, config),
        }
    }
}

/// Whether a plan has more joins than are put in another order.
fn has_many_joins(plan: &LogicalPlan) -> Result<bool> {
    let mut joins = 0;
    plan.apply_with_subqueries(|node| {
        joins += usize::from(matches!(node, LogicalPlan::Join(_)));
        Ok(if joins > ORDERED_JOINS_MAX { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(joins > ORDERED_JOINS_MAX)
}

/// Whether a plan filters rows of totals: there is one though nothing is left to add up, so that a condition without columns, such as false,
/// must not go below them.
fn filters_totals(plan: &LogicalPlan) -> Result<bool> {
    let LogicalPlan::Filter(filter) = plan else { return Ok(false) };
    let LogicalPlan::Aggregate(aggregate) = &*filter.input else { return Ok(false) };
    let sets = |expr: &Expr| matches!(expr, Expr::GroupingSet(_));
    Ok(aggregate.group_expr.is_empty() || aggregate.group_expr.iter().any(sets))
}

/// Whether a plan aggregates distinct values that are not told apart by what the library holds of them: it would group by that.
fn is_distinct_by_value(plan: &LogicalPlan) -> Result<bool> {
    let LogicalPlan::Aggregate(aggregate) = plan else { return Ok(false) };
    let schema = aggregate.input.schema();
    let is_by_value = |expr: &Expr| match expr.clone().unalias() {
        Expr::AggregateFunction(function) if function.params.distinct => {
            let fields = function.params.args.iter().map(|arg| arg.to_field(schema).map(|(_, field)| field));
            let types: Result<Vec<PgType>> = fields.map(|field| field.map(|field| type_of(&field).0)).collect();
            types.map(|types| types.into_iter().any(|ty| !key_keeps_value(ty)))
        }
        _ => Ok(false),
    };
    aggregate.aggr_expr.iter().try_fold(false, |found, expr| Ok(found || is_by_value(expr)?))
}

/// Stands for a rule.
struct WatchedPhysical(Arc<dyn PhysicalOptimizerRule + Send + Sync>);

impl fmt::Debug for WatchedPhysical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PhysicalOptimizerRule for WatchedPhysical {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        interrupt::check().map_err(external)?;
        self.0.optimize(plan, config)
    }

    fn optimize_with_context(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        context: &dyn PhysicalOptimizerContext,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        interrupt::check().map_err(external)?;
        self.0.optimize_with_context(plan, context)
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }
}

#[cfg(test)]
mod tests;
