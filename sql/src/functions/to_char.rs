//! `to_char`: moments and numbers by template.
//!
//! Templates of moments: YYYY YY MM MON MONTH DD DDD DY DAY D ID HH12 HH24 HH MI SS MS US AM PM TZH TZM TZ OF Q WW IW CC J and the FM prefix, with
//! case as written; text in double quotes stands for itself. Templates of numbers: 9 0 . , D G S MI RN FM.

use crate::SqlError;
use crate::types::datetime::{civil, day_of_week, days_from_civil, is_infinite, iso_week, split};
use crate::types::{Datum, Interval, Numeric};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// The patterns, longer ones before their beginnings.
const PATTERNS: [&str; 34] = [
    "YYYY", "YYY", "YY", "IYYY", "MONTH", "MON", "MM", "MI", "MS", "DDD", "DAY", "DD", "DY", "D", "ID", "IW", "HH24",
    "HH12", "HH", "SSSS", "SS", "US", "AM", "PM", "TZH", "TZM", "TZ", "OF", "Q", "WW", "CC", "J", "Y", "FF6",
];

/// The zone of a moment.
pub struct Zone {
    /// Seconds east of UTC.
    pub offset: i32,
    /// What it is called.
    pub name: String,
}

/// A local timestamp by a template.
pub fn moment(at: i64, zone: Option<&Zone>, template: &str) -> Result<Datum, SqlError> {
    if is_infinite(at) {
        return Ok(Datum::Null);
    }
    written(template, |pattern, written, fill| part(pattern, written, at, zone, fill))
}

/// An interval by a template: years, months, days and the time, each as it stands in the interval.
pub fn interval(value: Interval, template: &str) -> Result<Datum, SqlError> {
    written(template, |pattern, written, fill| {
        let (time, sign) = (value.micros.unsigned_abs(), if value.micros < 0 { -1 } else { 1 });
        let time = time as i64;
        let number = |value: i64, width: usize| match (fill, value < 0) {
            (true, false) => format!("{value:0width$}"),
            (true, true) => format!("-{:0width$}", -value),
            (false, _) => value.to_string(),
        };
        let years = i64::from(value.months / 12);
        let hour = sign * (time / 3_600_000_000);
        match pattern {
            "YYYY" => number(years, 4),
            "YYY" => number(years % 1000, 3),
            "YY" => number(years % 100, 2),
            "Y" => number(years % 10, 1),
            "MM" => number(i64::from(value.months % 12), 2),
            "DD" => {
                if fill {
                    format!("{:02}", value.days)
                } else {
                    value.days.to_string()
                }
            }
            "HH24" => number(hour, 2),
            "HH12" | "HH" => number(if hour % 12 == 0 { 12 } else { hour % 12 }, 2),
            "MI" => number(sign * (time / 60_000_000 % 60), 2),
            "SS" => number(sign * (time / 1_000_000 % 60), 2),
            "SSSS" => (sign * (time / 1_000_000)).to_string(),
            "MS" => number(sign * (time / 1000 % 1000), 3),
            "US" | "FF6" => number(sign * (time % 1_000_000), 6),
            // What is of the calendar stays as it is written.
            _ => written.to_owned(),
        }
    })
}

fn written(template: &str, part: impl Fn(&str, &str, bool) -> String) -> Result<Datum, SqlError> {
    let mut out = String::new();
    let mut rest = template;
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (inside, after) = quoted.split_once('"').unwrap_or((quoted, ""));
            out.push_str(inside);
            rest = after;
            continue;
        }
        let (fill, body) = match rest.get(..2) {
            Some(prefix) if prefix.eq_ignore_ascii_case("FM") => (false, &rest[2..]),
            _ => (true, rest),
        };
        let matches =
            |pattern: &&&str| body.get(..pattern.len()).is_some_and(|head| head.eq_ignore_ascii_case(pattern));
        match PATTERNS.iter().find(matches) {
            Some(pattern) => {
                let (written, after) = body.split_at(pattern.len());
                out.push_str(&part(pattern, written, fill));
                rest = after;
                // A number may be followed by its ordinal's ending.
                if let Some(ending) = rest.get(..2).filter(|ending| ending.eq_ignore_ascii_case("th")) {
                    let suffix = ordinal(&out);
                    out.push_str(&if ending == "TH" { suffix.to_uppercase() } else { suffix.to_owned() });
                    rest = &rest[2..];
                }
            }
            None => {
                let c = rest.chars().next().expect("the template is not empty");
                out.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    Ok(Datum::Text(out))
}

fn ordinal(number: &str) -> &'static str {
    let digits: Vec<u8> = number.bytes().rev().take(2).collect();
    match (digits.first(), digits.get(1)) {
        (_, Some(b'1')) => "th",
        (Some(b'1'), _) => "st",
        (Some(b'2'), _) => "nd",
        (Some(b'3'), _) => "rd",
        _ => "th",
    }
}

