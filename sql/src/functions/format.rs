//! `format`: text by template.

use super::registry::Call;
use super::strings::{quote_identifier, quote_literal};
use crate::SqlError;
use crate::types::Datum;

fn wrong(message: impl Into<std::borrow::Cow<'static, str>>) -> SqlError {
    SqlError::new("22023", message.into().into_owned())
}

/// `format('%s %I %L %2$s %-10s %*s %%')`.
pub(super) fn format(call: &Call<'_>, a: &[Datum]) -> Result<Datum, SqlError> {
    let Some(template) = a[0].as_str() else { return Ok(Datum::Null) };
    let mut out = String::new();
    let mut next = 1;
    let mut rest = template.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        if rest.next_if_eq(&'%').is_some() {
            out.push('%');
            continue;
        }
        let number = |rest: &mut std::iter::Peekable<std::str::Chars<'_>>| {
            let mut digits = String::new();
            while let Some(digit) = rest.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            digits.parse::<usize>().ok()
        };
        // `n$`, `-`, then a width; a number without a dollar is the width already.
        let mut width = number(&mut rest);
        let mut place = None;
        if width.is_some() && rest.next_if_eq(&'$').is_some() {
            place = width.take();
            if place == Some(0) {
                return Err(wrong("format specifies argument 0, but arguments are numbered from 1"));
            }
        }
        let mut left = false;
        if width.is_none() {
            left = rest.next_if_eq(&'-').is_some();
            if rest.next_if_eq(&'*').is_some() {
                let at = match number(&mut rest) {
                    Some(at) if rest.next_if_eq(&'$').is_some() => at,
                    Some(_) => return Err(wrong("width argument position must be ended by \"$\"")),
                    None => {
                        next += 1;
                        next - 1
                    }
                };
                let given = a.get(at).ok_or_else(|| wrong("too few arguments for format()"))?.as_i64().unwrap_or(0);
                left |= given < 0;
                width = usize::try_from(given.unsigned_abs()).ok();
            } else {
                width = number(&mut rest);
            }
        }
        let kind = rest
            .next()
            .ok_or_else(|| wrong("unterminated format() type specifier").hint("For a single \"%\" use \"%%\"."))?;
        if !matches!(kind, 's' | 'I' | 'L') {
            let message = format!("unrecognized format() type specifier \"{kind}\"");
            return Err(wrong(message).hint("For a single \"%\" use \"%%\"."));
        }
        let place = place.unwrap_or(next);
        next = place + 1;
        let value = a.get(place).ok_or_else(|| wrong("too few arguments for format()"))?;
        let text = match (kind, value.is_null()) {
            ('I', true) => return Err(SqlError::new("22004", "null values cannot be formatted as an SQL identifier")),
            ('L', true) => "NULL".to_owned(),
            (_, true) => String::new(),
            ('I', _) => quote_identifier(&call.text(a, place)),
            ('L', _) => quote_literal(&call.text(a, place)),
            _ => call.text(a, place),
        };
        let width = width.unwrap_or(0);
        out.push_str(&if left { format!("{text:<width$}") } else { format!("{text:>width$}") });
    }
    Ok(Datum::Text(out))
}
