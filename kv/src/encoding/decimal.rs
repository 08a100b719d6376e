//! Decimal numbers of any precision.
//!
//! ```text
//!   ± 0.d₁d₂d₃… × 10^exponent,  d₁ ≠ 0, no zeros at the end
//!
//!   0x20 -Infinity · 0x21 negative · 0x22 zero · 0x23 positive · 0x24 Infinity · 0x25 NaN
//!   positive: exponent as an integer, then two digits a byte (1 … 100), then 0; negative: the same, inverted
//! ```
//!
//! Numbers that are equal encode alike, whatever their scale: the scale must be kept elsewhere.

use super::{DecodeError, put_i64, take_byte, take_descending, take_i64};

const NEGATIVE_INFINITY: u8 = 0x20;
const NEGATIVE: u8 = 0x21;
const ZERO: u8 = 0x22;
const POSITIVE: u8 = 0x23;
const INFINITY: u8 = 0x24;
const NAN: u8 = 0x25;

/// A decimal number, or one of its special values. NaN equals itself and sorts last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decimal {
    /// Not a number.
    NaN,
    /// Above or below all numbers.
    Infinity {
        /// Below.
        negative: bool,
    },
    /// `± 0.d₁d₂d₃… × 10^exponent`. Zero has no digits.
    Finite {
        /// Below zero; false for zero.
        negative: bool,
        /// The power of ten; 0 for zero.
        exponent: i64,
        /// Digits 0 … 9; the first and the last are not 0.
        digits: Vec<u8>,
    },
}

impl Decimal {
    /// The number with these digits (0 … 9 each), with zeros at both ends allowed.
    pub fn finite(negative: bool, exponent: i64, digits: &[u8]) -> Self {
        let Some(first) = digits.iter().position(|digit| *digit != 0) else {
            return Decimal::Finite { negative: false, exponent: 0, digits: Vec::new() };
        };
        let last = digits.iter().rposition(|digit| *digit != 0).unwrap_or(first);
        Decimal::Finite { negative, exponent: exponent - first as i64, digits: digits[first..=last].to_vec() }
    }
}

/// Appends a decimal number. REQUIRES: digits as [`Decimal::finite`] makes them.
pub fn put_decimal(out: &mut Vec<u8>, value: &Decimal) {
    match value {
        Decimal::NaN => out.push(NAN),
        Decimal::Infinity { negative } => out.push(if *negative { NEGATIVE_INFINITY } else { INFINITY }),
        Decimal::Finite { digits, .. } if digits.is_empty() => out.push(ZERO),
        Decimal::Finite { negative: false, exponent, digits } => {
            out.push(POSITIVE);
            put_magnitude(out, *exponent, digits);
        }
        Decimal::Finite { negative: true, exponent, digits } => {
            out.push(NEGATIVE);
            super::descending(out, |out| put_magnitude(out, *exponent, digits));
        }
    }
}

fn put_magnitude(out: &mut Vec<u8>, exponent: i64, digits: &[u8]) {
    put_i64(out, exponent);
    out.extend(digits.chunks(2).map(|pair| pair[0] * 10 + pair.get(1).copied().unwrap_or(0) + 1));
    out.push(0);
}

/// Takes what [`put_decimal`] put.
///
/// # Errors
/// When the front of the input is something else.
pub fn take_decimal(input: &mut &[u8]) -> Result<Decimal, DecodeError> {
    let expected = "a decimal number";
    Ok(match take_byte(input, expected)? {
        NEGATIVE_INFINITY => Decimal::Infinity { negative: true },
        INFINITY => Decimal::Infinity { negative: false },
        NAN => Decimal::NaN,
        ZERO => Decimal::finite(false, 0, &[]),
        POSITIVE => {
            let (exponent, digits) = take_magnitude(input)?;
            Decimal::finite(false, exponent, &digits)
        }
        NEGATIVE => {
            let (exponent, digits) = take_descending(input, take_magnitude)?;
            Decimal::finite(true, exponent, &digits)
        }
        _ => return Err(DecodeError { expected }),
    })
}

fn take_magnitude(input: &mut &[u8]) -> Result<(i64, Vec<u8>), DecodeError> {
    let expected = "a decimal number";
    let exponent = take_i64(input)?;
    let mut digits = Vec::new();
    loop {
        match take_byte(input, expected)? {
            0 => return Ok((exponent, digits)),
            pair @ 1..=100 => digits.extend([(pair - 1) / 10, (pair - 1) % 10]),
            _ => return Err(DecodeError { expected }),
        }
    }
}
