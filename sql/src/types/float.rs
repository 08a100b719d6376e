//! Floating-point numbers in text: the shortest digits that read back the same, as PostgreSQL prints them since version 12.

use super::text::invalid_syntax;
use crate::SqlError;

/// `double precision` in text.
pub fn format_f64(value: f64) -> String {
    special(value).unwrap_or_else(|| layout(&format!("{value:e}"), 15))
}

/// `real` in text.
pub fn format_f32(value: f32) -> String {
    special(f64::from(value)).unwrap_or_else(|| layout(&format!("{value:e}"), 6))
}

fn special(value: f64) -> Option<String> {
    if value.is_nan() {
        Some("NaN".to_owned())
    } else if value.is_infinite() {
        Some(if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned())
    } else {
        None
    }
}

/// Lays out Rust's shortest scientific form as C's `%g` would: plain between 1e-4 and 10^`plain_digits`.
fn layout(scientific: &str, plain_digits: i32) -> String {
    let (mantissa, exponent) = scientific.split_once('e').expect("scientific notation has an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is an integer");
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    if !(-4..plain_digits).contains(&exponent) {
        let mark = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{mantissa}e{mark}{:02}", exponent.abs());
    }
    if exponent < 0 {
        return format!("{sign}0.{}{digits}", "0".repeat((-exponent - 1) as usize));
    }
    let whole = exponent as usize + 1;
    match digits.len() <= whole {
        true => format!("{sign}{digits}{}", "0".repeat(whole - digits.len())),
        false => format!("{sign}{}.{}", &digits[..whole], &digits[whole..]),
    }
}

/// Reads `double precision`; 22003 when out of range.
pub fn parse_f64(text: &str) -> Result<f64, SqlError> {
    let (trimmed, named) = prepare(text, "double precision")?;
    if let Some(value) = named {
        return Ok(value);
    }
    let value: f64 = trimmed.parse().map_err(|_| invalid_syntax("double precision", text))?;
    let lost = value.is_infinite() || (value == 0.0 && has_nonzero_digit(trimmed));
    if lost { Err(out_of_range(text, "double precision")) } else { Ok(value) }
}

/// Reads `real`; 22003 when out of range.
pub fn parse_f32(text: &str) -> Result<f32, SqlError> {
    let (trimmed, named) = prepare(text, "real")?;
    if let Some(value) = named {
        return Ok(value as f32);
    }
    let value: f32 = trimmed.parse().map_err(|_| invalid_syntax("real", text))?;
    let lost = value.is_infinite() || (value == 0.0 && has_nonzero_digit(trimmed));
    if lost { Err(out_of_range(text, "real")) } else { Ok(value) }
}

fn out_of_range(text: &str, name: &str) -> SqlError {
    SqlError::new("22003", format!("\"{text}\" is out of range for type {name}"))
}

fn has_nonzero_digit(text: &str) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
    mantissa.bytes().any(|byte| (b'1'..=b'9').contains(&byte))
}

/// The trimmed text, and the value if it is one of the named ones.
fn prepare<'a>(text: &'a str, name: &str) -> Result<(&'a str, Option<f64>), SqlError> {
    let trimmed = text.trim();
    let named = match trimmed.to_ascii_lowercase().as_str() {
        "nan" => Some(f64::NAN),
        "inf" | "infinity" | "+inf" | "+infinity" => Some(f64::INFINITY),
        "-inf" | "-infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    };
    let numeric = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
    if named.is_none() && (trimmed.is_empty() || !trimmed.bytes().all(numeric)) {
        return Err(invalid_syntax(name, text));
    }
    Ok((trimmed, named))
}
