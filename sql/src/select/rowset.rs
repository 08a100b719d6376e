//! Functions among the tables of a query.
//!
//! A series of integers is the library's, which makes its rows as they are asked for. Every other function gives an array of its rows
//! ([`functions`]), which is taken apart.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::catalog::TableFunctionArgs;
use datafusion::common::{Column, Result, UnnestOptions};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, ScalarUDF, TableSource, cast, col};

use super::operators::fold;
use crate::functions::{self, FunctionContext};

/// The functions that give rows: what their columns are called, and which function gives the array of each. A column of no name of
/// its own is called as the function is.
const FUNCTIONS: [(&str, &[(&str, &str)]); 9] = [
    ("generate_series", &[("generate_series", "generate_series")]),
    ("json_object_keys", &[("json_object_keys", "json_object_keys")]),
    ("jsonb_array_elements", &[("value", "jsonb_array_elements")]),
    ("jsonb_array_elements_text", &[("value", "jsonb_array_elements_text")]),
    ("jsonb_each", &[("key", "jsonb_each key"), ("value", "jsonb_each value")]),
    ("jsonb_each_text", &[("key", "jsonb_each_text key"), ("value", "jsonb_each_text value")]),
    ("jsonb_object_keys", &[("jsonb_object_keys", "jsonb_object_keys")]),
    ("regexp_split_to_table", &[("regexp_split_to_table", "regexp_split_to_table")]),
    ("string_to_table", &[("string_to_table", "string_to_table")]),
];

/// The columns of a function that gives rows; none for other functions.
fn columns(function: &str) -> Option<&'static [(&'static str, &'static str)]> {
    FUNCTIONS.iter().find(|(name, _)| *name == function).map(|(_, columns)| *columns)
}

/// Whether a function gives rows of one column: one that may stand in a select list.
pub(super) fn gives_values(function: &str) -> bool {
    columns(function).is_some_and(|columns| columns.len() == 1)
}

/// Whether a function gives rows of several columns.
pub(super) fn gives_records(function: &str) -> bool {
    columns(function).is_some_and(|columns| columns.len() > 1)
}

/// Whether the one column of a function is called as the function, or its alias, is.
pub(super) fn is_column_named_after(function: &str) -> bool {
    columns(function).is_none_or(|columns| columns.len() == 1 && columns[0].0 == function)
}

/// The rows of a call; of a function that gives one value, `plain`, one row of it.
pub(super) fn source(
    name: &str,
    args: Vec<Expr>,
    context: &Arc<FunctionContext>,
    state: &SessionState,
    plain: Option<Arc<ScalarUDF>>,
) -> Result<Arc<dyn TableSource>> {
    let Some(columns) = columns(name) else {
        let function = plain.unwrap_or_else(|| functions::missing(name));
        let value = Expr::ScalarFunction(ScalarFunction::new_udf(function, args)).alias(name);
        let plan = LogicalPlanBuilder::empty(true).project(vec![value])?.build()?;
        return Ok(provider_as_source(Arc::new(ViewTable::new(plan, None))));
    };
    let args: Vec<Expr> = args.into_iter().map(fold).collect();
    if let Some(source) = integer_series(name, &args, state)? {
        return Ok(source);
    }
    let mut arrays = Vec::with_capacity(columns.len());
    for (column, function) in columns {
        let function = functions::function(function, context);
        let function = function.ok_or_else(|| DataFusionError::Internal(format!("{name} is not in the table")))?;
        arrays.push(Expr::ScalarFunction(ScalarFunction::new_udf(function, args.clone())).alias(*column));
    }
    let named = columns.iter().map(|(column, _)| Column::from_name(*column)).collect();
    let plan = LogicalPlanBuilder::empty(true)
        .project(arrays)?
        .unnest_columns_with_options(named, UnnestOptions::new().with_preserve_nulls(false))?
        .build()?;
    Ok(provider_as_source(Arc::new(ViewTable::new(plan, None))))
}

/// A series of integers, int4 if all of its bounds are; none for other series.
fn integer_series(name: &str, args: &[Expr], state: &SessionState) -> Result<Option<Arc<dyn TableSource>>> {
    let is_integer = |arg: &Expr| matches!(arg, Expr::Literal(scalar, _) if scalar.data_type().is_integer());
    if name != "generate_series" || !args.iter().all(is_integer) {
        return Ok(None);
    }
    let Some(function) = state.table_functions().get(name) else { return Ok(None) };
    let narrow =
        args.iter().all(|arg| matches!(arg, Expr::Literal(scalar, _) if scalar.data_type() == DataType::Int32));
    let wide = args.iter().map(|arg| match arg {
        Expr::Literal(scalar, metadata) => Ok(Expr::Literal(scalar.cast_to(&DataType::Int64)?, metadata.clone())),
        other => Ok(other.clone()),
    });
    let wide: Vec<Expr> = wide.collect::<Result<_>>()?;
    let series = function.create_table_provider_with_args(TableFunctionArgs::new(&wide, state))?;
    let source = provider_as_source(series);
    if !narrow {
        return Ok(Some(source));
    }
    let plan = LogicalPlanBuilder::scan(name, source, None)?
        .project(vec![cast(col("value"), DataType::Int32).alias("value")])?
        .build()?;
    Ok(Some(provider_as_source(Arc::new(ViewTable::new(plan, None)))))
}
