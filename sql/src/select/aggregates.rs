//! `sum` and `avg` with PostgreSQL's types: integers add up exactly, averages of exact numbers are exact.
//!
//! | of | sum | avg |
//! |---|---|---|
//! | int2, int4 | int8 | numeric |
//! | int8, numeric | numeric | numeric |
//! | float4 | float4 | float8 |
//! | float8 | float8 | float8 |
//! | interval | interval | interval |

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use datafusion::scalar::ScalarValue;

use super::errors::external;
use crate::arrow::{self, datum_at, scalar_of, type_of};
use crate::error::SqlError;
use crate::types::{BinaryOperator, Datum, Numeric, PgType, arithmetic, compare, format_type};

/// The aggregates that the library has otherwise.
#[derive(Debug)]
pub(super) struct Aggregates {
    sum: Arc<AggregateUDF>,
    avg: Arc<AggregateUDF>,
}

impl Aggregates {
    pub fn new() -> Self {
        let make = |average| Arc::new(AggregateUDF::new_from_impl(Total::new(average)));
        Aggregates { sum: make(false), avg: make(true) }
    }

    /// The aggregate of that name, if it is one of ours.
    pub fn get(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        match name {
            "sum" => Some(self.sum.clone()),
            "avg" => Some(self.avg.clone()),
            _ => None,
        }
    }
}

/// `sum`, or `avg`.
#[derive(Debug)]
struct Total {
    average: bool,
    signature: Signature,
}

impl Total {
    fn new(average: bool) -> Self {
        Total { average, signature: Signature::any(1, Volatility::Immutable) }
    }

    /// The type values are added up in, and the result's.
    fn types(&self, operand: PgType) -> Result<(PgType, PgType)> {
        use PgType::{Float4, Float8, Int2, Int4, Int8, Interval, Numeric};
        Ok(match (operand, self.average) {
            (Int2 | Int4, false) => (Int8, Int8),
            (Int8 | Numeric, _) | (Int2 | Int4, true) => (Numeric, Numeric),
            (Float4, false) => (Float8, Float4),
            (Float4 | Float8, _) => (Float8, Float8),
            (Interval, _) => (Interval, Interval),
            (PgType::Unknown, _) => (Numeric, Numeric),
            _ => {
                let message = format!("function {}({}) does not exist", self.name(), format_type(operand, -1));
                return Err(external(SqlError::new("42883", message).hint(
                    "No function matches the given name and argument types. You might need to add explicit type casts.",
                )));
            }
        })
    }
}

impl PartialEq for Total {
    fn eq(&self, other: &Self) -> bool {
        self.average == other.average
    }
}

impl Eq for Total {}

impl Hash for Total {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.average.hash(state);
    }
}

impl AggregateUDFImpl for Total {
    fn name(&self) -> &str {
        if self.average { "avg" } else { "sum" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let operand = arguments.first().and_then(arrow::natural_type).unwrap_or(PgType::Unknown);
        Ok(arrow::data_type(self.types(operand)?.1))
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        let operand = fields.first().map_or(PgType::Unknown, |field| type_of(field).0);
        Ok(Arc::new(arrow::field(self.name(), self.types(operand)?.1, -1, true)))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let operand = args.input_fields.first().map_or(PgType::Unknown, |field| type_of(field).0);
        let total = arrow::field(format!("{}[total]", args.name), self.types(operand)?.0, -1, true);
        let count = Field::new(format!("{}[count]", args.name), DataType::Int64, true);
        Ok(vec![Arc::new(total), Arc::new(count)])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let operand = args.expr_fields.first().map_or(PgType::Unknown, |field| type_of(field).0);
        let (total, result) = self.types(operand)?;
        let seen = args.is_distinct.then(Vec::new);
        Ok(Box::new(Running { operand, ty: total, result, average: self.average, total: None, count: 0, seen }))
    }
}

/// A total on the way.
#[derive(Debug)]
struct Running {
    operand: PgType,
    ty: PgType,
    result: PgType,
    average: bool,
    total: Option<Datum>,
    count: i64,
    /// The different values so far, where each counts once.
    seen: Option<Vec<Datum>>,
}

impl Running {
    fn add(&mut self, value: Datum, operator: BinaryOperator) -> Result<()> {
        let value = widened(value, self.ty);
        let total = match self.total.take() {
            None if operator == BinaryOperator::Add => value,
            None => return Ok(()),
            Some(total) => arithmetic(operator, &total, &value).map_err(external)?,
        };
        self.total = Some(total);
        Ok(())
    }

