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
use futures::{Stream, StreamExt, TryStreamExt, stream};

use super::errors::sql_error;
use super::guard::guarded;
use super::hidden::Hidden;
use super::optimize::optimized;
use super::scan::Run;
use crate::apart::{Apart, Items};
use crate::arrow::{datum_at, scalar_of};
use crate::error::SqlError;
use crate::interrupt::{self, Work};
use crate::query::{ExplainOptions, QueryContext, QueryPlan};
use crate::session::{Batch, CancelToken, Column, Row, RowStream, rows_in_piece};
use crate::stack::{Deep, DeepStream, contained, contained_async};
use crate::types::{Datum, PgType};

/// A planned query.
#[derive(Clone)]
pub(super) struct PlannedQuery {
    pub apart: Apart,
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
        let (plan, context) = (self.clone(), context.clone());
        Ok(RowStream::stream(self.apart.stream(|token| async move { plan.rows(&context, token).await })))
    }

    async fn explain(&self, context: &QueryContext, options: ExplainOptions) -> Result<Vec<String>, SqlError> {
        let (plan, context) = (self.clone(), context.clone());
        let levels = self.plan.levels();
        let explained = async move { contained_async(levels, plan.explained(&context, options)).await };
        self.apart.run(explained).await
    }
}

impl PlannedQuery {
    /// Its rows, until the token is set.
    async fn rows(self, context: &QueryContext, token: CancelToken) -> Result<Items<Batch>, SqlError> {
        let (work, levels) = (self.work(token), self.plan.levels());
        let physical = interrupt::scope(work.clone(), self.physical(context)).await?;
        let physical = contained(levels, || guarded(physical).map_err(sql_error))?;
        let physical = Deep::new(levels, physical);
        let types: Arc<[PgType]> = self.columns.iter().map(|column| column.ty).collect();
        let task = self.task(context, &work);
        let batches = contained(levels, || execute_stream(physical.clone(), task).map_err(sql_error))?;
        let memory = context.memory.clone();
        let rows = batches.map_err(sql_error).map_ok(pieces).try_flatten().map(move |piece| {
            let piece = piece?;
            let rows = || Batch::counted(rows_of(&piece, &types)?, &memory);
            match &work.account {
                // Whoever takes the rows frees them.
                Some(account) => account.aside(rows, |_| 0),
                None => rows(),
            }
        });
        Ok(Box::pin(DeepStream::new(levels, rows)))
    }

    async fn explained(self, context: &QueryContext, options: ExplainOptions) -> Result<Vec<String>, SqlError> {
        let physical = self.physical(context).await?;
        if !options.analyze {
            return Ok(crate::explain::plan_lines(&*physical, options.verbose));
        }
        let physical = guarded(physical).map_err(sql_error)?;
        let task = self.task(context, &self.work(interrupt::current()));
        let measured = crate::explain::Measured::start(context);
        let mut batches = execute_stream(physical.clone(), task).map_err(sql_error)?;
        let mut rows = 0;
        while let Some(batch) = batches.try_next().await.map_err(sql_error)? {
            rows += batch.num_rows() as u64;
        }
        Ok(measured.finish(&*physical, rows, options.verbose))
    }

    /// What an execution on the calling thread answers to. In simulation, all queries have one thread.
    fn work(&self, token: CancelToken) -> Work {
        self.apart.work(token, &self.state.runtime_env().memory_pool)
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

    fn task(&self, context: &QueryContext, work: &Work) -> Arc<TaskContext> {
        let run = Arc::new(Run { context: context.clone(), work: work.clone() });
        let mut environment = (**self.state.runtime_env()).clone();
        if let Some(account) = &work.account {
            environment.memory_pool = account.clone();
        }
        Arc::new(TaskContext::new(
            None,
            String::new(),
            self.state.config().clone().with_extension(run),
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            HashMap::new(),
            Arc::new(environment),
        ))
    }
}

/// A batch cut so that its rows, which somebody else counts, are never much at a time.
fn pieces(batch: RecordBatch) -> impl Stream<Item = Result<RecordBatch, SqlError>> {
    let step = rows_in_piece(batch.num_rows(), batch.get_array_memory_size());
    let starts = (0..batch.num_rows()).step_by(step);
    stream::iter(starts.map(move |start| Ok(batch.slice(start, step.min(batch.num_rows() - start)))))
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
