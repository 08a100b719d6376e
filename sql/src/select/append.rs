//! The rows of several inputs, one input after the other.
//!
//! The library takes the inputs of a UNION ALL all at once, a task each, started past [`clock::Tasks`]. A query has one thread, as
//! PostgreSQL's has one process: its inputs come in their order, and nothing is computed of one before the one before it has ended.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
};
use futures::{StreamExt, TryStreamExt, stream};

/// Takes the place of the library's operator.
#[derive(Debug)]
pub(super) struct Append {
    input: Arc<dyn ExecutionPlan>,
    limit: Option<usize>,
    properties: Arc<PlanProperties>,
}

impl Append {
    /// What stands for an operator that takes all of its input's partitions at once.
    pub fn instead_of(operator: &CoalescePartitionsExec) -> Self {
        let (input, limit) = (operator.input().clone(), operator.fetch());
        Append { input, limit, properties: operator.properties().clone() }
    }
}

impl DisplayAs for Append {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Append")?;
        self.limit.map_or(Ok(()), |limit| write!(f, " limit={limit}"))
    }
}

impl ExecutionPlan for Append {
    fn name(&self) -> &str {
        "Append"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let mut children = children.into_iter();
        let (Some(input), None) = (children.next(), children.next()) else {
            return Err(DataFusionError::Internal("what is appended is one input's partitions".into()));
        };
        Ok(Arc::new(Append { input, limit: self.limit, properties: self.properties.clone() }))
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.clone();
        let partitions = 0..input.properties().output_partitioning().partition_count();
        let batches = stream::iter(partitions).map(move |partition| input.execute(partition, context.clone()));
        let batches = batches.try_flatten();
        let limited = stream::try_unfold((batches, self.limit), |(mut batches, left)| async move {
            if left == Some(0) {
                return Ok(None);
            }
            let Some(batch) = batches.try_next().await? else { return Ok(None) };
            let batch: RecordBatch = match left {
                Some(left) if left < batch.num_rows() => batch.slice(0, left),
                _ => batch,
            };
            let left = left.map(|left| left - batch.num_rows());
            Ok(Some((batch, (batches, left))))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), limited)))
    }
}
