//! Arithmetic on finite and special numerics, with PostgreSQL's scales.
//!
//! | operation | digits after the point |
//! |---|---|
//! | `+ -` | the larger of both |
//! | `*` | the sum of both |
//! | `/` | at least 16 significant digits, and no fewer than either operand's |
//! | `%` | the larger of both |
//!
//! Sources: `numeric.c` of PostgreSQL 15 for the rules (`select_div_scale`, `power_var`), whose digits come in groups of four.

use bigdecimal::num_traits::{Signed, ToPrimitive, Zero};

use super::{BigInt, MAX_INTEGER_DIGITS, MAX_SCALE, Numeric, digit_count, divide_rounding, pow10, rescale};
use crate::SqlError;

/// Significant digits that a quotient has at least.
const MIN_SIGNIFICANT_DIGITS: i64 = 16;
/// The largest scale that arithmetic chooses by itself.
const MAX_DISPLAY_SCALE: i64 = 1000;

pub(super) fn overflow() -> SqlError {
    SqlError::new("22003", "value overflows numeric format")
}

fn division_by_zero() -> SqlError {
    SqlError::new("22012", "division by zero")
}

/// The sign of a value that is not NaN.
fn sign(value: &Numeric) -> i32 {
    match value {
        Numeric::Infinity => 1,
        Numeric::NegativeInfinity => -1,
        Numeric::NaN => 0,
        Numeric::Finite { unscaled, .. } => unscaled.signum().to_i32().unwrap_or(0),
    }
}

fn infinity_of(sign: i32) -> Numeric {
    match sign {
        0 => Numeric::NaN,
        1.. => Numeric::Infinity,
        _ => Numeric::NegativeInfinity,
    }
}

fn checked(unscaled: BigInt, scale: u32) -> Result<Numeric, SqlError> {
    // bits * log10(2) bounds the digits without printing them.
    let digits_at_most = unscaled.bits() as usize * 31 / 100 + 1;
    if digits_at_most > MAX_INTEGER_DIGITS + scale as usize
        && digit_count(&unscaled) > MAX_INTEGER_DIGITS + scale as usize
    {
        return Err(overflow());
    }
    Ok(Numeric::Finite { unscaled, scale })
}

impl Numeric {
    /// Sum.
    pub fn add(&self, other: &Numeric) -> Result<Numeric, SqlError> {
        match (self, other) {
            (Numeric::Finite { unscaled: a, scale: s }, Numeric::Finite { unscaled: b, scale: t }) => {
                let scale = (*s).max(*t);
                checked(rescale(a, *s, scale) + rescale(b, *t, scale), scale)
            }
            (Numeric::NaN, _) | (_, Numeric::NaN) => Ok(Numeric::NaN),
            (Numeric::Finite { .. }, special) | (special, Numeric::Finite { .. }) => Ok(special.clone()),
            (a, b) => Ok(if a == b { a.clone() } else { Numeric::NaN }),
        }
    }

    /// Difference.
    pub fn subtract(&self, other: &Numeric) -> Result<Numeric, SqlError> {
        self.add(&other.negate())
    }

    /// Product.
    pub fn multiply(&self, other: &Numeric) -> Result<Numeric, SqlError> {
        match (self, other) {
            (Numeric::Finite { unscaled: a, scale: s }, Numeric::Finite { unscaled: b, scale: t }) => {
                let scale = s + t;
                let product = a * b;
                match scale > MAX_SCALE {
                    true => checked(rescale(&product, scale, MAX_SCALE), MAX_SCALE),
                    false => checked(product, scale),
                }
            }
            (Numeric::NaN, _) | (_, Numeric::NaN) => Ok(Numeric::NaN),
            (a, b) => Ok(infinity_of(sign(a) * sign(b))),
        }
    }

    /// Quotient; 22012 on zero.
    pub fn divide(&self, other: &Numeric) -> Result<Numeric, SqlError> {
        if matches!(self, Numeric::NaN) || matches!(other, Numeric::NaN) {
            return Ok(Numeric::NaN);
        }
        if other.is_zero() {
            return Err(division_by_zero());
        }
        match (self, other) {
            (Numeric::Finite { unscaled: a, scale: s }, Numeric::Finite { unscaled: b, scale: t }) => {
                let scale = division_scale(a, *s, b, *t);
                // a/10^s / (b/10^t) at `scale` digits: a * 10^(scale + t - s) / b.
                let shift = i64::from(scale) + i64::from(*t) - i64::from(*s);
                let quotient = match shift >= 0 {
                    true => divide_rounding(&(a * pow10(shift as u32)), b),
                    false => divide_rounding(a, &(b * pow10(shift.unsigned_abs() as u32))),
                };
                checked(quotient, scale)
            }
            (Numeric::Finite { .. }, _) => Ok(Numeric::zero()),
            (a, b @ Numeric::Finite { .. }) => Ok(infinity_of(sign(a) * sign(b))),
            _ => Ok(Numeric::NaN),
        }
    }

