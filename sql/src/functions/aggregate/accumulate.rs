//! What each aggregate remembers, and how it ends.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Int16Type, Int32Type, Int64Type};

use super::super::json::to_json;
use super::super::registry::{Call, FunctionContext};
use crate::SqlError;
use crate::types::{BinaryOperator, Datum, Numeric, PgType, arithmetic, compare, json};

/// Which aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sum,
    Average,
    Min,
    Max,
    BoolAnd,
    BoolOr,
    StringAgg,
    ArrayAgg,
    JsonAgg,
    JsonbAgg,
    /// Variance, or its root the standard deviation.
    Spread {
        population: bool,
        root: bool,
    },
    BitAnd,
    BitOr,
    AnyValue,
}

impl Kind {
    /// The type of the result for an argument's; none when there is no such aggregate.
    pub fn result(self, argument: PgType) -> Option<PgType> {
        use PgType::{Float4, Float8, Int2, Int4, Int8, Interval, Numeric};
        Some(match (self, argument) {
            (Kind::Sum, Int2 | Int4) => Int8,
            (Kind::Sum, Int8) => Numeric,
            (Kind::Sum, Numeric | Float4 | Float8 | Interval) => argument,
            (Kind::Average | Kind::Spread { .. }, Int2 | Int4 | Int8 | Numeric) => Numeric,
            (Kind::Average | Kind::Spread { .. }, Float4 | Float8) => Float8,
            (Kind::Average, Interval) => Interval,
            (Kind::Min | Kind::Max, PgType::Bool | PgType::Json | PgType::Jsonb | PgType::Uuid) => return None,
            (Kind::Min | Kind::Max | Kind::AnyValue, ty) => ty,
            (Kind::BoolAnd | Kind::BoolOr, PgType::Bool) => PgType::Bool,
            (Kind::StringAgg, ty) if ty.is_string() => PgType::Text,
            (Kind::StringAgg, PgType::Bytea) => PgType::Bytea,
            (Kind::ArrayAgg, ty) => ty.array()?,
            (Kind::JsonAgg, _) => PgType::Json,
            (Kind::JsonbAgg, _) => PgType::Jsonb,
            (Kind::BitAnd | Kind::BitOr, ty) if ty.is_integer() => ty,
            _ => return None,
        })
    }

    /// Whether the order of rows shows in the result.
    pub fn keeps_order(self) -> bool {
        matches!(self, Kind::StringAgg | Kind::ArrayAgg | Kind::JsonAgg | Kind::JsonbAgg | Kind::AnyValue)
    }

    /// The types of what partitions tell each other.
    pub fn state(self, argument: PgType) -> Vec<PgType> {
        let result = self.result(argument).unwrap_or(PgType::Text);
        match self {
            // The sum as it is kept: exact for exact numbers.
            Kind::Sum | Kind::Average => vec![sum_type(argument), PgType::Int8],
            Kind::Spread { .. } => vec![sum_type(argument), sum_type(argument), PgType::Int8],
            Kind::StringAgg => vec![result.array().unwrap_or(PgType::TextArray); 2],
            Kind::JsonAgg | Kind::JsonbAgg => vec![PgType::TextArray],
            _ => vec![result],
        }
    }
}

/// In what sums are kept.
fn sum_type(argument: PgType) -> PgType {
    match argument {
        PgType::Float4 | PgType::Float8 => PgType::Float8,
        PgType::Interval => PgType::Interval,
        _ => PgType::Numeric,
    }
}

/// An aggregate at work.
pub(super) struct Accumulation {
    kind: Kind,
    argument: PgType,
    context: Arc<FunctionContext>,
    /// Values that count: not NULL, or for arrays and JSON all.
    count: i64,
    /// The sum of integers while it fits; folded into `sum` when asked.
    integers: i128,
    /// The sum or the extreme so far; NULL before the first value.
    value: Datum,
    /// The sum of squares.
    second: Datum,
    items: Vec<Datum>,
    /// The delimiter before each of `items`.
    delimiters: Vec<Datum>,
    /// The rows come last first.
    reversed: bool,
}

impl Accumulation {
    pub fn new(kind: Kind, argument: PgType, reversed: bool, context: Arc<FunctionContext>) -> Self {
        let (value, second) = (Datum::Null, Datum::Null);
        let (items, delimiters) = (Vec::new(), Vec::new());
        Accumulation { kind, argument, context, count: 0, integers: 0, value, second, items, delimiters, reversed }
    }

    pub fn state_types(&self) -> Vec<PgType> {
        self.kind.state(self.argument)
    }

    /// Sums a whole array of integers at once; false when this is nothing of the kind.
    pub fn add_integers(&mut self, array: &ArrayRef) -> bool {
        if !matches!(self.kind, Kind::Sum | Kind::Average) {
            return false;
        }
        let sum: i128 = match array.data_type() {
            DataType::Int16 => array.as_primitive::<Int16Type>().iter().flatten().map(i128::from).sum(),
            DataType::Int32 => array.as_primitive::<Int32Type>().iter().flatten().map(i128::from).sum(),
            DataType::Int64 => array.as_primitive::<Int64Type>().iter().flatten().map(i128::from).sum(),
            _ => return false,
        };
        self.integers += sum;
        self.count += (array.len() - array.null_count()) as i64;
        true
    }

