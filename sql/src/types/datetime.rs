//! Dates, times and timestamps: the calendar, their text, and their truncation.
//!
//! ```text
//!   days since 1970 ◀──▶ (year, month, day)      proleptic Gregorian, year 0 is 1 BC
//!   micros since 1970 = days · 86_400_000_000 + time of day
//! ```
//!
//! Sources: PostgreSQL 15 manual, 8.5 and appendix B; Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".

use super::interval::{DAY, Fraction};
use super::{TimeZone, TypeSettings};
use crate::SqlError;

mod parse;

pub(crate) use parse::MONTHS;
pub use parse::{parse_date, parse_time, parse_timestamp, parse_timestamptz};

const SECOND: u64 = 1_000_000;
/// 4714-11-24 BC, the first day PostgreSQL knows.
pub const MIN_DATE: i32 = -2_440_588;
/// 5874897-12-31, the last.
pub const MAX_DATE: i32 = 2_145_042_905;
/// Days from 1970-01-01 to 2000-01-01, PostgreSQL's own epoch.
pub const POSTGRES_EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
pub const POSTGRES_EPOCH_MICROS: i64 = POSTGRES_EPOCH_DAYS as i64 * DAY;

/// A day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// The astronomical year: 0 is 1 BC.
    pub year: i64,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
}

/// The calendar day of a day count.
pub fn civil(days: i64) -> Civil {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u32;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 } as u32;
    Civil { year: year_of_era + era * 400 + i64::from(month <= 2), month, day }
}

