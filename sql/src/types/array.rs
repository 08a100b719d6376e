//! Arrays in text: `{1,2,NULL,"a b"}`; and the vectors of the catalogs: `1 2 3`.
//!
//! One dimension is what Meridian stores; a literal of more is refused by name.

use super::text::{format_text, parse_text};
use super::{ArrayValue, Datum, PgType, TypeSettings};
use crate::SqlError;

fn malformed(text: &str, detail: &str) -> SqlError {
    SqlError::new("22P02", format!("malformed array literal: \"{text}\"")).detail(detail)
}

/// Reads an array literal.
pub fn parse(text: &str, element: PgType, typmod: i32, settings: &TypeSettings) -> Result<Datum, SqlError> {
    let mut body = text.trim();
    if body.starts_with('[') {
        // Explicit bounds are read and dropped: arrays count from 1.
        let (_, rest) = body.split_once('=').ok_or_else(|| malformed(text, "Missing \"=\" after array dimensions."))?;
        body = rest.trim_start();
    }
    let Some(inner) = body.strip_prefix('{') else {
        return Err(malformed(text, "Array value must start with \"{\" or dimension information."));
    };
    let mut reader = Reader { text, rest: inner };
    let mut values = Vec::new();
    reader.skip_blanks();
    if reader.rest.starts_with('}') {
        reader.rest = &reader.rest[1..];
    } else {
        loop {
            values.push(match reader.item()? {
                None => Datum::Null,
                Some(item) => parse_text(&item, element, typmod, settings)?,
            });
            if reader.after_item()? {
                break;
            }
        }
    }
    match reader.rest.trim().is_empty() {
        true => Ok(Datum::array(element, values)),
        false => Err(malformed(text, "Junk after closing right brace.")),
    }
}

struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
}

impl Reader<'_> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
    }

    /// The next element's text; none for an unquoted NULL.
    fn item(&mut self) -> Result<Option<String>, SqlError> {
        self.skip_blanks();
        let mut item = String::new();
        let mut quoted = false;
        let mut kept = 0;
        loop {
            let Some(character) = self.rest.chars().next() else {
                return Err(malformed(self.text, "Unexpected end of input."));
            };
            match character {
                ',' | '}' => break,
                '{' => return Err(SqlError::unsupported("an array of more than one dimension")),
                '"' => {
                    self.quoted(&mut item)?;
                    quoted = true;
                    kept = item.len();
                }
                '\\' => {
                    let mut characters = self.rest.chars();
                    characters.next();
                    let Some(escaped) = characters.next() else {
                        return Err(malformed(self.text, "Unexpected end of input."));
                    };
                    item.push(escaped);
                    kept = item.len();
                    self.rest = characters.as_str();
                }
                other => {
                    item.push(other);
                    if !other.is_ascii_whitespace() {
                        kept = item.len();
                    }
                    self.rest = &self.rest[other.len_utf8()..];
                }
            }
        }
        item.truncate(kept);
        if !quoted && item.is_empty() {
            return Err(malformed(self.text, "Unexpected array element."));
        }
        Ok((quoted || !item.eq_ignore_ascii_case("null")).then_some(item))
    }

    fn quoted(&mut self, item: &mut String) -> Result<(), SqlError> {
        let mut characters = self.rest[1..].chars();
        loop {
            match characters.next() {
                Some('"') => break,
                Some('\\') => item.extend(characters.next()),
                Some(other) => item.push(other),
                None => return Err(malformed(self.text, "Unexpected end of input.")),
            }
        }
        self.rest = characters.as_str();
        Ok(())
    }

    /// Past the separator; true at the closing brace.
    fn after_item(&mut self) -> Result<bool, SqlError> {
        let closing = self.rest.starts_with('}');
        if !closing && !self.rest.starts_with(',') {
            return Err(malformed(self.text, "Unexpected array element."));
        }
        self.rest = &self.rest[1..];
        Ok(closing)
    }
}

/// Appends an array's text: a vector's plain, otherwise a literal.
pub fn format(array: &ArrayValue, ty: PgType, typmod: i32, settings: &TypeSettings, out: &mut String) {
    let vector = matches!(ty, PgType::Int2Vector | PgType::OidVector);
    let element = ty.element().unwrap_or(array.element);
    let mut item = String::new();
    if !vector {
        out.push('{');
    }
    for (index, value) in array.values.iter().enumerate() {
        if index > 0 {
            out.push(if vector { ' ' } else { ',' });
        }
        if value.is_null() {
            out.push_str("NULL");
            continue;
        }
        item.clear();
        format_text(value, element, typmod, settings, &mut item);
        push_item(&item, out);
    }
    if !vector {
        out.push('}');
    }
}

fn push_item(item: &str, out: &mut String) {
    let special = |c: char| matches!(c, '{' | '}' | ',' | '"' | '\\') || c.is_ascii_whitespace() || c == '\x0b';
    if !item.is_empty() && !item.eq_ignore_ascii_case("null") && !item.contains(special) {
        out.push_str(item);
        return;
    }
    out.push('"');
    for character in item.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
}

/// Reads an int2vector or oidvector: elements between blanks.
pub fn parse_vector(text: &str, ty: PgType, settings: &TypeSettings) -> Result<Datum, SqlError> {
    let element = ty.element().unwrap_or(PgType::Int2);
    let values: Result<Vec<Datum>, SqlError> =
        text.split_ascii_whitespace().map(|item| parse_text(item, element, -1, settings)).collect();
    Ok(Datum::array(element, values?))
}