fn part(pattern: &str, written: &str, at: i64, zone: Option<&Zone>, fill: bool) -> String {
    let (days, time) = split(at);
    let date = civil(days);
    let year = if date.year > 0 { date.year } else { 1 - date.year };
    let (hour, minute, second) = (time / 3_600_000_000, time / 60_000_000 % 60, time / 1_000_000 % 60);
    let number = |value: i64, width: usize| if fill { format!("{value:0width$}") } else { value.to_string() };
    let word = |name: &str, width: usize| {
        let cased =
            match (written.starts_with(char::is_uppercase), written.chars().nth(1).is_some_and(char::is_uppercase)) {
                (true, true) => name.to_uppercase(),
                (true, false) => name.to_owned(),
                _ => name.to_lowercase(),
            };
        if fill { format!("{cased:width$}") } else { cased }
    };
    let month = MONTHS[date.month as usize - 1];
    let weekday = DAYS[day_of_week(days) as usize];
    let offset = i64::from(zone.map_or(0, |zone| zone.offset));
    let day_of_year = days - days_from_civil(date.year, 1, 1) + 1;
    match pattern {
        "YYYY" => number(year, 4),
        "YYY" => number(year % 1000, 3),
        "YY" => number(year % 100, 2),
        "Y" => (year % 10).to_string(),
        "IYYY" => number(iso_week(days).0, 4),
        "MONTH" => word(month, 9),
        "MON" => word(&month[..3], 0),
        "MM" => number(i64::from(date.month), 2),
        "DAY" => word(weekday, 9),
        "DY" => word(&weekday[..3], 0),
        "DDD" => number(day_of_year, 3),
        "DD" => number(i64::from(date.day), 2),
        "D" => (day_of_week(days) + 1).to_string(),
        "ID" => ((day_of_week(days) + 6) % 7 + 1).to_string(),
        "IW" => number(i64::from(iso_week(days).1), 2),
        "WW" => number((day_of_year - 1) / 7 + 1, 2),
        "HH24" => number(hour, 2),
        "HH12" | "HH" => number(if hour % 12 == 0 { 12 } else { hour % 12 }, 2),
        "MI" => number(minute, 2),
        "SS" => number(second, 2),
        "SSSS" => (time / 1_000_000).to_string(),
        "MS" => number(time / 1000 % 1000, 3),
        "US" | "FF6" => number(time % 1_000_000, 6),
        "AM" | "PM" => {
            let half = if hour < 12 { "AM" } else { "PM" };
            if written.starts_with(char::is_uppercase) { half.to_owned() } else { half.to_lowercase() }
        }
        "TZH" | "OF" => {
            let sign = if offset < 0 { '-' } else { '+' };
            let minutes = offset.abs() / 60 % 60;
            let tail = if pattern == "OF" && minutes > 0 { format!(":{minutes:02}") } else { String::new() };
            format!("{sign}{:02}{tail}", offset.abs() / 3600)
        }
        "TZ" => {
            let name = zone.map_or("", |zone| zone.name.as_str());
            if written.starts_with(char::is_uppercase) { name.to_owned() } else { name.to_lowercase() }
        }
        "TZM" => format!("{:02}", offset.abs() / 60 % 60),
        "Q" => ((date.month - 1) / 3 + 1).to_string(),
        "CC" => number((year + 99) / 100, 2),
        _ => (days + 2_440_588).to_string(),
    }
}

/// A number by a template.
pub fn number(value: &Numeric, template: &str) -> Result<String, SqlError> {
    let upper = template.to_ascii_uppercase();
    if let Some(pattern) = UNSUPPORTED.iter().find(|pattern| upper.contains(**pattern)) {
        return Err(SqlError::unsupported(format!("the pattern {pattern} of to_char for numbers")));
    }
    Ok(by_template(value, template, &upper))
}

