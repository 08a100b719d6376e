//! Dates, times and timestamps from text.
//!
//! The text falls into fields (a date with separators, a time with colons, words, numbers, a zone), and each field is told by its
//! shape. Dates of the form `a/b/c` are month, day, year (DateStyle MDY).

use chrono_tz::Tz;

use super::{
    Civil, DAY, MAX_DATE, MIN_DATE, date_to_timestamp, days_from_civil, days_in_month, local_to_utc, round_micros,
    timestamp, today,
};
use crate::SqlError;
use crate::types::interval::seconds_micros;
use crate::types::settings::parse_offset;
use crate::types::{TimeZone, TypeSettings};

/// What a text said.
#[derive(Default)]
struct Fields {
    date: Option<Civil>,
    time_micros: Option<i64>,
    zone: Option<TimeZone>,
    special: Option<Special>,
    before_christ: bool,
    afternoon: Option<bool>,
    /// Month by name, and numbers that wait for it.
    month: Option<u32>,
    numbers: Vec<(i64, usize)>,
    /// Whether six bare digits are a time even before a date.
    bare_time: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Special {
    Epoch,
    Infinity,
    NegativeInfinity,
    Now,
    Day(i64),
    AllBalls,
}

/// Why a text is refused.
enum Refusal {
    Syntax,
    Range,
    Zone,
}

fn refuse(refusal: Refusal, type_name: &str, text: &str) -> SqlError {
    match refusal {
        Refusal::Syntax => SqlError::new("22007", format!("invalid input syntax for type {type_name}: \"{text}\"")),
        Refusal::Range => SqlError::new("22008", format!("date/time field value out of range: \"{text}\"")),
        Refusal::Zone => SqlError::new("22023", format!("time zone not recognized: \"{text}\"")),
    }
}

/// Reads a date.
pub fn parse_date(text: &str, settings: &TypeSettings) -> Result<i32, SqlError> {
    let fields = read(text).map_err(|refusal| refuse(refusal, "date", text))?;
    let days = match fields.special {
        Some(Special::Infinity) => return Ok(i32::MAX),
        Some(Special::NegativeInfinity) => return Ok(i32::MIN),
        Some(Special::Epoch) => 0,
        Some(Special::Now) => today(settings),
        Some(Special::Day(offset)) => today(settings) + offset,
        Some(Special::AllBalls) => return Err(refuse(Refusal::Syntax, "date", text)),
        None => {
            let date = fields.date.ok_or_else(|| refuse(Refusal::Syntax, "date", text))?;
            days_from_civil(date.year, date.month, date.day)
        }
    };
    match (i64::from(MIN_DATE)..=i64::from(MAX_DATE)).contains(&days) {
        true => Ok(days as i32),
        false => Err(SqlError::new("22008", format!("date out of range: \"{text}\""))),
    }
}

/// Reads a time of day, rounded to the typmod's digits.
pub fn parse_time(text: &str, typmod: i32) -> Result<i64, SqlError> {
    let fields = read_as(text, true).map_err(|refusal| refuse(refusal, "time", text))?;
    match (fields.time_micros, fields.special) {
        (Some(micros), None) => Ok(round_micros(micros, typmod)),
        (None, Some(Special::AllBalls)) => Ok(0),
        _ => Err(refuse(Refusal::Syntax, "time", text)),
    }
}

/// Reads a timestamp; a zone in the text is dropped, as PostgreSQL does.
pub fn parse_timestamp(text: &str, typmod: i32, settings: &TypeSettings) -> Result<i64, SqlError> {
    let fields = read(text).map_err(|refusal| refuse(refusal, "timestamp", text))?;
    let micros = match fields.special {
        Some(Special::Now) => super::utc_to_local(settings.transaction_micros, &settings.timezone),
        _ => local(&fields, text, "timestamp", settings)?,
    };
    Ok(round_micros(micros, typmod))
}

/// Reads a timestamp with time zone; without a zone in the text it is the session's.
pub fn parse_timestamptz(text: &str, typmod: i32, settings: &TypeSettings) -> Result<i64, SqlError> {
    let name = "timestamp with time zone";
    let fields = read(text).map_err(|refusal| refuse(refusal, name, text))?;
    let micros = match fields.special {
        Some(Special::Now) => settings.transaction_micros,
        Some(Special::Epoch) => 0,
        _ => local_to_utc(local(&fields, text, name, settings)?, &fields.zone.unwrap_or(settings.timezone)),
    };
    Ok(round_micros(micros, typmod))
}

fn local(fields: &Fields, text: &str, name: &str, settings: &TypeSettings) -> Result<i64, SqlError> {
    let time = fields.time_micros.unwrap_or(0);
    match fields.special {
        Some(Special::Infinity) => Ok(i64::MAX),
        Some(Special::NegativeInfinity) => Ok(i64::MIN),
        Some(Special::Epoch) => date_to_timestamp(0),
        Some(Special::Day(offset)) => timestamp(today(settings) + offset, time),
        Some(Special::AllBalls | Special::Now) => Err(refuse(Refusal::Syntax, name, text)),
        None => {
            let date = fields.date.ok_or_else(|| refuse(Refusal::Syntax, name, text))?;
            timestamp(days_from_civil(date.year, date.month, date.day), time)
                .map_err(|_| SqlError::new("22008", format!("timestamp out of range: \"{text}\"")))
        }
    }
}

fn read(text: &str) -> Result<Fields, Refusal> {
    read_as(text, false)
}

fn read_as(text: &str, bare_time: bool) -> Result<Fields, Refusal> {
    let mut fields = Fields { bare_time, ..Fields::default() };
    let spaced = separate(text);
    let mut any = false;
    for word in spaced.split([' ', ',', '\t', '\n']).filter(|word| !word.is_empty()) {
        any = true;
        fields.take(word)?;
    }
    if !any {
        return Err(Refusal::Syntax);
    }
    fields.finish()
}

/// Puts blanks where one field ends and the next begins without one: `2024-01-01T10:00`, `10:00Z`, `10:00-05`, `4:05PM`.
fn separate(text: &str) -> String {
    let lower = text.trim().to_ascii_lowercase();
    let bytes = lower.as_bytes();
    let mut out = String::with_capacity(lower.len() + 4);
    let mut in_time = false;
    for (at, character) in lower.char_indices() {
        let before = at.checked_sub(1).map_or(b' ', |previous| bytes[previous]);
        let after = bytes.get(at + 1).copied().unwrap_or(b' ');
        match character {
            't' if before.is_ascii_digit() && after.is_ascii_digit() => {
                out.push(' ');
                continue;
            }
            ':' => in_time = true,
            ' ' => in_time = false,
            '+' | '-' if in_time && before.is_ascii_digit() => {
                out.push(' ');
                in_time = false;
            }
            c if in_time && c.is_ascii_alphabetic() && before.is_ascii_digit() => {
                out.push(' ');
                in_time = false;
            }
            _ => {}
        }
        out.push(character);
    }
    out
}

impl Fields {
    fn take(&mut self, word: &str) -> Result<(), Refusal> {
        let first = word.as_bytes()[0];
        if word.contains(':') && first.is_ascii_digit() {
            return self.take_time(word);
        }
        if first == b'+' || (first == b'-' && word.len() > 1 && word.as_bytes()[1].is_ascii_digit()) {
            self.zone = Some(TimeZone::Fixed(parse_offset(word).ok_or(Refusal::Syntax)?));
            return Ok(());
        }
        if first.is_ascii_digit() {
            return match word.find(['-', '/', '.']) {
                Some(_) => self.take_date(word),
                None => self.take_number(word),
            };
        }
        match word.find('-') {
            // Jan-08-1999.
            Some(at) if month_number(&word[..at]).is_some() => self.take_date(word),
            _ => self.take_word(word),
        }
    }

