//! Reads an access path page by page, as record batches.
//!
//! ```text
//!   spans ─▶ page of rows ───────────────────────────▶ decode ─▶ columns asked for ─▶ batch
//!        └─▶ page of entries ─▶ rows' keys ─▶ get_many ─┘
//! ```
//!
//! The transaction comes with the task: a plan holds none. Pages grow, so that the first row comes soon and a long scan is
//! made in few requests; no more than one page is held at a time.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::sort_pushdown::SortOrderPushdownResult;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
};
use futures::stream;
use txn::{LockStrength, OwnWrites, ScanRequest, Transaction};

use super::errors::external;
use super::span::Access;
use crate::arrow::DatumBuilder;
use crate::catalog::Table;
use crate::dml::codec::{decode_row, row_key_of_entry};
use crate::error::SqlError;
use crate::interrupt::Work;
use crate::query::QueryContext;
use crate::types::PgType;

/// Bytes of a scan's first page, and of its largest.
const FIRST_PAGE_BYTES: u64 = 32 << 10;
const LARGEST_PAGE_BYTES: u64 = 1 << 20;
/// Entries of an index that are followed at once, at first and at most.
const FIRST_ENTRIES: u64 = 64;
const MOST_ENTRIES: u64 = 1024;

/// What a task runs in: handed to its scans beside the plan.
pub(super) struct Run {
    pub context: QueryContext,
    /// What it answers to.
    pub work: Work,
}

