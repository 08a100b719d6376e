//! System tables as the planner library sees them: their rows are made whole when a query starts.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::TableType;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream,
};
use futures::stream;

use super::errors::external;
use super::scan::Run;
use crate::arrow::{self, DatumBuilder};
use crate::pg_catalog::{Context, SystemTable};

/// A table of `pg_catalog` or `information_schema`.
#[derive(Debug)]
pub(super) struct SystemProvider {
    table: &'static SystemTable,
    schema: SchemaRef,
}

impl SystemProvider {
    pub fn new(table: &'static SystemTable) -> Self {
        let fields: Vec<_> =
            table.columns.iter().map(|column| arrow::field(column.name, column.ty, -1, true)).collect();
        SystemProvider { table, schema: Arc::new(Schema::new(fields)) }
    }
}

#[async_trait]
impl TableProvider for SystemProvider {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let places = projection.cloned().unwrap_or_else(|| (0..self.table.columns.len()).collect());
        let schema = Arc::new(self.schema.project(&places)?);
        let properties = Arc::new(PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        ));
        Ok(Arc::new(SystemScan { table: self.table, places, limit, properties }))
    }
}

#[derive(Debug)]
struct SystemScan {
    table: &'static SystemTable,
    places: Vec<usize>,
    limit: Option<usize>,
    properties: Arc<PlanProperties>,
}

impl DisplayAs for SystemScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "System Scan on {}.{}", self.table.schema, self.table.name)
    }
}

impl ExecutionPlan for SystemScan {
    fn name(&self) -> &str {
        "SystemScan"
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

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let run = context
            .session_config()
            .get_extension::<Run>()
            .ok_or_else(|| DataFusionError::Internal("a scan was started outside a session".into()))?;
        let context = Context { catalog: run.context.catalog.clone(), session: run.context.session.clone() };
        let mut rows = self.table.rows(&context);
        rows.truncate(self.limit.unwrap_or(usize::MAX));
        let mut columns = Vec::with_capacity(self.places.len());
        for place in &self.places {
            let mut builder = DatumBuilder::new(self.table.columns[*place].ty, rows.len());
            for row in &rows {
                builder.push(&row[*place]).map_err(external)?;
            }
            columns.push(builder.finish());
        }
        let schema = self.properties.eq_properties.schema().clone();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let batch = RecordBatch::try_new_with_options(schema.clone(), columns, &options)?;
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream::iter([Ok(batch)]))))
    }
}
