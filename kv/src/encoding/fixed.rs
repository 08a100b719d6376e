//! Booleans and floating point numbers.

use super::{DecodeError, take_array, take_byte};

const FALSE: u8 = 0x10;
const TRUE: u8 = 0x11;
const FLOAT: u8 = 0x13;

/// Appends a boolean; false sorts first.
pub fn put_bool(out: &mut Vec<u8>, value: bool) {
    out.push(if value { TRUE } else { FALSE });
}

/// Takes what [`put_bool`] put.
///
/// # Errors
/// When the front of the input is something else.
pub fn take_bool(input: &mut &[u8]) -> Result<bool, DecodeError> {
    let expected = "a boolean";
    match take_byte(input, expected)? {
        FALSE => Ok(false),
        TRUE => Ok(true),
        _ => Err(DecodeError { expected }),
    }
}

/// Appends a number. As in PostgreSQL, every NaN is one value above all others, and the two zeros are one value.
pub fn put_f64(out: &mut Vec<u8>, value: f64) {
    let canonical = if value.is_nan() {
        f64::NAN.abs()
    } else if value == 0.0 {
        0.0
    } else {
        value
    };
    let bits = canonical.to_bits();
    let ordered = if bits >> 63 == 1 { !bits } else { bits | (1 << 63) };
    out.push(FLOAT);
    out.extend_from_slice(&ordered.to_be_bytes());
}

/// Takes what [`put_f64`] put.
///
/// # Errors
/// When the front of the input is something else.
pub fn take_f64(input: &mut &[u8]) -> Result<f64, DecodeError> {
    let expected = "a floating point number";
    if take_byte(input, expected)? != FLOAT {
        return Err(DecodeError { expected });
    }
    let ordered = u64::from_be_bytes(take_array(input, expected)?);
    let bits = if ordered >> 63 == 1 { ordered & !(1 << 63) } else { !ordered };
    Ok(f64::from_bits(bits))
}
