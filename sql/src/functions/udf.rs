//! The table's functions as functions of the query engine.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::registry::{FunctionContext, Resolved, Volatile, no_function, resolve, table};
use crate::SqlError;
use crate::arrow::{DatumBuilder, datum_at, field, is_settled, type_of};
use crate::interrupt;
use crate::types::{CastContext, Datum, PgType, cast};

/// A function of the table, under all its overloads.
struct PgFunction {
    name: &'static str,
    signature: Signature,
    context: Arc<FunctionContext>,
}

/// The function of this name, for queries of a session; none if the table has none.
pub fn function(name: &str, context: &Arc<FunctionContext>) -> Option<Arc<ScalarUDF>> {
    let (name, overloads) = table().get_key_value(name)?;
    let volatility = match overloads.iter().map(|overload| overload.volatile).max() {
        Some(Volatile::Volatile) => Volatility::Volatile,
        // What depends on the session is constant while a statement runs.
        Some(Volatile::Stable) => Volatility::Stable,
        _ => Volatility::Immutable,
    };
    let signature = match overloads.iter().all(|overload| overload.takes_nothing()) {
        true => Signature::nullary(volatility),
        false => Signature::user_defined(volatility),
    };
    Some(Arc::new(ScalarUDF::new_from_impl(PgFunction { name, signature, context: context.clone() })))
}

/// All functions of the table whose names are words, for queries of a session.
pub fn functions(context: &Arc<FunctionContext>) -> Vec<Arc<ScalarUDF>> {
    let words = table().keys().filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()));
    words.filter_map(|name| function(name, context)).collect()
}

/// The name in the table of a function made by [`function`]; none for others.
pub fn name_of(udf: &ScalarUDF) -> Option<&'static str> {
    let inner: &dyn std::any::Any = &**udf.inner();
    inner.downcast_ref::<PgFunction>().map(|function| function.name)
}

/// What PostgreSQL has and the table has not: a name a line.
const ABSENT: &str = include_str!("absent.txt");

/// Whether PostgreSQL has a function of this name that is not, or not wholly, here.
pub fn is_absent(name: &str) -> bool {
    ABSENT.lines().any(|absent| absent == name)
}

/// A function that is not there, for calls to be refused once their arguments' types are known.
pub fn missing(name: &str) -> Arc<ScalarUDF> {
    let takes_any = vec![TypeSignature::Nullary, TypeSignature::VariadicAny];
    let signature = Signature::one_of(takes_any, Volatility::Volatile);
    Arc::new(ScalarUDF::new_from_impl(Missing { name: name.to_owned(), signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Missing {
    name: String,
    signature: Signature,
}

impl ScalarUDFImpl for Missing {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Err(DataFusionError::Internal("there is no such function".into()))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        if is_absent(&self.name) {
            return Err(external(SqlError::unsupported(format!("the function {}", self.name))));
        }
        let literals = args.scalar_arguments.iter().map(Option::is_some);
        let types: Vec<PgType> =
            args.arg_fields.iter().zip(literals).map(|(field, literal)| argument_type(field, literal)).collect();
        Err(external(no_function(&self.name, &types)))
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(DataFusionError::Internal("there is no such function".into()))
    }
}

pub(super) fn external(error: SqlError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// A text literal may still become anything.
fn argument_type(field: &Field, literal: bool) -> PgType {
    match type_of(field).0 {
        PgType::Text if literal && !is_settled(field) => PgType::Unknown,
        ty => ty,
    }
}

impl std::fmt::Debug for PgFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for PgFunction {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.context.same_session(&other.context)
    }
}

impl Eq for PgFunction {}

impl Hash for PgFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for PgFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        // Casts are PostgreSQL's, made in the call.
        Ok(types.to_vec())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Err(DataFusionError::Internal("the type depends on the fields".into()))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        // Planning asks over and over.
        interrupt::check().map_err(external)?;
        let literals = args.scalar_arguments.iter().map(Option::is_some);
        let types: Vec<PgType> =
            args.arg_fields.iter().zip(literals).map(|(field, literal)| argument_type(field, literal)).collect();
        let resolved = resolve(self.name, &types).map_err(external)?;
        Ok(Arc::new(field(self.name, resolved.result, -1, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        // Without arguments a volatile function is still called for each row.
        let rows = if scalar && !(args.args.is_empty() && self.signature.volatility == Volatility::Volatile) {
            1
        } else {
            args.number_rows
        };
        let types: Vec<PgType> = args
            .args
            .iter()
            .zip(&args.arg_fields)
            .map(|(arg, field)| argument_type(field, matches!(arg, ColumnarValue::Scalar(_))))
            .collect();
        let resolved = resolve(self.name, &types).map_err(external)?;
        let array = self.rows(&resolved, &args, &types, rows)?;
        match scalar && rows == 1 {
            true => ScalarValue::try_from_array(&array, 0).map(ColumnarValue::Scalar),
            false => Ok(ColumnarValue::Array(array)),
        }
    }
}

impl PgFunction {
    fn rows(
        &self,
        resolved: &Resolved,
        args: &ScalarFunctionArgs,
        types: &[PgType],
        rows: usize,
    ) -> Result<datafusion::arrow::array::ArrayRef> {
        let (result, _) = type_of(&args.return_field);
        // A value that is the same for all rows is not written out for each.
        let arrays = args.args.iter().map(|arg| match arg {
            ColumnarValue::Array(array) => Ok(array.clone()),
            ColumnarValue::Scalar(scalar) => scalar.to_array(),
        });
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        let constant = |place: usize| matches!(args.args[place], ColumnarValue::Scalar(_));
        let typmods: Vec<i32> = args.arg_fields.iter().map(|field| type_of(field).1).collect();
        let mut builder = DatumBuilder::new(result, rows);
        for row in 0..rows {
            interrupt::check().map_err(external)?;
            let values = arrays.iter().enumerate().map(|(place, array)| {
                if *array.data_type() == DataType::Null {
                    return Ok(Datum::Null);
                }
                let ty = if types[place] == PgType::Unknown { PgType::Text } else { types[place] };
                datum_at(ty, array, if constant(place) { 0 } else { row }).map_err(external)
            });
            let values: Vec<Datum> = values.collect::<Result<_>>()?;
            let mut value = resolved.call(&self.context, values, &typmods).map_err(external)?;
            if resolved.result != result {
                let settings = &self.context.settings;
                value = cast(value, resolved.result, result, -1, CastContext::Explicit, settings).map_err(external)?;
            }
            builder.push(&value).map_err(external)?;
        }
        Ok(builder.finish())
    }
}

impl super::registry::Overload {
    /// Whether this is a function without arguments.
    fn takes_nothing(&self) -> bool {
        self.arity() == 0
    }
}
