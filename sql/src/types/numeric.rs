//! Exact decimal numbers with a display scale, as PostgreSQL's `numeric`.
//!
//! A finite value is `unscaled / 10^scale`; the scale is what is printed, so `1.50` keeps its zero. Limits are
//! PostgreSQL's: up to 131072 digits before the point and 16383 after it.
//!
//! Invariants: `0 <= scale <= 16383`.
//!
//! Sources: PostgreSQL 15 manual, 8.1.2; the rules for result scales are those of `numeric.c`, restated in [`arithmetic`].

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

pub use bigdecimal::num_bigint::BigInt;
use bigdecimal::num_bigint::Sign;
use bigdecimal::num_traits::{Signed, ToPrimitive, Zero};

use crate::SqlError;

mod arithmetic;
mod transcendental;
mod wire;

/// Digits after the point that a value may have.
pub const MAX_SCALE: u32 = 16383;
/// Digits before the point that a value may have.
const MAX_INTEGER_DIGITS: usize = 131072;

/// A `numeric` value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Numeric {
    /// A finite number: `unscaled / 10^scale`.
    Finite {
        /// All digits, as an integer.
        unscaled: BigInt,
        /// Digits after the point; at most [`MAX_SCALE`].
        scale: u32,
    },
    /// Infinity.
    Infinity,
    /// -Infinity.
    NegativeInfinity,
    /// Not a number: equal to itself and above everything.
    NaN,
}

impl Numeric {
    /// `unscaled / 10^scale`.
    pub fn new(unscaled: impl Into<BigInt>, scale: u32) -> Numeric {
        Numeric::Finite { unscaled: unscaled.into(), scale }
    }

    /// Zero, without digits after the point.
    pub fn zero() -> Numeric {
        Numeric::new(0, 0)
    }

    /// The digits printed after the point; zero for the special values.
    pub fn scale(&self) -> u32 {
        match self {
            Numeric::Finite { scale, .. } => *scale,
            _ => 0,
        }
    }

    /// Whether this is a number proper.
    pub fn is_finite(&self) -> bool {
        matches!(self, Numeric::Finite { .. })
    }

    /// Whether this is zero.
    pub fn is_zero(&self) -> bool {
        matches!(self, Numeric::Finite { unscaled, .. } if unscaled.is_zero())
    }

    /// Whether this is the same number, whatever its scale; `==` looks at scales, too.
    pub fn is_equal(&self, other: &Numeric) -> bool {
        self.cmp(other).is_eq()
    }

    /// Whether this is below zero.
    pub fn is_negative(&self) -> bool {
        match self {
            Numeric::Finite { unscaled, .. } => unscaled.is_negative(),
            Numeric::NegativeInfinity => true,
            _ => false,
        }
    }

    /// The same value with `scale` digits after the point, rounded half away from zero.
    pub fn rescale(&self, scale: u32) -> Numeric {
        match self {
            Numeric::Finite { unscaled, scale: from } => {
                Numeric::Finite { unscaled: rescale(unscaled, *from, scale), scale }
            }
            special => special.clone(),
        }
    }

    /// The digits at `scale`, exactly; none when digits would be lost or the value is not finite.
    pub fn unscaled_at(&self, scale: u32) -> Option<BigInt> {
        let Numeric::Finite { unscaled, scale: from } = self else { return None };
        let moved = rescale(unscaled, *from, scale);
        (scale >= *from || rescale(&moved, scale, *from) == *unscaled).then_some(moved)
    }

    /// With `numeric(precision, scale)`'s limits applied; `typmod` as in `pg_attribute`, -1 for none.
    pub fn with_typmod(self, typmod: i32) -> Result<Numeric, SqlError> {
        let Some((precision, scale)) = precision_and_scale(typmod) else { return Ok(self) };
        let overflow = |detail: String| Err(SqlError::new("22003", "numeric field overflow").detail(detail));
        let (unscaled, from) = match &self {
            Numeric::NaN => return Ok(self),
            Numeric::Finite { unscaled, scale } => (unscaled, *scale),
            _ => {
                return overflow(format!(
                    "A field with precision {precision}, scale {scale} cannot hold an infinite value."
                ));
            }
        };
        let rounded = if scale >= 0 {
            rescale(unscaled, from, scale as u32)
        } else {
            // A negative scale rounds left of the point.
            let factor = pow10(scale.unsigned_abs());
            divide_rounding(unscaled, &(pow10(from) * &factor)) * factor
        };
        let integer_digits = precision - scale;
        let limit = pow10((precision.max(integer_digits)) as u32);
        if rounded.abs() >= limit {
            let power = if integer_digits == 0 { "1".to_owned() } else { format!("10^{integer_digits}") };
            return overflow(format!(
                "A field with precision {precision}, scale {scale} must round to an absolute value less than {power}."
            ));
        }
        Ok(Numeric::Finite { unscaled: rounded, scale: scale.max(0) as u32 })
    }

