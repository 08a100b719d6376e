//! One value.

use super::{Numeric, PgType};

/// One SQL value. Its meaning where variants are shared (text and varchar, oid and regclass) is its [`PgType`]'s.
///
/// `PartialEq` compares representations (`1.0` and `1.00` differ, NULL equals NULL): for tests and caches. SQL's equality is
/// [`super::compare()`].
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Datum {
    /// SQL NULL, of every type.
    #[default]
    Null,
    /// boolean.
    Bool(bool),
    /// smallint.
    Int2(i16),
    /// integer.
    Int4(i32),
    /// bigint.
    Int8(i64),
    /// real.
    Float4(f32),
    /// double precision.
    Float8(f64),
    /// numeric, with its display scale.
    Numeric(Numeric),
    /// text, varchar, name, "char"; bpchar without its padding.
    Text(String),
    /// bytea.
    Bytea(Vec<u8>),
    /// Days since 1970-01-01; `i32::MAX` and `i32::MIN` are infinity and -infinity.
    Date(i32),
    /// Microseconds since midnight, up to and including 24:00.
    Time(i64),
    /// Microseconds since 1970-01-01 00:00 local; `i64::MAX` and `i64::MIN` are infinity and -infinity.
    Timestamp(i64),
    /// Microseconds since 1970-01-01 00:00 UTC; `i64::MAX` and `i64::MIN` are infinity and -infinity.
    TimestampTz(i64),
    /// interval.
    Interval(Interval),
    /// uuid, in network order.
    Uuid([u8; 16]),
    /// json: the text as given.
    Json(String),
    /// jsonb: the canonical text (keys ordered and unique, one space after `:` and `,`).
    Jsonb(String),
    /// A one-dimensional array.
    Array(Box<ArrayValue>),
    /// oid, regclass, regtype, regproc, regnamespace, regrole, xid.
    Oid(u32),
}

/// A one-dimensional array, counted from 1 as PostgreSQL does by default.
#[derive(Clone, Debug, PartialEq)]
pub struct ArrayValue {
    /// The type of the elements.
    pub element: PgType,
    /// The elements, NULLs included.
    pub values: Vec<Datum>,
}

/// A span of time whose months, days and microseconds stay apart, because months and days vary in length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub struct Interval {
    /// Months, years included.
    pub months: i32,
    /// Days, weeks included.
    pub days: i32,
    /// Microseconds, hours included.
    pub micros: i64,
}

/// Bytes that a row holds, about.
pub(crate) fn row_bytes(row: &[Datum]) -> usize {
    let datums: usize = row.iter().map(|datum| size_of::<Datum>() + datum.heap_bytes()).sum();
    size_of::<Vec<Datum>>() + datums
}

impl Datum {
    /// Bytes that it holds beside itself, about.
    pub fn heap_bytes(&self) -> usize {
        match self {
            Datum::Text(text) | Datum::Json(text) | Datum::Jsonb(text) => text.len(),
            Datum::Bytea(bytes) => bytes.len(),
            Datum::Array(array) => row_bytes(&array.values),
            Datum::Numeric(Numeric::Finite { unscaled, .. }) => (unscaled.bits() / 8) as usize,
            _ => 0,
        }
    }

    /// Whether this is NULL.
    pub const fn is_null(&self) -> bool {
        matches!(self, Datum::Null)
    }

    /// An array of `element`s.
    pub fn array(element: PgType, values: Vec<Datum>) -> Datum {
        Datum::Array(Box::new(ArrayValue { element, values }))
    }

    /// The type this value has by itself: the plainest of those that share the variant; none for NULL.
    pub fn natural_type(&self) -> Option<PgType> {
        Some(match self {
            Datum::Null => return None,
            Datum::Bool(_) => PgType::Bool,
            Datum::Int2(_) => PgType::Int2,
            Datum::Int4(_) => PgType::Int4,
            Datum::Int8(_) => PgType::Int8,
            Datum::Float4(_) => PgType::Float4,
            Datum::Float8(_) => PgType::Float8,
            Datum::Numeric(_) => PgType::Numeric,
            Datum::Text(_) => PgType::Text,
            Datum::Bytea(_) => PgType::Bytea,
            Datum::Date(_) => PgType::Date,
            Datum::Time(_) => PgType::Time,
            Datum::Timestamp(_) => PgType::Timestamp,
            Datum::TimestampTz(_) => PgType::TimestampTz,
            Datum::Interval(_) => PgType::Interval,
            Datum::Uuid(_) => PgType::Uuid,
            Datum::Json(_) => PgType::Json,
            Datum::Jsonb(_) => PgType::Jsonb,
            Datum::Array(array) => return array.element.array(),
            Datum::Oid(_) => PgType::Oid,
        })
    }

    /// The value of an int2, int4, int8 or oid.
    pub const fn as_i64(&self) -> Option<i64> {
        match self {
            Datum::Int2(value) => Some(*value as i64),
            Datum::Int4(value) => Some(*value as i64),
            Datum::Int8(value) => Some(*value),
            Datum::Oid(value) => Some(*value as i64),
            _ => None,
        }
    }

    /// The string of a text-like value.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Datum::Text(value) | Datum::Json(value) | Datum::Jsonb(value) => Some(value),
            _ => None,
        }
    }
}

impl From<&str> for Datum {
    fn from(value: &str) -> Datum {
        Datum::Text(value.to_owned())
    }
}
