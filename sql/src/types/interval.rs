//! Intervals in text, and their calendar arithmetic.
//!
//! Out: `1 year 2 mons 3 days 04:05:06.789` (IntervalStyle postgres). In: that, `1-2` (years and months), bare seconds, and ISO 8601's
//! `P1Y2M3DT4H5M6S`. Fractions of a month spill into days of 1/30 month, fractions of a day into microseconds.

use std::fmt;

use super::Interval;
use crate::SqlError;

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
/// Microseconds in a day of 24 hours.
pub const DAY: i64 = 24 * HOUR;

pub(crate) fn out_of_range() -> SqlError {
    SqlError::new("22008", "interval out of range")
}

/// Reads an interval.
pub fn parse(text: &str) -> Result<Interval, SqlError> {
    let invalid = || SqlError::new("22007", format!("invalid input syntax for type interval: \"{text}\""));
    let lower = text.trim().to_ascii_lowercase();
    if let Some(iso) = lower.strip_prefix('p') {
        return parse_iso(iso).ok_or_else(invalid)?.finish();
    }
    let mut parts = Parts::default();
    let mut words = tokens(lower.strip_prefix('@').unwrap_or(&lower)).peekable();
    let mut any = false;
    while let Some(word) = words.next() {
        any = true;
        if word == "ago" {
            match words.peek() {
                None => return parts.negated().finish(),
                Some(_) => return Err(invalid()),
            }
        } else if word.contains(':') {
            parts.micros += i128::from(parse_clock(word).ok_or_else(invalid)?);
        } else if let Some((years, months)) = year_month(word) {
            parts.months += (years * 12 + months) as f64;
        } else {
            let number: f64 = word.parse().map_err(|_| invalid())?;
            let unit = match words.peek() {
                Some(next) if next.starts_with(|c: char| c.is_ascii_alphabetic()) && *next != "ago" => words.next(),
                // '1 12:00:00' is a day and a time.
                Some(next) if next.contains(':') => Some("day"),
                _ => Some("s"),
            };
            parts.add_text(word, number, unit.unwrap_or("s")).ok_or_else(invalid)?;
        }
    }
    if any { parts.finish() } else { Err(invalid()) }
}

/// Words and numbers, apart even where no blank is between: `1day`.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split_ascii_whitespace().flat_map(|word| {
        let cut = word.find(|c: char| c.is_ascii_alphabetic()).filter(|at| *at > 0 && !word.contains(':'));
        let (first, second) = word.split_at(cut.unwrap_or(word.len()));
        [first, second].into_iter().filter(|part| !part.is_empty())
    })
}

/// `1-2` or `-1-2`.
fn year_month(word: &str) -> Option<(i64, i64)> {
    let (sign, body) = match word.as_bytes().first()? {
        b'-' => (-1, &word[1..]),
        b'+' => (1, &word[1..]),
        _ => (1, word),
    };
    let (years, months) = body.split_once('-')?;
    let months: i64 = months.parse().ok().filter(|months| (0..12).contains(months))?;
    Some((sign * years.parse::<i64>().ok()?, sign * months))
}

/// `[-]hh:mm[:ss[.ffffff]]` → microseconds.
fn parse_clock(word: &str) -> Option<i64> {
    let (sign, body) = match word.as_bytes().first()? {
        b'-' => (-1, &word[1..]),
        b'+' => (1, &word[1..]),
        _ => (1, word),
    };
    let fields: Vec<&str> = body.split(':').collect();
    let whole = |text: &str| text.parse::<i64>().ok().filter(|value| *value >= 0);
    let (hours, minutes, seconds) = match fields.as_slice() {
        [minutes, seconds] if seconds.contains('.') => (0, whole(minutes)?, seconds_micros(seconds)?),
        [hours, minutes] => (whole(hours)?, whole(minutes)?, 0),
        [hours, minutes, seconds] => (whole(hours)?, whole(minutes)?, seconds_micros(seconds)?),
        _ => return None,
    };
    if minutes > 59 && fields.len() == 3 || seconds > MINUTE {
        return None;
    }
    Some(sign * (hours.checked_mul(HOUR)? + minutes * MINUTE + seconds))
}

/// `6.789` → microseconds, rounded.
pub(crate) fn seconds_micros(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) || whole.starts_with(['-', '+']) {
        return None;
    }
    let seconds: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let micros = match fraction.is_empty() {
        true => 0,
        false => (format!("0.{fraction}").parse::<f64>().ok()? * 1e6).round_ties_even() as i64,
    };
    seconds.checked_mul(SECOND)?.checked_add(micros)
}

