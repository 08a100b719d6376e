//! `to_date`, `to_timestamp`, `to_number`: text by template, the other way round than [`super::to_char`].
//!
//! Templates of moments: YYYY YYY YY Y MM MON MONTH DD DDD DAY DY HH24 HH12 HH MI SS MS US SSSS AM PM J and the FM prefix; text in
//! double quotes stands for as many characters. Templates of numbers: 9 0 . , D G S MI PL.

use crate::SqlError;
use crate::types::Numeric;
use crate::types::datetime::{MONTHS, days_from_civil, days_in_month, timestamp};

/// The patterns, longer ones before their beginnings, with the digits they take; none for words.
const PATTERNS: [(&str, usize); 23] = [
    ("YYYY", 4),
    ("YYY", 3),
    ("YY", 2),
    ("Y", 1),
    ("MONTH", 0),
    ("MON", 0),
    ("MM", 2),
    ("MI", 2),
    ("MS", 3),
    ("DDD", 3),
    ("DAY", 0),
    ("DD", 2),
    ("DY", 0),
    ("HH24", 2),
    ("HH12", 2),
    ("HH", 2),
    ("SSSS", 5),
    ("SS", 2),
    ("US", 6),
    ("AM", 0),
    ("PM", 0),
    ("J", 7),
    ("FM", 0),
];

/// What was read.
#[derive(Default)]
struct Read {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    julian: Option<i64>,
    hour: i64,
    minute: i64,
    second: i64,
    second_of_day: Option<i64>,
    micros: i64,
    /// Whether the hour is of the afternoon, where the half of the day was read.
    afternoon: Option<bool>,
    twelve_hours: bool,
}

/// A local timestamp, in microseconds.
///
/// # Errors
/// 22007 for what the template does not fit, 22008 for what no calendar has.
pub fn moment(text: &str, template: &str) -> Result<i64, SqlError> {
    let mut read = Read::default();
    let mut input = text.trim_start();
    let mut rest = template;
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (inside, after) = quoted.split_once('"').unwrap_or((quoted, ""));
            input = skip(input, inside.chars().count());
            rest = after;
            continue;
        }
        let Some((pattern, digits)) = pattern_at(rest) else {
            let separator = rest.chars().next().expect("the template is not empty");
            rest = &rest[separator.len_utf8()..];
            // A separator stands for any one, or for none; a letter for whatever stands there.
            let found = input.chars().next();
            if separator.is_alphanumeric() || found.is_some_and(is_separator) {
                input = skip(input, 1);
            }
            continue;
        };
        rest = &rest[pattern.len()..];
        if pattern == "FM" {
            continue;
        }
        rest = rest.strip_prefix("th").or_else(|| rest.strip_prefix("TH")).unwrap_or(rest);
        input = input.trim_start();
        if input.is_empty() {
            break;
        }
        if digits == 0 {
            input = word(pattern, input, &mut read)?;
            continue;
        }
        // Digits end where the template's do, unless something else than digits must follow.
        let bounded =
            rest.starts_with(|c: char| c.is_ascii_digit()) || pattern_at(rest).is_some_and(|(_, next)| next > 0);
        let most = if bounded || matches!(pattern, "MS" | "US") { digits } else { usize::MAX };
        input = number((pattern, digits), input, most, &mut read)?;
    }
    assembled(&read, text)
}

fn pattern_at(template: &str) -> Option<(&'static str, usize)> {
    let is_at = |pattern: &str| template.get(..pattern.len()).is_some_and(|head| head.eq_ignore_ascii_case(pattern));
    PATTERNS.into_iter().find(|(pattern, _)| is_at(pattern))
}

fn is_separator(c: char) -> bool {
    !c.is_alphanumeric()
}

fn skip(text: &str, characters: usize) -> &str {
    text.char_indices().nth(characters).map_or("", |(at, _)| &text[at..])
}

fn invalid(value: &str, pattern: &str) -> SqlError {
    SqlError::new("22007", format!("invalid value \"{value}\" for \"{pattern}\""))
}

fn word<'a>(pattern: &str, input: &'a str, read: &mut Read) -> Result<&'a str, SqlError> {
    let letters = input.find(|c: char| !c.is_alphabetic()).unwrap_or(input.len());
    let lower = input[..letters].to_lowercase();
    match pattern {
        "MONTH" | "MON" => {
            let is_it = |name: &&str| match pattern {
                "MON" => lower.starts_with(&name[..3]),
                _ => lower.starts_with(*name),
            };
            let found = MONTHS.iter().enumerate().find(|(_, name)| is_it(name));
            let (number, name) = found.ok_or_else(|| {
                invalid(&input[..letters], pattern)
                    .detail("The given value did not match any of the allowed values for this field.")
            })?;
            read.month = Some(number as i64 + 1);
            Ok(skip(input, if pattern == "MON" { 3 } else { name.len() }))
        }
        "AM" | "PM" => {
            let half = lower.get(..2).filter(|half| matches!(*half, "am" | "pm"));
            read.afternoon = Some(half.ok_or_else(|| invalid(&input[..letters], pattern))? == "pm");
            Ok(skip(input, 2))
        }
        // The name of a day says nothing that the date does not.
        "DY" => Ok(skip(input, 3.min(letters))),
        _ => Ok(&input[letters..]),
    }
}

