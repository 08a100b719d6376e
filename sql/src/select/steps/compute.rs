//! Steps as functions of the planner library.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::planner::ContextProvider;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    TypeSignature, Volatility,
};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::sql::planner::{PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast::{self, visit_expressions};
use parking_lot::Mutex;

use super::{Step, argument_name, name_of};
use crate::arrow;
use crate::interrupt;
use crate::query::QueryContext;
use crate::select::errors::external;
use crate::select::names::last_part;
use crate::select::operators::Operators;
use crate::select::scope::Scope;
use crate::select::typing;
use crate::stack::level;

/// What the bodies of a query's steps are planned in.
pub(in crate::select) struct StepContext {
    pub state: Arc<SessionState>,
    pub query: QueryContext,
    pub operators: Arc<Operators>,
    /// What is known of the types of the query's parameters.
    pub params: Vec<Option<FieldRef>>,
}

impl StepContext {
    fn scope(&self, below: &[Arc<ScalarUDF>]) -> Scope<'_> {
        Scope::new(&self.state, &self.query, self.operators.clone()).with_steps(below.to_vec())
    }
}

/// The functions of a query's steps.
pub(in crate::select) fn functions(steps: &Arc<[Step]>, context: &Arc<StepContext>) -> Vec<Arc<ScalarUDF>> {
    let mut functions: Vec<Arc<ScalarUDF>> = Vec::with_capacity(steps.len());
    for (number, step) in steps.iter().enumerate() {
        let below: Vec<Arc<ScalarUDF>> = step.below.iter().map(|number| functions[*number].clone()).collect();
        let takes_any = vec![TypeSignature::Nullary, TypeSignature::VariadicAny];
        let signature = Signature::one_of(takes_any, volatility(&step.body, &context.scope(&below)));
        let function = StepFunction {
            number,
            name: name_of(number),
            signature,
            steps: steps.clone(),
            below,
            context: context.clone(),
            planned: Mutex::default(),
        };
        functions.push(Arc::new(ScalarUDF::new_from_impl(function)));
    }
    functions
}

/// The most that a function called in a body may differ from call to call.
fn volatility(body: &ast::Expr, scope: &Scope<'_>) -> Volatility {
    let mut volatility = Volatility::Immutable;
    let _ = visit_expressions(body, |expr| {
        if let ast::Expr::Function(function) = expr {
            let function = scope.get_function_meta(&last_part(&function.name));
            volatility = match (function.map(|function| function.signature().volatility), volatility) {
                (Some(Volatility::Volatile), _) => Volatility::Volatile,
                (Some(Volatility::Stable), Volatility::Immutable) => Volatility::Stable,
                (_, volatility) => volatility,
            };
        }
        ControlFlow::<()>::Continue(())
    });
    volatility
}

/// The function of a step.
struct StepFunction {
    number: usize,
    name: String,
    signature: Signature,
    steps: Arc<[Step]>,
    /// The functions of the steps that this one calls.
    below: Vec<Arc<ScalarUDF>>,
    context: Arc<StepContext>,
    /// What its body is, for the types that arguments had so far: mostly those of one call.
    planned: Mutex<Vec<Arc<Planned>>>,
}

/// A body, for arguments of some types.
struct Planned {
    arguments: Arc<Schema>,
    body: Arc<dyn PhysicalExpr>,
    result: FieldRef,
}

impl std::fmt::Debug for StepFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for StepFunction {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number && Arc::ptr_eq(&self.context, &other.context)
    }
}

impl Eq for StepFunction {}

impl Hash for StepFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

impl ScalarUDFImpl for StepFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Err(DataFusionError::Internal("the type depends on the fields".into()))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(self.planned(args.arg_fields)?.result.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        interrupt::check().map_err(external)?;
        let planned = self.planned(&args.arg_fields)?;
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let once = is_scalar && self.signature.volatility != Volatility::Volatile;
        let rows = if once { 1 } else { args.number_rows };
        let columns = args.args.into_iter().map(|arg| arg.into_array(rows)).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(planned.arguments.clone(), columns, &options)?;
        match level(|| planned.body.evaluate(&batch))? {
            ColumnarValue::Array(array) if once => arrow::first_of(&array).map(ColumnarValue::Scalar),
            value => Ok(value),
        }
    }
}

impl StepFunction {
    /// Its body for arguments of these types.
    fn planned(&self, arguments: &[FieldRef]) -> Result<Arc<Planned>> {
        // Planning asks over and over. Whether an argument may be NULL is not looked at, as it may change on the way to execution.
        interrupt::check().map_err(external)?;
        let is_same = |planned: &&Arc<Planned>| {
            let fields = planned.arguments.fields().iter().zip(arguments);
            planned.arguments.fields().len() == arguments.len()
                && fields.into_iter().all(|(known, given)| {
                    known.data_type() == given.data_type() && arrow::type_of(known) == arrow::type_of(given)
                })
        };
        if let Some(planned) = self.planned.lock().iter().find(is_same) {
            return Ok(planned.clone());
        }
        let planned = Arc::new(level(|| self.plan(arguments))?);
        self.planned.lock().push(planned.clone());
        Ok(planned)
    }

    fn plan(&self, arguments: &[FieldRef]) -> Result<Planned> {
        let step = &self.steps[self.number];
        let named = |(place, field): (usize, &FieldRef)| {
            Arc::new(field.as_ref().clone().with_name(argument_name(place)).with_nullable(true))
        };
        let fields: Vec<FieldRef> = arguments.iter().enumerate().map(named).collect();
        let schema = DFSchema::from_unqualified_fields(fields.into(), HashMap::new())?;
        let context = &*self.context;
        let scope = context.scope(&self.below);
        let mut planning = PlannerContext::new().with_prepare_param_data_types(context.params.clone());
        let body = SqlToRel::new(&scope).sql_to_expr(step.body.clone(), &schema, &mut planning)?;
        let body = typing::settle_body(&context.operators, body, &schema)?;
        let body = body.transform_up(|expr| Ok(argument_of(expr, step)))?.data;
        let result = body.to_field(&schema)?.1;
        let simplifying = SimplifyContext::builder()
            .with_schema(Arc::new(schema.clone()))
            .with_config_options(context.state.config_options().clone())
            .build();
        let simplifier = ExprSimplifier::new(simplifying);
        let body = simplifier.simplify(simplifier.coerce(body, &schema)?)?;
        let properties = context.state.execution_props();
        let body = create_physical_expr(&body, &schema, properties, &PhysicalPlanningContext::default())?;
        let result = Arc::new(result.as_ref().clone().with_name(&self.name).with_nullable(true));
        Ok(Planned { arguments: schema.as_arrow().clone().into(), body, result })
    }
}

/// A parameter is the argument that it comes in, once its type is learnt.
fn argument_of(expr: Expr, step: &Step) -> Transformed<Expr> {
    let Expr::Placeholder(Placeholder { id, .. }) = &expr else { return Transformed::no(expr) };
    match step.params.iter().find(|(name, _)| name == id) {
        Some((_, place)) => Transformed::yes(Expr::Column(Column::from_name(argument_name(*place)))),
        None => Transformed::no(expr),
    }
}
