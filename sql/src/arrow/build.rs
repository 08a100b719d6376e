//! From datums to arrays.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanBuilder, Date32Builder, FixedSizeBinaryBuilder, Float32Builder,
    Float64Builder, Int16Builder, Int32Builder, Int64Builder, IntervalMonthDayNanoBuilder, LargeBinaryBuilder,
    LargeStringBuilder, ListArray, NullArray, StringBuilder, Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
    UInt32Builder,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::{DataType, IntervalMonthDayNano, TimeUnit};
use datafusion::scalar::ScalarValue;

use super::{data_type, field, numeric_to_bytes};
use crate::error::SqlError;
use crate::types::{Datum, Interval, Numeric, PgType};

/// Takes datums of one type, and makes an array of them.
pub struct DatumBuilder(Builder);

enum Builder {
    Bool(BooleanBuilder),
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Float4(Float32Builder),
    Float8(Float64Builder),
    Numeric(LargeBinaryBuilder),
    Text(StringBuilder),
    Json(LargeStringBuilder),
    Bytea(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Interval(IntervalMonthDayNanoBuilder),
    Uuid(FixedSizeBinaryBuilder),
    Oid(UInt32Builder),
    List { element: PgType, lengths: Vec<usize>, valid: Vec<bool>, values: Box<DatumBuilder> },
}

impl DatumBuilder {
    /// A builder for values of this type, with room for `capacity` of them.
    pub fn new(ty: PgType, capacity: usize) -> Self {
        DatumBuilder(match data_type(ty) {
            DataType::Boolean => Builder::Bool(BooleanBuilder::with_capacity(capacity)),
            DataType::Int16 => Builder::Int2(Int16Builder::with_capacity(capacity)),
            DataType::Int32 => Builder::Int4(Int32Builder::with_capacity(capacity)),
            DataType::Int64 => Builder::Int8(Int64Builder::with_capacity(capacity)),
            DataType::Float32 => Builder::Float4(Float32Builder::with_capacity(capacity)),
            DataType::Float64 => Builder::Float8(Float64Builder::with_capacity(capacity)),
            DataType::LargeBinary => Builder::Numeric(LargeBinaryBuilder::with_capacity(capacity, capacity * 12)),
            DataType::LargeUtf8 => Builder::Json(LargeStringBuilder::with_capacity(capacity, capacity * 32)),
            DataType::Binary => Builder::Bytea(BinaryBuilder::with_capacity(capacity, capacity * 16)),
            DataType::Date32 => Builder::Date(Date32Builder::with_capacity(capacity)),
            DataType::Time64(_) => Builder::Time(Time64MicrosecondBuilder::with_capacity(capacity)),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                Builder::Timestamp(TimestampMicrosecondBuilder::with_capacity(capacity).with_timezone_opt(zone))
            }
            DataType::Interval(_) => Builder::Interval(IntervalMonthDayNanoBuilder::with_capacity(capacity)),
            DataType::FixedSizeBinary(width) => Builder::Uuid(FixedSizeBinaryBuilder::with_capacity(capacity, width)),
            DataType::UInt32 => Builder::Oid(UInt32Builder::with_capacity(capacity)),
            DataType::List(_) => {
                let element = ty.element().unwrap_or(PgType::Text);
                let values = Box::new(DatumBuilder::new(element, capacity));
                Builder::List { element, lengths: Vec::new(), valid: Vec::new(), values }
            }
            _ => Builder::Text(StringBuilder::with_capacity(capacity, capacity * 16)),
        })
    }

    /// Appends a datum.
    ///
    /// # Errors
    /// 22008 for an interval that is too long to compute with; XX000 for a datum of another type.
    pub fn push(&mut self, datum: &Datum) -> Result<(), SqlError> {
        match (&mut self.0, datum) {
            (builder, Datum::Null) => builder.push_null(),
            (Builder::Bool(builder), Datum::Bool(value)) => builder.append_value(*value),
            (Builder::Int2(builder), Datum::Int2(value)) => builder.append_value(*value),
            (Builder::Int4(builder), Datum::Int4(value)) => builder.append_value(*value),
            (Builder::Int4(builder), Datum::Int2(value)) => builder.append_value(i32::from(*value)),
            (Builder::Int8(builder), Datum::Int8(value)) => builder.append_value(*value),
            (Builder::Int8(builder), Datum::Int2(_) | Datum::Int4(_) | Datum::Oid(_)) => {
                builder.append_option(datum.as_i64());
            }
            (Builder::Float4(builder), Datum::Float4(value)) => builder.append_value(*value),
            (Builder::Float8(builder), Datum::Float8(value)) => builder.append_value(*value),
            (Builder::Numeric(builder), Datum::Numeric(value)) => builder.append_value(numeric_to_bytes(value)),
            (Builder::Numeric(builder), Datum::Int2(_) | Datum::Int4(_) | Datum::Int8(_)) => {
                builder.append_option(datum.as_i64().map(|value| numeric_to_bytes(&Numeric::from(value))));
            }
            (Builder::Text(builder), Datum::Text(value) | Datum::Json(value) | Datum::Jsonb(value)) => {
                builder.append_value(value);
            }
            (Builder::Json(builder), Datum::Json(value) | Datum::Jsonb(value) | Datum::Text(value)) => {
                builder.append_value(value);
            }
            (Builder::Bytea(builder), Datum::Bytea(value)) => builder.append_value(value),
            (Builder::Date(builder), Datum::Date(value)) => builder.append_value(*value),
            (Builder::Time(builder), Datum::Time(value)) => builder.append_value(*value),
            (Builder::Timestamp(builder), Datum::Timestamp(value) | Datum::TimestampTz(value)) => {
                builder.append_value(*value);
            }
            (Builder::Interval(builder), Datum::Interval(value)) => builder.append_value(month_day_nano(*value)?),
            (Builder::Uuid(builder), Datum::Uuid(value)) => {
                builder.append_value(value).map_err(SqlError::internal)?;
            }
            (Builder::Oid(builder), Datum::Oid(value)) => builder.append_value(*value),
            (Builder::List { lengths, valid, values, .. }, Datum::Array(array)) => {
                array.values.iter().try_for_each(|value| values.push(value))?;
                lengths.push(array.values.len());
                valid.push(true);
            }
            (_, other) => return Err(SqlError::internal(format!("{other:?} is not of its column's type"))),
        }
        Ok(())
    }

