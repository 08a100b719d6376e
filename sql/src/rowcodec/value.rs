//! The value of a row: its columns by ID.
//!
//! | kind | payload |
//! |---|---|
//! | 0 | none: NULL |
//! | 1 | zigzag varint: integers, dates, times, OIDs |
//! | 2 | 8 bytes, little-endian: float8 |
//! | 3 | 4 bytes, little-endian: float4 |
//! | 4 | varint length, bytes: text, bytea, numeric, interval, json, arrays |
//! | 5, 6 | none: false, true |
//! | 7 | 16 bytes: uuid |

use crate::SqlError;
use crate::types::numeric::BigInt;
use crate::types::{Datum, Interval, Numeric, PgType};

const NULL: u64 = 0;
const VARINT: u64 = 1;
const EIGHT: u64 = 2;
const FOUR: u64 = 3;
const BYTES: u64 = 4;
const FALSE: u64 = 5;
const TRUE: u64 = 6;
const SIXTEEN: u64 = 7;

/// A column as a codec stores it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredColumn {
    /// Never reused within a table.
    pub id: u32,
    /// What its values are.
    pub ty: PgType,
    /// Stands in for rows written before the column was added.
    pub missing: Datum,
}

/// Encodes and decodes rows of these columns; also of fewer columns than a row has: the others are skipped.
#[derive(Clone, Debug)]
pub struct RowCodec {
    /// In ascending order of ID, each with its place in the row.
    columns: Vec<(StoredColumn, usize)>,
    /// What a row holds where the bytes say nothing.
    absent: Vec<Datum>,
}

impl RowCodec {
    /// A codec for rows whose datums are in the order of `columns`.
    pub fn new(columns: impl IntoIterator<Item = StoredColumn>) -> RowCodec {
        let mut columns: Vec<(StoredColumn, usize)> =
            columns.into_iter().enumerate().map(|(place, column)| (column, place)).collect();
        let absent = columns.iter().map(|(column, _)| column.missing.clone()).collect();
        columns.sort_by_key(|(column, _)| column.id);
        RowCodec { columns, absent }
    }

    /// Columns in a row.
    pub fn width(&self) -> usize {
        self.absent.len()
    }

    /// The bytes of a row.
    pub fn encode(&self, row: &[Datum]) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + row.len() * 6);
        let mut previous = 0;
        for (column, place) in &self.columns {
            let header = u64::from(column.id - previous) << 3;
            previous = column.id;
            put_datum(&mut out, header, &row[*place]);
        }
        out
    }

    /// The row of these bytes; XX001 when they are none.
    pub fn decode(&self, bytes: &[u8]) -> Result<Vec<Datum>, SqlError> {
        let mut row = self.absent.clone();
        self.decode_into(bytes, &mut row)?;
        Ok(row)
    }

    /// Decodes over a row that holds the values for absent columns.
    fn decode_into(&self, bytes: &[u8], row: &mut [Datum]) -> Result<(), SqlError> {
        let mut input = bytes;
        let mut id = 0u64;
        let mut wanted = self.columns.iter().peekable();
        while !input.is_empty() {
            let header = take_varint(&mut input)?;
            id += header >> 3;
            while wanted.next_if(|(column, _)| u64::from(column.id) < id).is_some() {}
            match wanted.next_if(|(column, _)| u64::from(column.id) == id) {
                Some((column, place)) => row[*place] = take_datum(&mut input, header & 7, column.ty)?,
                None if wanted.peek().is_none() => return Ok(()),
                None => skip(&mut input, header & 7)?,
            }
        }
        Ok(())
    }
}

fn corrupt() -> SqlError {
    SqlError::new("XX001", "a stored row does not decode")
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[inline]
fn take_varint(input: &mut &[u8]) -> Result<u64, SqlError> {
    let mut value = 0u64;
    for (index, byte) in input.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            *input = &input[index + 1..];
            return Ok(value);
        }
    }
    Err(corrupt())
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

fn take<'a>(input: &mut &'a [u8], count: usize) -> Result<&'a [u8], SqlError> {
    let (head, rest) = input.split_at_checked(count).ok_or_else(corrupt)?;
    *input = rest;
    Ok(head)
}

