//! Functions of dates, times and intervals.

use super::registry::{Call, Registry};
use super::{from_char, to_char};
use crate::SqlError;
use crate::types::datetime::{
    self, Civil, civil, date_to_timestamp, day_of_week, days_from_civil, days_in_month, is_infinite, iso_week,
    local_to_utc, split, utc_to_local,
};
use crate::types::interval::DAY;
use crate::types::{Datum, Interval, Numeric, PgType, TimeZone};

use PgType::{Bool, Date, Float8, Numeric as Number, Text, Time, Timestamp, TimestampTz};

const SECOND: i64 = 1_000_000;

fn text(datum: &Datum) -> &str {
    datum.as_str().unwrap_or_default()
}

fn micros(datum: &Datum) -> i64 {
    match datum {
        Datum::Timestamp(micros) | Datum::TimestampTz(micros) | Datum::Time(micros) => *micros,
        _ => 0,
    }
}

fn interval(datum: &Datum) -> Interval {
    match datum {
        Datum::Interval(value) => *value,
        _ => Interval::default(),
    }
}

fn local(call: &Call<'_>, instant: i64) -> i64 {
    utc_to_local(instant, &call.settings().timezone)
}

pub(super) fn register(r: &mut Registry) {
    clocks(r);
    truncation(r);
    fields(r);
    ages(r);
    making(r);
    zones(r);
    text_forms(r);
}

fn clocks(r: &mut Registry) {
    for name in ["now", "transaction_timestamp", "current_timestamp", "statement_timestamp"] {
        r.strict(name, &[], TimestampTz, |call, _| Ok(Datum::TimestampTz(call.settings().transaction_micros))).stable();
    }
    r.strict("localtimestamp", &[], Timestamp, |call, _| {
        Ok(Datum::Timestamp(local(call, call.settings().transaction_micros)))
    })
    .stable();
    r.strict("current_date", &[], Date, |call, _| {
        Ok(Datum::Date(split(local(call, call.settings().transaction_micros)).0 as i32))
    })
    .stable();
    r.strict("localtime", &[], Time, |call, _| {
        Ok(Datum::Time(split(local(call, call.settings().transaction_micros)).1))
    })
    .stable();
}

fn truncation(r: &mut Registry) {
    r.strict("date_trunc", &[Text, Timestamp], Timestamp, |_, a| {
        datetime::truncate(text(&a[0]), micros(&a[1])).map(Datum::Timestamp)
    });
    r.strict("date_trunc", &[Text, TimestampTz], TimestampTz, |call, a| {
        truncate_in(text(&a[0]), micros(&a[1]), &call.settings().timezone)
    })
    .stable();
    r.strict("date_trunc", &[Text, TimestampTz, Text], TimestampTz, |_, a| {
        truncate_in(text(&a[0]), micros(&a[1]), &TimeZone::parse_in_expression(text(&a[2]))?)
    });
    r.strict("date_trunc", &[Text, PgType::Interval], PgType::Interval, |_, a| {
        truncate_interval(text(&a[0]), interval(&a[1])).map(Datum::Interval)
    });
}

fn truncate_in(field: &str, instant: i64, zone: &TimeZone) -> Result<Datum, SqlError> {
    let cut = datetime::truncate(field, utc_to_local(instant, zone))?;
    Ok(Datum::TimestampTz(local_to_utc(cut, zone)))
}

fn truncate_interval(field: &str, value: Interval) -> Result<Interval, SqlError> {
    let months = |unit: i32| Interval::new(value.months / unit * unit, 0, 0);
    let cut = |unit: i64| Interval { micros: value.micros / unit * unit, ..value };
    Ok(match field.to_ascii_lowercase().trim_end_matches('s') {
        "microsecond" => value,
        "millisecond" => cut(1000),
        "second" => cut(SECOND),
        "minute" => cut(60 * SECOND),
        "hour" => cut(3600 * SECOND),
        "day" => Interval { micros: 0, ..value },
        "month" => Interval { days: 0, micros: 0, ..value },
        "quarter" => months(3),
        "year" => months(12),
        "decade" => months(120),
        "century" => months(1200),
        "millennium" => months(12_000),
        _ => return Err(unit_error(field, "interval")),
    })
}