    /// Remainder, with the dividend's sign; 22012 on zero.
    pub fn remainder(&self, other: &Numeric) -> Result<Numeric, SqlError> {
        if matches!(self, Numeric::NaN) || matches!(other, Numeric::NaN) {
            return Ok(Numeric::NaN);
        }
        if other.is_zero() {
            return Err(division_by_zero());
        }
        match (self, other) {
            (Numeric::Finite { unscaled: a, scale: s }, Numeric::Finite { unscaled: b, scale: t }) => {
                let scale = (*s).max(*t);
                checked(rescale(a, *s, scale) % rescale(b, *t, scale), scale)
            }
            (Numeric::Finite { .. }, _) => Ok(self.clone()),
            _ => Ok(Numeric::NaN),
        }
    }

    /// The value with its sign turned.
    pub fn negate(&self) -> Numeric {
        match self {
            Numeric::Finite { unscaled, scale } => Numeric::Finite { unscaled: -unscaled, scale: *scale },
            Numeric::Infinity => Numeric::NegativeInfinity,
            Numeric::NegativeInfinity => Numeric::Infinity,
            Numeric::NaN => Numeric::NaN,
        }
    }

    /// The absolute value.
    pub fn abs(&self) -> Numeric {
        if self.is_negative() { self.negate() } else { self.clone() }
    }

    /// -1, 0 or 1; NaN for NaN.
    pub fn signum(&self) -> Numeric {
        match self {
            Numeric::NaN => Numeric::NaN,
            other => Numeric::from(i64::from(sign(other))),
        }
    }

    /// Rounded half away from zero to `digits` after the point (before it, if negative).
    pub fn round(&self, digits: i32) -> Numeric {
        self.cut(digits, divide_rounding)
    }

    /// Cut off toward zero after `digits`.
    pub fn trunc(&self, digits: i32) -> Numeric {
        self.cut(digits, |dividend, divisor| dividend / divisor)
    }

    fn cut(&self, digits: i32, divide: impl Fn(&BigInt, &BigInt) -> BigInt) -> Numeric {
        let Numeric::Finite { unscaled, scale } = self else { return self.clone() };
        let digits = digits.clamp(-(MAX_INTEGER_DIGITS as i32), MAX_SCALE as i32);
        let drop = i64::from(*scale) - i64::from(digits);
        if drop <= 0 {
            return self.rescale(digits as u32);
        }
        let kept = divide(unscaled, &pow10(drop as u32));
        if digits >= 0 {
            Numeric::Finite { unscaled: kept, scale: digits as u32 }
        } else {
            Numeric::Finite { unscaled: kept * pow10(digits.unsigned_abs()), scale: 0 }
        }
    }

    /// The largest integer not above.
    pub fn floor(&self) -> Numeric {
        let cut = self.trunc(0);
        match self.is_finite() && cut > *self {
            true => cut.subtract(&Numeric::from(1)).unwrap_or(cut),
            false => cut,
        }
    }

    /// The smallest integer not below.
    pub fn ceil(&self) -> Numeric {
        self.negate().floor().negate()
    }

    /// The square root, with at least 16 significant digits; 2201F below zero.
    pub fn sqrt(&self) -> Result<Numeric, SqlError> {
        if self.is_negative() {
            return Err(SqlError::new("2201F", "cannot take square root of a negative number"));
        }
        let Numeric::Finite { unscaled, scale } = self else { return Ok(self.clone()) };
        // Half the argument's digits before the point, its digits coming in groups of four.
        let (weight, _) = leading_group(unscaled, *scale);
        let result_digits = (weight + 1) * 2 - 1;
        let wanted = (MIN_SIGNIFICANT_DIGITS - result_digits).max(i64::from(*scale)).clamp(0, MAX_DISPLAY_SCALE) as u32;
        let radicand = rescale(unscaled, *scale, 2 * wanted + 2);
        Ok(Numeric::Finite { unscaled: divide_rounding(&radicand.sqrt(), &BigInt::from(10)), scale: wanted })
    }