    fn each(&mut self, values: &ArrayRef, mut act: impl FnMut(&mut Self, Datum) -> Result<()>) -> Result<()> {
        for row in 0..values.len() {
            let value = datum_at(self.operand, values, row).map_err(external)?;
            if !value.is_null() {
                act(self, value)?;
            }
        }
        Ok(())
    }
}

/// A value in the type its total is kept in.
fn widened(value: Datum, ty: PgType) -> Datum {
    match (&value, ty) {
        (Datum::Int2(_) | Datum::Int4(_), PgType::Int8) => value.as_i64().map_or(Datum::Null, Datum::Int8),
        (Datum::Int2(_) | Datum::Int4(_) | Datum::Int8(_), PgType::Numeric) => {
            value.as_i64().map_or(Datum::Null, |value| Datum::Numeric(Numeric::from(value)))
        }
        (Datum::Float4(value), PgType::Float8) => Datum::Float8(f64::from(*value)),
        _ => value,
    }
}

impl Accumulator for Running {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if self.seen.is_some() {
            return self.each(&values[0], |running, value| {
                running.seen.get_or_insert_default().push(value);
                Ok(())
            });
        }
        self.each(&values[0], |running, value| {
            running.count += 1;
            running.add(value, BinaryOperator::Add)
        })
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.each(&values[0], |running, value| {
            running.count -= 1;
            running.add(value, BinaryOperator::Subtract)?;
            if running.count == 0 {
                running.total = None;
            }
            Ok(())
        })
    }

    fn supports_retract_batch(&self) -> bool {
        self.seen.is_none()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        if let Some(mut seen) = self.seen.take() {
            seen.sort_by(compare);
            seen.dedup_by(|a, b| compare(a, b).is_eq());
            for value in seen {
                self.count += 1;
                self.add(value, BinaryOperator::Add)?;
            }
        }
        let total = match &self.total {
            None => Datum::Null,
            Some(total) if !self.average => match (total, self.result) {
                (Datum::Float8(value), PgType::Float4) => Datum::Float4(*value as f32),
                _ => total.clone(),
            },
            Some(total) => {
                let count = match self.ty {
                    PgType::Numeric => Datum::Numeric(Numeric::from(self.count)),
                    _ => Datum::Float8(self.count as f64),
                };
                arithmetic(BinaryOperator::Divide, total, &count).map_err(external)?
            }
        };
        scalar_of(self.result, &total).map_err(external)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        if self.seen.is_some() {
            return Err(DataFusionError::NotImplemented("DISTINCT in an aggregate of several steps".into()));
        }
        let total = scalar_of(self.ty, self.total.as_ref().unwrap_or(&Datum::Null)).map_err(external)?;
        Ok(vec![total, ScalarValue::Int64(Some(self.count))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for row in 0..states[0].len() {
            let total = datum_at(self.ty, &states[0], row).map_err(external)?;
            let count = datum_at(PgType::Int8, &states[1], row).map_err(external)?;
            self.count += count.as_i64().unwrap_or(0);
            if !total.is_null() {
                self.add(total, BinaryOperator::Add)?;
            }
        }
        Ok(())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.seen.as_ref().map_or(0, |seen| seen.capacity() * size_of::<Datum>())
    }
}
