//! The functions that look things up in the catalog, for one query.
//!
//! A function closes over the catalog and the session it was made for, and is not to outlive the plan of a session.

mod describe;
mod lookup;
mod privilege;
mod size;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::Context;
use crate::arrow::{DatumBuilder, datum_at, field, first_of, type_of};
use crate::error::SqlError;
use crate::types::{Datum, Names, PgType};

/// One function: its name, its result's type, what it does.
struct Definition {
    name: &'static str,
    result: PgType,
    /// Fewest and most arguments.
    arguments: (usize, usize),
    /// Called with NULL arguments too; otherwise one NULL makes the result NULL.
    takes_null: bool,
    compute: fn(&Context, &[Datum]) -> Datum,
}

/// A function that is NULL for a NULL argument.
const fn strict(
    name: &'static str,
    result: PgType,
    arguments: (usize, usize),
    compute: fn(&Context, &[Datum]) -> Datum,
) -> Definition {
    Definition { name, result, arguments, takes_null: false, compute }
}

/// The functions that look things up in the catalog, for one query of a session.
pub fn functions(context: &Context) -> Vec<Arc<ScalarUDF>> {
    definitions().map(|definition| make(definition, context)).collect()
}

/// One of [`functions`], by its name without a schema; none if it is not one of them.
pub fn function(name: &str, context: &Context) -> Option<Arc<ScalarUDF>> {
    definitions().find(|definition| definition.name == name).map(|definition| make(definition, context))
}

fn definitions() -> impl Iterator<Item = &'static Definition> {
    [lookup::FUNCTIONS, describe::FUNCTIONS, privilege::FUNCTIONS, size::FUNCTIONS].into_iter().flatten()
}

fn make(definition: &'static Definition, context: &Context) -> Arc<ScalarUDF> {
    let signature = match definition.arguments {
        (0, 0) => Signature::nullary(Volatility::Stable),
        (0, _) => Signature::one_of(
            vec![
                datafusion::logical_expr::TypeSignature::Nullary,
                datafusion::logical_expr::TypeSignature::VariadicAny,
            ],
            Volatility::Stable,
        ),
        _ => Signature::variadic_any(Volatility::Stable),
    };
    Arc::new(ScalarUDF::new_from_impl(CatalogFunction { definition, context: context.clone(), signature }))
}

struct CatalogFunction {
    definition: &'static Definition,
    context: Context,
    signature: Signature,
}

impl std::fmt::Debug for CatalogFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.definition.name)
    }
}

impl PartialEq for CatalogFunction {
    fn eq(&self, other: &Self) -> bool {
        self.definition.name == other.definition.name
            && Arc::ptr_eq(&self.context.catalog, &other.context.catalog)
            && Arc::ptr_eq(&self.context.session, &other.context.session)
    }
}

impl Eq for CatalogFunction {}

impl Hash for CatalogFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.definition.name.hash(state);
    }
}

impl ScalarUDFImpl for CatalogFunction {
    fn name(&self) -> &str {
        self.definition.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(crate::arrow::data_type(self.definition.result))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let (fewest, most) = self.definition.arguments;
        if !(fewest..=most).contains(&args.arg_fields.len()) {
            let types = args.arg_fields.iter().map(|field| crate::types::format_type(type_of(field).0, -1));
            let types = types.collect::<Vec<_>>().join(", ");
            let error = SqlError::new("42883", format!("function {}({types}) does not exist", self.definition.name))
                .hint(
                    "No function matches the given name and argument types. You might need to add explicit type casts.",
                );
            return Err(DataFusionError::External(Box::new(error)));
        }
        Ok(Arc::new(field(self.definition.name, self.definition.result, -1, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let external = |error: SqlError| DataFusionError::External(Box::new(error));
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let arrays: Vec<_> = args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<_>>()?;
        let types: Vec<PgType> = args.arg_fields.iter().map(|field| type_of(field).0).collect();
        let mut builder = DatumBuilder::new(self.definition.result, rows);
        let mut values = Vec::with_capacity(arrays.len());
        for row in 0..rows {
            values.clear();
            for (array, ty) in arrays.iter().zip(&types) {
                values.push(datum_at(*ty, array, row).map_err(external)?);
            }
            let skipped = !self.definition.takes_null && values.iter().any(Datum::is_null);
            let value = if skipped { Datum::Null } else { (self.definition.compute)(&self.context, &values) };
            builder.push(&value).map_err(external)?;
        }
        let array = builder.finish();
        if constant {
            return first_of(&array).map(ColumnarValue::Scalar);
        }
        Ok(ColumnarValue::Array(array))
    }
}

/// An argument that is an OID, or the text of one.
fn oid_argument(arguments: &[Datum], place: usize) -> Option<u32> {
    let datum = arguments.get(place)?;
    match datum.as_i64() {
        Some(number) => u32::try_from(number).ok(),
        None => datum.as_str()?.trim().parse().ok(),
    }
}

/// An argument that is a relation's OID, or its name.
fn relation_argument(context: &Context, arguments: &[Datum], place: usize) -> Option<u32> {
    oid_argument(arguments, place).or_else(|| context.relation_oid(arguments.get(place)?.as_str()?))
}

fn optional(value: Option<impl Into<String>>) -> Datum {
    value.map_or(Datum::Null, |value| Datum::Text(value.into()))
}

fn null(_: &Context, _: &[Datum]) -> Datum {
    Datum::Null
}

/// What the function of that name answers, without a plan around it.
#[cfg(test)]
pub(super) fn compute(name: &str, context: &Context, arguments: &[Datum]) -> Datum {
    let definition = definitions().find(|definition| definition.name == name).expect("a function of the catalog");
    if !definition.takes_null && arguments.iter().any(Datum::is_null) {
        return Datum::Null;
    }
    (definition.compute)(context, arguments)
}
