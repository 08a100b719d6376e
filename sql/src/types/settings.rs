//! What text forms depend on beyond the value: the session's time zone, its clock, the names behind OIDs.

use std::sync::Arc;

use chrono::{NaiveDateTime, Offset, TimeZone as _};

use crate::SqlError;

/// The session's settings that text forms and casts depend on.
#[derive(Clone)]
pub struct TypeSettings {
    /// `TimeZone`.
    pub timezone: TimeZone,
    /// The transaction's start, microseconds since 1970 UTC: what `'now'`, `'today'` and `now()` mean.
    pub transaction_micros: i64,
    /// Looks up names for regclass and its kin; without it they print as numbers.
    pub names: Option<Arc<dyn Names>>,
}

impl Default for TypeSettings {
    fn default() -> Self {
        TypeSettings { timezone: TimeZone::UTC, transaction_micros: 0, names: None }
    }
}

impl std::fmt::Debug for TypeSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TypeSettings({}, {})", self.timezone.name(), self.transaction_micros)
    }
}

/// The catalog's names, as far as text forms need them.
pub trait Names: Send + Sync {
    /// The OID of a relation by its possibly qualified, possibly quoted name.
    fn relation_oid(&self, name: &str) -> Option<u32>;
    /// The name of a relation, qualified and quoted as the search path requires.
    fn relation_name(&self, oid: u32) -> Option<String>;
    /// The OID of a schema by name.
    fn schema_oid(&self, name: &str) -> Option<u32>;
    /// The name of a schema.
    fn schema_name(&self, oid: u32) -> Option<String>;
    /// The OID of a role by name.
    fn role_oid(&self, name: &str) -> Option<u32>;
    /// The name of a role.
    fn role_name(&self, oid: u32) -> Option<String>;
    /// The OID of the only function of that name.
    fn function_oid(&self, _name: &str) -> Option<u32> {
        None
    }
    /// The name of a function.
    fn function_name(&self, _oid: u32) -> Option<String> {
        None
    }
}

/// A time zone: by name from the tz database, or a fixed offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeZone {
    /// A zone of the tz database.
    Named(chrono_tz::Tz),
    /// Seconds east of UTC.
    Fixed(i32),
}

impl TimeZone {
    /// UTC.
    pub const UTC: TimeZone = TimeZone::Named(chrono_tz::Tz::UTC);

    /// By tz database name (in any case), or as an offset: `+02`, `-03:30`, `UTC+3` is not taken.
    pub fn parse(name: &str) -> Result<TimeZone, SqlError> {
        let trimmed = name.trim();
        if let Some(zone) = chrono_tz::TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(trimmed)) {
            return Ok(TimeZone::Named(*zone));
        }
        if trimmed.eq_ignore_ascii_case("z") || trimmed.eq_ignore_ascii_case("utc") {
            return Ok(TimeZone::UTC);
        }
        parse_offset(trimmed)
            .map(TimeZone::Fixed)
            .ok_or_else(|| SqlError::new("22023", format!("time zone \"{name}\" not recognized")))
    }

    /// As an expression names it: an offset alone is read as POSIX writes it, which counts westward.
    pub fn parse_in_expression(name: &str) -> Result<TimeZone, SqlError> {
        match TimeZone::parse(name)? {
            TimeZone::Fixed(east) => Ok(TimeZone::Fixed(-east)),
            named => Ok(named),
        }
    }

    /// The name as `SHOW timezone` prints it.
    pub fn name(&self) -> String {
        match self {
            TimeZone::Named(zone) => zone.name().to_owned(),
            TimeZone::Fixed(seconds) => format!("<{0}>{1}", format_offset(*seconds), format_offset(-*seconds)),
        }
    }

    /// Seconds east of UTC in force at an instant.
    pub fn offset_at_utc(&self, micros: i64) -> i32 {
        match self {
            TimeZone::Fixed(seconds) => *seconds,
            TimeZone::Named(chrono_tz::Tz::UTC) => 0,
            TimeZone::Named(zone) => match naive(micros) {
                Some(at) => zone.offset_from_utc_datetime(&at).fix().local_minus_utc(),
                None => 0,
            },
        }
    }

    /// What the time in force at an instant is called: `EST`, `EDT`; the offset where there is no name.
    pub fn abbreviation_at_utc(&self, micros: i64) -> String {
        match (self, naive(micros)) {
            (TimeZone::Named(zone), Some(at)) => zone.offset_from_utc_datetime(&at).to_string(),
            _ => {
                let seconds = self.offset_at_utc(micros);
                let minutes = seconds.abs() / 60 % 60;
                let tail = if minutes > 0 { format!(":{minutes:02}") } else { String::new() };
                format!("{}{:02}{tail}", if seconds < 0 { '-' } else { '+' }, seconds.abs() / 3600)
            }
        }
    }

    /// Seconds east of UTC in force at a local time. In a gap the offset before it, in a fold the standard (later) one, as
    /// PostgreSQL does.
    pub fn offset_at_local(&self, micros: i64) -> i32 {
        match self {
            TimeZone::Fixed(seconds) => *seconds,
            TimeZone::Named(chrono_tz::Tz::UTC) => 0,
            TimeZone::Named(zone) => {
                let Some(at) = naive(micros) else { return 0 };
                match zone.offset_from_local_datetime(&at) {
                    chrono::LocalResult::Single(offset) => offset.fix().local_minus_utc(),
                    chrono::LocalResult::Ambiguous(_, later) => later.fix().local_minus_utc(),
                    chrono::LocalResult::None => self.offset_at_utc(micros.saturating_sub(86_400_000_000)),
                }
            }
        }
    }
}

fn naive(micros: i64) -> Option<NaiveDateTime> {
    chrono::DateTime::from_timestamp_micros(micros).map(|at| at.naive_utc())
}

/// `+02`, `-0330`, `+05:45:30`, `3` → seconds east.
pub(crate) fn parse_offset(text: &str) -> Option<i32> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => (1, text),
    };
    let mut parts = [0i32; 3];
    if digits.contains(':') {
        for (slot, part) in digits.split(':').enumerate() {
            *parts.get_mut(slot)? = part.parse().ok()?;
        }
    } else if digits.len() <= 2 {
        parts[0] = digits.parse().ok()?;
    } else if digits.is_ascii() {
        let cut = digits.len() - 2;
        parts[0] = digits[..cut].parse().ok()?;
        parts[1] = digits[cut..].parse().ok()?;
    } else {
        return None;
    }
    let valid = (0..16).contains(&parts[0]) && (0..60).contains(&parts[1]) && (0..60).contains(&parts[2]);
    valid.then_some(sign * (parts[0] * 3600 + parts[1] * 60 + parts[2]))
}

/// Seconds east → `+02`, `-03:30`.
pub(crate) fn format_offset(seconds: i32) -> String {
    let (sign, all) = if seconds < 0 { ('-', -seconds) } else { ('+', seconds) };
    let (hours, minutes, rest) = (all / 3600, all / 60 % 60, all % 60);
    match (minutes, rest) {
        (0, 0) => format!("{sign}{hours:02}"),
        (_, 0) => format!("{sign}{hours:02}:{minutes:02}"),
        _ => format!("{sign}{hours:02}:{minutes:02}:{rest:02}"),
    }
}
