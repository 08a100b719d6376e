//! Queries that can be stopped: every operator, and whatever a join computes pair by pair, looks whether to go on.
//!
//! ```text
//!   Guard(Sort(Guard(CrossJoin(Guard(scan), Guard(scan)))))        each batch: told to stop?  enough for one turn?
//!   NestedLoopJoin(filter: Watched(a ~~ b))                        each evaluation: told to stop?
//! ```
//!
//! The library's operators look at nothing but their inputs: one that takes all of its input before it gives anything, or finds no
//! pair of millions that fits, would go on for as long as that takes. A guard takes its place in the plan without a trace: it shows the
//! operator's children, properties and figures as its own.
//!
//! Source: the library's own `CooperativeExec`, which guards leaves only.

use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use datafusion::arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder};
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, RecordBatchStream,
    ReplaceChildrenOptions, SendableRecordBatchStream,
};
use futures::{Stream, StreamExt};

use super::append::Append;
use super::errors::external;
use super::scan::{KeyScan, Run};
use crate::interrupt::{self, Work};

/// Literals of an operator that are large together.
const LARGE_BYTES: usize = 16 << 10;
/// What they may take written out for the rows of a batch.
const WRITTEN_OUT_BYTES: usize = 16 << 20;

/// The same plan, guarded throughout.
pub(super) fn guarded(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let guard = |operator: Arc<dyn ExecutionPlan>| -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
        let operator = narrowed(watched(operator)?)?;
        Ok(Transformed::yes(Arc::new(Guard { operator, rows: None })))
    };
    plan.transform_up(guard).data()
}

/// An operator with large literals, which it may write out for each row of a batch, takes small batches; other operators as they are.
fn narrowed(operator: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let mut literal_bytes = 0;
    operator.apply_expressions(&mut |expression| {
        expression.apply(|part| {
            let part: &dyn Any = &**part;
            literal_bytes += part.downcast_ref::<Literal>().map_or(0, |literal| literal.value().size());
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    if literal_bytes <= LARGE_BYTES {
        return Ok(operator);
    }
    let rows = Some((WRITTEN_OUT_BYTES / literal_bytes).max(1));
    let narrow = |input: &Arc<dyn ExecutionPlan>| -> Arc<dyn ExecutionPlan> {
        Arc::new(Guard { operator: input.clone(), rows })
    };
    let inputs = operator.children().into_iter().map(narrow).collect();
    operator.replace_children(inputs, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep))
}

/// A join whose filter is watched, inputs one after the other; other operators as they are.
fn watched(operator: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    if let Some(join) = operator.downcast_ref::<NestedLoopJoinExec>()
        && let Some(filter) = join.filter()
    {
        let (left, right) = (join.left().clone(), join.right().clone());
        let builder = NestedLoopJoinExecBuilder::new(left, right, *join.join_type())
            .with_filter(Some(watched_filter(filter)))
            .with_projection_ref(join.projection().clone());
        return Ok(Arc::new(builder.build()?));
    }
    if let Some(join) = operator.downcast_ref::<HashJoinExec>()
        && let Some(filter) = join.filter()
    {
        return join.builder().with_filter(Some(watched_filter(filter))).build_exec();
    }
    if let Some(all_at_once) = operator.downcast_ref::<CoalescePartitionsExec>() {
        return Ok(Arc::new(Append::instead_of(all_at_once)));
    }
    Ok(operator)
}

fn watched_filter(filter: &JoinFilter) -> JoinFilter {
    let expression = Arc::new(Watched(filter.expression().clone()));
    JoinFilter::new(expression, filter.column_indices().to_vec(), filter.schema().clone())
}

/// An expression that looks whether to go on before each evaluation.
#[derive(Debug)]
struct Watched(Arc<dyn PhysicalExpr>);

impl PartialEq for Watched {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq(&other.0)
    }
}

impl Eq for Watched {}

impl Hash for Watched {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl PhysicalExpr for Watched {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.0.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.0.nullable(schema)
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.0.return_field(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        interrupt::check().map_err(external)?;
        self.0.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.0]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Watched(children.swap_remove(0))))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_sql(f)
    }
}