fn number<'a>(
    (pattern, places): (&str, usize),
    input: &'a str,
    most: usize,
    read: &mut Read,
) -> Result<&'a str, SqlError> {
    let unsigned = input.strip_prefix('-').filter(|_| pattern == "YYYY").unwrap_or(input);
    let negative = unsigned.len() < input.len();
    let length = unsigned.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let digits = &unsigned[..length];
    let value: i64 = digits.parse().map_err(|_| {
        let shown: String = input.chars().take(places).collect();
        invalid(&shown, pattern).detail("Value must be an integer.")
    })?;
    match pattern {
        "YYYY" => read.year = Some(if negative { 1 - value } else { value }),
        // Years of fewer digits are those nearest to 2020.
        "YYY" | "YY" | "Y" => {
            read.year = Some(match length {
                1 => 2000 + value,
                2 if value < 70 => 2000 + value,
                2 => 1900 + value,
                3 if value >= 100 => {
                    if value < 520 {
                        2000 + value
                    } else {
                        1000 + value
                    }
                }
                3 => 2000 + value,
                _ => value,
            });
        }
        "MM" => read.month = Some(value),
        "DDD" => read.day_of_year = Some(value),
        "DD" => read.day = Some(value),
        "J" => read.julian = Some(value),
        "HH24" => read.hour = value,
        "HH12" | "HH" => {
            read.hour = value;
            read.twelve_hours = true;
        }
        "MI" => read.minute = value,
        "SS" => read.second = value,
        "SSSS" => read.second_of_day = Some(value),
        // Fractions: `5` is five tenths.
        "MS" => read.micros = value * 10_i64.pow(3_u32.saturating_sub(length as u32)) * 1000,
        _ => read.micros = value * 10_i64.pow(6_u32.saturating_sub(length as u32)),
    }
    Ok(&unsigned[length..])
}

fn assembled(read: &Read, text: &str) -> Result<i64, SqlError> {
    let out = || SqlError::new("22008", format!("date/time field value out of range: \"{text}\""));
    let within =
        |value: i64, range: std::ops::RangeInclusive<i64>| range.contains(&value).then_some(value).ok_or_else(out);
    let mut hour = within(read.hour, 0..=if read.twelve_hours { 12 } else { 24 })?;
    if read.twelve_hours && hour == 0 {
        let message = format!("hour \"{hour}\" is invalid for the 12-hour clock");
        return Err(SqlError::new("22007", message).hint("Use the 24-hour clock, or give an hour between 1 and 12."));
    }
    match read.afternoon {
        Some(true) if hour < 12 => hour += 12,
        Some(false) if hour == 12 => hour = 0,
        _ => {}
    }
    let seconds = match read.second_of_day {
        Some(seconds) => within(seconds, 0..=86_400)?,
        None => (hour * 60 + within(read.minute, 0..=59)?) * 60 + within(read.second, 0..=59)?,
    };
    // Without a year, the last of the years before Christ.
    let year = read.year.unwrap_or(0);
    let days = if let Some(julian) = read.julian {
        julian - 2_440_588
    } else if let Some(day) = read.day_of_year {
        days_from_civil(year, 1, 1) + within(day, 1..=366)? - 1
    } else {
        let month = within(read.month.unwrap_or(1), 1..=12)? as u32;
        days_from_civil(year, month, within(read.day.unwrap_or(1), 1..=i64::from(days_in_month(year, month)))? as u32)
    };
    timestamp(days, seconds * 1_000_000 + read.micros)
}

/// A number.
///
/// # Errors
/// 22P02 when there is none.
pub fn number_by(text: &str, template: &str) -> Result<Numeric, SqlError> {
    let upper = template.to_ascii_uppercase();
    let mut places = upper.strip_prefix("FM").unwrap_or(&upper);
    let mut input = text.trim().chars().peekable();
    let (mut digits, mut negative, mut point) = (String::new(), false, false);
    let sign = |input: &mut std::iter::Peekable<std::str::Chars<'_>>, negative: &mut bool| {
        if let Some(sign) = input.next_if(|c| matches!(c, '-' | '+')) {
            *negative = sign == '-';
        }
    };
    sign(&mut input, &mut negative);
    while let Some(place) = places.chars().next() {
        let pair = places.get(..2).filter(|pair| matches!(*pair, "MI" | "PL" | "SG"));
        places = &places[pair.map_or(place.len_utf8(), str::len)..];
        match place {
            _ if pair.is_some() => sign(&mut input, &mut negative),
            'S' => sign(&mut input, &mut negative),
            '9' | '0' => {
                if let Some(digit) = input.next_if(char::is_ascii_digit) {
                    digits.push(digit);
                } else if !point && input.next_if_eq(&'.').is_some() {
                    point = true;
                    digits.push('.');
                }
            }
            '.' | 'D' if !point => {
                if input.next_if_eq(&'.').is_some() {
                    point = true;
                    digits.push('.');
                }
            }
            ',' | 'G' => {
                input.next_if_eq(&',');
            }
            _ => {
                input.next_if(|c| !c.is_ascii_digit());
            }
        }
    }
    sign(&mut input, &mut negative);
    let value: Numeric = digits
        .trim_end_matches('.')
        .parse()
        .map_err(|_| SqlError::new("22P02", format!("invalid input syntax for type numeric: \"{}\"", text.trim())))?;
    Ok(if negative { value.negate() } else { value })
}
