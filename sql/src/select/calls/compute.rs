//! What our functions do with one row's values.

use std::cmp::Ordering;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::error::DataFusionError;

use super::super::errors::external;
use super::{Column, Comparison};
use crate::arrow::SCALE_BYTES;
use crate::error::SqlError;
use crate::interrupt;
use crate::rowcodec::{KeyColumn, encode_key};
use crate::types::{self, BinaryOperator, Datum, TypeSettings, add_interval_in_zone};

/// Arithmetic, with days and months added to an instant counted in the session's zone.
pub(super) fn arithmetic(
    operator: BinaryOperator,
    left: &Datum,
    right: &Datum,
    settings: &TypeSettings,
) -> std::result::Result<Datum, SqlError> {
    let zoned = |micros: i64, by| add_interval_in_zone(micros, by, &settings.timezone).map(Datum::TimestampTz);
    match (operator, left, right) {
        (BinaryOperator::Add, Datum::TimestampTz(at), Datum::Interval(by))
        | (BinaryOperator::Add, Datum::Interval(by), Datum::TimestampTz(at)) => zoned(*at, *by),
        (BinaryOperator::Subtract, Datum::TimestampTz(at), Datum::Interval(by)) => zoned(*at, by.negate()?),
        _ => types::arithmetic(operator, left, right),
    }
}

/// `value op ANY (array)`, by SQL's rules for NULL.
pub(super) fn quantified(comparison: Comparison, all: bool, value: &Datum, array: &Datum) -> Datum {
    let Datum::Array(array) = array else { return Datum::Null };
    let mut unknown = false;
    for element in &array.values {
        match types::compare_sql(value, element).map(|ordering: Ordering| comparison.holds(ordering)) {
            Some(held) if held != all => return Datum::Bool(held),
            Some(_) => {}
            None => unknown = true,
        }
    }
    if unknown { Datum::Null } else { Datum::Bool(all) }
}

/// Numbers' bytes without their display scales.
pub(super) fn numeric_keys(numbers: &ArrayRef) -> Result<ArrayRef> {
    let mut builder = BinaryBuilder::with_capacity(numbers.len(), numbers.len() * 12);
    match numbers.data_type() {
        DataType::LargeBinary => {
            for number in numbers.as_binary::<i64>() {
                builder.append_option(number.map(|bytes| &bytes[..bytes.len().saturating_sub(SCALE_BYTES)]));
            }
        }
        DataType::Null => (0..numbers.len()).for_each(|_| builder.append_null()),
        other => return Err(DataFusionError::Internal(format!("{other} is not how numbers are kept"))),
    }
    Ok(Arc::new(builder.finish()))
}

/// Values' index keys; NULL for NULL.
pub(super) fn value_keys(values: &Column, rows: usize) -> Result<ArrayRef> {
    let column = KeyColumn::ascending(values.ty);
    let mut builder = BinaryBuilder::with_capacity(rows, rows * 12);
    let mut key = Vec::new();
    for row in 0..rows {
        interrupt::check().map_err(external)?;
        match values.get(row)? {
            Datum::Null => builder.append_null(),
            datum => {
                key.clear();
                encode_key(&mut key, &datum, &column);
                builder.append_value(&key);
            }
        }
    }
    Ok(Arc::new(builder.finish()))
}