    fn take_time(&mut self, word: &str) -> Result<(), Refusal> {
        let parts: Vec<&str> = word.split(':').collect();
        let number = |text: &str| text.parse::<i64>().map_err(|_| Refusal::Syntax);
        let (hours, minutes, seconds) = match parts.as_slice() {
            [hours, minutes] => (number(hours)?, number(minutes)?, 0),
            [hours, minutes, seconds] => {
                (number(hours)?, number(minutes)?, seconds_micros(seconds).ok_or(Refusal::Syntax)?)
            }
            _ => return Err(Refusal::Syntax),
        };
        self.set_time(hours, minutes, seconds)
    }

    fn set_time(&mut self, hours: i64, minutes: i64, seconds: i64) -> Result<(), Refusal> {
        let micros = (hours * 60 + minutes) * 60_000_000 + seconds;
        if !(0..=24).contains(&hours) || !(0..60).contains(&minutes) || seconds > 60_000_000 || micros > DAY {
            return Err(Refusal::Range);
        }
        match self.time_micros.replace(micros) {
            None => Ok(()),
            Some(_) => Err(Refusal::Syntax),
        }
    }

    fn take_date(&mut self, word: &str) -> Result<(), Refusal> {
        let parts: Vec<&str> = word.split(['-', '/', '.']).collect();
        let number = |text: &str| text.parse::<i64>().map_err(|_| Refusal::Syntax);
        let [a, b, c] = parts.as_slice() else {
            return match parts.as_slice() {
                // 1999.008: a year and its day.
                [year, day] if word.contains('.') && year.len() == 4 && day.len() == 3 => {
                    self.set_day_of_year(number(year)?, number(day)?)
                }
                _ => Err(Refusal::Syntax),
            };
        };
        if let Some(month) = month_number(b) {
            // 1999-Jan-08, 08-Jan-1999.
            return match a.len() > 2 {
                true => self.set_date(number(a)?, month, number(c)?),
                false => self.set_date(full_year(number(c)?, c.len()), month, number(a)?),
            };
        }
        if let Some(month) = month_number(a) {
            return self.set_date(full_year(number(c)?, c.len()), month, number(b)?);
        }
        let (first, second, third) = (number(a)?, number(b)?, number(c)?);
        match a.len() > 2 {
            true => self.set_date(first, u32::try_from(second).map_err(|_| Refusal::Range)?, third),
            false => {
                self.set_date(full_year(third, c.len()), u32::try_from(first).map_err(|_| Refusal::Range)?, second)
            }
        }
    }

