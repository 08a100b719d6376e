//! Moments and intervals made of their parts, and whether they overlap.

use super::registry::{Call, Registry};
use crate::SqlError;
use crate::types::datetime::{days_from_civil, days_in_month, local_to_utc, timestamp};
use crate::types::{Datum, Interval, PgType, TimeZone, add_interval};

use PgType::{Bool, Date, Float8, Int4, Text, Time, Timestamp, TimestampTz};

const SECOND: i64 = 1_000_000;

fn int(datum: &Datum) -> i64 {
    datum.as_i64().unwrap_or_default()
}

fn double(datum: &Datum) -> f64 {
    if let Datum::Float8(value) = datum { *value } else { 0.0 }
}

fn micros(seconds: f64) -> i64 {
    (seconds * 1e6).round() as i64
}

/// Days since 1970.
fn date(year: i64, month: i64, day: i64) -> Result<i64, SqlError> {
    // There is no year zero: the year before 1 is -1.
    let astronomical = if year < 0 { year + 1 } else { year };
    let valid = year != 0 && (1..=12).contains(&month) && day >= 1;
    match valid && day <= i64::from(days_in_month(astronomical, month as u32)) {
        true => Ok(days_from_civil(astronomical, month as u32, day as u32)),
        false => Err(SqlError::new("22008", format!("date field value out of range: {year}-{month:02}-{day:02}"))),
    }
}

/// Microseconds since midnight.
fn time(hours: i64, minutes: i64, seconds: f64) -> Result<i64, SqlError> {
    match (0..24).contains(&hours) && (0..60).contains(&minutes) && (0.0..60.0).contains(&seconds) {
        true => Ok((hours * 60 + minutes) * 60 * SECOND + micros(seconds)),
        false => {
            Err(SqlError::new("22008", format!("time field value out of range: {hours}:{minutes:02}:{seconds:02}")))
        }
    }
}

fn local(a: &[Datum]) -> Result<i64, SqlError> {
    timestamp(date(int(&a[0]), int(&a[1]), int(&a[2]))?, time(int(&a[3]), int(&a[4]), double(&a[5]))?)
}

pub(super) fn register(r: &mut Registry) {
    r.strict("make_date", &[Int4, Int4, Int4], Date, |_, a| {
        Ok(Datum::Date(date(int(&a[0]), int(&a[1]), int(&a[2]))? as i32))
    });
    r.strict("make_time", &[Int4, Int4, Float8], Time, |_, a| {
        time(int(&a[0]), int(&a[1]), double(&a[2])).map(Datum::Time)
    });
    r.strict("make_timestamp", &[Int4, Int4, Int4, Int4, Int4, Float8], Timestamp, |_, a| {
        local(a).map(Datum::Timestamp)
    });
    r.strict("make_timestamptz", &[Int4, Int4, Int4, Int4, Int4, Float8], TimestampTz, |call, a| {
        Ok(Datum::TimestampTz(local_to_utc(local(a)?, &call.settings().timezone)))
    })
    .stable();
    r.strict("make_timestamptz", &[Int4, Int4, Int4, Int4, Int4, Float8, Text], TimestampTz, |_, a| {
        let zone = TimeZone::parse(a[6].as_str().unwrap_or_default())?;
        Ok(Datum::TimestampTz(local_to_utc(local(a)?, &zone)))
    });
    // Years, months, weeks, days, hours, minutes, seconds, as many as are given.
    let places = [Int4, Int4, Int4, Int4, Int4, Int4, Float8];
    for count in 0..=places.len() {
        r.strict("make_interval", &places[..count], PgType::Interval, interval);
    }
    for ty in [Timestamp, TimestampTz, Time] {
        r.strict("overlaps", &[ty; 4], Bool, overlaps).called_on_null();
    }
    for ty in [Timestamp, TimestampTz] {
        r.strict("overlaps", &[ty, PgType::Interval, ty, PgType::Interval], Bool, overlaps).called_on_null();
        r.strict("overlaps", &[ty, ty, ty, PgType::Interval], Bool, overlaps).called_on_null();
        r.strict("overlaps", &[ty, PgType::Interval, ty, ty], Bool, overlaps).called_on_null();
    }
}

fn interval(_: &Call<'_>, a: &[Datum]) -> Result<Datum, SqlError> {
    let part = |place: usize| a.get(place).map_or(0, int);
    let out = || SqlError::new("22008", "interval out of range");
    let months = i32::try_from(part(0) * 12 + part(1)).map_err(|_| out())?;
    let days = i32::try_from(part(2) * 7 + part(3)).map_err(|_| out())?;
    let seconds = a.get(6).map_or(0.0, double);
    if !seconds.is_finite() || seconds.abs() > 9.2e12 {
        return Err(out());
    }
    let micros = (part(4) * 3600 + part(5) * 60).checked_mul(SECOND).and_then(|time| time.checked_add(micros(seconds)));
    Ok(Datum::Interval(Interval::new(months, days, micros.ok_or_else(out)?)))
}

/// Whether two periods have a moment in common, each half open and given by its ends in either order, or by a start and a length.
fn overlaps(_: &Call<'_>, a: &[Datum]) -> Result<Datum, SqlError> {
    let at = |datum: &Datum| match datum {
        Datum::Timestamp(micros) | Datum::TimestampTz(micros) | Datum::Time(micros) => Some(*micros),
        _ => None,
    };
    let period = |start: &Datum, end: &Datum| -> Result<(Option<i64>, Option<i64>), SqlError> {
        let start = at(start);
        let end = match (end, start) {
            (Datum::Interval(length), Some(start)) => Some(add_interval(start, *length)?),
            (end, _) => at(end),
        };
        // Of one end alone, that is the start.
        Ok(match (start, end) {
            (Some(a), Some(b)) => (Some(a.min(b)), Some(a.max(b))),
            (None, Some(only)) | (Some(only), None) => (Some(only), None),
            neither => neither,
        })
    };
    let (mut first, mut second) = (period(&a[0], &a[1])?, period(&a[2], &a[3])?);
    let (Some(mut from), Some(mut from_second)) = (first.0, second.0) else { return Ok(Datum::Null) };
    if from > from_second {
        std::mem::swap(&mut first, &mut second);
        std::mem::swap(&mut from, &mut from_second);
    }
    if from == from_second {
        // Both have their start in common, unless an end is not known.
        return Ok(if first.1.is_none() || second.1.is_none() { Datum::Null } else { Datum::Bool(true) });
    }
    Ok(match (first.1, second.1) {
        (Some(end), _) if from_second < end => Datum::Bool(true),
        (Some(_), _) => Datum::Bool(false),
        (None, _) => Datum::Null,
    })
}