/// What is read so far. Months and days keep fractions until the end of each field only.
#[derive(Default)]
struct Parts {
    months: f64,
    days: f64,
    micros: i128,
}

impl Parts {
    fn negated(self) -> Parts {
        Parts { months: -self.months, days: -self.days, micros: -self.micros }
    }

    fn add_text(&mut self, digits: &str, value: f64, unit: &str) -> Option<()> {
        // Whole numbers of small units stay exact.
        let exact = |scale: i64| match digits.parse::<i64>() {
            Ok(whole) => i128::from(whole) * i128::from(scale),
            Err(_) => (value * scale as f64).round_ties_even() as i128,
        };
        match unit.trim_end_matches('.') {
            "us" | "usec" | "usecs" | "microsecond" | "microseconds" => self.micros += exact(1),
            "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" => self.micros += exact(1000),
            "s" | "sec" | "secs" | "second" | "seconds" => self.micros += exact(SECOND),
            "m" | "min" | "mins" | "minute" | "minutes" => self.micros += exact(MINUTE),
            "h" | "hr" | "hrs" | "hour" | "hours" => self.micros += exact(HOUR),
            "d" | "day" | "days" => self.add_days(value),
            "w" | "week" | "weeks" => self.add_days(value * 7.0),
            "mon" | "mons" | "month" | "months" => self.add_months(value),
            "y" | "yr" | "yrs" | "year" | "years" => self.months += (value * 12.0).round_ties_even(),
            "dec" | "decs" | "decade" | "decades" => self.months += (value * 120.0).round_ties_even(),
            "c" | "cent" | "century" | "centuries" => self.months += (value * 1200.0).round_ties_even(),
            "mil" | "mils" | "millennium" | "millennia" => self.months += (value * 12000.0).round_ties_even(),
            _ => return None,
        }
        Some(())
    }

    fn add_days(&mut self, value: f64) {
        self.days += value.trunc();
        self.micros += (value.fract() * DAY as f64).round_ties_even() as i128;
    }

    fn add_months(&mut self, value: f64) {
        self.months += value.trunc();
        self.add_days(tidy(value.fract() * 30.0));
    }

    fn finish(self) -> Result<Interval, SqlError> {
        let fits = |value: f64| (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&value);
        if !fits(self.months) || !fits(self.days) {
            return Err(SqlError::new("22015", "interval field value out of range"));
        }
        let micros = i64::try_from(self.micros).map_err(|_| out_of_range())?;
        Ok(Interval { months: self.months as i32, days: self.days as i32, micros })
    }
}

/// Without the noise that multiplying a decimal fraction leaves.
fn tidy(value: f64) -> f64 {
    (value * 1e9).round() / 1e9
}

/// What follows the `P`, in lower case.
fn parse_iso(text: &str) -> Option<Parts> {
    let (date, time) = text.split_once('t').unwrap_or((text, ""));
    let mut parts = Parts::default();
    for (part, units) in [
        (date, [('y', "year"), ('m', "month"), ('w', "week"), ('d', "day")]),
        (time, [('h', "hour"), ('m', "minute"), ('s', "second"), ('s', "second")]),
    ] {
        let mut rest = part;
        while !rest.is_empty() {
            let at = rest.find(|c: char| c.is_ascii_alphabetic())?;
            let unit = units.iter().find(|(letter, _)| rest[at..].starts_with(*letter))?.1;
            parts.add_text(&rest[..at], rest[..at].parse().ok()?, unit)?;
            rest = &rest[at + 1..];
        }
    }
    (!text.is_empty()).then_some(parts)
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        let mut before = false;
        for (value, unit) in [(self.months / 12, "year"), (self.months % 12, "mon"), (self.days, "day")] {
            if value != 0 {
                let gap = if first { "" } else { " " };
                let plus = if before && value > 0 { "+" } else { "" };
                let plural = if value == 1 { "" } else { "s" };
                write!(f, "{gap}{plus}{value} {unit}{plural}")?;
                (first, before) = (false, value < 0);
            }
        }
        if !first && self.micros == 0 {
            return Ok(());
        }
        let gap = if first { "" } else { " " };
        let sign = if self.micros < 0 {
            "-"
        } else if before {
            "+"
        } else {
            ""
        };
        let all = self.micros.unsigned_abs();
        let (hours, minutes, seconds) = (all / HOUR as u64, all / MINUTE as u64 % 60, all / SECOND as u64 % 60);
        write!(f, "{gap}{sign}{hours:02}:{minutes:02}:{seconds:02}{}", Fraction(all % SECOND as u64))
    }
}