    fn set_day_of_year(&mut self, year: i64, day: i64) -> Result<(), Refusal> {
        let date = super::civil(days_from_civil(year, 1, 1) + day - 1);
        self.set_date(date.year, date.month, i64::from(date.day))
    }

    fn set_date(&mut self, year: i64, month: u32, day: i64) -> Result<(), Refusal> {
        // The day is checked at the end, when the era is known.
        let day = u32::try_from(day).map_err(|_| Refusal::Range)?;
        if self.date.is_some() {
            return Err(Refusal::Syntax);
        }
        if !(1..=12).contains(&month) || day == 0 || day > 31 || !(0..=5_874_897).contains(&year) {
            return Err(Refusal::Range);
        }
        self.date = Some(Civil { year, month, day });
        Ok(())
    }

    fn take_number(&mut self, word: &str) -> Result<(), Refusal> {
        let number: i64 = word.parse().map_err(|_| Refusal::Syntax)?;
        match word.len() {
            8 if self.date.is_none() => self.set_date(number / 10_000, (number / 100 % 100) as u32, number % 100),
            6 if self.date.is_some() || self.bare_time => {
                self.set_time(number / 10_000, number / 100 % 100, number % 100 * 1_000_000)
            }
            6 if self.month.is_none() => {
                self.set_date(full_year(number / 10_000, 2), (number / 100 % 100) as u32, number % 100)
            }
            _ => {
                self.numbers.push((number, word.len()));
                Ok(())
            }
        }
    }

