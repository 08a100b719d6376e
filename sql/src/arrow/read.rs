//! From arrays to datums.

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType,
    IntervalUnit, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, UInt32Type,
};
use datafusion::scalar::ScalarValue;

use super::{data_type, numeric_from_bytes};
use crate::error::SqlError;
use crate::types::{Datum, Interval, PgType};

/// The datum at a place of an array, read as a value of this type.
///
/// # Errors
/// When the array is not one that values of the type can be read from.
pub fn datum_at(ty: PgType, array: &dyn Array, row: usize) -> Result<Datum, SqlError> {
    if array.is_null(row) || array.data_type() == &DataType::Null {
        return Ok(Datum::Null);
    }
    Ok(match array.data_type() {
        DataType::Boolean => Datum::Bool(array.as_boolean().value(row)),
        DataType::Int16 => Datum::Int2(array.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => Datum::Int4(array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => Datum::Int8(array.as_primitive::<Int64Type>().value(row)),
        DataType::UInt32 => Datum::Oid(array.as_primitive::<UInt32Type>().value(row)),
        DataType::Float32 => Datum::Float4(array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => Datum::Float8(array.as_primitive::<Float64Type>().value(row)),
        DataType::LargeBinary => {
            let bytes = array.as_binary::<i64>().value(row);
            numeric_from_bytes(bytes)
                .map(Datum::Numeric)
                .ok_or_else(|| SqlError::internal("these bytes are not a number"))?
        }
        DataType::Utf8 => text(ty, array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => text(ty, array.as_string::<i64>().value(row)),
        DataType::Utf8View => text(ty, array.as_string_view().value(row)),
        DataType::Binary => Datum::Bytea(array.as_binary::<i32>().value(row).to_vec()),
        DataType::BinaryView => Datum::Bytea(array.as_binary_view().value(row).to_vec()),
        DataType::FixedSizeBinary(16) => {
            let bytes = array.as_fixed_size_binary().value(row);
            Datum::Uuid(bytes.try_into().map_err(SqlError::internal)?)
        }
        DataType::Date32 => Datum::Date(array.as_primitive::<Date32Type>().value(row)),
        DataType::Time64(TimeUnit::Microsecond) => {
            Datum::Time(array.as_primitive::<Time64MicrosecondType>().value(row))
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            if zone.is_none() { Datum::Timestamp(micros) } else { Datum::TimestampTz(micros) }
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let value = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
            Datum::Interval(Interval { months: value.months, days: value.days, micros: value.nanoseconds / 1000 })
        }
        DataType::List(_) => list(ty, &array.as_list::<i32>().value(row))?,
        DataType::LargeList(_) => list(ty, &array.as_list::<i64>().value(row))?,
        DataType::FixedSizeList(..) => list(ty, &array.as_fixed_size_list().value(row))?,
        other => {
            let wanted = plain(other).unwrap_or_else(|| data_type(ty));
            if wanted == *other {
                return Err(SqlError::unsupported(format!("a value of the type {other}")));
            }
            let one = cast(&array.slice(row, 1), &wanted).map_err(SqlError::internal)?;
            datum_at(ty, &one, 0)?
        }
    })
}

/// The type that values of an Arrow type are read through which no type of PostgreSQL's is stored as.
fn plain(data_type: &DataType) -> Option<DataType> {
    Some(match data_type {
        DataType::Int8 | DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt64 => DataType::Int64,
        DataType::Float16 => DataType::Float32,
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Date64 => DataType::Date32,
        DataType::Interval(_) | DataType::Duration(_) => DataType::Interval(IntervalUnit::MonthDayNano),
        DataType::Dictionary(_, values) => (**values).clone(),
        _ => return None,
    })
}

fn text(ty: PgType, value: &str) -> Datum {
    match ty {
        PgType::Json => Datum::Json(value.to_owned()),
        PgType::Jsonb => Datum::Jsonb(value.to_owned()),
        _ => Datum::Text(value.to_owned()),
    }
}

fn list(ty: PgType, values: &ArrayRef) -> Result<Datum, SqlError> {
    let element = ty
        .element()
        .or_else(|| super::natural_type(values.data_type()))
        .ok_or_else(|| SqlError::unsupported(format!("an array of {}", values.data_type())))?;
    let datums: Result<Vec<Datum>, SqlError> =
        (0..values.len()).map(|place| datum_at(element, values, place)).collect();
    Ok(Datum::array(element, datums?))
}

/// The datum of a scalar, read as a value of this type.
///
/// # Errors
/// As [`datum_at`].
pub fn datum_of(ty: PgType, scalar: &ScalarValue) -> Result<Datum, SqlError> {
    if scalar.is_null() {
        return Ok(Datum::Null);
    }
    let array = scalar.to_array().map_err(SqlError::internal)?;
    datum_at(ty, &array, 0)
}