/// The day count of a calendar day; the day may lie outside its month and then counts on.
pub fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = i64::from(if month > 2 { month - 3 } else { month + 9 });
    let day_of_year = (153 * shifted_month + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Days in a month.
pub fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// 0 for Sunday.
pub fn day_of_week(days: i64) -> u32 {
    (days + 4).rem_euclid(7) as u32
}

/// ISO 8601's week-numbering year and week.
pub fn iso_week(days: i64) -> (i64, u32) {
    let weekday = (days + 3).rem_euclid(7);
    let thursday = days - weekday + 3;
    let year = civil(thursday).year;
    let first = days_from_civil(year, 1, 1);
    (year, ((thursday - first) / 7 + 1) as u32)
}

/// `timestamp out of range`.
pub fn timestamp_out_of_range() -> SqlError {
    SqlError::new("22008", "timestamp out of range")
}

/// Whether a timestamp is one of the infinities.
pub const fn is_infinite(micros: i64) -> bool {
    micros == i64::MAX || micros == i64::MIN
}

/// A timestamp within range from its parts.
pub fn timestamp(days: i64, time_micros: i64) -> Result<i64, SqlError> {
    let micros = i128::from(days) * i128::from(DAY) + i128::from(time_micros);
    let first = i128::from(MIN_DATE) * i128::from(DAY);
    match i64::try_from(micros) {
        Ok(value) if micros >= first && !is_infinite(value) => Ok(value),
        _ => Err(timestamp_out_of_range()),
    }
}

/// The day and the time of day of a finite timestamp.
pub fn split(micros: i64) -> (i64, i64) {
    (micros.div_euclid(DAY), micros.rem_euclid(DAY))
}

/// The instant of a local timestamp.
pub fn local_to_utc(micros: i64, zone: &TimeZone) -> i64 {
    match is_infinite(micros) {
        true => micros,
        false => micros.saturating_sub(i64::from(zone.offset_at_local(micros)) * SECOND as i64),
    }
}

/// The local timestamp of an instant.
pub fn utc_to_local(micros: i64, zone: &TimeZone) -> i64 {
    match is_infinite(micros) {
        true => micros,
        false => micros.saturating_add(i64::from(zone.offset_at_utc(micros)) * SECOND as i64),
    }
}

/// Midnight of a date, infinities kept.
pub fn date_to_timestamp(days: i32) -> Result<i64, SqlError> {
    match days {
        i32::MAX => Ok(i64::MAX),
        i32::MIN => Ok(i64::MIN),
        days => timestamp(i64::from(days), 0),
    }
}

/// The date of a timestamp, infinities kept.
pub fn timestamp_to_date(micros: i64) -> i32 {
    match micros {
        i64::MAX => i32::MAX,
        i64::MIN => i32::MIN,
        micros => split(micros).0 as i32,
    }
}

/// A timestamp plus months, the day held to the month's last.
pub fn add_months(micros: i64, months: i32) -> Result<i64, SqlError> {
    if months == 0 || is_infinite(micros) {
        return Ok(micros);
    }
    let (days, time) = split(micros);
    let date = civil(days);
    let month_index = date.year * 12 + i64::from(date.month) - 1 + i64::from(months);
    let (year, month) = (month_index.div_euclid(12), month_index.rem_euclid(12) as u32 + 1);
    let day = date.day.min(days_in_month(year, month));
    timestamp(days_from_civil(year, month, day), time)
}

/// Rounds to `typmod` digits of a second (none when negative).
pub fn round_micros(micros: i64, typmod: i32) -> i64 {
    if !(0..6).contains(&typmod) || is_infinite(micros) {
        return micros;
    }
    let unit = 10i64.pow(6 - typmod as u32);
    let half = unit / 2;
    if micros >= 0 { micros.saturating_add(half) / unit * unit } else { -((half.saturating_sub(micros)) / unit * unit) }
}

fn write_day(date: Civil) -> (String, &'static str) {
    let (year, era) = if date.year > 0 { (date.year, "") } else { (1 - date.year, " BC") };
    (format!("{year:04}-{:02}-{:02}", date.month, date.day), era)
}

fn infinity_name(positive: bool) -> String {
    if positive { "infinity" } else { "-infinity" }.to_owned()
}

/// A date as ISO prints it.
pub fn format_date(days: i32) -> String {
    if days == i32::MAX || days == i32::MIN {
        return infinity_name(days > 0);
    }
    let (day, era) = write_day(civil(i64::from(days)));
    day + era
}

/// A time of day.
pub fn format_time(micros: i64) -> String {
    let all = micros.unsigned_abs();
    let seconds = all / SECOND;
    format!("{:02}:{:02}:{:02}{}", seconds / 3600, seconds / 60 % 60, seconds % 60, Fraction(all % SECOND))
}

/// A timestamp without zone.
pub fn format_timestamp(micros: i64) -> String {
    if is_infinite(micros) {
        return infinity_name(micros > 0);
    }
    let (days, time) = split(micros);
    let (day, era) = write_day(civil(days));
    format!("{day} {}{era}", format_time(time))
}

/// A timestamp with the zone's offset.
pub fn format_timestamptz(micros: i64, zone: &TimeZone) -> String {
    if is_infinite(micros) {
        return infinity_name(micros > 0);
    }
    let offset = zone.offset_at_utc(micros);
    let (days, time) = split(micros.saturating_add(i64::from(offset) * SECOND as i64));
    let (day, era) = write_day(civil(days));
    format!("{day} {}{}{era}", format_time(time), super::settings::format_offset(offset))
}

/// Start of the field that holds a local timestamp (`date_trunc`).
pub fn truncate(field: &str, micros: i64) -> Result<i64, SqlError> {
    if is_infinite(micros) {
        return Ok(micros);
    }
    let (days, time) = split(micros);
    let date = civil(days);
    let cut = |unit: i64| timestamp(days, time - time % unit);
    let day = |year: i64, month: u32| timestamp(days_from_civil(year, month, 1), 0);
    match field.to_ascii_lowercase().as_str() {
        "microseconds" | "microsecond" | "us" => Ok(micros),
        "milliseconds" | "millisecond" | "ms" => cut(1000),
        "second" | "seconds" | "s" | "sec" => cut(1_000_000),
        "minute" | "minutes" | "m" | "min" => cut(60_000_000),
        "hour" | "hours" | "h" => cut(3_600_000_000),
        "day" | "days" | "d" => timestamp(days, 0),
        "week" | "weeks" | "w" => timestamp(days - (days + 3).rem_euclid(7), 0),
        "month" | "months" | "mon" => day(date.year, date.month),
        "quarter" => day(date.year, (date.month - 1) / 3 * 3 + 1),
        "year" | "years" | "y" => day(date.year, 1),
        "decade" => day(date.year.div_euclid(10) * 10, 1),
        "century" => day((date.year - 1).div_euclid(100) * 100 + 1, 1),
        "millennium" => day((date.year - 1).div_euclid(1000) * 1000 + 1, 1),
        _ => {
            Err(SqlError::new("22023", format!("unit \"{field}\" not recognized for type timestamp without time zone")))
        }
    }
}

/// The session's current day, local.
pub(crate) fn today(settings: &TypeSettings) -> i64 {
    split(utc_to_local(settings.transaction_micros, &settings.timezone)).0
}
