//! Long sums and joined texts as one function of all their operands.
//!
//! ```text
//!   a + b - c + d     ─▶  chain[+ - +](a, b, c, d)       computed from left to right, each step by the function of its operator
//!   a || b || c       ─▶  chain[|| ||](a, b, c)
//! ```
//!
//! The parser makes one level of each operator. The planner library asks of every level for the type, and the name, of all that is below it,
//! again and again; a chain has one level, whatever its length. Nothing is re-associated: sums may overflow, and doubles round.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::calls::{Call, Kind};
use crate::types::TypeSettings;

/// The function of a chain.
#[derive(Debug, PartialEq, Eq)]
struct Chain {
    /// What is done with what came before and the next operand; one less than there are operands.
    steps: Vec<Arc<ScalarUDF>>,
    name: String,
    signature: Signature,
}

/// `left step right`, as one more step where left is such a call, or a chain of them.
pub(super) fn append(left: Expr, step: Kind, right: Expr, settings: &Arc<TypeSettings>) -> Expr {
    let step_udf = Call::udf(step, settings);
    let (mut steps, mut args) = match left {
        Expr::ScalarFunction(ScalarFunction { func, args }) if is_link(&func, step) => (vec![func], args),
        Expr::ScalarFunction(ScalarFunction { func, args }) => match steps_of(&func) {
            Some(steps) if steps.first().is_some_and(|first| is_link(first, step)) => (steps.to_vec(), args),
            _ => (Vec::new(), vec![Expr::ScalarFunction(ScalarFunction { func, args })]),
        },
        other => (Vec::new(), vec![other]),
    };
    args.push(right);
    if steps.is_empty() {
        return Expr::ScalarFunction(ScalarFunction::new_udf(step_udf, args));
    }
    steps.push(step_udf);
    let symbols: Vec<&str> = steps.iter().map(|step| step.name()).collect();
    let name = format!("chain[{}]", symbols.join(" "));
    let chain = Chain { steps, name, signature: Signature::variadic_any(Volatility::Immutable) };
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::new_from_impl(chain)), args))
}

/// Whether a function may stand in one chain with a step: arithmetic with arithmetic, texts with texts.
fn is_link(udf: &ScalarUDF, step: Kind) -> bool {
    match (Call::kind_of(udf), step) {
        (Some(Kind::Arithmetic(_)), Kind::Arithmetic(_)) => true,
        (Some(kind), step) => kind == Kind::Concat && step == Kind::Concat,
        _ => false,
    }
}

/// The steps of a chain; none if it is another function.
pub(super) fn steps_of(udf: &ScalarUDF) -> Option<&[Arc<ScalarUDF>]> {
    let inner: &dyn std::any::Any = &**udf.inner();
    inner.downcast_ref::<Chain>().map(|chain| &chain.steps[..])
}

impl Hash for Chain {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Chain {
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
        self.fields(args.arg_fields).map(|mut fields| fields.pop().expect("a chain has steps"))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let fields = self.fields(&args.arg_fields)?;
        let mut operands = args.args.into_iter().zip(args.arg_fields.iter().cloned());
        let (mut value, mut field) = operands.next().expect("a chain has operands");
        for ((step, result), (operand, operand_field)) in self.steps.iter().zip(fields).zip(operands) {
            value = step.invoke_with_args(ScalarFunctionArgs {
                args: vec![value, operand],
                arg_fields: vec![field, operand_field],
                number_rows: args.number_rows,
                return_field: result.clone(),
                config_options: args.config_options.clone(),
            })?;
            field = result;
        }
        Ok(value)
    }
}

impl Chain {
    /// What each step results in.
    fn fields(&self, operands: &[FieldRef]) -> Result<Vec<FieldRef>> {
        let mut fields: Vec<FieldRef> = Vec::with_capacity(self.steps.len());
        for (step, operand) in self.steps.iter().zip(operands.iter().skip(1)) {
            let left = fields.last().unwrap_or(&operands[0]).clone();
            let arg_fields = [left, operand.clone()];
            let args = ReturnFieldArgs { arg_fields: &arg_fields, scalar_arguments: &[None, None] };
            fields.push(step.return_field_from_args(args)?);
        }
        Ok(fields)
    }
}