    /// The array of all that was pushed.
    pub fn finish(self) -> ArrayRef {
        match self.0 {
            Builder::Bool(mut builder) => Arc::new(builder.finish()),
            Builder::Int2(mut builder) => Arc::new(builder.finish()),
            Builder::Int4(mut builder) => Arc::new(builder.finish()),
            Builder::Int8(mut builder) => Arc::new(builder.finish()),
            Builder::Float4(mut builder) => Arc::new(builder.finish()),
            Builder::Float8(mut builder) => Arc::new(builder.finish()),
            Builder::Numeric(mut builder) => Arc::new(builder.finish()),
            Builder::Text(mut builder) => Arc::new(builder.finish()),
            Builder::Json(mut builder) => Arc::new(builder.finish()),
            Builder::Bytea(mut builder) => Arc::new(builder.finish()),
            Builder::Date(mut builder) => Arc::new(builder.finish()),
            Builder::Time(mut builder) => Arc::new(builder.finish()),
            Builder::Timestamp(mut builder) => Arc::new(builder.finish()),
            Builder::Interval(mut builder) => Arc::new(builder.finish()),
            Builder::Uuid(mut builder) => Arc::new(builder.finish()),
            Builder::Oid(mut builder) => Arc::new(builder.finish()),
            Builder::List { element, lengths, valid, values } => Arc::new(ListArray::new(
                Arc::new(field("item", element, -1, true)),
                OffsetBuffer::from_lengths(lengths),
                values.finish(),
                Some(NullBuffer::from(valid)),
            )),
        }
    }
}

impl Builder {
    fn push_null(&mut self) {
        match self {
            Builder::Bool(builder) => builder.append_null(),
            Builder::Int2(builder) => builder.append_null(),
            Builder::Int4(builder) => builder.append_null(),
            Builder::Int8(builder) => builder.append_null(),
            Builder::Float4(builder) => builder.append_null(),
            Builder::Float8(builder) => builder.append_null(),
            Builder::Numeric(builder) => builder.append_null(),
            Builder::Text(builder) => builder.append_null(),
            Builder::Json(builder) => builder.append_null(),
            Builder::Bytea(builder) => builder.append_null(),
            Builder::Date(builder) => builder.append_null(),
            Builder::Time(builder) => builder.append_null(),
            Builder::Timestamp(builder) => builder.append_null(),
            Builder::Interval(builder) => builder.append_null(),
            Builder::Uuid(builder) => builder.append_null(),
            Builder::Oid(builder) => builder.append_null(),
            Builder::List { lengths, valid, .. } => {
                lengths.push(0);
                valid.push(false);
            }
        }
    }
}

fn month_day_nano(value: Interval) -> Result<IntervalMonthDayNano, SqlError> {
    let nanos = value.micros.checked_mul(1000).ok_or_else(|| SqlError::new("22008", "interval out of range"))?;
    Ok(IntervalMonthDayNano::new(value.months, value.days, nanos))
}

/// An array of datums of one type.
///
/// # Errors
/// As [`DatumBuilder::push`].
pub fn array_of<'a>(ty: PgType, datums: impl IntoIterator<Item = &'a Datum>) -> Result<ArrayRef, SqlError> {
    let datums = datums.into_iter();
    if ty == PgType::Unknown {
        let texts: Vec<&Datum> = datums.collect();
        if texts.iter().all(|datum| datum.is_null()) {
            return Ok(Arc::new(NullArray::new(texts.len())));
        }
        return array_of(PgType::Text, texts);
    }
    let mut builder = DatumBuilder::new(ty, datums.size_hint().0);
    for datum in datums {
        builder.push(datum)?;
    }
    Ok(builder.finish())
}

/// A datum of this type as a scalar.
///
/// # Errors
/// As [`DatumBuilder::push`].
pub fn scalar_of(ty: PgType, datum: &Datum) -> Result<ScalarValue, SqlError> {
    let array = array_of(ty, [datum])?;
    first_of(&array).map_err(SqlError::internal)
}

/// The first value of an array as a scalar, with what its type says of an array's elements.
///
/// # Errors
/// When there is none.
pub fn first_of(array: &ArrayRef) -> datafusion::common::Result<ScalarValue> {
    match array.as_list_opt::<i32>() {
        // The library's own way would forget the elements' metadata.
        Some(list) if list.len() == 1 => Ok(ScalarValue::List(Arc::new(list.clone()))),
        _ => ScalarValue::try_from_array(array, 0),
    }
}
