//! The operator that evaluates subqueries for each row of its input.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, BooleanArray};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, Result, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SessionState, TaskContext};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNode};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, SendableRecordBatchStream, execute_stream,
};
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};
use futures::{StreamExt, TryStreamExt, stream};

use super::node::{Kind, SubPlans};
use super::outer::{self, Bindings};
use crate::arrow::{datum_at, type_of};
use crate::error::SqlError;
use crate::interrupt;
use crate::select::errors::external;
use crate::select::guard::guarded;
use crate::select::optimize::optimized;
use crate::types::{Datum, PgType, compare};

/// The most answers of one subquery that are remembered.
const REMEMBERED_MAX: usize = 10_000;

/// The library's planner, which knows of subqueries that are evaluated.
#[derive(Debug)]
pub(in crate::select) struct QueryPlanner;

#[async_trait]
impl datafusion::execution::context::QueryPlanner for QueryPlanner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let planner = DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(SubPlansPlanner)]);
        planner.create_physical_plan(plan, session).await
    }
}

struct SubPlansPlanner;

#[async_trait]
impl ExtensionPlanner for SubPlansPlanner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _: &[&LogicalPlan],
        inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let node: &dyn Any = node.as_any();
        let Some(node) = node.downcast_ref::<SubPlans>() else { return Ok(None) };
        let [input] = inputs else { return Err(DataFusionError::Internal("subqueries have one input".into())) };
        let Some(state) = session.as_any().downcast_ref::<SessionState>() else { return Ok(None) };
        let schema = node.input.schema();
        let mut evaluated = Vec::new();
        for subplan in &node.subplans {
            let physical = |expr| planner.create_physical_expr(&expr, schema, session, context);
            let outer = subplan.outer.iter().map(|column| {
                let value = physical(datafusion::logical_expr::Expr::Column(column.clone()))?;
                Ok((column.clone(), value))
            });
            evaluated.push(Evaluated {
                kind: subplan.kind,
                plan: node.filled(subplan)?,
                outer: outer.collect::<Result<_>>()?,
                left: subplan.left.clone().map(physical).transpose()?,
            });
        }
        let schema: SchemaRef = Arc::new(node.schema().as_arrow().clone());
        let properties = input.properties();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            properties.output_partitioning().clone(),
            properties.emission_type,
            properties.boundedness,
        );
        Ok(Some(Arc::new(SubPlansExec {
            input: input.clone(),
            subplans: evaluated.into(),
            state: Arc::new(state.clone()),
            schema,
            properties: Arc::new(properties),
        })))
    }
}

/// A subquery, and what it needs of a row.
#[derive(Debug)]
struct Evaluated {
    kind: Kind,
    plan: LogicalPlan,
    outer: Vec<(Column, Arc<dyn PhysicalExpr>)>,
    left: Option<Arc<dyn PhysicalExpr>>,
}

/// See the module.
#[derive(Debug)]
struct SubPlansExec {
    input: Arc<dyn ExecutionPlan>,
    subplans: Arc<[Evaluated]>,
    state: Arc<SessionState>,
    schema: SchemaRef,
    properties: Arc<PlanProperties>,
}

impl DisplayAs for SubPlansExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = self.subplans.iter().map(|subplan| {
            let hashed = if subplan.outer.is_empty() { "once" } else { "for each row" };
            format!("{:?} {hashed}", subplan.kind)
        });
        write!(f, "SubPlan: {}", kinds.collect::<Vec<_>>().join(", "))
    }
}

impl ExecutionPlan for SubPlansExec {
    fn name(&self) -> &str {
        "SubPlan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let exprs = self.subplans.iter().flat_map(|subplan| {
            let outer = subplan.outer.iter().map(|(_, value)| value);
            outer.chain(&subplan.left)
        });
        for expr in exprs {
            if visit(expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let mut children = children.into_iter();
        let (Some(input), None) = (children.next(), children.next()) else {
            return Err(DataFusionError::Internal("subqueries have one input".into()));
        };
        Ok(Arc::new(SubPlansExec {
            input,
            subplans: self.subplans.clone(),
            state: self.state.clone(),
            schema: self.schema.clone(),
            properties: self.properties.clone(),
        }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let reservation = MemoryConsumer::new("SubPlan").register(context.memory_pool());
        let evaluation = Evaluation {
            subplans: self.subplans.clone(),
            remembered: self.subplans.iter().map(|_| HashMap::new()).collect(),
            reservation,
            state: self.state.clone(),
            schema: self.schema.clone(),
            context: context.clone(),
        };
        let input = self.input.execute(partition, context)?;
        let batches = stream::try_unfold((input, evaluation), |(mut input, mut evaluation)| async move {
            let Some(batch) = input.try_next().await? else { return Ok(None) };
            let batch = evaluation.widened(batch).await?;
            Ok(Some((batch, (input, evaluation))))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), batches)))
    }
}

/// What the rows of a subquery come to.
#[derive(Debug)]
enum Answer {
    Exists(bool),
    /// In order.
    Values {
        values: Vec<Datum>,
        has_null: bool,
    },
    Scalar(ScalarValue),
}

impl Answer {
    /// `value IN (…)`.
    fn contains(values: &[Datum], has_null: bool, value: &Datum) -> Option<bool> {
        if values.is_empty() && !has_null {
            return Some(false);
        }
        if !value.is_null() && values.binary_search_by(|known| compare(known, value)).is_ok() {
            return Some(true);
        }
        (!value.is_null() && !has_null).then_some(false)
    }
}

/// One evaluation, on its way through the input.
struct Evaluation {
    subplans: Arc<[Evaluated]>,
    /// For each subquery, its answers by what its outer columns were.
    remembered: Vec<HashMap<Vec<ScalarValue>, Arc<Answer>>>,
    reservation: MemoryReservation,
    state: Arc<SessionState>,
    schema: SchemaRef,
    context: Arc<TaskContext>,
}

