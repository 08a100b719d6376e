//! json and jsonb text.
//!
//! jsonb is held as canonical text: keys unique (the last wins) and ordered by length, then bytes; numbers as numeric prints them; one space after `:`
//! and `,`. Two jsonb values are equal if their texts are, numbers of unlike scale aside.

use serde_json::Value;

use super::Numeric;
use crate::SqlError;
use crate::error::code;

/// How deep the library reads.
const NESTING_MAX: usize = 127;

fn invalid(error: &serde_json::Error) -> SqlError {
    if error.to_string().starts_with("recursion limit exceeded") {
        return SqlError::new(code::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded")
            .detail(format!("JSON nests {NESTING_MAX} levels deep at most."));
    }
    SqlError::new("22P02", "invalid input syntax for type json")
        .detail(format!("The input is not valid JSON: {error}."))
}

/// Parses, or says why not.
pub fn parse(text: &str) -> Result<Value, SqlError> {
    serde_json::from_str(text).map_err(|error| invalid(&error))
}

/// Whether this is JSON.
pub fn validate(text: &str) -> Result<(), SqlError> {
    serde_json::from_str::<serde::de::IgnoredAny>(text).map(drop).map_err(|error| invalid(&error))
}

/// The canonical text of jsonb.
pub fn canonical(text: &str) -> Result<String, SqlError> {
    to_canonical(&parse(text)?)
}

/// The canonical text of a parsed value.
pub fn to_canonical(value: &Value) -> Result<String, SqlError> {
    let mut out = String::new();
    write_value(value, &mut out)?;
    Ok(out)
}

fn write_value(value: &Value, out: &mut String) -> Result<(), SqlError> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => out.push_str(&number.to_string().parse::<Numeric>()?.to_string()),
        Value::String(text) => {
            if text.contains('\0') {
                return Err(SqlError::new("22P05", "unsupported Unicode escape sequence")
                    .detail("\\u0000 cannot be converted to text."));
            }
            write_string(text, out);
        }
        Value::Array(values) => {
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_value(value, out)?;
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            members.sort_by(|(a, _), (b, _)| key_order(a, b));
            out.push('{');
            for (index, (key, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_string(key, out);
                out.push_str(": ");
                write_value(value, out)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

/// jsonb's order of keys: the shorter first, then by bytes.
pub fn key_order(left: &str, right: &str) -> std::cmp::Ordering {
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

/// Appends a JSON string literal, escaped as PostgreSQL does.
pub fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            control if (control as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", control as u32)),
            other => out.push(other),
        }
    }
    out.push('"');
}
