//! Which subqueries the library's joins answer as they are defined.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, JoinType, LogicalPlan, Operator};

use super::has_subquery;
use crate::arrow::type_of;
use crate::types::PgType;

/// Whether a subquery names no column of an outer query: the library evaluates it by itself, whatever it consists of.
pub(super) fn is_self_contained(plan: &LogicalPlan) -> Result<bool> {
    Ok(!has_outer_reference(plan)?)
}

fn has_outer_reference(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            found |= expr.contains_outer();
            Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// Whether a subquery is self-contained, or only reads, joins and filters, and names outer columns in its filters alone: taking those
/// conditions out of it changes nothing.
pub(super) fn is_plain(plan: &LogicalPlan) -> Result<bool> {
    Ok(is_self_contained(plan)? || reads_only(plan, &|_| true)?)
}

/// The same, where every condition on outer columns must be one that `allows`.
fn reads_only(plan: &LogicalPlan, allows: &dyn Fn(&Expr) -> bool) -> Result<bool> {
    let mut plain = true;
    plan.apply(|node| {
        plain &= match node {
            LogicalPlan::Filter(filter) => {
                let conjuncts = split_conjunction(&filter.predicate);
                let fits = |conjunct: &&Expr| !conjunct.contains_outer() || allows(conjunct);
                conjuncts.iter().all(fits) && !has_subquery(&filter.predicate)?
            }
            LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::TableScan(_) => is_inner(node)?,
            LogicalPlan::Join(join) => join.join_type == JoinType::Inner && is_inner(node)?,
            _ => false,
        };
        Ok(if plain { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(plain)
}

/// Whether an operator's own expressions have neither outer columns nor subqueries.
fn is_inner(node: &LogicalPlan) -> Result<bool> {
    let mut inner = true;
    node.apply_expressions(|expr| {
        inner &= !expr.contains_outer() && !has_subquery(expr)?;
        Ok(if inner { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(inner)
}

/// Whether a scalar subquery is one aggregate over what only reads, and is correlated by what equals an outer column alone: the library
/// groups it by that, and joins.
pub(super) fn is_aggregate_of_plain(plan: &LogicalPlan) -> Result<bool> {
    match plan {
        LogicalPlan::Projection(projection) if is_inner(plan)? => is_aggregate_of_plain(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => is_aggregate_of_plain(&alias.input),
        LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() && is_inner(plan)? => {
            reads_only(&aggregate.input, &is_equality)
        }
        _ => Ok(false),
    }
}

/// `inner column = outer column`, either way around.
fn is_equality(condition: &Expr) -> bool {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return false };
    let is_outer = |expr: &Expr| matches!(expr, Expr::OuterReferenceColumn(..));
    matches!(&**left, Expr::Column(_)) && is_outer(right) || is_outer(left) && matches!(&**right, Expr::Column(_))
}

/// Whether Arrow's equality is that of the type on both sides of `left IN (plan)`.
pub(super) fn is_exact(left: &Expr, schema: &DFSchema, plan: &LogicalPlan) -> Result<bool> {
    let (_, left) = left.to_field(schema)?;
    let right = plan.schema().field(0);
    Ok(left.data_type() == right.data_type() && is_exact_type(type_of(&left).0) && is_exact_type(type_of(right).0))
}

fn is_exact_type(ty: PgType) -> bool {
    matches!(
        ty,
        PgType::Bool
            | PgType::Int2
            | PgType::Int4
            | PgType::Int8
            | PgType::Text
            | PgType::Varchar
            | PgType::Bytea
            | PgType::Date
            | PgType::Timestamp
            | PgType::TimestampTz
            | PgType::Uuid
    )
}
