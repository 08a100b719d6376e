//! Which Arrow type stands for which of PostgreSQL's.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};

use crate::types::PgType;

/// Metadata of a field: the OID of its type, where the Arrow type does not say it.
const TYPE_KEY: &str = "pg.type";
/// Metadata of a field: its type modifier.
const TYPMOD_KEY: &str = "pg.typmod";

/// The Arrow type that holds values of this type.
pub fn data_type(ty: PgType) -> DataType {
    if let Some(element) = ty.element() {
        return DataType::List(Arc::new(field("item", element, -1, true)));
    }
    match ty {
        PgType::Bool => DataType::Boolean,
        PgType::Int2 => DataType::Int16,
        PgType::Int4 => DataType::Int32,
        PgType::Int8 => DataType::Int64,
        PgType::Float4 => DataType::Float32,
        PgType::Float8 => DataType::Float64,
        PgType::Numeric => DataType::LargeBinary,
        PgType::Bytea => DataType::Binary,
        PgType::Date => DataType::Date32,
        PgType::Time => DataType::Time64(TimeUnit::Microsecond),
        PgType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
        PgType::TimestampTz => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        PgType::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
        PgType::Uuid => DataType::FixedSizeBinary(16),
        PgType::Json | PgType::Jsonb => DataType::LargeUtf8,
        ty if ty.is_oid() => DataType::UInt32,
        _ => DataType::Utf8,
    }
}

/// The type an Arrow type stands for by itself.
pub fn natural_type(data_type: &DataType) -> Option<PgType> {
    Some(match data_type {
        DataType::Boolean => PgType::Bool,
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => PgType::Int2,
        DataType::Int32 | DataType::UInt16 => PgType::Int4,
        DataType::Int64 | DataType::UInt64 => PgType::Int8,
        DataType::UInt32 => PgType::Oid,
        DataType::Float16 | DataType::Float32 => PgType::Float4,
        DataType::Float64 => PgType::Float8,
        DataType::LargeBinary | DataType::Decimal128(..) | DataType::Decimal256(..) => PgType::Numeric,
        DataType::Binary | DataType::BinaryView => PgType::Bytea,
        DataType::FixedSizeBinary(16) => PgType::Uuid,
        DataType::Date32 | DataType::Date64 => PgType::Date,
        DataType::Time32(_) | DataType::Time64(_) => PgType::Time,
        DataType::Timestamp(_, None) => PgType::Timestamp,
        DataType::Timestamp(_, Some(_)) => PgType::TimestampTz,
        DataType::Interval(_) | DataType::Duration(_) => PgType::Interval,
        DataType::LargeUtf8 => PgType::Jsonb,
        DataType::Utf8 | DataType::Utf8View => PgType::Text,
        DataType::Null => PgType::Unknown,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            type_of(item).0.array()?
        }
        DataType::Dictionary(_, values) => natural_type(values)?,
        DataType::Struct(_) => PgType::Record,
        _ => return None,
    })
}

/// A field of this type; the modifier is -1 for none.
pub fn field(name: impl Into<String>, ty: PgType, typmod: i32, nullable: bool) -> Field {
    let data_type = data_type(ty);
    let mut metadata = HashMap::new();
    if natural_type(&data_type) != Some(ty) {
        metadata.insert(TYPE_KEY.to_owned(), ty.oid().to_string());
    }
    if typmod >= 0 {
        metadata.insert(TYPMOD_KEY.to_owned(), typmod.to_string());
    }
    Field::new(name, data_type, nullable).with_metadata(metadata)
}

/// A field of text that says so, where a literal would still become anything.
pub fn settled_text(name: impl Into<String>, nullable: bool) -> Field {
    let metadata = HashMap::from([(TYPE_KEY.to_owned(), PgType::Text.oid().to_string())]);
    Field::new(name, DataType::Utf8, nullable).with_metadata(metadata)
}

/// Whether a field of text says so.
pub fn is_settled(field: &Field) -> bool {
    field.metadata().contains_key(TYPE_KEY)
}

/// The type and modifier (-1 for none) of a field; text where the Arrow type stands for nothing known.
pub fn type_of(field: &Field) -> (PgType, i32) {
    let natural = natural_type(field.data_type()).unwrap_or(PgType::Text);
    let named = field.metadata().get(TYPE_KEY).and_then(|oid| PgType::from_oid(oid.parse().ok()?));
    // Metadata may travel along a change of the Arrow type; it means something only for its own.
    let ty = named.filter(|named| data_type(*named) == *field.data_type()).unwrap_or(natural);
    let typmod = field.metadata().get(TYPMOD_KEY).and_then(|typmod| typmod.parse().ok()).unwrap_or(-1);
    (ty, if named.is_none_or(|named| named == ty) { typmod } else { -1 })
}