/// A fraction of a second with its point and without trailing zeros; nothing for zero.
pub(crate) struct Fraction(pub u64);

impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return Ok(());
        }
        write!(f, ".{}", format!("{:06}", self.0).trim_end_matches('0'))
    }
}

impl Interval {
    /// Of months, days and microseconds.
    pub const fn new(months: i32, days: i32, micros: i64) -> Interval {
        Interval { months, days, micros }
    }

    /// Field by field; 22008 on overflow.
    pub fn checked_add(self, other: Interval) -> Result<Interval, SqlError> {
        let sum = || {
            Some(Interval {
                months: self.months.checked_add(other.months)?,
                days: self.days.checked_add(other.days)?,
                micros: self.micros.checked_add(other.micros)?,
            })
        };
        sum().ok_or_else(out_of_range)
    }

    /// Each field's sign turned.
    pub fn negate(self) -> Result<Interval, SqlError> {
        let turned = || {
            Some(Interval {
                months: self.months.checked_neg()?,
                days: self.days.checked_neg()?,
                micros: self.micros.checked_neg()?,
            })
        };
        turned().ok_or_else(out_of_range)
    }

    /// Divided; fractions spill as [`Interval::scale`] has them.
    pub fn divide(self, divisor: f64) -> Result<Interval, SqlError> {
        self.map_fields(|field| field / divisor)
    }

    /// Times a factor; fractions of months spill into days, of days into microseconds.
    pub fn scale(self, factor: f64) -> Result<Interval, SqlError> {
        self.map_fields(|field| field * factor)
    }

    fn map_fields(self, change: impl Fn(f64) -> f64) -> Result<Interval, SqlError> {
        let (months, days) = (change(f64::from(self.months)), change(f64::from(self.days)));
        let fits = |value: f64| (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&value);
        if !fits(months) || !fits(days) {
            return Err(out_of_range());
        }
        let spilled_days = tidy((months - months.trunc()) * 30.0);
        let mut whole_days = days.trunc() + spilled_days.trunc();
        let mut seconds = ((days.fract() + spilled_days.fract()) * 86400e6).round_ties_even() / 1e6;
        if seconds.abs() >= 86400.0 {
            whole_days += (seconds / 86400.0).trunc();
            seconds %= 86400.0;
        }
        let micros = (change(self.micros as f64) + seconds * 1e6).round_ties_even();
        if !(-9.3e18..9.3e18).contains(&micros) || !fits(whole_days) {
            return Err(out_of_range());
        }
        Ok(Interval { months: months as i32, days: whole_days as i32, micros: micros as i64 })
    }

    /// Whole 24-hour stretches become days (`justify_hours`).
    pub fn justify_hours(self) -> Interval {
        let mut days = self.days.saturating_add((self.micros / DAY) as i32);
        let mut micros = self.micros % DAY;
        if days > 0 && micros < 0 {
            (days, micros) = (days - 1, micros + DAY);
        } else if days < 0 && micros > 0 {
            (days, micros) = (days + 1, micros - DAY);
        }
        Interval { months: self.months, days, micros }
    }

    /// Whole 30-day stretches become months (`justify_days`).
    pub fn justify_days(self) -> Interval {
        let mut months = self.months.saturating_add(self.days / 30);
        let mut days = self.days % 30;
        if months > 0 && days < 0 {
            (months, days) = (months - 1, days + 30);
        } else if months < 0 && days > 0 {
            (months, days) = (months + 1, days - 30);
        }
        Interval { months, days, micros: self.micros }
    }

    /// Both, with all fields of one sign (`justify_interval`).
    pub fn justify(self) -> Interval {
        let mut result = self.justify_hours().justify_days();
        if result.months > 0 && (result.days < 0 || (result.days == 0 && result.micros < 0)) {
            result.days += 30;
            result.months -= 1;
        } else if result.months < 0 && (result.days > 0 || (result.days == 0 && result.micros > 0)) {
            result.days -= 30;
            result.months += 1;
        }
        if result.days > 0 && result.micros < 0 {
            (result.days, result.micros) = (result.days - 1, result.micros + DAY);
        } else if result.days < 0 && result.micros > 0 {
            (result.days, result.micros) = (result.days + 1, result.micros - DAY);
        }
        result
    }
}