fn unit_error(field: &str, name: &str) -> SqlError {
    const KNOWN: [&str; 21] = [
        "hour",
        "minute",
        "second",
        "milliseconds",
        "microseconds",
        "day",
        "week",
        "month",
        "quarter",
        "year",
        "decade",
        "century",
        "millennium",
        "dow",
        "isodow",
        "doy",
        "isoyear",
        "julian",
        "timezone",
        "timezone_hour",
        "timezone_minute",
    ];
    match KNOWN.contains(&field.to_ascii_lowercase().as_str()) {
        true => SqlError::new("0A000", format!("unit \"{field}\" not supported for type {name}")),
        false => SqlError::new("22023", format!("unit \"{field}\" not recognized for type {name}")),
    }
}

fn fields(r: &mut Registry) {
    for ty in [Date, Timestamp, TimestampTz, Time, PgType::Interval] {
        r.strict("extract", &[Text, ty], Number, |call, a| field(call, text(&a[0]), &a[1])).stable();
        r.strict("date_part", &[Text, ty], Float8, |call, a| {
            // Of a date, what its midnight has.
            let value = match &a[1] {
                Datum::Date(days) => Datum::Timestamp(date_to_timestamp(*days)?),
                other => other.clone(),
            };
            match field(call, text(&a[0]), &value)? {
                Datum::Numeric(value) => Ok(Datum::Float8(value.to_f64())),
                other => Ok(other),
            }
        })
        .stable();
    }
    r.strict("isfinite", &[Timestamp], Bool, |_, a| Ok(Datum::Bool(!is_infinite(micros(&a[0])))));
    r.strict("isfinite", &[TimestampTz], Bool, |_, a| Ok(Datum::Bool(!is_infinite(micros(&a[0])))));
    r.strict("isfinite", &[PgType::Interval], Bool, |_, _| Ok(Datum::Bool(true)));
    r.strict("isfinite", &[Date], Bool, |_, a| {
        Ok(Datum::Bool(!matches!(a[0], Datum::Date(i32::MAX) | Datum::Date(i32::MIN))))
    });
}

/// `extract(field from value)`.
fn field(call: &Call<'_>, name: &str, value: &Datum) -> Result<Datum, SqlError> {
    let lower = name.to_ascii_lowercase();
    let number = match value {
        Datum::Interval(value) => interval_field(&lower, *value),
        Datum::Time(micros) => time_field(&lower, *micros),
        Datum::TimestampTz(instant) if !is_infinite(*instant) => {
            let offset = i64::from(call.settings().timezone.offset_at_utc(*instant));
            match lower.as_str() {
                "epoch" => Some(Numeric::new(*instant, 6)),
                "timezone" => Some(Numeric::from(offset)),
                "timezone_hour" => Some(Numeric::from(offset / 3600)),
                "timezone_minute" => Some(Numeric::from(offset / 60 % 60)),
                _ => local_field(&lower, local(call, *instant)),
            }
        }
        Datum::Date(days) => match lower.as_str() {
            "epoch" => date_to_timestamp(*days).ok().map(|at| Numeric::from(at / SECOND)),
            "julian" if !is_infinite(date_to_timestamp(*days)?) => Some(Numeric::from(i64::from(*days) + 2_440_588)),
            // A date has no time of day.
            field if time_field(field, 0).is_some() => None,
            _ => local_field(&lower, date_to_timestamp(*days)?),
        },
        other => local_field(&lower, micros(other)),
    };
    let type_name = || value.natural_type().map_or_else(String::new, |ty| crate::types::format_type(ty, -1));
    number.map(Datum::Numeric).ok_or_else(|| unit_error(name, &type_name()))
}

fn time_field(field: &str, micros: i64) -> Option<Numeric> {
    let whole = |value: i64| Some(Numeric::from(value));
    match field {
        "hour" => whole(micros / (3600 * SECOND)),
        "minute" => whole(micros / (60 * SECOND) % 60),
        "second" => Some(Numeric::new(micros % (60 * SECOND), 6)),
        "millisecond" | "milliseconds" => Some(Numeric::new(micros % (60 * SECOND), 3)),
        "microsecond" | "microseconds" => whole(micros % (60 * SECOND)),
        "epoch" => Some(Numeric::new(micros, 6)),
        _ => None,
    }
}

