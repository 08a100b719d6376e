//! EXISTS of a plain subquery as a mark join: one more column of the input, true where there is a row.

use std::collections::BTreeSet;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::decorrelate::PullUpCorrelatedExpr;

/// The input with a mark, and the mark; none where the library cannot take the conditions out.
pub(super) fn marked(input: &LogicalPlan, subquery: &LogicalPlan, name: &str) -> Option<(LogicalPlan, Expr)> {
    // Whatever it says, there is another way.
    joined(input, subquery, name).ok().flatten()
}

fn joined(input: &LogicalPlan, subquery: &LogicalPlan, name: &str) -> Result<Option<(LogicalPlan, Expr)>> {
    let mut pull_up = PullUpCorrelatedExpr::new().with_exists_sub_query(true);
    let plan = subquery.clone().rewrite(&mut pull_up).data()?;
    let Some(condition) = conjunction(pull_up.join_filters).filter(|_| pull_up.can_pull_up) else { return Ok(None) };
    let inner: BTreeSet<Column> = pull_up.correlated_subquery_cols_map.into_values().flatten().collect();
    let condition = condition.transform(|expr| {
        Ok(match expr {
            Expr::Column(column) if inner.contains(&column) => {
                Transformed::yes(Expr::Column(Column::new(Some(name), column.name)))
            }
            other => Transformed::no(other),
        })
    });
    let right = LogicalPlanBuilder::from(plan).alias(name)?.build()?;
    let joined = LogicalPlanBuilder::from(input.clone()).join_on(right, JoinType::LeftMark, Some(condition.data()?))?;
    Ok(Some((joined.build()?, Expr::Column(Column::new(Some(name), "mark")))))
}