    /// The nearest double.
    pub fn to_f64(&self) -> f64 {
        match self {
            Numeric::NaN => f64::NAN,
            Numeric::Infinity => f64::INFINITY,
            Numeric::NegativeInfinity => f64::NEG_INFINITY,
            Numeric::Finite { unscaled, scale } => {
                format!("{unscaled}e-{scale}").parse().expect("a decimal literal is a float")
            }
        }
    }

    /// From a double, with the 15 significant digits PostgreSQL's cast keeps.
    pub fn from_f64(value: f64) -> Numeric {
        Numeric::from_float_digits(value, 15)
    }

    /// From a real, with the 6 significant digits PostgreSQL's cast keeps.
    pub fn from_f32(value: f32) -> Numeric {
        Numeric::from_float_digits(f64::from(value), 6)
    }

    fn from_float_digits(value: f64, digits: usize) -> Numeric {
        if value.is_nan() {
            return Numeric::NaN;
        }
        if value.is_infinite() {
            return if value > 0.0 { Numeric::Infinity } else { Numeric::NegativeInfinity };
        }
        let text = format!("{value:.*e}", digits - 1);
        let (mantissa, exponent) = text.split_once('e').expect("scientific notation has an exponent");
        let mantissa =
            if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
        format!("{mantissa}e{exponent}").parse().expect("a float's digits are a number")
    }

    /// As an integer, rounded half away from zero; none when it is not finite or does not fit.
    pub fn to_i64(&self) -> Option<i64> {
        match self {
            Numeric::Finite { unscaled, scale } => rescale(unscaled, *scale, 0).to_i64(),
            _ => None,
        }
    }

    /// As an integer of any size, rounded half away from zero; none when it is not finite.
    pub fn to_bigint(&self) -> Option<BigInt> {
        match self {
            Numeric::Finite { unscaled, scale } => Some(rescale(unscaled, *scale, 0)),
            _ => None,
        }
    }

    /// Without trailing zeros after the point (`trim_scale`).
    pub fn trim_scale(&self) -> Numeric {
        let Numeric::Finite { unscaled, scale } = self else { return self.clone() };
        let (mut digits, mut scale) = (unscaled.clone(), *scale);
        if digits.is_zero() {
            return Numeric::zero();
        }
        let ten = BigInt::from(10);
        while scale > 0 && (&digits % &ten).is_zero() {
            digits /= &ten;
            scale -= 1;
        }
        Numeric::Finite { unscaled: digits, scale }
    }

    fn rank(&self) -> u8 {
        match self {
            Numeric::NegativeInfinity => 0,
            Numeric::Finite { .. } => 1,
            Numeric::Infinity => 2,
            Numeric::NaN => 3,
        }
    }
}

/// Precision and scale of a typmod, if it has them.
pub fn precision_and_scale(typmod: i32) -> Option<(i32, i32)> {
    if typmod < 4 {
        return None;
    }
    let packed = typmod - 4;
    Some(((packed >> 16) & 0xffff, ((packed & 0x7ff) ^ 1024) - 1024))
}

/// The typmod of `numeric(precision, scale)`.
pub fn numeric_typmod(precision: i32, scale: i32) -> i32 {
    ((precision << 16) | (scale & 0x7ff)) + 4
}

/// `10^exponent`.
pub(crate) fn pow10(exponent: u32) -> BigInt {
    match 10i64.checked_pow(exponent) {
        Some(small) => BigInt::from(small),
        None => BigInt::from(10).pow(exponent),
    }
}

/// Quotient rounded half away from zero.
pub(crate) fn divide_rounding(dividend: &BigInt, divisor: &BigInt) -> BigInt {
    let quotient = dividend / divisor;
    let rest = dividend - &quotient * divisor;
    if rest.abs() * 2 >= divisor.abs() {
        if dividend.is_negative() == divisor.is_negative() { quotient + 1 } else { quotient - 1 }
    } else {
        quotient
    }
}