fn local_field(field: &str, at: i64) -> Option<Numeric> {
    if is_infinite(at) {
        return Some(if at > 0 { Numeric::Infinity } else { Numeric::NegativeInfinity });
    }
    let (days, time) = split(at);
    let Civil { year, month, day } = civil(days);
    // Years before Christ count down, without a year zero.
    let shown_year = if year > 0 { year } else { year - 1 };
    let whole = |value: i64| Some(Numeric::from(value));
    match field {
        "year" | "years" => whole(shown_year),
        "month" | "months" => whole(i64::from(month)),
        "day" | "days" => whole(i64::from(day)),
        "quarter" => whole(i64::from((month - 1) / 3 + 1)),
        "decade" => whole(year.div_euclid(10)),
        "century" => whole(if year > 0 { (year + 99) / 100 } else { -((99 - (year - 1)) / 100) }),
        "millennium" => whole(if year > 0 { (year + 999) / 1000 } else { -((999 - (year - 1)) / 1000) }),
        "dow" => whole(i64::from(day_of_week(days))),
        "isodow" => whole(i64::from((day_of_week(days) + 6) % 7 + 1)),
        "doy" => whole(days - days_from_civil(year, 1, 1) + 1),
        "week" => whole(i64::from(iso_week(days).1)),
        "isoyear" => whole(iso_week(days).0),
        "julian" => Numeric::from(days + 2_440_588).add(&Numeric::new(time, 0).divide(&Numeric::from(DAY)).ok()?).ok(),
        "epoch" => Some(Numeric::new(at, 6)),
        _ => time_field(field, time),
    }
}

fn interval_field(field: &str, value: Interval) -> Option<Numeric> {
    let whole = |value: i64| Some(Numeric::from(value));
    let (years, months) = (i64::from(value.months / 12), i64::from(value.months % 12));
    match field {
        "year" | "years" => whole(years),
        "month" | "months" => whole(months),
        "day" | "days" => whole(i64::from(value.days)),
        "quarter" => whole(months / 3 + 1),
        "decade" => whole(years / 10),
        "century" => whole(years / 100),
        "millennium" => whole(years / 1000),
        // A year counts 365.25 days, a month 30.
        "epoch" => {
            let days = i128::from(value.days) + i128::from(months) * 30;
            let quarter_days = i128::from(years) * 1461 + days * 4;
            Some(Numeric::new(quarter_days * i128::from(DAY) / 4 + i128::from(value.micros), 6))
        }
        _ => time_field(field, value.micros),
    }
}

fn ages(r: &mut Registry) {
    r.strict("age", &[Timestamp, Timestamp], PgType::Interval, |_, a| age(micros(&a[0]), micros(&a[1])));
    r.strict("age", &[TimestampTz, TimestampTz], PgType::Interval, |call, a| {
        age(local(call, micros(&a[0])), local(call, micros(&a[1])))
    })
    .stable();
    r.strict("age", &[Timestamp], PgType::Interval, |call, a| age(midnight(call), micros(&a[0]))).stable();
    r.strict("age", &[TimestampTz], PgType::Interval, |call, a| age(midnight(call), local(call, micros(&a[0]))))
        .stable();
    r.strict("justify_hours", &[PgType::Interval], PgType::Interval, |_, a| {
        Ok(Datum::Interval(interval(&a[0]).justify_hours()))
    });
    r.strict("justify_days", &[PgType::Interval], PgType::Interval, |_, a| {
        Ok(Datum::Interval(interval(&a[0]).justify_days()))
    });
    r.strict("justify_interval", &[PgType::Interval], PgType::Interval, |_, a| {
        Ok(Datum::Interval(interval(&a[0]).justify()))
    });
}

fn midnight(call: &Call<'_>) -> i64 {
    let at = local(call, call.settings().transaction_micros);
    at - split(at).1
}

/// Years, months, days and time between two moments, counted from the later month's end.
fn age(later: i64, earlier: i64) -> Result<Datum, SqlError> {
    if is_infinite(later) || is_infinite(earlier) {
        return Err(SqlError::new("22008", "interval out of range"));
    }
    if later < earlier {
        let Datum::Interval(turned) = age(earlier, later)? else { return Ok(Datum::Null) };
        return turned.negate().map(Datum::Interval);
    }
    let ((days1, time1), (days2, time2)) = (split(later), split(earlier));
    let (a, b) = (civil(days1), civil(days2));
    let mut months = (a.year - b.year) * 12 + i64::from(a.month) - i64::from(b.month);
    let mut days = i64::from(a.day) - i64::from(b.day);
    let mut time = time1 - time2;
    if time < 0 {
        time += DAY;
        days -= 1;
    }
    if days < 0 {
        days += i64::from(days_in_month(b.year, b.month));
        months -= 1;
    }
    Ok(Datum::Interval(Interval::new(months as i32, days as i32, time)))
}

