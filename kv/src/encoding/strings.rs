//! Byte strings and text: the bytes, escaped so that a terminator below every one of them can end them.
//!
//! ```text
//!   0x00 → 0x01 0x01      0x01 → 0x01 0x02      end → 0x00
//! ```

use super::{DecodeError, take_byte};

const BYTES: u8 = 0x18;
const END: u8 = 0x00;
const ESCAPE: u8 = 0x01;

/// Appends a byte string.
pub fn put_bytes(out: &mut Vec<u8>, value: &[u8]) {
    out.push(BYTES);
    put_bytes_raw(out, value);
}

/// Appends a byte string without the byte that keeps it apart from NULL.
pub fn put_bytes_raw(out: &mut Vec<u8>, value: &[u8]) {
    out.reserve(value.len() + 1);
    let mut rest = value;
    while let Some(at) = rest.iter().position(|byte| *byte <= ESCAPE) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&[ESCAPE, rest[at] + 1]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(END);
}

/// Takes what [`put_bytes`] put.
///
/// # Errors
/// When the front of the input is something else.
pub fn take_bytes(input: &mut &[u8]) -> Result<Vec<u8>, DecodeError> {
    let expected = "a byte string";
    if take_byte(input, expected)? != BYTES {
        return Err(DecodeError { expected });
    }
    take_bytes_raw(input)
}

/// Takes what [`put_bytes_raw`] put.
///
/// # Errors
/// When the front of the input is something else.
pub fn take_bytes_raw(input: &mut &[u8]) -> Result<Vec<u8>, DecodeError> {
    let error = DecodeError { expected: "a byte string" };
    let mut value = Vec::new();
    loop {
        let at = input.iter().position(|byte| *byte <= ESCAPE).ok_or(error.clone())?;
        value.extend_from_slice(&input[..at]);
        match (input[at], input.get(at + 1)) {
            (END, _) => {
                *input = &input[at + 1..];
                return Ok(value);
            }
            (_, Some(escaped @ (1 | 2))) => value.push(escaped - 1),
            _ => return Err(error),
        }
        *input = &input[at + 2..];
    }
}

/// Appends text, which sorts by its bytes.
pub fn put_str(out: &mut Vec<u8>, value: &str) {
    put_bytes(out, value.as_bytes());
}

/// Takes what [`put_str`] put.
///
/// # Errors
/// When the front of the input is something else, or not UTF-8.
pub fn take_str(input: &mut &[u8]) -> Result<String, DecodeError> {
    String::from_utf8(take_bytes(input)?).map_err(|_| DecodeError { expected: "text" })
}
