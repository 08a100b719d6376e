//! Numbers of any precision as bytes that sort as the numbers do.

use txn::encoding::{Decimal, put_decimal, take_decimal};

use crate::types::Numeric;
use crate::types::numeric::BigInt;

/// Bytes at the end that hold the display scale, and are no part of the number's value.
pub const SCALE_BYTES: usize = 2;

/// The bytes that stand for a number.
pub fn numeric_to_bytes(value: &Numeric) -> Vec<u8> {
    let decimal = match value {
        Numeric::NaN => Decimal::NaN,
        Numeric::Infinity => Decimal::Infinity { negative: false },
        Numeric::NegativeInfinity => Decimal::Infinity { negative: true },
        Numeric::Finite { unscaled, scale } => {
            let text = unscaled.to_string();
            let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_digit).map(|digit| digit - b'0').collect();
            Decimal::finite(text.starts_with('-'), digits.len() as i64 - i64::from(*scale), &digits)
        }
    };
    let mut out = Vec::with_capacity(16);
    put_decimal(&mut out, &decimal);
    // The scale is at most 16383.
    out.extend_from_slice(&(value.scale() as u16).to_be_bytes());
    out
}

/// The number that the bytes stand for; none if they are not what [`numeric_to_bytes`] makes.
pub fn numeric_from_bytes(bytes: &[u8]) -> Option<Numeric> {
    let (mut key, scale) = bytes.split_at_checked(bytes.len().checked_sub(SCALE_BYTES)?)?;
    let scale = u32::from(u16::from_be_bytes(scale.try_into().ok()?));
    Some(match take_decimal(&mut key).ok()? {
        Decimal::NaN => Numeric::NaN,
        Decimal::Infinity { negative: false } => Numeric::Infinity,
        Decimal::Infinity { negative: true } => Numeric::NegativeInfinity,
        Decimal::Finite { digits, .. } if digits.is_empty() => Numeric::new(0, scale),
        Decimal::Finite { negative, exponent, digits } => {
            let wanted = usize::try_from(exponent + i64::from(scale)).ok()?.max(digits.len());
            let mut text = String::with_capacity(wanted + 1);
            if negative {
                text.push('-');
            }
            text.extend(digits.iter().map(|digit| char::from(b'0' + digit)));
            text.extend(std::iter::repeat_n('0', wanted - digits.len()));
            Numeric::new(text.parse::<BigInt>().ok()?, scale)
        }
    })
}

/// The number whose bytes without the display scale these are, with the least scale it can be written in.
pub fn numeric_from_key(key: &[u8]) -> Option<Numeric> {
    let scale = match take_decimal(&mut &*key).ok()? {
        Decimal::Finite { exponent, digits, .. } => (digits.len() as i64 - exponent).max(0),
        _ => 0,
    };
    let mut bytes = key.to_vec();
    bytes.extend_from_slice(&u16::try_from(scale).ok()?.to_be_bytes());
    numeric_from_bytes(&bytes)
}