/// Stands for an operator.
#[derive(Debug)]
struct Guard {
    operator: Arc<dyn ExecutionPlan>,
    /// As many rows at most at a time.
    rows: Option<usize>,
}

impl DisplayAs for Guard {
    fn fmt_as(&self, form: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.operator.fmt_as(form, f)
    }
}

impl ExecutionPlan for Guard {
    fn name(&self) -> &str {
        self.operator.name()
    }

    fn downcast_delegate(&self) -> Option<&dyn ExecutionPlan> {
        Some(&*self.operator)
    }

    fn schema(&self) -> SchemaRef {
        self.operator.schema()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.operator.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.operator.children()
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.operator.apply_expressions(visit)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let operator = self.operator.clone().replace_children(children, options)?;
        Ok(Arc::new(Guard { operator, rows: self.rows }))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Guard { operator: self.operator.clone().reset_state()?, rows: self.rows }))
    }

    fn with_new_state(&self, state: Arc<dyn Any + Send + Sync>) -> Option<Arc<dyn ExecutionPlan>> {
        Some(Arc::new(Guard { operator: self.operator.with_new_state(state)?, rows: self.rows }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let run = context.session_config().get_extension::<Run>();
        let work = run.map(|run| run.work.clone()).unwrap_or_default();
        // What an operator prepares, it may prepare at length.
        let entered = interrupt::enter(&work);
        interrupt::check().map_err(external)?;
        let batches = self.operator.execute(partition, context)?;
        drop(entered);
        let reads = self.operator.downcast_ref::<KeyScan>().is_some();
        Ok(Box::pin(Guarded { batches, work, reads, rows: self.rows, rest: None }))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        self.operator.metrics()
    }
}

/// What an operator gives.
struct Guarded {
    batches: SendableRecordBatchStream,
    work: Work,
    /// It is the storage engine that allocates.
    reads: bool,
    /// As many rows at most at a time.
    rows: Option<usize>,
    /// What is left of a batch of more rows.
    rest: Option<RecordBatch>,
}

impl Guarded {
    /// As much of a batch as may be given at once.
    fn piece(&mut self, batch: RecordBatch) -> RecordBatch {
        match self.rows {
            Some(rows) if batch.num_rows() > rows => {
                self.rest = Some(batch.slice(rows, batch.num_rows() - rows));
                batch.slice(0, rows)
            }
            _ => batch,
        }
    }
}

impl Stream for Guarded {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // Given back at once: operators below this one need what is left of the turn, however many they are.
        drop(ready!(tokio::task::coop::poll_proceed(cx)));
        let this = &mut *self;
        let _entered = interrupt::enter(&this.work);
        if let Err(error) = interrupt::check() {
            return Poll::Ready(Some(Err(external(error))));
        }
        if let Some(rest) = this.rest.take() {
            made_progress(cx);
            return Poll::Ready(Some(Ok(this.piece(rest))));
        }
        let batch = match &this.work.account {
            Some(account) if this.reads => account.aside(|| this.batches.poll_next_unpin(cx), held_by_batch),
            _ => this.batches.poll_next_unpin(cx),
        };
        if batch.is_ready() {
            made_progress(cx);
        }
        batch.map_ok(|batch| this.piece(batch))
    }
}

/// Takes from what the task may do in this turn, if there is any left: what is ready is given in any case.
fn made_progress(cx: &mut Context<'_>) {
    if let Poll::Ready(turn) = tokio::task::coop::poll_proceed(cx) {
        turn.made_progress();
    }
}

/// What the batch that was given, if one was, holds.
fn held_by_batch(polled: &Poll<Option<Result<RecordBatch>>>) -> usize {
    match polled {
        Poll::Ready(Some(Ok(batch))) => batch.get_array_memory_size(),
        _ => 0,
    }
}

impl RecordBatchStream for Guarded {
    fn schema(&self) -> SchemaRef {
        self.batches.schema()
    }
}

#[cfg(test)]
mod tests;
