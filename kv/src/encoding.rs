//! Encodings whose byte order is the order of the values.
//!
//! Each encoding delimits itself, so that concatenations sort as tuples do. `put_*` appends, `take_*` reads from the
//! front and moves on. Descending order is the same encoding with every byte inverted ([`descending`],
//! [`take_descending`]).
//!
//! ```text
//!   first byte   0x00 NULL first · 0x10 0x11 bool · 0x13 f64 · 0x18 bytes and text · 0x20…0x26 decimal ·
//!                0x80…0xfd integers · 0xff NULL last
//!   inverted     the first bytes of values stay within 0x01…0xfe, so NULL markers sort outside in both directions
//! ```
//!
//! Integers take 1 to 9 bytes. It is for the caller to know the type that a place holds.
//! The integer scheme is that of CockroachDB's `util/encoding`.

mod decimal;
mod fixed;
mod integer;
mod strings;
#[cfg(test)]
mod tests;

pub use decimal::{Decimal, put_decimal, take_decimal};
pub use fixed::{put_bool, put_f64, take_bool, take_f64};
pub use integer::{put_i64, put_u64, take_i64, take_u64};
pub use strings::{put_bytes, put_bytes_raw, put_str, take_bytes, take_bytes_raw, take_str};

/// NULL where it sorts before all values.
pub const NULL_FIRST: u8 = 0x00;
/// NULL where it sorts after all values.
pub const NULL_LAST: u8 = 0xff;

/// Bytes that are not the encoding of what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these bytes do not encode {expected}")]
pub struct DecodeError {
    /// What was asked for.
    pub expected: &'static str,
}

/// Whether a NULL stands at the front; if so, it is taken.
pub fn take_null(input: &mut &[u8]) -> bool {
    match input.split_first() {
        Some((&(NULL_FIRST | NULL_LAST), rest)) => {
            *input = rest;
            true
        }
        _ => false,
    }
}

/// Appends what `put` appends, inverted, so that it sorts descending.
pub fn descending(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    let from = out.len();
    put(out);
    out[from..].iter_mut().for_each(|byte| *byte = !*byte);
}

/// Takes with `take` what was put [`descending`].
///
/// # Errors
/// Those of `take`.
pub fn take_descending<T>(
    input: &mut &[u8],
    take: impl FnOnce(&mut &[u8]) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let inverted: Vec<u8> = input.iter().map(|byte| !byte).collect();
    let mut rest = &inverted[..];
    let value = take(&mut rest)?;
    *input = &input[inverted.len() - rest.len()..];
    Ok(value)
}

fn take_byte(input: &mut &[u8], expected: &'static str) -> Result<u8, DecodeError> {
    let (first, rest) = input.split_first().ok_or(DecodeError { expected })?;
    *input = rest;
    Ok(*first)
}

fn take_array<const N: usize>(input: &mut &[u8], expected: &'static str) -> Result<[u8; N], DecodeError> {
    let (array, rest) = input.split_first_chunk::<N>().ok_or(DecodeError { expected })?;
    *input = rest;
    Ok(*array)
}