/// Reads a table.
#[derive(Clone, Debug)]
pub(super) struct KeyScan {
    table: Arc<Table>,
    access: Access,
    /// Positions in the table of the columns asked for.
    positions: Vec<usize>,
    limit: Option<usize>,
    reverse: bool,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl KeyScan {
    pub fn new(
        table: Arc<Table>,
        access: Access,
        positions: Vec<usize>,
        schema: SchemaRef,
        limit: Option<usize>,
    ) -> Self {
        let properties = properties(&table, &access, &positions, &schema, false);
        KeyScan { table, access, positions, limit, reverse: false, properties, metrics: ExecutionPlanMetricsSet::new() }
    }

    /// The same scan from the end to the start.
    pub fn reversed(&self) -> Self {
        let reverse = !self.reverse;
        let schema = self.properties.eq_properties.schema().clone();
        let properties = properties(&self.table, &self.access, &self.positions, &schema, reverse);
        KeyScan { reverse, properties, metrics: ExecutionPlanMetricsSet::new(), ..self.clone() }
    }

    /// Whether scanning in that direction gives the order asked for.
    fn gives(&self, order: &[PhysicalSortExpr], reverse: bool) -> bool {
        let is_fixed = |expr: &PhysicalSortExpr| {
            let any: &dyn Any = &*expr.expr;
            let place = any.downcast_ref::<Column>().and_then(|column| self.positions.get(column.index()));
            place.is_some_and(|position| self.access.fixed.contains(position))
        };
        let schema = self.properties.eq_properties.schema();
        let own = ordering(&self.table, &self.access, &self.positions, schema, reverse);
        let own: Vec<&PhysicalSortExpr> = own.iter().filter(|expr| !is_fixed(expr)).collect();
        let wanted: Vec<&PhysicalSortExpr> = order.iter().filter(|expr| !is_fixed(expr)).collect();
        wanted.len() <= own.len() && wanted.iter().zip(own).all(|(wanted, own)| *wanted == own)
    }
}

/// The order in which rows come, as far as it can be told by the columns asked for.
fn ordering(
    table: &Table,
    access: &Access,
    positions: &[usize],
    schema: &Schema,
    reverse: bool,
) -> Vec<PhysicalSortExpr> {
    let mut ordering = Vec::new();
    for (position, part) in &access.order {
        let ty = table.columns[*position].ty;
        // Arrow has another order for these.
        if matches!(ty, PgType::Interval | PgType::Json | PgType::Jsonb) || ty.is_array() {
            break;
        }
        let Some(place) = positions.iter().position(|asked| asked == position) else {
            if access.fixed.contains(position) {
                continue;
            }
            break;
        };
        let options = SortOptions { descending: part.descending != reverse, nulls_first: part.nulls_first != reverse };
        let expr: Arc<dyn PhysicalExpr> = Arc::new(Column::new(schema.field(place).name(), place));
        ordering.push(PhysicalSortExpr { expr, options });
    }
    ordering
}

fn properties(
    table: &Table,
    access: &Access,
    positions: &[usize],
    schema: &SchemaRef,
    reverse: bool,
) -> Arc<PlanProperties> {
    let ordering = ordering(table, access, positions, schema, reverse);
    let equivalence = if ordering.is_empty() {
        EquivalenceProperties::new(schema.clone())
    } else {
        EquivalenceProperties::new_with_orderings(schema.clone(), [ordering])
    };
    Arc::new(PlanProperties::new(
        equivalence,
        Partitioning::UnknownPartitioning(1),
        EmissionType::Incremental,
        Boundedness::Bounded,
    ))
}

impl DisplayAs for KeyScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match (self.access.points, self.access.secondary) {
            (true, _) => "Point Read",
            (false, false) => "Scan",
            (false, true) => "Index Scan",
        };
        write!(f, "{kind} on {} using {} span={}", self.table.name, self.access.index_name, self.access.label)?;
        let names: Vec<&str> = self.positions.iter().map(|at| self.table.columns[*at].name.as_str()).collect();
        write!(f, " columns=[{}]", names.join(", "))?;
        if self.reverse {
            f.write_str(" backward")?;
        }
        match self.limit {
            Some(limit) => write!(f, " limit={limit}"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for KeyScan {
    fn name(&self) -> &str {
        "KeyScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let run = context.session_config().get_extension::<Run>();
        let transaction = run.and_then(|run| run.context.transaction.clone());
        let transaction =
            transaction.ok_or_else(|| DataFusionError::Internal("a scan was started outside a transaction".into()))?;
        let schema = self.properties.eq_properties.schema().clone();
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let reader = Reader::new(self, transaction, schema.clone(), metrics);
        let batches = stream::try_unfold(reader, |mut reader| async move {
            match reader.next().await {
                Ok(Some(batch)) => Ok(Some((batch, reader))),
                Ok(None) => Ok(None),
                Err(error) => Err(external(error)),
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn ExecutionPlan>> {
        Some(Arc::new(KeyScan { limit, metrics: ExecutionPlanMetricsSet::new(), ..self.clone() }))
    }

    fn fetch(&self) -> Option<usize> {
        self.limit
    }

    fn try_pushdown_sort(&self, order: &[PhysicalSortExpr]) -> Result<SortOrderPushdownResult<Arc<dyn ExecutionPlan>>> {
        if self.gives(order, self.reverse) {
            return Ok(SortOrderPushdownResult::Exact { inner: Arc::new(self.clone()) });
        }
        if self.gives(order, !self.reverse) {
            return Ok(SortOrderPushdownResult::Exact { inner: Arc::new(self.reversed()) });
        }
        Ok(SortOrderPushdownResult::Unsupported)
    }
}

/// A scan under way.
struct Reader {
    table: Arc<Table>,
    transaction: Arc<Transaction>,
    schema: SchemaRef,
    positions: Vec<usize>,
    secondary: bool,
    metrics: BaselineMetrics,
    todo: VecDeque<Todo>,
    /// Rows yet to come at most.
    left: Option<u64>,
    page_bytes: u64,
    entries: u64,
}

enum Todo {
    Rows(Vec<Bytes>),
    Span(ScanRequest),
}

impl Reader {
    fn new(scan: &KeyScan, transaction: Arc<Transaction>, schema: SchemaRef, metrics: BaselineMetrics) -> Self {
        let mut spans = scan.access.spans.clone();
        if scan.reverse {
            spans.reverse();
        }
        let todo = if scan.access.points {
            let keys: Vec<Bytes> = spans.into_iter().map(|(key, _)| key).collect();
            keys.chunks(MOST_ENTRIES as usize).map(|keys| Todo::Rows(keys.to_vec())).collect()
        } else {
            let request = |(start, end)| ScanRequest {
                reverse: scan.reverse,
                own_writes: OwnWrites::BeforeStatement,
                ..ScanRequest::over(start, end)
            };
            spans.into_iter().map(request).map(Todo::Span).collect()
        };
        Reader {
            table: scan.table.clone(),
            transaction,
            schema,
            positions: scan.positions.clone(),
            secondary: scan.access.secondary,
            metrics,
            todo,
            left: scan.limit.map(|limit| limit as u64),
            page_bytes: FIRST_PAGE_BYTES,
            entries: FIRST_ENTRIES,
        }
    }

    /// The next batch, never empty.
    async fn next(&mut self) -> std::result::Result<Option<RecordBatch>, SqlError> {
        while self.left != Some(0) {
            let Some(todo) = self.todo.pop_front() else { break };
            let values = match todo {
                Todo::Rows(keys) => self.rows(keys).await?,
                Todo::Span(request) => self.page(request).await?,
            };
            if values.is_empty() {
                continue;
            }
            if let Some(left) = &mut self.left {
                *left = left.saturating_sub(values.len() as u64);
            }
            return self.batch(&values).map(Some);
        }
        self.metrics.done();
        Ok(None)
    }

    async fn page(&mut self, mut request: ScanRequest) -> std::result::Result<Vec<Bytes>, SqlError> {
        request.max_rows = self.left.unwrap_or(0);
        if self.secondary {
            request.max_rows = self.left.map_or(self.entries, |left| left.min(self.entries));
            self.entries = (self.entries * 4).min(MOST_ENTRIES);
        } else {
            request.max_bytes = self.page_bytes;
            self.page_bytes = (self.page_bytes * 4).min(LARGEST_PAGE_BYTES);
        }
        let page = self.transaction.scan(&request).await?;
        if let Some(rest) = page.resume {
            self.todo.push_front(Todo::Span(request.resumed(rest)));
        }
        if !self.secondary {
            return Ok(page.rows.into_iter().map(|row| row.value).collect());
        }
        let keys = page.rows.iter().map(|entry| row_key_of_entry(&self.table, &entry.value)).collect();
        self.rows(keys).await
    }

    /// The rows of the first keys: as many as hold about a page. The others come next.
    async fn rows(&mut self, mut keys: Vec<Bytes>) -> std::result::Result<Vec<Bytes>, SqlError> {
        let mut values: Vec<Bytes> = match keys.len() {
            0 => Vec::new(),
            1 => self.transaction.get(keys.remove(0), LockStrength::None).await?.into_iter().collect(),
            _ => {
                let page_bytes = LARGEST_PAGE_BYTES as usize;
                let values = self.transaction.get_within(&keys, LockStrength::None, page_bytes).await?;
                let rest = keys.split_off(values.len());
                if !rest.is_empty() {
                    self.todo.push_front(Todo::Rows(rest));
                }
                values.into_iter().flatten().collect()
            }
        };
        if let Some(left) = self.left {
            values.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        }
        Ok(values)
    }

    fn batch(&self, values: &[Bytes]) -> std::result::Result<RecordBatch, SqlError> {
        let types = self.positions.iter().map(|position| self.table.columns[*position].ty);
        let mut builders: Vec<DatumBuilder> = types.map(|ty| DatumBuilder::new(ty, values.len())).collect();
        if !builders.is_empty() {
            for value in values {
                let row = decode_row(&self.table, value)?;
                for (builder, position) in builders.iter_mut().zip(&self.positions) {
                    builder.push(&row[*position])?;
                }
            }
        }
        let columns = builders.into_iter().map(DatumBuilder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(values.len()));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options);
        self.metrics.record_output(values.len());
        batch.map_err(SqlError::internal)
    }
}
