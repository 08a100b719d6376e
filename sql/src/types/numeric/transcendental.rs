//! Exponentials, logarithms and powers of numerics, right to the last digit that is shown.
//!
//! All is done in integers that stand for so many digits after the point, some more of them than are wanted. An exponential is that
//! of the argument halved some times, by its series, squared as often; a logarithm is what has the argument for its exponential, found by
//! Halley's method, which triples the right digits with each step.
//!
//! Sources: `numeric.c` of PostgreSQL 15 for the scales of results; R. P. Brent and P. Zimmermann, Modern Computer Arithmetic, 4.2 and 4.4.

use std::f64::consts::{LN_10, LOG10_E};

use bigdecimal::num_traits::{Signed, ToPrimitive, Zero};

use super::arithmetic::{overflow, result_scale};
use super::{BigInt, MAX_INTEGER_DIGITS, Numeric, digit_count, divide_rounding, pow10, rescale};
use crate::SqlError;

/// A double's digits.
const FIRST_DIGITS: u32 = 15;
/// Digits that are computed beyond those that are shown.
const GUARD_DIGITS: u32 = 12;
/// The most digits that a result may have before its point.
const DIGITS_MAX: f64 = 10_000.0;

impl Numeric {
    /// e to this power.
    ///
    /// # Errors
    /// 0A000 beyond ten thousand digits.
    pub fn exp(&self) -> Result<Numeric, SqlError> {
        let Numeric::Finite { unscaled, scale } = self else {
            return Ok(if self.is_negative() { Numeric::zero() } else { self.clone() });
        };
        let magnitude = self.to_f64() * LOG10_E;
        exponential(unscaled, *scale, magnitude, *scale)
    }

    /// The natural logarithm. REQUIRES: it is positive.
    pub fn ln(&self) -> Numeric {
        self.logarithm(None)
    }

    /// The logarithm to a base. REQUIRES: both are positive.
    ///
    /// # Errors
    /// 22012 to the base 1.
    pub fn log(&self, base: &Numeric) -> Result<Numeric, SqlError> {
        if base.is_equal(&Numeric::from(1)) {
            return Err(SqlError::new("22012", "division by zero"));
        }
        if !base.is_finite() {
            return Ok(if self.is_finite() { Numeric::zero() } else { Numeric::NaN });
        }
        Ok(self.logarithm(Some(base)))
    }

    fn logarithm(&self, base: Option<&Numeric>) -> Numeric {
        let Numeric::Finite { unscaled, scale } = self else { return self.clone() };
        let base = match base {
            Some(Numeric::Finite { unscaled, scale }) => Some((unscaled, *scale)),
            _ => None,
        };
        let of_base = base.map_or(0, |(unscaled, scale)| magnitude_of_ln(unscaled, scale));
        let magnitude = magnitude_of_ln(unscaled, *scale) - of_base;
        let wanted = result_scale(magnitude, base.map_or(0, |(_, scale)| scale).max(*scale));
        // A base near 1 has a small logarithm, of which as many more digits are needed.
        let places = wanted + of_base.min(0).unsigned_abs() as u32 * 2 + GUARD_DIGITS;
        let of_self = ln(unscaled, *scale, places);
        let exact = match base {
            Some((unscaled, scale)) => divide_rounding(&(of_self * pow10(places)), &ln(unscaled, scale, places)),
            None => of_self,
        };
        Numeric::Finite { unscaled: rescale(&exact, places, wanted), scale: wanted }
    }

    /// This to a power that is no integer. REQUIRES: it is positive, and both are finite.
    ///
    /// # Errors
    /// 0A000 beyond ten thousand digits.
    pub(super) fn fractional_power(&self, exponent: &Numeric) -> Result<Numeric, SqlError> {
        let (Numeric::Finite { unscaled, scale }, Numeric::Finite { unscaled: power, scale: power_scale }) =
            (self, exponent)
        else {
            return Err(overflow());
        };
        let magnitude = roughly_ln(unscaled, *scale) * LOG10_E * exponent.to_f64();
        let at_least = (*scale).max(*power_scale);
        // What is wrong with the logarithm is wrong with the result as many times over as the exponent and the result are large.
        let large = magnitude.abs().min(DIGITS_MAX) as u32 + digit_count(power) as u32;
        let places = result_scale(-i64::from(large), at_least) + large + GUARD_DIGITS;
        let argument = ln(unscaled, *scale, places) * power;
        exponential(&argument, places + power_scale, magnitude, at_least)
    }
}

