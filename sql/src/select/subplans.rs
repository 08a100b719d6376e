//! Subqueries whose answer the planner library's joins would get wrong: computed as PostgreSQL defines them, for each row.
//!
//! ```text
//!   … WHERE EXISTS (…)                a condition by itself, of a plain subquery                the library's semi- or anti-join
//!   … WHERE x IN (…)
//!   … OR EXISTS (…), SELECT EXISTS …  of a plain subquery, in any place                        a mark join
//!   everything else                   NULLs count, or the subquery aggregates, limits, …        SubPlans, which adds a column
//!
//!   Filter(x NOT IN (…) OR c)  ─▶  Projection(Filter(NOT subplan OR c, SubPlans(input, subplan = x IN (…))))
//! ```
//!
//! The library turns each subquery into a join. Its mark join knows true and false only, so that `x IN (…)` is never NULL; and it takes
//! correlated conditions out of aggregates, limits and outer joins, which changes what those see. A subquery is left to it where
//! neither matters. What remains is evaluated once for each combination of the outer columns that it names, at most, so once in all where
//! it names none.
//!
//! Source: PostgreSQL's SubPlan, hashed where it is not correlated.

mod exec;
mod join;
mod node;
mod outer;
mod shape;

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::logical_plan::Subquery;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Extension, Filter, LogicalPlan, LogicalPlanBuilder};

use super::optimize::subquery_of;
use crate::stack::level;
use node::{Kind, SubPlan, SubPlans};
use shape::{is_aggregate_of_plain, is_exact, is_plain, is_self_contained};

pub(super) use exec::QueryPlanner;

/// The same plan, with every subquery that must not be left to the library taken out of its expressions. To be applied before the
/// library's rules; what it comes to is left alone when it is applied again.
pub(super) fn introduce(state: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up(|node| Introduction { state, input: None, found: Vec::new() }.into(node)).data()
}

/// Whether an expression has a subquery in it.
fn has_subquery(expr: &Expr) -> Result<bool> {
    expr.exists(|expr| Ok(subquery_of(expr).is_some()))
}

/// One operator's subqueries on their way out of it.
struct Introduction<'a> {
    state: &'a SessionState,
    /// What is to be read in the place of the operator's input, once a join is in it.
    input: Option<LogicalPlan>,
    /// What is to be evaluated beside it.
    found: Vec<SubPlan>,
}

