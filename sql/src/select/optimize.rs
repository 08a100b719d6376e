//! The planner library's rules, applied in time and memory that grow with the plan.
//!
//! ```text
//!   WITH a …, b (a, a), c (b, b) …        counted once the library has copied it ─▶ 54001 above so many nodes
//!   (SELECT … (SELECT … (SELECT …)))      a few levels: the library's own driver     more: the same rules, with the checks made once
//! ```
//!
//! Before and after its rules the library verifies that subqueries are where its rules can see to them. It does that for every subquery, and
//! within each again for all that are within it: twice the time for every level. Where subqueries nest deeply, the same is verified here,
//! once for each: what is within a subquery is a matter of its own.

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion, TreeNodeRewriter};
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion::logical_expr::logical_plan::{Subquery, check_subquery_expr};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

use super::errors::external;
use super::subplans;
use crate::error::{SqlError, code};
use crate::stack::level;

/// The levels of subqueries that are left to the library.
const NESTING_MAX: usize = 8;
/// The most nodes of a plan.
pub(super) const NODES_MAX: usize = 50_000;

/// Whether a plan is of a size that can be worked on.
///
/// # Errors
/// 54001 when it is larger.
pub(super) fn check_size(plan: &LogicalPlan) -> Result<()> {
    let mut nodes = 0;
    plan.apply_with_subqueries(|_| {
        nodes += 1;
        Ok(if nodes > NODES_MAX { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    if nodes <= NODES_MAX {
        return Ok(());
    }
    Err(external(too_large()))
}

/// 54001: there are more nodes.
pub(super) fn too_large() -> SqlError {
    let message = format!("the query's plan has more than {NODES_MAX} nodes");
    SqlError::new(code::STATEMENT_TOO_COMPLEX, message)
        .hint("Each use of a query named by WITH adds its whole plan. Use it fewer times, or keep its rows in a table.")
}

/// The plan as it came, analyzed and optimized.
pub(super) fn analyzed_and_optimized(state: &SessionState, mut plan: LogicalPlan) -> Result<LogicalPlan> {
    for rule in &state.analyzer().rules {
        plan = rule.analyze(plan, state.config_options())?;
    }
    // The library knows of fewer places for subqueries than there are.
    plan = subplans::introduce(state, plan)?;
    check_subqueries(&plan)?;
    optimized(state, plan)
}

/// An analyzed plan, optimized.
pub(super) fn optimized(state: &SessionState, mut plan: LogicalPlan) -> Result<LogicalPlan> {
    if nesting(&plan)? <= NESTING_MAX {
        return state.optimizer().optimize(plan, state, |_, _| {});
    }
    for _ in 0..state.config_options().optimizer.max_passes {
        let mut changed = false;
        for rule in &state.optimizer().rules {
            let applied = match rule.apply_order() {
                Some(order) => plan.rewrite_with_subqueries(&mut Applied { order, rule: &**rule, state })?,
                None => rule.rewrite(plan, state)?,
            };
            changed |= applied.transformed;
            plan = applied.data;
        }
        if !changed {
            break;
        }
    }
    Ok(plan)
}

/// A rule on its way through a plan.
struct Applied<'a> {
    order: ApplyOrder,
    rule: &'a dyn OptimizerRule,
    state: &'a SessionState,
}

impl TreeNodeRewriter for Applied<'_> {
    type Node = LogicalPlan;

    fn f_down(&mut self, plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        match self.order {
            ApplyOrder::TopDown => self.rule.rewrite(plan, self.state as &dyn OptimizerConfig),
            ApplyOrder::BottomUp => Ok(Transformed::no(plan)),
        }
    }

    fn f_up(&mut self, plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        match self.order {
            ApplyOrder::TopDown => Ok(Transformed::no(plan)),
            ApplyOrder::BottomUp => self.rule.rewrite(plan, self.state as &dyn OptimizerConfig),
        }
    }
}

/// The subquery that an expression is.
pub(super) fn subquery_of(expr: &Expr) -> Option<&Subquery> {
    match expr {
        Expr::Exists(Exists { subquery, .. })
        | Expr::InSubquery(InSubquery { subquery, .. })
        | Expr::SetComparison(SetComparison { subquery, .. })
        | Expr::ScalarSubquery(subquery) => Some(subquery),
        _ => None,
    }
}

/// Calls `visit` for each subquery in the expressions of a plan, but not for those within subqueries.
fn for_each_subquery(
    plan: &LogicalPlan,
    mut visit: impl FnMut(&LogicalPlan, &Expr, &Subquery) -> Result<()>,
) -> Result<()> {
    plan.apply(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Some(subquery) = subquery_of(expr) {
                    visit(node, expr, subquery)?;
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })
    .map(drop)
}

/// How deep subqueries stand within each other.
fn nesting(plan: &LogicalPlan) -> Result<usize> {
    let mut deepest = 0;
    for_each_subquery(plan, |_, _, subquery| {
        deepest = deepest.max(1 + level(|| nesting(&subquery.subquery))?);
        Ok(())
    })?;
    Ok(deepest)
}

fn check_subqueries(plan: &LogicalPlan) -> Result<()> {
    for_each_subquery(plan, |node, expr, subquery| {
        check_subquery_expr(node, &without_subqueries(&subquery.subquery)?, expr)?;
        level(|| check_subqueries(&subquery.subquery))
    })
}

/// A plan with nothing in the place of the subqueries in its expressions.
fn without_subqueries(plan: &LogicalPlan) -> Result<LogicalPlan> {
    let without = |expr: Expr| {
        expr.transform_down(|expr| {
            Ok(match subquery_of(&expr) {
                Some(_) => Transformed::new(Expr::default(), true, TreeNodeRecursion::Jump),
                None => Transformed::no(expr),
            })
        })
    };
    Ok(plan.clone().transform_down(|node| node.map_expressions(without))?.data)
}
