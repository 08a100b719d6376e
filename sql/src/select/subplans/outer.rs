//! Columns of an outer query in a subquery: which they are, and the subquery with values in their place.
//!
//! A name is that of the nearest query around it which has such a column: within a subquery of the subquery the outer column may be hidden.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::metadata::FieldMetadata;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DFSchemaRef, Result, ScalarValue};
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::logical_plan::Subquery;
use datafusion::logical_expr::{Expr, LogicalPlan};

use crate::select::optimize::subquery_of;
use crate::stack::level;

/// The columns of an outer query of this schema that a subquery names, each once.
pub(super) fn columns(plan: &LogicalPlan, outer: &DFSchema) -> Result<Vec<Column>> {
    let mut found = Vec::new();
    collect(plan, outer, &mut Vec::new(), &mut found)?;
    Ok(found)
}

fn collect(plan: &LogicalPlan, outer: &DFSchema, nearer: &mut Vec<DFSchemaRef>, found: &mut Vec<Column>) -> Result<()> {
    plan.apply(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::OuterReferenceColumn(_, column) = expr
                    && outer.has_column(column)
                    && !nearer.iter().any(|schema| schema.has_column(column))
                    && !found.contains(column)
                {
                    found.push(column.clone());
                }
                if let Some(subquery) = subquery_of(expr) {
                    let inputs = node.inputs();
                    nearer.extend(inputs.iter().map(|input| input.schema().clone()));
                    level(|| collect(&subquery.subquery, outer, nearer, found))?;
                    nearer.truncate(nearer.len() - inputs.len());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })
    .map(drop)
}

/// What the outer columns of a subquery are in one row.
pub(super) type Bindings = HashMap<Column, ScalarValue>;

/// A subquery with those values in the place of the outer columns.
pub(super) fn bound(plan: LogicalPlan, bindings: &Bindings) -> Result<LogicalPlan> {
    if bindings.is_empty() {
        return Ok(plan);
    }
    plan.transform_up(|node| {
        let schemas: Vec<DFSchemaRef> = node.inputs().iter().map(|input| input.schema().clone()).collect();
        let preserver = NamePreserver::new(&node);
        let bind = |expr: Expr| {
            let name = preserver.save(&expr);
            Ok(bound_expr(expr, &schemas, bindings)?.update_data(|expr| name.restore(expr)))
        };
        node.map_expressions(bind)?.map_data(LogicalPlan::recompute_schema)
    })
    .data()
}

fn bound_expr(expr: Expr, schemas: &[DFSchemaRef], bindings: &Bindings) -> Result<Transformed<Expr>> {
    let within = |subquery: Subquery| -> Result<Subquery> {
        let is_hidden = |column: &Column| schemas.iter().any(|schema| schema.has_column(column));
        let visible = bindings.iter().filter(|(column, _)| !is_hidden(column));
        let visible: Bindings = visible.map(|(column, value)| (column.clone(), value.clone())).collect();
        let plan = level(|| bound(Arc::unwrap_or_clone(subquery.subquery), &visible))?;
        let is_bound =
            |expr: &Expr| matches!(expr, Expr::OuterReferenceColumn(_, column) if visible.contains_key(column));
        let outer_ref_columns = subquery.outer_ref_columns.into_iter().filter(|expr| !is_bound(expr)).collect();
        Ok(Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: subquery.spans })
    };
    expr.transform_down(|expr| {
        Ok(match expr {
            Expr::OuterReferenceColumn(field, column) => match bindings.get(&column) {
                Some(value) => {
                    Transformed::yes(Expr::Literal(value.clone(), Some(FieldMetadata::from(field.as_ref()))))
                }
                None => Transformed::no(Expr::OuterReferenceColumn(field, column)),
            },
            Expr::Exists(Exists { subquery, negated }) => {
                Transformed::yes(Expr::Exists(Exists { subquery: within(subquery)?, negated }))
            }
            Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                Transformed::yes(Expr::InSubquery(InSubquery { expr, subquery: within(subquery)?, negated }))
            }
            Expr::ScalarSubquery(subquery) => Transformed::yes(Expr::ScalarSubquery(within(subquery)?)),
            other => Transformed::no(other),
        })
    })
}
