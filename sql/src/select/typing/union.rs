//! UNION: each column of one type, at which its inputs' columns meet.

use std::sync::Arc;

use datafusion::common::{Column, Result};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, Union};

use super::super::errors::external;
use super::super::operators::{Known, Operators, common};
use crate::arrow::type_of;
use crate::error::{SqlError, code};
use crate::types::{PgType, format_type};

/// Brings the inputs' columns together. A literal of no type yet takes the others' type.
pub(super) fn meet(operators: &Operators, union: Union) -> Result<LogicalPlan> {
    let columns = union.inputs.first().map_or(0, |input| input.schema().fields().len());
    let mut targets = Vec::with_capacity(columns);
    for place in 0..columns {
        let mut target: Option<PgType> = None;
        for input in &union.inputs {
            let Known::Type(ty) = known(operators, input, place) else { continue };
            target = Some(match target {
                None => ty,
                Some(so_far) => common(so_far, ty).ok_or_else(|| cannot_match(so_far, ty))?,
            });
        }
        targets.push(target.unwrap_or(PgType::Text));
    }
    let inputs: Result<Vec<Arc<LogicalPlan>>> =
        union.inputs.into_iter().map(|input| converted(operators, input, &targets)).collect();
    let mut union = Union::try_new_with_loose_types(inputs?)?;
    union.inputs = flat(union.inputs);
    Ok(LogicalPlan::Union(union))
}

/// Inputs with those of unions among them, whose rows are of the same types: one union of a thousand inputs instead of a thousand of two,
/// at each of which the planner library would go over all that are below.
fn flat(inputs: Vec<Arc<LogicalPlan>>) -> Vec<Arc<LogicalPlan>> {
    let mut flat: Vec<Arc<LogicalPlan>> = Vec::new();
    for input in inputs {
        match Arc::try_unwrap(input) {
            Ok(LogicalPlan::Union(union)) if flat.is_empty() => flat = union.inputs,
            Ok(LogicalPlan::Union(union)) => flat.extend(union.inputs),
            Ok(other) => flat.push(Arc::new(other)),
            Err(shared) => match &*shared {
                LogicalPlan::Union(union) => flat.extend(union.inputs.iter().cloned()),
                _ => flat.push(shared),
            },
        }
    }
    flat
}

fn cannot_match(left: PgType, right: PgType) -> datafusion::error::DataFusionError {
    let (left, right) = (format_type(left, -1), format_type(right, -1));
    external(SqlError::new(code::DATATYPE_MISMATCH, format!("UNION types {left} and {right} cannot be matched")))
}

fn known(operators: &Operators, input: &LogicalPlan, place: usize) -> Known {
    if let LogicalPlan::Projection(projection) = input
        && let Some(expr) = projection.expr.get(place)
        && let Some(known) = operators.known(expr, projection.input.schema())
    {
        return known;
    }
    match input.schema().fields().get(place).map(|field| type_of(field).0) {
        Some(PgType::Unknown) | None => Known::Unknown,
        Some(ty) => Known::Type(ty),
    }
}

fn converted(operators: &Operators, input: Arc<LogicalPlan>, targets: &[PgType]) -> Result<Arc<LogicalPlan>> {
    let is_met = |(place, target): (usize, &PgType)| known(operators, &input, place) == Known::Type(*target);
    if targets.iter().enumerate().all(is_met) {
        return Ok(input);
    }
    if let LogicalPlan::Projection(projection) = &*input {
        let exprs = projection.expr.iter().zip(targets).enumerate().map(|(place, (expr, target))| {
            let name = input.schema().field(place).name().clone();
            let expr = expr.clone().unalias();
            let converted = match known(operators, &input, place) {
                Known::Unknown => operators.settle(expr, *target)?,
                Known::Type(from) => operators.convert(expr, from, *target)?,
            };
            Ok(converted.alias(name))
        });
        let exprs: Result<Vec<Expr>> = exprs.collect();
        return Ok(Arc::new(LogicalPlan::Projection(Projection::try_new(exprs?, projection.input.clone())?)));
    }
    let exprs: Result<Vec<Expr>> = targets
        .iter()
        .enumerate()
        .map(|(place, target)| {
            let (relation, field) = input.schema().qualified_field(place);
            let column = Expr::Column(Column::new(relation.cloned(), field.name()));
            let name = field.name().clone();
            match known(operators, &input, place) {
                Known::Type(from) => Ok(operators.convert(column, from, *target)?.alias(name)),
                Known::Unknown => Ok(column),
            }
        })
        .collect();
    Ok(Arc::new(LogicalPlan::Projection(Projection::try_new(exprs?, input)?)))
}
