//! A planned query: executed with a transaction and parameters, as often as wanted.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::Array;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::ParamValues;
use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::execution::{SessionState, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::{StreamExt, TryStreamExt};

use super::errors::sql_error;
use super::hidden::Hidden;
use super::optimize::optimized;
use super::scan::Run;
use crate::arrow::{datum_at, scalar_of};
use crate::error::SqlError;
use crate::query::{ExplainOptions, QueryContext, QueryPlan};
use crate::session::{Column, Row, RowStream};
use crate::stack::{Deep, DeepStream, contained, contained_async};
use crate::types::{Datum, PgType};

/// A planned query.
pub(super) struct PlannedQuery {
    pub state: Arc<SessionState>,
    pub plan: Arc<Deep<LogicalPlan>>,
    pub columns: Arc<[Column]>,
    pub params: Vec<PgType>,
    /// Parameters the query has without naming them; they follow the others.
    pub hidden: Vec<Hidden>,
    pub tables: Vec<u32>,
    pub moves_sequences: Option<&'static str>,
}

#[async_trait]
impl QueryPlan for PlannedQuery {
    fn columns(&self) -> Arc<[Column]> {
        self.columns.clone()
    }

    fn params(&self) -> &[PgType] {
        &self.params
    }

    fn tables(&self) -> &[u32] {
        &self.tables
    }

    fn moves_sequences(&self) -> Option<&'static str> {
        self.moves_sequences
    }

    async fn execute(&self, context: &QueryContext) -> Result<RowStream, SqlError> {
        let physical = Deep::new(self.plan.levels(), self.physical(context).await?);
        let task = self.task(context);
        let types: Arc<[PgType]> = self.columns.iter().map(|column| column.ty).collect();
        let batches = contained(self.plan.levels(), || execute_stream(physical.clone(), task).map_err(sql_error))?;
        let rows = batches.map(move |batch| match batch {
            Ok(batch) => rows_of(&batch, &types),
            Err(error) => Err(sql_error(error)),
        });
        Ok(RowStream::Stream(Box::pin(DeepStream::new(self.plan.levels(), rows))))
    }

    async fn explain(&self, context: &QueryContext, options: ExplainOptions) -> Result<Vec<String>, SqlError> {
        contained_async(self.plan.levels(), self.explained(context, options)).await
    }
}

impl PlannedQuery {
    async fn explained(&self, context: &QueryContext, options: ExplainOptions) -> Result<Vec<String>, SqlError> {
        let physical = self.physical(context).await?;
        if !options.analyze {
            return Ok(crate::explain::plan_lines(&*physical, options.verbose));
        }
        let task = self.task(context);
        let measured = crate::explain::Measured::start(context);
        let mut batches = execute_stream(physical.clone(), task).map_err(sql_error)?;
        let mut rows = 0;
        while let Some(batch) = batches.try_next().await.map_err(sql_error)? {
            rows += batch.num_rows() as u64;
        }
        Ok(measured.finish(&*physical, rows, options.verbose))
    }

    /// The plan with its parameters filled in, made executable.
    async fn physical(&self, context: &QueryContext) -> Result<Arc<dyn ExecutionPlan>, SqlError> {
        contained_async(self.plan.levels(), self.executable(context)).await
    }

    async fn executable(&self, context: &QueryContext) -> Result<Arc<dyn ExecutionPlan>, SqlError> {
        let mut plan = LogicalPlan::clone(&self.plan);
        if !self.params.is_empty() || !self.hidden.is_empty() {
            plan = plan.with_param_values(self.values(context)?).map_err(sql_error)?;
            plan = optimized(&self.state, plan).map_err(sql_error)?;
        }
        self.state.query_planner().create_physical_plan(&plan, &*self.state).await.map_err(sql_error)
    }

    fn values(&self, context: &QueryContext) -> Result<ParamValues, SqlError> {
        let mut values: HashMap<String, ScalarAndMetadata> = HashMap::new();
        for (number, ty) in self.params.iter().enumerate() {
            let datum = context.params.get(number).unwrap_or(&Datum::Null);
            values.insert((number + 1).to_string(), scalar_of(*ty, datum)?.into());
        }
        for (number, hidden) in self.hidden.iter().enumerate() {
            let place = self.params.len() + number + 1;
            values.insert(place.to_string(), scalar_of(hidden.ty(), &hidden.value(context)?)?.into());
        }
        Ok(ParamValues::Map(values))
    }

    fn task(&self, context: &QueryContext) -> Arc<TaskContext> {
        let run = Arc::new(Run { context: context.clone() });
        Arc::new(TaskContext::new(
            None,
            String::new(),
            self.state.config().clone().with_extension(run),
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            self.state.runtime_env().clone(),
        ))
    }
}

/// A batch as rows.
fn rows_of(batch: &RecordBatch, types: &[PgType]) -> Result<Vec<Row>, SqlError> {
    let mut rows: Vec<Row> = (0..batch.num_rows()).map(|_| Vec::with_capacity(types.len())).collect();
    for (array, ty) in batch.columns().iter().zip(types) {
        let array: &dyn Array = &**array;
        for (place, row) in rows.iter_mut().enumerate() {
            row.push(datum_at(*ty, array, place)?);
        }
    }
    Ok(rows)
}