    pub fn add(&mut self, row: &[Datum]) -> Result<(), SqlError> {
        let value = &row[0];
        match self.kind {
            Kind::ArrayAgg => self.items.push(value.clone()),
            Kind::JsonAgg | Kind::JsonbAgg => {
                let item = self.json_item(value)?;
                self.items.push(Datum::Text(item));
            }
            Kind::AnyValue if self.value.is_null() => self.value = value.clone(),
            Kind::StringAgg if !value.is_null() => {
                self.items.push(value.clone());
                self.delimiters.push(row[1].clone());
            }
            _ if value.is_null() => return Ok(()),
            Kind::Sum | Kind::Average => self.value = plus(&self.value, &self.widened(value))?,
            Kind::Spread { .. } => {
                let wide = self.widened(value);
                self.second = plus(&self.second, &arithmetic(BinaryOperator::Multiply, &wide, &wide)?)?;
                self.value = plus(&self.value, &wide)?;
            }
            _ => self.value = self.better(value),
        }
        self.count += 1;
        Ok(())
    }

    /// Of what is held and a new value, the one to hold.
    fn better(&self, value: &Datum) -> Datum {
        if self.value.is_null() {
            return value.clone();
        }
        let keep = |keep: bool| if keep { self.value.clone() } else { value.clone() };
        let bits = |combine: fn(i64, i64) -> i64| {
            let bits = combine(self.value.as_i64().unwrap_or(0), value.as_i64().unwrap_or(0));
            match value {
                Datum::Int2(_) => Datum::Int2(bits as i16),
                Datum::Int4(_) => Datum::Int4(bits as i32),
                _ => Datum::Int8(bits),
            }
        };
        match self.kind {
            Kind::Min => keep(compare(&self.value, value).is_le()),
            Kind::Max => keep(compare(&self.value, value).is_ge()),
            Kind::BoolAnd => keep(self.value == Datum::Bool(false)),
            Kind::BoolOr => keep(self.value == Datum::Bool(true)),
            Kind::BitAnd => bits(|a, b| a & b),
            Kind::BitOr => bits(|a, b| a | b),
            _ => self.value.clone(),
        }
    }

    /// A value as sums are kept.
    fn widened(&self, value: &Datum) -> Datum {
        match (value, sum_type(self.argument)) {
            (Datum::Float4(value), _) => Datum::Float8(f64::from(*value)),
            (value, PgType::Numeric) => match value.as_i64() {
                Some(whole) => Datum::Numeric(Numeric::from(whole)),
                None => value.clone(),
            },
            _ => value.clone(),
        }
    }

    fn string_type(&self) -> PgType {
        if self.argument == PgType::Bytea { PgType::Bytea } else { PgType::Text }
    }

    /// The strings with the delimiters before all but the first; NULL without strings.
    fn joined(&self) -> Datum {
        let mut all = Datum::Null;
        for (item, delimiter) in self.items.iter().zip(&self.delimiters) {
            match (&mut all, item) {
                (Datum::Text(all), Datum::Text(next)) => {
                    all.push_str(delimiter.as_str().unwrap_or_default());
                    all.push_str(next);
                }
                (Datum::Bytea(all), Datum::Bytea(next)) => {
                    if let Datum::Bytea(delimiter) = delimiter {
                        all.extend_from_slice(delimiter);
                    }
                    all.extend_from_slice(next);
                }
                (held, first) => *held = first.clone(),
            }
        }
        all
    }

    fn json_item(&self, value: &Datum) -> Result<String, SqlError> {
        let types = [self.argument];
        let call = Call { context: &self.context, types: &types, typmods: &[], result: PgType::Jsonb };
        match to_json(value, self.argument, &call)? {
            item if self.kind == Kind::JsonAgg => Ok(item.to_string()),
            item => json::to_canonical(&item),
        }
    }

    pub fn can_remove(&self) -> bool {
        matches!(self.kind, Kind::Sum | Kind::Average)
    }

    pub fn remove(&mut self, row: &[Datum]) -> Result<(), SqlError> {
        if row[0].is_null() {
            return Ok(());
        }
        self.count -= 1;
        match self.argument.is_integer() {
            true => self.integers -= i128::from(row[0].as_i64().unwrap_or(0)),
            false => self.value = arithmetic(BinaryOperator::Subtract, &self.value, &self.widened(&row[0]))?,
        }
        Ok(())
    }

    /// The sum, NULL if nothing was summed.
    fn total(&self) -> Result<Datum, SqlError> {
        match (self.count, self.argument.is_integer()) {
            (0, _) => Ok(Datum::Null),
            (_, true) => {
                let integers = Datum::Numeric(Numeric::new(self.integers, 0));
                plus(&self.value, &integers)
            }
            _ => Ok(self.value.clone()),
        }
    }