    fn take_word(&mut self, word: &str) -> Result<(), Refusal> {
        let special = match word {
            "epoch" => Some(Special::Epoch),
            "infinity" | "inf" | "+infinity" => Some(Special::Infinity),
            "-infinity" | "-inf" => Some(Special::NegativeInfinity),
            "now" => Some(Special::Now),
            "today" => Some(Special::Day(0)),
            "tomorrow" => Some(Special::Day(1)),
            "yesterday" => Some(Special::Day(-1)),
            "allballs" => Some(Special::AllBalls),
            _ => None,
        };
        if special.is_some() {
            self.special = special;
            return Ok(());
        }
        match word {
            "bc" => self.before_christ = true,
            "ad" => {}
            "am" => self.afternoon = Some(false),
            "pm" => self.afternoon = Some(true),
            "t" | "at" | "on" => {}
            _ if month_number(word).is_some() => self.month = month_number(word),
            _ if is_weekday(word) => {}
            _ => {
                self.zone =
                    Some(zone_named(word).ok_or(if word.contains('/') { Refusal::Zone } else { Refusal::Syntax })?)
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Fields, Refusal> {
        if let Some(month) = self.month {
            // January 8, 1999; 8 January 1999; 1999 January 8.
            let numbers = std::mem::take(&mut self.numbers);
            let (day, (year, digits)) = match numbers.as_slice() {
                [(year, digits @ 3..), (day, _)] | [(day, _), (year, digits)] => (*day, (*year, *digits)),
                _ => return Err(Refusal::Syntax),
            };
            self.set_date(full_year(year, digits), month, day)?;
        }
        if !self.numbers.is_empty() {
            return Err(Refusal::Syntax);
        }
        if let (Some(afternoon), Some(micros)) = (self.afternoon, self.time_micros) {
            let hour = micros / 3_600_000_000;
            if !(1..=12).contains(&hour) {
                return Err(Refusal::Range);
            }
            let turned = (hour % 12) + if afternoon { 12 } else { 0 };
            self.time_micros = Some(micros + (turned - hour) * 3_600_000_000);
        }
        if let Some(date) = &mut self.date {
            match (self.before_christ, date.year) {
                (_, 0) => return Err(Refusal::Range),
                (true, year) => date.year = 1 - year,
                _ => {}
            }
            if date.day > days_in_month(date.year, date.month) {
                return Err(Refusal::Range);
            }
        }
        Ok(self)
    }
}

/// A year written with one or two digits lies between 1970 and 2069.
fn full_year(year: i64, digits: usize) -> i64 {
    match (digits, year) {
        (..=2, 70..) => year + 1900,
        (..=2, _) => year + 2000,
        _ => year,
    }
}

/// The names of the months, in order.
pub(crate) const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

fn month_number(word: &str) -> Option<u32> {
    let word = word.trim_end_matches('.');
    let word = if word == "sept" { "sep" } else { word };
    let matches = |month: &&str| *month == word || (word.len() == 3 && month.starts_with(word));
    MONTHS.iter().position(matches).map(|index| index as u32 + 1)
}

fn is_weekday(word: &str) -> bool {
    const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    DAYS.iter().any(|day| *day == word || (word.len() >= 3 && day.starts_with(word)))
}

fn zone_named(word: &str) -> Option<TimeZone> {
    let hours = |hours: i32| Some(TimeZone::Fixed(hours * 3600));
    match word {
        "z" | "zulu" | "utc" | "gmt" | "ut" => Some(TimeZone::Named(Tz::UTC)),
        "est" => hours(-5),
        "edt" | "ast" => hours(-4),
        "cst" | "mdt" => hours(-6),
        "cdt" => hours(-5),
        "mst" | "pdt" => hours(-7),
        "pst" => hours(-8),
        "wet" => hours(0),
        "cet" | "met" | "bst" | "west" => hours(1),
        "cest" | "eet" | "mest" => hours(2),
        "eest" | "msk" => hours(3),
        "jst" | "kst" => hours(9),
        _ => TimeZone::parse(word).ok(),
    }
}