fn making(r: &mut Registry) {
    r.strict("to_date", &[Text, Text], Date, |_, a| {
        Ok(Datum::Date(split(from_char::moment(text(&a[0]), text(&a[1]))?).0 as i32))
    });
    r.strict("to_timestamp", &[Text, Text], TimestampTz, |call, a| {
        let at = from_char::moment(text(&a[0]), text(&a[1]))?;
        Ok(Datum::TimestampTz(local_to_utc(at, &call.settings().timezone)))
    })
    .stable();
    r.strict("to_number", &[Text, Text], Number, |_, a| {
        from_char::number_by(text(&a[0]), text(&a[1])).map(Datum::Numeric)
    });
    r.strict("to_timestamp", &[Float8], TimestampTz, |_, a| match a[0] {
        Datum::Float8(seconds) if seconds.is_finite() && seconds.abs() < 9.2e12 => {
            Ok(Datum::TimestampTz((seconds * 1e6).round_ties_even() as i64))
        }
        _ => Err(datetime::timestamp_out_of_range()),
    });
}

fn zones(r: &mut Registry) {
    // `x AT TIME ZONE zone` is timezone(zone, x).
    r.strict("timezone", &[Text, TimestampTz], Timestamp, |_, a| {
        Ok(Datum::Timestamp(utc_to_local(micros(&a[1]), &TimeZone::parse_in_expression(text(&a[0]))?)))
    });
    r.strict("timezone", &[Text, Timestamp], TimestampTz, |_, a| {
        Ok(Datum::TimestampTz(local_to_utc(micros(&a[1]), &TimeZone::parse_in_expression(text(&a[0]))?)))
    });
    r.strict("timezone", &[PgType::Interval, TimestampTz], Timestamp, |_, a| {
        Ok(Datum::Timestamp(utc_to_local(micros(&a[1]), &zone_at(interval(&a[0]))?)))
    });
    r.strict("timezone", &[PgType::Interval, Timestamp], TimestampTz, |_, a| {
        Ok(Datum::TimestampTz(local_to_utc(micros(&a[1]), &zone_at(interval(&a[0]))?)))
    });
}

/// A zone as far east of UTC as the interval says.
fn zone_at(east: Interval) -> Result<TimeZone, SqlError> {
    match i32::try_from(east.micros / 1_000_000) {
        Ok(seconds) if east.months == 0 && east.days == 0 => Ok(TimeZone::Fixed(seconds)),
        _ => Err(SqlError::new("22023", "an interval time zone must not include months or days")),
    }
}

fn text_forms(r: &mut Registry) {
    r.strict("to_char", &[Timestamp, Text], Text, |_, a| to_char::moment(micros(&a[0]), None, text(&a[1])));
    r.strict("to_char", &[TimestampTz, Text], Text, |call, a| {
        let zone = call.settings().timezone;
        let at =
            to_char::Zone { offset: zone.offset_at_utc(micros(&a[0])), name: zone.abbreviation_at_utc(micros(&a[0])) };
        to_char::moment(utc_to_local(micros(&a[0]), &zone), Some(&at), text(&a[1]))
    })
    .stable();
    r.strict("to_char", &[Date, Text], Text, |_, a| match a[0] {
        Datum::Date(days) => to_char::moment(date_to_timestamp(days)?, None, text(&a[1])),
        _ => Ok(Datum::Null),
    });
    r.strict("to_char", &[PgType::Interval, Text], Text, |_, a| to_char::interval(interval(&a[0]), text(&a[1])));
    r.strict("to_char", &[Number, Text], Text, |_, a| match &a[0] {
        Datum::Numeric(value) => to_char::number(value, text(&a[1])).map(Datum::Text),
        _ => Ok(Datum::Null),
    });
    r.strict("to_char", &[Float8, Text], Text, |_, a| match &a[0] {
        Datum::Float8(value) => to_char::number(&Numeric::from_f64(*value), text(&a[1])).map(Datum::Text),
        _ => Ok(Datum::Null),
    });
}