    /// `self ^ exponent`.
    pub fn power(&self, exponent: &Numeric) -> Result<Numeric, SqlError> {
        let one = || Numeric::from(1);
        if exponent.is_zero() || self.is_equal(&one()) {
            return Ok(one().rescale(16));
        }
        if matches!(self, Numeric::NaN) || matches!(exponent, Numeric::NaN) {
            return Ok(Numeric::NaN);
        }
        if self.is_zero() && exponent.is_negative() {
            return Err(SqlError::new("2201F", "zero raised to a negative power is undefined"));
        }
        let integer = exponent.to_i64().filter(|whole| Numeric::from(*whole).is_equal(exponent));
        if self.is_negative() && exponent.is_finite() && integer.is_none() {
            return Err(SqlError::new(
                "2201F",
                "a negative number raised to a non-integer power yields a complex result",
            ));
        }
        let (Numeric::Finite { unscaled, scale }, Some(whole)) = (self, integer) else {
            if self.is_finite() && exponent.is_finite() {
                return if self.is_zero() { Ok(Numeric::zero().rescale(16)) } else { self.fractional_power(exponent) };
            }
            return Ok(of_limits(self.to_f64().powf(exponent.to_f64())));
        };
        if self.abs().is_equal(&one()) {
            return Ok(if whole % 2 == 0 { one() } else { self.clone() }.rescale(16.max(*scale)));
        }
        // Results of integer exponents have 16 digits after the point, no fewer than the base has.
        let exact = unscaled.abs().bits() as i64 * whole.abs() < 400_000;
        if !exact {
            return if (whole > 0) == (self.to_f64().abs() > 1.0) {
                Err(overflow())
            } else {
                Ok(Numeric::zero().rescale(16))
            };
        }
        let count = whole.unsigned_abs() as u32;
        let raised = Numeric::Finite { unscaled: unscaled.pow(count), scale: scale * count };
        let wanted = (MIN_SIGNIFICANT_DIGITS as u32).max(*scale);
        if whole > 0 {
            return Ok(raised.rescale(wanted));
        }
        let Numeric::Finite { unscaled: divisor, scale: from } = raised else { return Ok(Numeric::zero()) };
        Ok(Numeric::Finite { unscaled: divide_rounding(&pow10(from + wanted), &divisor), scale: wanted })
    }
}

/// A result that follows from an operand that is not finite.
fn of_limits(value: f64) -> Numeric {
    match value {
        _ if value.is_nan() => Numeric::NaN,
        f64::INFINITY => Numeric::Infinity,
        f64::NEG_INFINITY => Numeric::NegativeInfinity,
        _ => Numeric::from_f64(value),
    }
}

/// The scale at which a result of about 10 to this power shows 16 significant digits.
pub(super) fn result_scale(magnitude: i64, at_least: u32) -> u32 {
    (MIN_SIGNIFICANT_DIGITS - magnitude).max(i64::from(at_least)).clamp(0, MAX_DISPLAY_SCALE) as u32
}

/// The weight and value of the first non-zero group of four decimal digits, counted from the point.
fn leading_group(unscaled: &BigInt, scale: u32) -> (i64, i64) {
    if unscaled.is_zero() {
        return (0, 0);
    }
    let exponent = digit_count(unscaled) as i64 - 1 - i64::from(scale);
    let weight = exponent.div_euclid(4);
    let shift = weight * 4 + i64::from(scale);
    let group = match shift >= 0 {
        true => unscaled.abs() / pow10(shift as u32),
        false => unscaled.abs() * pow10(shift.unsigned_abs() as u32),
    };
    (weight, group.to_i64().unwrap_or(0))
}

fn division_scale(a: &BigInt, s: u32, b: &BigInt, t: u32) -> u32 {
    let (weight1, first1) = leading_group(a, s);
    let (weight2, first2) = leading_group(b, t);
    let quotient_weight = weight1 - weight2 - i64::from(first1 <= first2);
    let scale = MIN_SIGNIFICANT_DIGITS - quotient_weight * 4;
    scale.max(i64::from(s)).max(i64::from(t)).clamp(0, MAX_DISPLAY_SCALE) as u32
}