/// Patterns of numbers that PostgreSQL knows, and that would stand for themselves here.
const UNSUPPORTED: [&str; 7] = ["EEEE", "PR", "SG", "PL", "TH", "L", "V"];

fn by_template(value: &Numeric, template: &str, upper: &str) -> String {
    if upper.trim_start_matches("FM") == "RN" {
        let roman = roman(value);
        let cased = if template.ends_with("rn") { roman.to_lowercase() } else { roman };
        return if upper.starts_with("FM") { cased } else { format!("{cased:>15}") };
    }
    let (fill, body) = match upper.strip_prefix("FM") {
        Some(rest) => (false, rest.to_owned()),
        None => (true, upper.to_owned()),
    };
    let (whole_places, fraction_places) = body.split_once(['.', 'D']).unwrap_or((body.as_str(), ""));
    let places = |text: &str| text.chars().filter(|c| matches!(c, '9' | '0')).count();
    let scale = places(fraction_places);
    let rounded = value.round(scale as i32);
    let digits = rounded.abs().to_string();
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    let whole = if whole == "0" && scale > 0 { "" } else { whole };
    let width = places(whole_places);
    let negative = rounded.is_negative() && !rounded.is_zero();
    let too_long = whole.len() > width;
    let mut integer = String::new();
    let mut started = false;
    let mut seen = 0;
    for c in whole_places.chars() {
        match c {
            '9' | '0' => {
                let from_right = width - seen;
                seen += 1;
                let digit = whole.len().checked_sub(from_right).and_then(|at| whole.chars().nth(at));
                started |= digit.is_some() || c == '0';
                integer.push(match digit {
                    _ if too_long => '#',
                    Some(digit) => digit,
                    None if started => '0',
                    None => ' ',
                });
            }
            ',' | 'G' => integer.push(if started { ',' } else { ' ' }),
            'S' | 'M' | 'I' => {}
            other => integer.push(other),
        }
    }
    let mut tail = String::new();
    if !fraction_places.is_empty() || body.contains(['.', 'D']) {
        let shown = if too_long { "#".repeat(scale) } else { fraction.to_owned() };
        // FM drops zeros that the template does not insist on.
        let insisted = fraction_places.rfind('0').map_or(0, |at| at + 1);
        let keep = if fill { scale } else { shown.trim_end_matches('0').len().max(insisted) };
        tail = format!(".{}", &shown[..keep.min(shown.len())]);
    }
    if !fill && tail == "." && integer.trim_start().is_empty() {
        integer.push('0');
    }
    place_sign(&body, &integer, &tail, negative, fill)
}

fn place_sign(template: &str, integer: &str, tail: &str, negative: bool, fill: bool) -> String {
    let trimmed = integer.trim_start();
    let blanks = " ".repeat(integer.len() - trimmed.len());
    let text = if template.ends_with("MI") {
        format!("{blanks}{trimmed}{tail}{}", if negative { "-" } else { " " })
    } else if template.ends_with('S') {
        format!("{blanks}{trimmed}{tail}{}", if negative { "-" } else { "+" })
    } else if template.starts_with('S') {
        format!("{blanks}{}{trimmed}{tail}", if negative { "-" } else { "+" })
    } else {
        format!("{blanks}{}{trimmed}{tail}", if negative { "-" } else { " " })
    };
    if fill { text } else { text.trim().to_owned() }
}

/// In Roman digits: of 1 to 3999.
fn roman(value: &Numeric) -> String {
    const DIGITS: [(i64, &str); 13] = [
        (1000, "M"),
        (900, "CM"),
        (500, "D"),
        (400, "CD"),
        (100, "C"),
        (90, "XC"),
        (50, "L"),
        (40, "XL"),
        (10, "X"),
        (9, "IX"),
        (5, "V"),
        (4, "IV"),
        (1, "I"),
    ];
    let Some(mut rest) = value.round(0).to_i64().filter(|value| (1..4000).contains(value)) else {
        return "#".repeat(15);
    };
    let mut out = String::new();
    for (worth, digit) in DIGITS {
        while rest >= worth {
            out.push_str(digit);
            rest -= worth;
        }
    }
    out
}