pub(crate) fn rescale(unscaled: &BigInt, from: u32, to: u32) -> BigInt {
    match to.cmp(&from) {
        Ordering::Equal => unscaled.clone(),
        Ordering::Greater => unscaled * pow10(to - from),
        Ordering::Less => divide_rounding(unscaled, &pow10(from - to)),
    }
}

/// Decimal digits of the absolute value; zero has none.
pub(crate) fn digit_count(value: &BigInt) -> usize {
    if value.is_zero() { 0 } else { value.magnitude().to_string().len() }
}

impl Ord for Numeric {
    fn cmp(&self, other: &Numeric) -> Ordering {
        match (self, other) {
            (Numeric::Finite { unscaled: left, scale: a }, Numeric::Finite { unscaled: right, scale: b }) => {
                if a == b {
                    return left.cmp(right);
                }
                if left.sign() != right.sign() {
                    return left.sign().cmp(&right.sign());
                }
                let scale = (*a).max(*b);
                rescale(left, *a, scale).cmp(&rescale(right, *b, scale))
            }
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Numeric {
    fn partial_cmp(&self, other: &Numeric) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<i64> for Numeric {
    fn from(value: i64) -> Numeric {
        Numeric::new(value, 0)
    }
}

impl fmt::Display for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unscaled, scale) = match self {
            Numeric::NaN => return f.write_str("NaN"),
            Numeric::Infinity => return f.write_str("Infinity"),
            Numeric::NegativeInfinity => return f.write_str("-Infinity"),
            Numeric::Finite { unscaled, scale } => (unscaled, *scale as usize),
        };
        if unscaled.sign() == Sign::Minus {
            f.write_str("-")?;
        }
        let digits = match unscaled.to_i64() {
            Some(small) => small.unsigned_abs().to_string(),
            None => unscaled.magnitude().to_string(),
        };
        if scale == 0 {
            return f.write_str(&digits);
        }
        if digits.len() > scale {
            let (whole, fraction) = digits.split_at(digits.len() - scale);
            write!(f, "{whole}.{fraction}")
        } else {
            write!(f, "0.{digits:0>scale$}")
        }
    }
}

impl FromStr for Numeric {
    type Err = SqlError;

    /// PostgreSQL's input syntax, surrounding blanks allowed.
    fn from_str(text: &str) -> Result<Numeric, SqlError> {
        let invalid = || SqlError::new("22P02", format!("invalid input syntax for type numeric: \"{text}\""));
        let overflow = || SqlError::new("22003", "value overflows numeric format");
        let trimmed = text.trim();
        let (negative, body) = match trimmed.as_bytes().first() {
            Some(b'-') => (true, &trimmed[1..]),
            Some(b'+') => (false, &trimmed[1..]),
            _ => (false, trimmed),
        };
        if body.eq_ignore_ascii_case("nan") && body.len() == trimmed.len() {
            return Ok(Numeric::NaN);
        }
        if body.eq_ignore_ascii_case("inf") || body.eq_ignore_ascii_case("infinity") {
            return Ok(if negative { Numeric::NegativeInfinity } else { Numeric::Infinity });
        }
        let (mantissa, exponent) = match body.find(['e', 'E']) {
            Some(at) => (&body[..at], body[at + 1..].parse::<i64>().map_err(|_| invalid())?),
            None => (body, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !all_digits(whole) || !all_digits(fraction) {
            return Err(invalid());
        }
        if exponent.abs() > i64::from(MAX_SCALE) + MAX_INTEGER_DIGITS as i64 {
            return Err(overflow());
        }
        let digits = format!("{whole}{fraction}");
        let mut unscaled = match digits.len() <= 18 {
            true => BigInt::from(digits.parse::<i64>().map_err(|_| invalid())?),
            false => BigInt::from_str(&digits).map_err(|_| invalid())?,
        };
        let mut scale = fraction.len() as i64 - exponent;
        if scale < 0 {
            unscaled *= pow10(scale.unsigned_abs() as u32);
            scale = 0;
        }
        if scale > i64::from(MAX_SCALE) {
            unscaled = divide_rounding(&unscaled, &pow10((scale - i64::from(MAX_SCALE)) as u32));
            scale = i64::from(MAX_SCALE);
        }
        // Only a long literal can overflow: counting digits is not free.
        let long = whole.len() as i64 + exponent > MAX_INTEGER_DIGITS as i64;
        if long && digit_count(&unscaled) > MAX_INTEGER_DIGITS + scale as usize {
            return Err(overflow());
        }
        if negative {
            unscaled = -unscaled;
        }
        Ok(Numeric::Finite { unscaled, scale: scale as u32 })
    }
}