    pub fn state(&self) -> Result<Vec<Datum>, SqlError> {
        Ok(match self.kind {
            Kind::Sum | Kind::Average => vec![self.total()?, Datum::Int8(self.count)],
            Kind::Spread { .. } => vec![self.value.clone(), self.second.clone(), Datum::Int8(self.count)],
            Kind::StringAgg => {
                let list = |values: &[Datum]| Datum::array(self.string_type(), values.to_vec());
                vec![list(&self.items), list(&self.delimiters)]
            }
            Kind::ArrayAgg | Kind::JsonAgg | Kind::JsonbAgg if self.items.is_empty() => vec![Datum::Null],
            Kind::ArrayAgg => vec![Datum::array(self.argument, self.items.clone())],
            Kind::JsonAgg | Kind::JsonbAgg => vec![Datum::array(PgType::Text, self.items.clone())],
            _ => vec![self.value.clone()],
        })
    }

    pub fn merge(&mut self, state: &[Datum]) -> Result<(), SqlError> {
        match (self.kind, state) {
            (_, [Datum::Null, ..]) => {}
            (Kind::Sum | Kind::Average, [sum, count]) => {
                self.value = plus(&self.value, sum)?;
                self.count += count.as_i64().unwrap_or(0);
            }
            (Kind::Spread { .. }, [sum, squares, count]) => {
                self.value = plus(&self.value, sum)?;
                self.second = plus(&self.second, squares)?;
                self.count += count.as_i64().unwrap_or(0);
            }
            (Kind::StringAgg, [Datum::Array(items), Datum::Array(delimiters)]) => {
                self.items.extend(items.values.iter().cloned());
                self.delimiters.extend(delimiters.values.iter().cloned());
            }
            (_, [Datum::Array(items)]) if !matches!(self.kind, Kind::Min | Kind::Max | Kind::AnyValue) => {
                self.items.extend(items.values.iter().cloned());
            }
            (_, [value, ..]) => self.value = self.better(value),
            _ => {}
        }
        Ok(())
    }

    pub fn finish(&mut self) -> Result<Datum, SqlError> {
        if std::mem::take(&mut self.reversed) {
            self.items.reverse();
            self.delimiters.reverse();
        }
        match self.kind {
            Kind::StringAgg => Ok(self.joined()),
            Kind::Sum => match (self.total()?, self.argument) {
                (Datum::Numeric(sum), PgType::Int2 | PgType::Int4) => {
                    let fits = sum.to_i64().map(Datum::Int8);
                    fits.ok_or_else(|| SqlError::new("22003", "bigint out of range"))
                }
                (Datum::Float8(sum), PgType::Float4) => Ok(Datum::Float4(sum as f32)),
                (sum, _) => Ok(sum),
            },
            Kind::Average => match self.total()? {
                Datum::Float8(sum) => Ok(Datum::Float8(sum / self.count as f64)),
                sum => arithmetic(BinaryOperator::Divide, &sum, &Datum::Numeric(Numeric::from(self.count.max(1)))),
            },
            Kind::Spread { population, root } => self.spread(population, root),
            Kind::ArrayAgg if !self.items.is_empty() => Ok(Datum::array(self.argument, self.items.clone())),
            Kind::JsonAgg | Kind::JsonbAgg if !self.items.is_empty() => {
                let items: Vec<&str> = self.items.iter().filter_map(Datum::as_str).collect();
                let text = format!("[{}]", items.join(", "));
                Ok(if self.kind == Kind::JsonAgg { Datum::Json(text) } else { Datum::Jsonb(text) })
            }
            _ => Ok(self.value.clone()),
        }
    }

    fn spread(&self, population: bool, root: bool) -> Result<Datum, SqlError> {
        let divisor = if population { self.count } else { self.count - 1 };
        if divisor < 1 {
            return Ok(Datum::Null);
        }
        match (&self.value, &self.second) {
            (Datum::Float8(sum), Datum::Float8(squares)) => {
                let count = self.count as f64;
                let variance = ((count * squares - sum * sum) / (count * divisor as f64)).max(0.0);
                Ok(Datum::Float8(if root { variance.sqrt() } else { variance }))
            }
            (Datum::Numeric(sum), Datum::Numeric(squares)) => {
                let count = Numeric::from(self.count);
                let above = count.multiply(squares)?.subtract(&sum.multiply(sum)?)?;
                let variance = above.divide(&count.multiply(&Numeric::from(divisor))?)?;
                Ok(Datum::Numeric(if root { variance.sqrt()? } else { variance }))
            }
            _ => Ok(Datum::Null),
        }
    }

    /// Bytes held beyond the struct, roughly.
    pub fn size(&self) -> usize {
        self.items.len() * size_of::<Datum>() + self.value.as_str().map_or(0, str::len)
    }
}

fn plus(held: &Datum, value: &Datum) -> Result<Datum, SqlError> {
    if held.is_null() { Ok(value.clone()) } else { arithmetic(BinaryOperator::Add, held, value) }
}
