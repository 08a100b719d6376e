//! `numeric` in PostgreSQL's binary form.
//!
//! ```text
//!   int16 groups | int16 weight | uint16 sign | uint16 display scale | groups × int16 (base 10000, most significant first)
//! ```

use bigdecimal::num_traits::{Signed, Zero};

use super::{BigInt, Numeric, pow10, rescale};
use crate::SqlError;

const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const POSITIVE_INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

impl Numeric {
    /// Appends the binary form.
    pub fn encode_binary(&self, out: &mut Vec<u8>) {
        let (unscaled, scale) = match self {
            Numeric::Finite { unscaled, scale } => (unscaled, *scale),
            special => {
                let sign = match special {
                    Numeric::Infinity => POSITIVE_INFINITY,
                    Numeric::NegativeInfinity => NEGATIVE_INFINITY,
                    _ => NAN,
                };
                out.extend_from_slice(&[0, 0, 0, 0]);
                out.extend_from_slice(&sign.to_be_bytes());
                // The infinities carry a scale that says nothing; it is PostgreSQL's.
                out.extend_from_slice(&[0, if sign == NAN { 0 } else { 0x20 }]);
                return;
            }
        };
        // Pad the fraction to whole groups, then cut the digits into groups of four.
        let padded = scale.div_ceil(4) * 4;
        let fraction_groups = (padded / 4) as usize;
        let digits =
            if unscaled.is_zero() { String::new() } else { rescale(&unscaled.abs(), scale, padded).to_string() };
        let lead = (4 - digits.len() % 4) % 4;
        let digits = format!("{}{digits}", "0".repeat(lead));
        let mut groups: Vec<i16> = digits
            .as_bytes()
            .chunks(4)
            .map(|group| group.iter().fold(0, |all, digit| all * 10 + i16::from(digit - b'0')))
            .collect();
        let weight = groups.len() as i64 - 1 - fraction_groups as i64;
        while groups.last() == Some(&0) {
            groups.pop();
        }
        let weight = if groups.is_empty() { 0 } else { weight as i16 };
        out.extend_from_slice(&(groups.len() as i16).to_be_bytes());
        out.extend_from_slice(&weight.to_be_bytes());
        out.extend_from_slice(&(if unscaled.is_negative() { NEGATIVE } else { POSITIVE }).to_be_bytes());
        out.extend_from_slice(&(scale as u16).to_be_bytes());
        groups.iter().for_each(|group| out.extend_from_slice(&group.to_be_bytes()));
    }

    /// Reads the binary form.
    pub fn decode_binary(bytes: &[u8]) -> Result<Numeric, SqlError> {
        let invalid = |what: &str| SqlError::new("22P03", format!("invalid {what} in external \"numeric\" value"));
        let word = |slot: usize| bytes.get(slot * 2..slot * 2 + 2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        let (Some(count), Some(weight), Some(sign), Some(scale)) = (word(0), word(1), word(2), word(3)) else {
            return Err(SqlError::new("08P01", "insufficient data left in message"));
        };
        let negative = match sign {
            POSITIVE => false,
            NEGATIVE => true,
            NAN => return Ok(Numeric::NaN),
            POSITIVE_INFINITY => return Ok(Numeric::Infinity),
            NEGATIVE_INFINITY => return Ok(Numeric::NegativeInfinity),
            _ => return Err(invalid("sign")),
        };
        if u32::from(scale) > super::MAX_SCALE {
            return Err(invalid("scale"));
        }
        let mut digits = BigInt::zero();
        for slot in 0..usize::from(count) {
            let group = word(4 + slot).ok_or_else(|| SqlError::new("08P01", "insufficient data left in message"))?;
            if group > 9999 {
                return Err(invalid("digit"));
            }
            digits = digits * 10_000 + group;
        }
        // The digits are an integer times 10000^(weight - count + 1).
        let exponent = (i64::from(weight as i16) - i64::from(count) + 1) * 4;
        let scale = u32::from(scale);
        let mut unscaled = match exponent + i64::from(scale) {
            shift @ 0.. => digits * pow10(shift as u32),
            shift => digits / pow10(shift.unsigned_abs() as u32),
        };
        if negative {
            unscaled = -unscaled;
        }
        Ok(Numeric::Finite { unscaled, scale })
    }
}
