//! Functions of regular expressions. The patterns are those of the regex library: without look-around and back references, which are
//! refused by name.

use regex::{Regex, RegexBuilder};

use super::registry::{Call, Registry};
use crate::error::code;
use crate::types::{Datum, PgType};
use crate::{SqlError, interrupt};

use PgType::{Bool, Int4, Text, TextArray};

fn text(datum: &Datum) -> &str {
    datum.as_str().unwrap_or_default()
}

/// A pattern with its flags, of which `g` is the caller's.
fn compiled(pattern: &str, flags: &str) -> Result<Regex, SqlError> {
    let mut builder = RegexBuilder::new(pattern);
    // A dot and a negated set match a newline, unless `n` says otherwise; `^` and `$` then match at lines.
    builder.dot_matches_new_line(true);
    for flag in flags.chars() {
        match flag {
            'i' => builder.case_insensitive(true),
            'c' => builder.case_insensitive(false),
            'n' | 'm' => builder.multi_line(true).dot_matches_new_line(false),
            'p' => builder.dot_matches_new_line(false),
            'w' => builder.multi_line(true),
            's' => builder.multi_line(false).dot_matches_new_line(true),
            'x' => builder.ignore_whitespace(true),
            'g' | 'e' | 't' => &mut builder,
            other => {
                let message = format!("invalid regular expression option: \"{other}\"");
                return Err(SqlError::new("22023", message));
            }
        };
    }
    builder.build().map_err(|error| {
        let known = ["(?=", "(?!", "(?<=", "(?<!"].iter().any(|group| pattern.contains(group));
        let refers = pattern.as_bytes().windows(2).any(|pair| pair[0] == b'\\' && (b'1'..=b'9').contains(&pair[1]));
        match known || refers {
            true => SqlError::unsupported("a regular expression with look-around or back references"),
            false => {
                let last =
                    error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                SqlError::new(code::INVALID_REGULAR_EXPRESSION, format!("invalid regular expression: {last}"))
            }
        }
    })
}

fn global_is_refused(function: &str, flags: &str) -> Result<(), SqlError> {
    match flags.contains('g') {
        true => Err(SqlError::new("22023", format!("{function}() does not support the \"global\" option"))),
        false => Ok(()),
    }
}

pub(super) fn register(r: &mut Registry) {
    // The first group of the first match, or the whole match where the pattern has no groups.
    r.strict("substring", &[Text, Text], Text, |_, a| {
        let pattern = compiled(text(&a[1]), "")?;
        let found = pattern.captures(text(&a[0])).and_then(|groups| groups.get(usize::from(groups.len() > 1)));
        Ok(found.map_or(Datum::Null, |found| Datum::from(found.as_str())))
    });
    for args in [&[Text, Text][..], &[Text, Text, Text]] {
        for name in ["regexp_split_to_array", "regexp_split_to_table"] {
            r.strict(name, args, TextArray, split);
        }
        r.strict("regexp_like", args, Bool, |_, a| {
            let flags = a.get(2).map_or("", text);
            global_is_refused("regexp_like", flags)?;
            Ok(Datum::Bool(compiled(text(&a[1]), flags)?.is_match(text(&a[0]))))
        });
    }
    for args in [&[Text, Text][..], &[Text, Text, Int4], &[Text, Text, Int4, Text]] {
        r.strict("regexp_count", args, Int4, |_, a| {
            let from = start("regexp_count", text(&a[0]), a.get(2))?;
            let flags = a.get(3).map_or("", text);
            global_is_refused("regexp_count", flags)?;
            let pattern = compiled(text(&a[1]), flags)?;
            let mut count = 0;
            for _ in pattern.find_iter(&text(&a[0])[from..]) {
                interrupt::check_at(count)?;
                count += 1;
            }
            Ok(Datum::Int4(count as i32))
        });
    }
    for args in [
        &[Text, Text][..],
        &[Text, Text, Int4],
        &[Text, Text, Int4, Int4],
        &[Text, Text, Int4, Int4, Text],
        &[Text, Text, Int4, Int4, Text, Int4],
    ] {
        r.strict("regexp_substr", args, Text, substr);
    }
}

/// The byte at which the search starts, from the character's number.
fn start(function: &str, value: &str, given: Option<&Datum>) -> Result<usize, SqlError> {
    let number = given.and_then(Datum::as_i64).unwrap_or(1);
    if number < 1 {
        let message = format!("invalid value for parameter \"start\": {number}");
        return Err(SqlError::new("22023", message).detail(format!("{function} starts at 1.")));
    }
    Ok(value.char_indices().nth(number as usize - 1).map_or(value.len(), |(at, _)| at))
}

fn substr(_: &Call<'_>, a: &[Datum]) -> Result<Datum, SqlError> {
    let from = start("regexp_substr", text(&a[0]), a.get(2))?;
    let nth = a.get(3).and_then(Datum::as_i64).unwrap_or(1);
    let group = a.get(5).and_then(Datum::as_i64).unwrap_or(0);
    for (name, value, least) in [("n", nth, 1), ("subexpr", group, 0)] {
        if value < least {
            return Err(SqlError::new("22023", format!("invalid value for parameter \"{name}\": {value}")));
        }
    }
    let flags = a.get(4).map_or("", text);
    global_is_refused("regexp_substr", flags)?;
    let pattern = compiled(text(&a[1]), flags)?;
    let found = pattern.captures_iter(&text(&a[0])[from..]).nth(nth as usize - 1);
    Ok(found.and_then(|groups| groups.get(group as usize)).map_or(Datum::Null, |found| Datum::from(found.as_str())))
}

/// The pieces between matches. A match of nothing at the beginning or end, or right behind another match, parts nothing.
fn split(_: &Call<'_>, a: &[Datum]) -> Result<Datum, SqlError> {
    let flags = a.get(2).map_or("", text);
    global_is_refused("regexp_split_to_array", flags)?;
    let (whole, pattern) = (text(&a[0]), compiled(text(&a[1]), flags)?);
    let mut pieces = Vec::new();
    let mut from = 0;
    for found in pattern.find_iter(whole) {
        if found.is_empty() && (found.start() == from || found.start() == whole.len()) {
            continue;
        }
        interrupt::check_at(pieces.len())?;
        pieces.push(Datum::from(&whole[from..found.start()]));
        from = found.end();
    }
    pieces.push(Datum::from(&whole[from..]));
    Ok(Datum::array(Text, pieces))
}
