//! A table as the planner library sees it: its columns, and which conditions its keys serve.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::TableType;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;

use super::scan::KeyScan;
use super::span::{Access, condition};
use crate::arrow;
use crate::catalog::Table;

/// A table of the catalog.
#[derive(Debug)]
pub(super) struct KeyTable {
    table: Arc<Table>,
    /// For each column shown, its position in the table.
    positions: Vec<usize>,
    schema: SchemaRef,
}

impl KeyTable {
    pub fn new(table: Arc<Table>) -> Self {
        let positions = table.visible_positions.clone();
        let fields: Vec<_> = positions
            .iter()
            .map(|position| {
                let column = &table.columns[*position];
                arrow::field(&column.name, column.ty, column.typmod, column.nullable)
            })
            .collect();
        KeyTable { table, positions, schema: Arc::new(Schema::new(fields)) }
    }
}

#[async_trait]
impl TableProvider for KeyTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let places: Vec<usize> = match projection {
            Some(projection) => projection.clone(),
            None => (0..self.positions.len()).collect(),
        };
        let positions = places.iter().map(|place| self.positions[*place]).collect();
        let schema = Arc::new(self.schema.project(&places)?);
        let access = Access::choose(&self.table, filters, state)?;
        // Whether a row is wanted is decided above the scan: it may not stop early then.
        let limit = limit.filter(|_| filters.is_empty());
        Ok(Arc::new(KeyScan::new(self.table.clone(), access, positions, schema, limit)))
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(filters
            .iter()
            .map(|filter| match condition(filter, &self.table) {
                Some(_) => TableProviderFilterPushDown::Inexact,
                None => TableProviderFilterPushDown::Unsupported,
            })
            .collect())
    }
}
