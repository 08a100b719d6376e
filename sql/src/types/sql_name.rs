//! Types by their SQL names: `double precision`, `character varying(20)`, `int[]`; and back.

use datafusion::sql::sqlparser::ast::{ArrayElemTypeDef, CharacterLength, DataType, ExactNumberInfo, TimezoneInfo};

use super::PgType;
use super::numeric::{numeric_typmod, precision_and_scale};
use crate::SqlError;

/// A type and its modifier by any of its SQL names without modifiers: `integer`, `_text`, `timestamp with time zone`, `int4[]`.
pub fn from_sql_name(name: &str) -> Option<PgType> {
    let lower = name.trim().trim_matches('"').to_ascii_lowercase();
    let lower = lower.strip_prefix("pg_catalog.").unwrap_or(&lower);
    if let Some(element) = lower.strip_suffix("[]") {
        return from_sql_name(element)?.array();
    }
    Some(match lower {
        "boolean" => PgType::Bool,
        "smallint" | "smallserial" | "serial2" => PgType::Int2,
        "int" | "integer" | "serial" | "serial4" => PgType::Int4,
        "bigint" | "bigserial" | "serial8" => PgType::Int8,
        "real" => PgType::Float4,
        "float" | "double precision" => PgType::Float8,
        "decimal" | "dec" => PgType::Numeric,
        "character varying" | "char varying" | "string" => PgType::Varchar,
        "character" => PgType::Bpchar,
        // A quoted "char" is another type; unquoted it is character.
        "char" if !name.contains('"') => PgType::Bpchar,
        "timestamp without time zone" => PgType::Timestamp,
        "timestamp with time zone" => PgType::TimestampTz,
        "time without time zone" => PgType::Time,
        other => return PgType::from_typname(other),
    })
}

/// A type and its typmod (-1 for none) from the parser's.
pub fn from_sqlparser(data_type: &DataType) -> Result<(PgType, i32), SqlError> {
    let plain = |ty| Ok((ty, -1));
    match data_type {
        DataType::Bool | DataType::Boolean => plain(PgType::Bool),
        DataType::Int2(_) | DataType::SmallInt(_) => plain(PgType::Int2),
        DataType::Int(_) | DataType::Int4(_) | DataType::Integer(_) => plain(PgType::Int4),
        DataType::Int8(_) | DataType::BigInt(_) | DataType::Int64 => plain(PgType::Int8),
        DataType::Float4 | DataType::Real => plain(PgType::Float4),
        DataType::Float(info) => match info {
            ExactNumberInfo::None => plain(PgType::Float8),
            ExactNumberInfo::Precision(bits) if (1..=24).contains(bits) => plain(PgType::Float4),
            ExactNumberInfo::Precision(bits) if (25..=53).contains(bits) => plain(PgType::Float8),
            _ => Err(SqlError::new("22023", "precision for type float must be between 1 and 53 bits")),
        },
        DataType::Float8 | DataType::Double(_) | DataType::DoublePrecision => plain(PgType::Float8),
        DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => {
            Ok((PgType::Numeric, numeric_modifier(info)?))
        }
        DataType::Text => plain(PgType::Text),
        DataType::String(length) => Ok((PgType::Varchar, length_modifier(length.map(|n| n as i64), "varchar")?)),
        DataType::Varchar(length) | DataType::CharacterVarying(length) | DataType::CharVarying(length) => {
            Ok((PgType::Varchar, character_modifier(length, -1, "varchar")?))
        }
        DataType::Char(length) | DataType::Character(length) => {
            Ok((PgType::Bpchar, character_modifier(length, 1, "char")?))
        }
        DataType::Bytea => plain(PgType::Bytea),
        DataType::Date => plain(PgType::Date),
        DataType::Time(precision, zone) if !has_zone(zone) => Ok((PgType::Time, seconds_modifier(precision)?)),
        DataType::Timestamp(precision, zone) => {
            let ty = if has_zone(zone) { PgType::TimestampTz } else { PgType::Timestamp };
            Ok((ty, seconds_modifier(precision)?))
        }
        DataType::Interval { fields: None, precision: None } => plain(PgType::Interval),
        DataType::Interval { .. } => {
            Err(SqlError::unsupported(format!("the type {}", data_type.to_string().to_lowercase())))
        }
        DataType::Uuid => plain(PgType::Uuid),
        DataType::JSON => plain(PgType::Json),
        DataType::JSONB => plain(PgType::Jsonb),
        DataType::Regclass => plain(PgType::Regclass),
        DataType::Array(element) => array_type(element, data_type),
        DataType::Custom(name, modifiers) => custom_type(&name.to_string(), modifiers),
        other => Err(unknown_type(&other.to_string())),
    }
}

/// PostgreSQL's types that are not here.
const ABSENT: [&str; 40] = [
    "aclitem",
    "bit",
    "bit varying",
    "box",
    "cidr",
    "cid",
    "circle",
    "cstring",
    "datemultirange",
    "daterange",
    "inet",
    "int4multirange",
    "int4range",
    "int8multirange",
    "int8range",
    "jsonpath",
    "line",
    "lseg",
    "macaddr",
    "macaddr8",
    "money",
    "nummultirange",
    "numrange",
    "path",
    "pg_lsn",
    "pg_snapshot",
    "point",
    "polygon",
    "refcursor",
    "regconfig",
    "time with time zone",
    "timetz",
    "tid",
    "tsmultirange",
    "tsquery",
    "tsrange",
    "tstzrange",
    "tsvector",
    "varbit",
    "xml",
];