impl Introduction<'_> {
    fn into(self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let mut any = false;
        node.apply_expressions(|expr| {
            any |= has_subquery(expr)?;
            Ok(if any { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        if !any {
            return Ok(Transformed::no(node));
        }
        match node {
            LogicalPlan::Filter(Filter { predicate, input, .. }) => self.filter(predicate, Arc::unwrap_or_clone(input)),
            LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) | LogicalPlan::Sort(_) => {
                self.values(node)
            }
            // A join's condition, say: what the library does not know there, it refuses.
            _ => Ok(Transformed::no(node)),
        }
    }

    fn filter(mut self, predicate: Expr, input: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let former = input.schema().clone();
        self.input = Some(input);
        let mut conjuncts = Vec::new();
        for conjunct in split_conjunction_owned(predicate) {
            conjuncts.push(match self.is_for_the_library(&conjunct)? {
                true => self.left_to_the_library(conjunct)?,
                false => self.value(conjunct)?,
            });
        }
        let input = self.input()?;
        let predicate = conjunction(conjuncts).unwrap_or_default();
        let filter = LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?);
        narrowed(filter, &former).map(Transformed::yes)
    }

    /// Operators that compute something of their input.
    fn values(mut self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        let former = node.schema().clone();
        let inputs = node.inputs();
        let [input] = inputs.as_slice() else { return Ok(Transformed::no(node)) };
        self.input = Some((*input).clone());
        let preserver = NamePreserver::new(&node);
        let mut exprs = Vec::new();
        for expr in node.expressions() {
            let name = preserver.save(&expr);
            exprs.push(name.restore(self.value(expr)?));
        }
        let input = self.input()?;
        narrowed(node.with_new_exprs(exprs, vec![input])?, &former).map(Transformed::yes)
    }

    /// What is to be read in the place of the input.
    fn input(&mut self) -> Result<LogicalPlan> {
        let input = self.input.take().unwrap_or_default();
        if self.found.is_empty() {
            return Ok(input);
        }
        let node = SubPlans::try_new(input, std::mem::take(&mut self.found))?;
        Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
    }

    /// Whether a condition of a filter is one that the library's semi- and anti-joins answer.
    fn is_for_the_library(&self, conjunct: &Expr) -> Result<bool> {
        let (expr, negated) = match conjunct {
            Expr::Not(inner) => (&**inner, true),
            other => (other, false),
        };
        match expr {
            Expr::Exists(Exists { subquery, .. }) => is_plain(&subquery.subquery),
            Expr::InSubquery(InSubquery { expr: left, subquery, negated: within }) => {
                let is_known = is_exact(left, self.schema(), &subquery.subquery)? && !has_subquery(left)?;
                if negated != *within {
                    // An anti-join that knows of NULLs has one pair of columns.
                    return Ok(is_known
                        && matches!(&**left, Expr::Column(_))
                        && is_self_contained(&subquery.subquery)?);
                }
                Ok(is_known && is_plain(&subquery.subquery)?)
            }
            _ => Ok(false),
        }
    }

    fn schema(&self) -> &datafusion::common::DFSchema {
        self.input.as_ref().expect("there is one while subqueries are taken out").schema()
    }

    /// Within what the library gets there may be what it must not get.
    fn left_to_the_library(&self, expr: Expr) -> Result<Expr> {
        expr.transform_down(|expr| {
            Ok(match expr {
                Expr::Exists(Exists { subquery, negated }) => {
                    Transformed::yes(Expr::Exists(Exists { subquery: self.within(subquery)?, negated }))
                }
                Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                    let subquery = self.within(subquery)?;
                    Transformed::yes(Expr::InSubquery(InSubquery { expr, subquery, negated }))
                }
                other => Transformed::no(other),
            })
        })
        .data()
    }

    fn within(&self, subquery: Subquery) -> Result<Subquery> {
        let plan = Arc::unwrap_or_clone(subquery.subquery);
        let plan = level(|| introduce(self.state, plan))?;
        Ok(Subquery { subquery: Arc::new(plan), ..subquery })
    }

    /// An expression with columns in the place of its subqueries.
    fn value(&mut self, expr: Expr) -> Result<Expr> {
        expr.transform_up(|expr| {
            Ok(match expr {
                Expr::Exists(Exists { subquery, negated }) => Transformed::yes(self.exists(subquery, negated)?),
                Expr::InSubquery(InSubquery { expr: left, subquery, negated }) => {
                    let found = self.evaluated(Kind::In, Some(*left), subquery)?;
                    Transformed::yes(if negated { !found } else { found })
                }
                Expr::ScalarSubquery(subquery) if is_self_contained(&subquery.subquery)? => {
                    Transformed::yes(Expr::ScalarSubquery(self.within(subquery)?))
                }
                Expr::ScalarSubquery(subquery) if !is_aggregate_of_plain(&subquery.subquery)? => {
                    Transformed::yes(self.evaluated(Kind::Scalar, None, subquery)?)
                }
                other => Transformed::no(other),
            })
        })
        .data()
    }

    fn exists(&mut self, subquery: Subquery, negated: bool) -> Result<Expr> {
        let name = self.state.execution_props().alias_generator.next("subplan");
        let is_plain = is_plain(&subquery.subquery)?;
        let input = self.input.as_ref().filter(|_| is_plain);
        let joined = input.and_then(|input| join::marked(input, &subquery.subquery, &name));
        let found = match joined {
            Some((input, mark)) => {
                self.input = Some(input);
                mark
            }
            None => self.evaluated(Kind::Exists, None, subquery)?,
        };
        Ok(if negated { !found } else { found })
    }

    /// Has a subquery evaluated beside the input. Returns the column that will hold what it comes to.
    fn evaluated(&mut self, kind: Kind, left: Option<Expr>, subquery: Subquery) -> Result<Expr> {
        let name = self.state.execution_props().alias_generator.next("subplan");
        let plan = subquery.subquery;
        let outer = outer::columns(&plan, self.schema())?;
        let column = Expr::Column(datafusion::common::Column::new_unqualified(&name));
        self.found.push(SubPlan { name, kind, plan, outer, left });
        Ok(column)
    }
}

/// A plan with the columns that it had before others were added below it.
fn narrowed(plan: LogicalPlan, former: &datafusion::common::DFSchema) -> Result<LogicalPlan> {
    if plan.schema().fields().len() == former.fields().len() {
        return Ok(plan);
    }
    LogicalPlanBuilder::from(plan).project(former.columns().into_iter().map(Expr::from))?.build()
}