/// e to the power of a fixed-point number, of about 10 to the power of `magnitude`, with no fewer digits after the point than these.
fn exponential(argument: &BigInt, scale: u32, magnitude: f64, at_least: u32) -> Result<Numeric, SqlError> {
    if magnitude > MAX_INTEGER_DIGITS as f64 {
        return Err(overflow());
    }
    if magnitude > DIGITS_MAX {
        return Err(SqlError::unsupported(format!("a result of more than {DIGITS_MAX} digits")));
    }
    let wanted = result_scale(magnitude.max(-DIGITS_MAX) as i64, at_least);
    if magnitude < -DIGITS_MAX {
        return Ok(Numeric::zero().rescale(wanted));
    }
    let places = wanted + GUARD_DIGITS;
    let unscaled = if argument.is_negative() {
        // The inverse of what is as large as this is small has as many right digits after the point as that before it.
        let inverse = exp_of_positive(&-argument, scale, -magnitude, places);
        divide_rounding(&pow10(2 * places), &inverse)
    } else {
        exp_of_positive(argument, scale, magnitude, places)
    };
    Ok(Numeric::Finite { unscaled: rescale(&unscaled, places, wanted), scale: wanted })
}

fn exp_of_positive(argument: &BigInt, scale: u32, magnitude: f64, places: u32) -> BigInt {
    let whole = (magnitude.max(0.0) as u32) + 1;
    // More of them make the series shorter, down to about as many terms as there are halvings.
    let halvings = (magnitude * LN_10).max(1.0).log2().ceil() as u32 + f64::from(places + whole).sqrt() as u32;
    // Each squaring doubles what is wrong.
    let work = places + whole + halvings / 3 + GUARD_DIGITS;
    let one = pow10(work);
    let argument = rescale(argument, scale, work) >> halvings;
    let (mut sum, mut term, mut number) = (one.clone(), one.clone(), 0u32);
    while !term.is_zero() {
        number += 1;
        term = term * &argument / &one / number;
        sum += &term;
    }
    for _ in 0..halvings {
        sum = &sum * &sum / &one;
    }
    rescale(&sum, work, places)
}

/// About how large the natural logarithm of a positive fixed-point number is, as a power of 10, as PostgreSQL estimates it.
fn magnitude_of_ln(unscaled: &BigInt, scale: u32) -> i64 {
    let from_1 = (unscaled - pow10(scale)).abs();
    if &from_1 * 10 <= pow10(scale) {
        // There it is as far from 0 as the number is from 1.
        return if from_1.is_zero() { 0 } else { digit_count(&from_1) as i64 - 1 - i64::from(scale) };
    }
    roughly_ln(unscaled, scale).abs().log10() as i64
}

/// The natural logarithm of a positive fixed-point number, as far as a double goes.
fn roughly_ln(unscaled: &BigInt, scale: u32) -> f64 {
    let digits = digit_count(unscaled) as u32;
    let first = rescale(unscaled, digits - 1, FIRST_DIGITS).to_f64().unwrap_or(1.0) / 1e15;
    first.ln() + (f64::from(digits - 1) - f64::from(scale)) * LN_10
}

/// The natural logarithm of a positive fixed-point number, with so many digits after the point.
fn ln(unscaled: &BigInt, scale: u32, places: u32) -> BigInt {
    let digits = digit_count(unscaled) as u32;
    // As a number from 1 to 10, times a power of 10.
    let exponent = i64::from(digits) - 1 - i64::from(scale);
    let work = places + GUARD_DIGITS;
    let mut exact = ln_of_digit(&rescale(unscaled, digits - 1, work), work);
    if exponent != 0 {
        exact += ln_of_digit(&(pow10(work) * 10), work) * exponent;
    }
    rescale(&exact, work, places)
}

/// The natural logarithm of a number from 1 to 10.
fn ln_of_digit(argument: &BigInt, work: u32) -> BigInt {
    let first = rescale(argument, work, FIRST_DIGITS).to_f64().unwrap_or(1.0) / 1e15;
    let mut value = rescale(&BigInt::from((first.ln() * 1e15) as i64), FIRST_DIGITS, work);
    let mut right = FIRST_DIGITS - 1;
    while right < work {
        let power = exp_of_positive(&value.clone().max(BigInt::zero()), work, 1.0, work);
        let step = divide_rounding(&((argument - &power) * 2 * pow10(work)), &(argument + &power));
        value += step;
        right *= 3;
    }
    value
}
