//! Integers of variable length: a byte that tells sign and length, then the significant bytes, big-endian.
//!
//! ```text
//!   0x80 … 0x87   negative, 8 … 1 bytes follow
//!   0x88 … 0xf5   0 … 109, nothing follows
//!   0xf6 … 0xfd   positive, 1 … 8 bytes follow
//! ```

use super::{DecodeError, take_byte};

const ZERO: u8 = 0x88;
const SMALL_MAX: u8 = 0xf5 - ZERO;

/// Appends an unsigned integer. Sorts among the encodings of [`put_i64`] where its value does.
pub fn put_u64(out: &mut Vec<u8>, value: u64) {
    if value <= u64::from(SMALL_MAX) {
        out.push(ZERO + value as u8);
        return;
    }
    let length = 8 - (value.leading_zeros() / 8) as usize;
    out.push(ZERO + SMALL_MAX + length as u8);
    out.extend_from_slice(&value.to_be_bytes()[8 - length..]);
}

/// Appends a signed integer.
pub fn put_i64(out: &mut Vec<u8>, value: i64) {
    if let Ok(value) = u64::try_from(value) {
        return put_u64(out, value);
    }
    let length = (8 - (value.leading_ones() / 8) as usize).max(1);
    out.push(ZERO - length as u8);
    out.extend_from_slice(&value.to_be_bytes()[8 - length..]);
}

/// Takes what [`put_u64`] put.
///
/// # Errors
/// When the front of the input is something else.
pub fn take_u64(input: &mut &[u8]) -> Result<u64, DecodeError> {
    let expected = "an unsigned integer";
    let tag = take_byte(input, expected)?.checked_sub(ZERO).ok_or(DecodeError { expected })?;
    if tag <= SMALL_MAX {
        return Ok(u64::from(tag));
    }
    take_significant(input, usize::from(tag - SMALL_MAX), 0x00, expected)
}

/// Takes what [`put_i64`] put.
///
/// # Errors
/// When the front of the input is something else, or does not fit.
pub fn take_i64(input: &mut &[u8]) -> Result<i64, DecodeError> {
    let expected = "an integer";
    match input.first() {
        Some(&tag) if (ZERO - 8..ZERO).contains(&tag) => {
            *input = &input[1..];
            take_significant(input, usize::from(ZERO - tag), 0xff, expected).map(|value| value as i64)
        }
        _ => take_u64(input).and_then(|value| i64::try_from(value).map_err(|_| DecodeError { expected })),
    }
}

fn take_significant(input: &mut &[u8], length: usize, fill: u8, expected: &'static str) -> Result<u64, DecodeError> {
    if length > 8 || input.len() < length {
        return Err(DecodeError { expected });
    }
    let mut bytes = [fill; 8];
    bytes[8 - length..].copy_from_slice(&input[..length]);
    *input = &input[length..];
    Ok(u64::from_be_bytes(bytes))
}
