//! PostgreSQL's aggregates over datums: its result types (`sum(int8)` is numeric, `avg(int4)` too), its rules for NULLs.
//!
//! ```text
//!   rows ─▶ Accumulation::add ─▶ state datums ─▶ merge (another partition's) ─▶ finish
//! ```
//!
//! `count` is the query engine's own. Order within an aggregate (`string_agg(x, ',' ORDER BY y)`) is the query engine's too: it hands the
//! rows over in order.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, ReversedUDAF, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use super::registry::FunctionContext;
use super::udf::external;
use crate::SqlError;
use crate::arrow::{datum_at, field, scalar_of, type_of};
use crate::interrupt;
use crate::types::{Datum, PgType, format_type};

mod accumulate;

use accumulate::{Accumulation, Kind};

/// One of PostgreSQL's aggregates.
struct PgAggregate {
    name: &'static str,
    kind: Kind,
    /// The rows come last first.
    reversed: bool,
    signature: Signature,
    context: Arc<FunctionContext>,
}

const NAMES: [(&str, Kind); 20] = [
    ("sum", Kind::Sum),
    ("avg", Kind::Average),
    ("min", Kind::Min),
    ("max", Kind::Max),
    ("bool_and", Kind::BoolAnd),
    ("every", Kind::BoolAnd),
    ("bool_or", Kind::BoolOr),
    ("string_agg", Kind::StringAgg),
    ("array_agg", Kind::ArrayAgg),
    ("json_agg", Kind::JsonAgg),
    ("jsonb_agg", Kind::JsonbAgg),
    ("stddev", Kind::Spread { population: false, root: true }),
    ("stddev_samp", Kind::Spread { population: false, root: true }),
    ("stddev_pop", Kind::Spread { population: true, root: true }),
    ("variance", Kind::Spread { population: false, root: false }),
    ("var_samp", Kind::Spread { population: false, root: false }),
    ("var_pop", Kind::Spread { population: true, root: false }),
    ("bit_and", Kind::BitAnd),
    ("bit_or", Kind::BitOr),
    ("any_value", Kind::AnyValue),
];

/// The aggregate of this name; none if it is not one of these.
pub fn aggregate(name: &str, context: &Arc<FunctionContext>) -> Option<Arc<AggregateUDF>> {
    let (name, kind) = NAMES.iter().find(|(known, _)| *known == name)?;
    Some(make(name, *kind, false, context))
}

fn make(name: &'static str, kind: Kind, reversed: bool, context: &Arc<FunctionContext>) -> Arc<AggregateUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(AggregateUDF::from(PgAggregate { name, kind, reversed, signature, context: context.clone() }))
}

/// Their names.
pub fn aggregate_names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|(name, _)| *name)
}

/// All of them, for queries of a session.
pub fn aggregates(context: &Arc<FunctionContext>) -> Vec<Arc<AggregateUDF>> {
    NAMES.iter().map(|(name, kind)| make(name, *kind, false, context)).collect()
}

impl PgAggregate {
    fn result(&self, argument: PgType) -> Result<PgType> {
        self.kind.result(argument).ok_or_else(|| {
            let name = format_type(argument, -1);
            external(SqlError::new("42883", format!("function {}({name}) does not exist", self.name)).hint(
                "No function matches the given name and argument types. You might need to add explicit type casts.",
            ))
        })
    }
}

impl std::fmt::Debug for PgAggregate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for PgAggregate {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.reversed == other.reversed && self.context.same_session(&other.context)
    }
}

impl Eq for PgAggregate {}

impl Hash for PgAggregate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// The type of the first argument; a literal without type is text.
fn argument(fields: &[FieldRef]) -> PgType {
    match fields.first().map(|field| type_of(field).0) {
        Some(PgType::Unknown) | None => PgType::Text,
        Some(ty) => ty,
    }
}