fn unknown_type(name: &str) -> SqlError {
    let lower = name.to_lowercase();
    let plain = lower.split('(').next().unwrap_or_default().trim();
    if ABSENT.contains(&plain) {
        return SqlError::unsupported(format!("the type {lower}"));
    }
    SqlError::new("42704", format!("type \"{lower}\" does not exist"))
}

fn has_zone(zone: &TimezoneInfo) -> bool {
    matches!(zone, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz)
}

fn array_type(element: &ArrayElemTypeDef, whole: &DataType) -> Result<(PgType, i32), SqlError> {
    let inner = match element {
        ArrayElemTypeDef::AngleBracket(inner)
        | ArrayElemTypeDef::SquareBracket(inner, _)
        | ArrayElemTypeDef::Parenthesis(inner) => inner,
        ArrayElemTypeDef::None => return Err(unknown_type(&whole.to_string())),
    };
    let (ty, typmod) = from_sqlparser(inner)?;
    match ty.array() {
        Some(array) => Ok((array, typmod)),
        // PostgreSQL does not tell int[] from int[][].
        None if ty.is_array() => Ok((ty, typmod)),
        None => Err(unknown_type(&whole.to_string())),
    }
}

fn custom_type(name: &str, modifiers: &[String]) -> Result<(PgType, i32), SqlError> {
    let ty = from_sql_name(name).ok_or_else(|| unknown_type(name))?;
    if ty == PgType::Interval && !modifiers.is_empty() {
        return Err(SqlError::unsupported(format!("the type {name}({})", modifiers.join(", "))));
    }
    let numbers: Vec<i64> = modifiers.iter().filter_map(|modifier| modifier.parse().ok()).collect();
    let typmod = match (ty, numbers.as_slice()) {
        (PgType::Varchar | PgType::Bpchar, [length]) => length_modifier(Some(*length), ty.typname())?,
        (PgType::Bpchar, []) if name.eq_ignore_ascii_case("char") => 5,
        (PgType::Numeric, [precision]) => checked_numeric_modifier(*precision, 0)?,
        (PgType::Numeric, [precision, scale]) => checked_numeric_modifier(*precision, *scale)?,
        (PgType::Timestamp | PgType::TimestampTz | PgType::Time, [digits]) => seconds_modifier(&Some(*digits as u64))?,
        _ => -1,
    };
    Ok((ty, typmod))
}

fn numeric_modifier(info: &ExactNumberInfo) -> Result<i32, SqlError> {
    match info {
        ExactNumberInfo::None => Ok(-1),
        ExactNumberInfo::Precision(precision) => checked_numeric_modifier(*precision as i64, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => checked_numeric_modifier(*precision as i64, *scale),
    }
}

fn checked_numeric_modifier(precision: i64, scale: i64) -> Result<i32, SqlError> {
    if !(1..=1000).contains(&precision) {
        return Err(SqlError::new("22023", format!("NUMERIC precision {precision} must be between 1 and 1000")));
    }
    if !(-1000..=1000).contains(&scale) {
        return Err(SqlError::new("22023", format!("NUMERIC scale {scale} must be between -1000 and 1000")));
    }
    Ok(numeric_typmod(precision as i32, scale as i32))
}

fn character_modifier(length: &Option<CharacterLength>, default: i64, name: &str) -> Result<i32, SqlError> {
    match length {
        None if default < 0 => Ok(-1),
        None => length_modifier(Some(default), name),
        Some(CharacterLength::IntegerLength { length, .. }) => length_modifier(Some(*length as i64), name),
        Some(CharacterLength::Max) => Ok(-1),
    }
}

fn length_modifier(length: Option<i64>, name: &str) -> Result<i32, SqlError> {
    match length {
        None => Ok(-1),
        Some(length) if length < 1 => Err(SqlError::new("22023", format!("length for type {name} must be at least 1"))),
        Some(length) if length > 10_485_760 => {
            Err(SqlError::new("22023", format!("length for type {name} cannot exceed 10485760")))
        }
        Some(length) => Ok(length as i32 + 4),
    }
}

fn seconds_modifier(precision: &Option<u64>) -> Result<i32, SqlError> {
    Ok(precision.map_or(-1, |digits| digits.min(6) as i32))
}

/// The SQL name as `format_type(oid, typmod)` prints it: `character varying(20)`, `timestamp(3) with time zone`, `integer[]`.
pub fn format_type(ty: PgType, typmod: i32) -> String {
    if let (Some(element), false) = (ty.element(), matches!(ty, PgType::Int2Vector | PgType::OidVector)) {
        return format!("{}[]", format_type(element, typmod));
    }
    let length = if typmod > 4 { format!("({})", typmod - 4) } else { String::new() };
    let seconds = if typmod >= 0 { format!("({typmod})") } else { String::new() };
    match ty {
        PgType::Bool => "boolean".into(),
        PgType::Int2 => "smallint".into(),
        PgType::Int4 => "integer".into(),
        PgType::Int8 => "bigint".into(),
        PgType::Float4 => "real".into(),
        PgType::Float8 => "double precision".into(),
        PgType::Varchar => format!("character varying{length}"),
        PgType::Bpchar if typmod < 4 => "bpchar".into(),
        PgType::Bpchar => format!("character{length}"),
        PgType::QChar => "\"char\"".into(),
        PgType::Numeric => match precision_and_scale(typmod) {
            Some((precision, scale)) => format!("numeric({precision},{scale})"),
            None => "numeric".into(),
        },
        PgType::Timestamp => format!("timestamp{seconds} without time zone"),
        PgType::TimestampTz => format!("timestamp{seconds} with time zone"),
        PgType::Time => format!("time{seconds} without time zone"),
        other => other.typname().into(),
    }
}