fn put_datum(out: &mut Vec<u8>, header: u64, datum: &Datum) {
    let integer = |out: &mut Vec<u8>, value: i64| {
        put_varint(out, header | VARINT);
        put_varint(out, zigzag(value));
    };
    let bytes = |out: &mut Vec<u8>, value: &[u8]| {
        put_varint(out, header | BYTES);
        put_varint(out, value.len() as u64);
        out.extend_from_slice(value);
    };
    match datum {
        Datum::Null => put_varint(out, header | NULL),
        Datum::Bool(value) => put_varint(out, header | if *value { TRUE } else { FALSE }),
        Datum::Int2(value) => integer(out, i64::from(*value)),
        Datum::Int4(value) | Datum::Date(value) => integer(out, i64::from(*value)),
        Datum::Int8(value) | Datum::Time(value) | Datum::Timestamp(value) | Datum::TimestampTz(value) => {
            integer(out, *value);
        }
        Datum::Oid(value) => integer(out, i64::from(*value)),
        Datum::Float4(value) => {
            put_varint(out, header | FOUR);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Datum::Float8(value) => {
            put_varint(out, header | EIGHT);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Datum::Text(value) | Datum::Json(value) | Datum::Jsonb(value) => bytes(out, value.as_bytes()),
        Datum::Bytea(value) => bytes(out, value),
        Datum::Uuid(value) => {
            put_varint(out, header | SIXTEEN);
            out.extend_from_slice(value);
        }
        Datum::Numeric(value) => bytes(out, &numeric_bytes(value)),
        Datum::Interval(value) => {
            let mut inner = Vec::with_capacity(12);
            for field in [i64::from(value.months), i64::from(value.days), value.micros] {
                put_varint(&mut inner, zigzag(field));
            }
            bytes(out, &inner);
        }
        Datum::Array(array) => {
            let mut inner = Vec::with_capacity(2 + array.values.len() * 4);
            put_varint(&mut inner, array.values.len() as u64);
            array.values.iter().for_each(|value| put_datum(&mut inner, 0, value));
            bytes(out, &inner);
        }
    }
}

/// `scale + 3` as a varint, then two's complement digits; 0, 1 and 2 are NaN and the infinities.
fn numeric_bytes(value: &Numeric) -> Vec<u8> {
    match value {
        Numeric::Finite { unscaled, scale } => {
            let mut out = Vec::with_capacity(12);
            put_varint(&mut out, u64::from(*scale) + 3);
            out.extend_from_slice(&unscaled.to_signed_bytes_le());
            out
        }
        Numeric::NaN => vec![0],
        Numeric::Infinity => vec![1],
        Numeric::NegativeInfinity => vec![2],
    }
}

fn numeric_from(bytes: &[u8]) -> Result<Numeric, SqlError> {
    let mut input = bytes;
    Ok(match take_varint(&mut input)? {
        0 => Numeric::NaN,
        1 => Numeric::Infinity,
        2 => Numeric::NegativeInfinity,
        scale if input.len() <= 8 => {
            let mut wide = [if input.last().is_some_and(|byte| byte & 0x80 != 0) { 0xff } else { 0 }; 8];
            wide[..input.len()].copy_from_slice(input);
            Numeric::new(i64::from_le_bytes(wide), (scale - 3) as u32)
        }
        scale => Numeric::new(BigInt::from_signed_bytes_le(input), (scale - 3) as u32),
    })
}

fn skip(input: &mut &[u8], kind: u64) -> Result<(), SqlError> {
    match kind {
        NULL | FALSE | TRUE => {}
        VARINT => drop(take_varint(input)?),
        EIGHT => drop(take(input, 8)?),
        FOUR => drop(take(input, 4)?),
        SIXTEEN => drop(take(input, 16)?),
        _ => {
            let length = take_varint(input)?;
            take(input, usize::try_from(length).map_err(|_| corrupt())?)?;
        }
    }
    Ok(())
}

fn take_datum(input: &mut &[u8], kind: u64, ty: PgType) -> Result<Datum, SqlError> {
    match kind {
        NULL => Ok(Datum::Null),
        FALSE => Ok(Datum::Bool(false)),
        TRUE => Ok(Datum::Bool(true)),
        VARINT => integer_datum(unzigzag(take_varint(input)?), ty),
        EIGHT => Ok(Datum::Float8(f64::from_le_bytes(take(input, 8)?.try_into().expect("eight bytes were taken")))),
        FOUR => Ok(Datum::Float4(f32::from_le_bytes(take(input, 4)?.try_into().expect("four bytes were taken")))),
        SIXTEEN => Ok(Datum::Uuid(take(input, 16)?.try_into().expect("sixteen bytes were taken"))),
        _ => {
            let length = usize::try_from(take_varint(input)?).map_err(|_| corrupt())?;
            bytes_datum(take(input, length)?, ty)
        }
    }
}

fn integer_datum(value: i64, ty: PgType) -> Result<Datum, SqlError> {
    Ok(match ty {
        PgType::Int4 => Datum::Int4(value as i32),
        PgType::Int8 => Datum::Int8(value),
        PgType::Int2 => Datum::Int2(value as i16),
        PgType::Date => Datum::Date(value as i32),
        PgType::Time => Datum::Time(value),
        PgType::Timestamp => Datum::Timestamp(value),
        PgType::TimestampTz => Datum::TimestampTz(value),
        ty if ty.is_oid() => Datum::Oid(value as u32),
        _ => return Err(corrupt()),
    })
}

fn bytes_datum(bytes: &[u8], ty: PgType) -> Result<Datum, SqlError> {
    let text = || std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| corrupt());
    Ok(match ty {
        ty if ty.is_string() => Datum::Text(text()?),
        PgType::Numeric => Datum::Numeric(numeric_from(bytes)?),
        PgType::Bytea => Datum::Bytea(bytes.to_vec()),
        PgType::Json => Datum::Json(text()?),
        PgType::Jsonb => Datum::Jsonb(text()?),
        PgType::Interval => {
            let mut input = bytes;
            let mut field = || Ok::<i64, SqlError>(unzigzag(take_varint(&mut input)?));
            Datum::Interval(Interval { months: field()? as i32, days: field()? as i32, micros: field()? })
        }
        ty => {
            let element = ty.element().ok_or_else(corrupt)?;
            let mut input = bytes;
            let count = take_varint(&mut input)? as usize;
            let mut values = Vec::with_capacity(count.min(bytes.len()));
            for _ in 0..count {
                let kind = take_varint(&mut input)? & 7;
                values.push(take_datum(&mut input, kind, element)?);
            }
            Datum::array(element, values)
        }
    })
}