impl AggregateUDFImpl for PgAggregate {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let wanted = if self.kind == Kind::StringAgg { 2 } else { 1 };
        match types.len() == wanted {
            true => Ok(types.to_vec()),
            false => Err(external(SqlError::new("42883", format!("function {} takes {wanted} arguments", self.name)))),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let fields: Vec<FieldRef> = types.iter().map(|ty| Arc::new(Field::new("", ty.clone(), true))).collect();
        Ok(self.return_field(&fields)?.data_type().clone())
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        Ok(Arc::new(field(self.name, self.result(argument(fields))?, -1, true)))
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let fields: Vec<FieldRef> =
            args.exprs.iter().map(|expr| expr.return_field(args.schema)).collect::<Result<_>>()?;
        let ty = argument(&fields);
        let types = fields.iter().map(|field| type_of(field).0).collect();
        Ok(Box::new(Rows {
            accumulation: Accumulation::new(self.kind, ty, self.reversed, self.context.clone()),
            types,
            result: self.result(ty)?,
            seen: args.is_distinct.then(Default::default),
        }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let ty = argument(args.input_fields);
        let states = self.kind.state(ty).into_iter().enumerate();
        Ok(states.map(|(place, ty)| Arc::new(field(format!("{}[{place}]", args.name), ty, -1, true))).collect())
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        match self.kind.keeps_order() {
            true => AggregateOrderSensitivity::HardRequirement,
            false => AggregateOrderSensitivity::Insensitive,
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        match self.kind.keeps_order() {
            true => ReversedUDAF::Reversed(make(self.name, self.kind, !self.reversed, &self.context)),
            false => ReversedUDAF::Identical,
        }
    }

    fn supports_null_handling_clause(&self) -> bool {
        false
    }
}

/// An accumulation fed from arrays.
struct Rows {
    accumulation: Accumulation,
    types: Vec<PgType>,
    result: PgType,
    /// With DISTINCT: the values met, by their order.
    seen: Option<Vec<Datum>>,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rows")
    }
}

impl Rows {
    fn row(&self, values: &[ArrayRef], row: usize) -> Result<Vec<Datum>> {
        let types = self.types.iter().map(|ty| if *ty == PgType::Unknown { PgType::Text } else { *ty });
        values.iter().zip(types).map(|(array, ty)| datum_at(ty, array, row).map_err(external)).collect()
    }
}

impl Accumulator for Rows {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(first) = values.first() else { return Ok(()) };
        if self.seen.is_none() && self.accumulation.add_integers(first) {
            return Ok(());
        }
        for row in 0..first.len() {
            interrupt::check().map_err(external)?;
            let row = self.row(values, row)?;
            if let Some(seen) = &mut self.seen {
                match seen.binary_search_by(|known| crate::types::compare(known, &row[0])) {
                    Ok(_) => continue,
                    Err(place) => seen.insert(place, row[0].clone()),
                }
            }
            self.accumulation.add(&row).map_err(external)?;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for row in 0..values.first().map_or(0, |array| array.len()) {
            let row = self.row(values, row)?;
            self.accumulation.remove(&row).map_err(external)?;
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        self.seen.is_none() && self.accumulation.can_remove()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        if self.seen.is_some() {
            return Err(DataFusionError::NotImplemented("DISTINCT in an aggregate over several partitions".into()));
        }
        let types = self.accumulation.state_types();
        let state = self.accumulation.state().map_err(external)?;
        state.iter().zip(types).map(|(datum, ty)| scalar_of(ty, datum).map_err(external)).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let types = self.accumulation.state_types();
        for row in 0..states.first().map_or(0, |array| array.len()) {
            let state = states.iter().zip(&types).map(|(array, ty)| datum_at(*ty, array, row).map_err(external));
            let state: Vec<Datum> = state.collect::<Result<_>>()?;
            self.accumulation.merge(&state).map_err(external)?;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = self.accumulation.finish().map_err(external)?;
        scalar_of(self.result, &value).map_err(external)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.accumulation.size()
    }
}