impl Evaluation {
    /// A batch with a column more for each subquery.
    async fn widened(&mut self, batch: RecordBatch) -> Result<RecordBatch> {
        let mut columns = batch.columns().to_vec();
        for number in 0..self.subplans.len() {
            columns.push(self.column(number, &batch).await?);
        }
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }

    async fn column(&mut self, number: usize, batch: &RecordBatch) -> Result<ArrayRef> {
        let subplans = self.subplans.clone();
        let (subplan, rows) = (&subplans[number], batch.num_rows());
        let array_of = |value: &Arc<dyn PhysicalExpr>| value.evaluate(batch)?.into_array(rows);
        let outer: Vec<ArrayRef> = subplan.outer.iter().map(|(_, value)| array_of(value)).collect::<Result<_>>()?;
        let left = match &subplan.left {
            Some(value) => {
                let ty = type_of(&*value.return_field(&batch.schema())?).0;
                Some((ty, array_of(value)?))
            }
            None => None,
        };
        let (mut found, mut scalars) = (Vec::new(), Vec::new());
        for row in 0..rows {
            interrupt::check().map_err(external)?;
            let key: Vec<ScalarValue> =
                outer.iter().map(|array| ScalarValue::try_from_array(array, row)).collect::<Result<_>>()?;
            match &*self.answer(number, key).await? {
                Answer::Exists(exists) => found.push(Some(*exists)),
                Answer::Values { values, has_null } => {
                    let value = match &left {
                        Some((ty, array)) => datum_at(*ty, array, row).map_err(external)?,
                        None => Datum::Null,
                    };
                    found.push(Answer::contains(values, *has_null, &value));
                }
                Answer::Scalar(value) => scalars.push(value.clone()),
            }
        }
        match subplan.kind {
            Kind::Exists | Kind::In => Ok(Arc::new(BooleanArray::from(found))),
            Kind::Scalar if scalars.is_empty() => {
                let place = batch.num_columns() + number;
                Ok(datafusion::arrow::array::new_empty_array(self.schema.field(place).data_type()))
            }
            Kind::Scalar => ScalarValue::iter_to_array(scalars),
        }
    }

    async fn answer(&mut self, number: usize, key: Vec<ScalarValue>) -> Result<Arc<Answer>> {
        if let Some(answer) = self.remembered[number].get(&key) {
            return Ok(answer.clone());
        }
        let subplans = self.subplans.clone();
        let subplan = &subplans[number];
        let columns = subplan.outer.iter().map(|(column, _)| column.clone());
        let bindings: Bindings = columns.zip(key.iter().cloned()).collect();
        let (answer, bytes) = self.evaluate(subplan, &bindings).await?;
        let answer = Arc::new(answer);
        let bytes = bytes + key.iter().map(ScalarValue::size).sum::<usize>();
        let is_full = self.remembered[number].len() >= REMEMBERED_MAX;
        if is_full || self.reservation.try_grow(bytes).is_err() {
            self.remembered.iter_mut().for_each(HashMap::clear);
            self.reservation.free();
            self.reservation.try_grow(bytes)?;
        }
        self.remembered[number].insert(key, answer.clone());
        Ok(answer)
    }

    /// What a subquery comes to, and how many bytes that holds.
    async fn evaluate(&self, subplan: &Evaluated, bindings: &Bindings) -> Result<(Answer, usize)> {
        let mut plan = outer::bound(subplan.plan.clone(), bindings)?;
        if subplan.kind == Kind::Exists {
            plan = LogicalPlanBuilder::from(plan).limit(0, Some(1))?.build()?;
        }
        let plan = optimized(&self.state, super::introduce(&self.state, plan)?)?;
        let physical = self.state.query_planner().create_physical_plan(&plan, &*self.state).await?;
        let ty = first_type(&physical.schema());
        let mut batches = execute_stream(guarded(physical)?, self.context.clone())?;
        let (mut values, mut has_null, mut bytes) = (Vec::new(), false, 0);
        let mut scalar = None;
        while let Some(batch) = batches.next().await.transpose()? {
            if batch.num_rows() == 0 {
                continue;
            }
            match subplan.kind {
                Kind::Exists => return Ok((Answer::Exists(true), 0)),
                Kind::Scalar => {
                    if scalar.is_some() || batch.num_rows() > 1 {
                        let words = "more than one row returned by a subquery used as an expression";
                        return Err(external(SqlError::new("21000", words)));
                    }
                    scalar = Some(ScalarValue::try_from_array(batch.column(0), 0)?);
                }
                Kind::In => {
                    bytes += batch.column(0).get_array_memory_size() + batch.num_rows() * size_of::<Datum>();
                    for row in 0..batch.num_rows() {
                        let value = datum_at(ty, batch.column(0), row).map_err(external)?;
                        has_null |= value.is_null();
                        values.extend((!value.is_null()).then_some(value));
                    }
                }
            }
        }
        Ok(match subplan.kind {
            Kind::Exists => (Answer::Exists(false), 0),
            Kind::In => {
                values.sort_by(compare);
                values.dedup_by(|one, other| compare(one, other).is_eq());
                (Answer::Values { values, has_null }, bytes)
            }
            Kind::Scalar => {
                let value = match scalar {
                    Some(value) => value,
                    None => ScalarValue::try_from(subplan.plan.schema().field(0).data_type())?,
                };
                let bytes = value.size();
                (Answer::Scalar(value), bytes)
            }
        })
    }
}

fn first_type(schema: &Schema) -> PgType {
    schema.fields().first().map_or(PgType::Text, |field| type_of(field).0)
}
