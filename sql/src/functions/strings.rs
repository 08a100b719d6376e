//! String and binary functions.

use super::format::format;
use super::registry::{Arg, Call, Registry, Ret};
use crate::SqlError;
use crate::interrupt;
use crate::types::{Datum, PgType};

use PgType::{Bytea, Int4, Int8, Name, Text};

fn text(datum: &Datum) -> &str {
    datum.as_str().unwrap_or_default()
}

fn int(datum: &Datum) -> i64 {
    datum.as_i64().unwrap_or_default()
}

fn bytes(datum: &Datum) -> &[u8] {
    match datum {
        Datum::Bytea(bytes) => bytes,
        _ => &[],
    }
}

/// The longest a value can be: PostgreSQL's 1 GB less one byte, and less its header.
const LONGEST_BYTES: usize = 0x3fff_ffff - 4;

fn too_long() -> SqlError {
    SqlError::new("54000", "requested length too large")
}

/// Whether a value of that many bytes can be made.
pub(super) fn bounded(bytes: usize) -> Result<(), SqlError> {
    if bytes > LONGEST_BYTES {
        return Err(SqlError::new("XX000", format!("invalid memory alloc request size {}", bytes.saturating_add(4))));
    }
    interrupt::room_for(bytes)
}

fn string(value: impl Into<String>) -> Result<Datum, SqlError> {
    Ok(Datum::Text(value.into()))
}

fn count(value: usize) -> Result<Datum, SqlError> {
    Ok(Datum::Int4(value as i32))
}

pub(super) fn register(r: &mut Registry) {
    measures(r);
    cases(r);
    pieces(r);
    searches(r);
    joins(r);
    codes(r);
}

fn measures(r: &mut Registry) {
    for name in ["length", "char_length", "character_length"] {
        r.strict(name, &[Text], Int4, |_, a| count(text(&a[0]).chars().count()));
    }
    r.strict("length", &[Bytea], Int4, |_, a| count(bytes(&a[0]).len()));
    r.strict("octet_length", &[Text], Int4, |_, a| count(text(&a[0]).len()));
    // With the blanks that its length asks for.
    r.strict("octet_length", &[PgType::Bpchar], Int4, |call, a| count(call.text(a, 0).len()));
    r.strict("bit_length", &[PgType::Bpchar], Int4, |call, a| count(call.text(a, 0).len() * 8));
    r.strict("bit_length", &[Bytea], Int4, |_, a| count(bytes(&a[0]).len() * 8));
    r.strict("octet_length", &[Bytea], Int4, |_, a| count(bytes(&a[0]).len()));
    r.strict("bit_length", &[Text], Int4, |_, a| count(text(&a[0]).len() * 8));
}

fn cases(r: &mut Registry) {
    r.strict("upper", &[Text], Text, |_, a| string(text(&a[0]).to_uppercase()));
    r.strict("lower", &[Text], Text, |_, a| string(text(&a[0]).to_lowercase()));
    r.strict("initcap", &[Text], Text, |_, a| {
        let mut within = false;
        let mut out = String::new();
        for c in text(&a[0]).chars() {
            if within {
                out.extend(c.to_lowercase())
            } else {
                out.extend(c.to_uppercase())
            }
            within = c.is_alphanumeric();
        }
        string(out)
    });
    r.strict("reverse", &[Text], Text, |_, a| string(text(&a[0]).chars().rev().collect::<String>()));
}

fn set(a: &[Datum]) -> Vec<char> {
    a.get(1).map_or_else(|| vec![' '], |set| text(set).chars().collect())
}

fn pieces(r: &mut Registry) {
    for args in [&[Text][..], &[Text, Text]] {
        r.strict("btrim", args, Text, |_, a| string(text(&a[0]).trim_matches(&set(a)[..])));
        r.strict("ltrim", args, Text, |_, a| string(text(&a[0]).trim_start_matches(&set(a)[..])));
        r.strict("rtrim", args, Text, |_, a| string(text(&a[0]).trim_end_matches(&set(a)[..])));
    }
    for name in ["substr", "substring"] {
        r.strict(name, &[Text, Int4], Text, |_, a| substring(text(&a[0]), int(&a[1]), None));
        r.strict(name, &[Text, Int4, Int4], Text, |_, a| substring(text(&a[0]), int(&a[1]), Some(int(&a[2]))));
    }
    for name in ["substr", "substring"] {
        r.strict(name, &[Bytea, Int4], Bytea, |_, a| subbytes(bytes(&a[0]), int(&a[1]), None));
        r.strict(name, &[Bytea, Int4, Int4], Bytea, |_, a| subbytes(bytes(&a[0]), int(&a[1]), Some(int(&a[2]))));
    }
    r.strict("get_byte", &[Bytea, Int4], Int4, |_, a| {
        byte_at(bytes(&a[0]), int(&a[1])).map(|byte| Datum::Int4(byte.into()))
    });
    r.strict("set_byte", &[Bytea, Int4, Int4], Bytea, |_, a| {
        byte_at(bytes(&a[0]), int(&a[1]))?;
        let mut changed = bytes(&a[0]).to_vec();
        changed[int(&a[1]) as usize] = int(&a[2]) as u8;
        Ok(Datum::Bytea(changed))
    });
    r.strict("left", &[Text, Int4], Text, |_, a| {
        let length = text(&a[0]).chars().count() as i64;
        let wanted = if int(&a[1]) < 0 { length + int(&a[1]) } else { int(&a[1]) };
        string(text(&a[0]).chars().take(wanted.max(0) as usize).collect::<String>())
    });
    r.strict("right", &[Text, Int4], Text, |_, a| {
        let length = text(&a[0]).chars().count() as i64;
        let skipped = if int(&a[1]) < 0 { -int(&a[1]) } else { length - int(&a[1]) };
        string(text(&a[0]).chars().skip(skipped.max(0) as usize).collect::<String>())
    });
    r.strict("lpad", &[Text, Int4], Text, |_, a| pad(text(&a[0]), int(&a[1]), " ", true));
    r.strict("lpad", &[Text, Int4, Text], Text, |_, a| pad(text(&a[0]), int(&a[1]), text(&a[2]), true));
    r.strict("rpad", &[Text, Int4], Text, |_, a| pad(text(&a[0]), int(&a[1]), " ", false));
    r.strict("rpad", &[Text, Int4, Text], Text, |_, a| pad(text(&a[0]), int(&a[1]), text(&a[2]), false));
    r.strict("repeat", &[Text, Int4], Text, |_, a| {
        let times = int(&a[1]).max(0) as usize;
        let size = text(&a[0]).len().checked_mul(times).filter(|size| *size <= LONGEST_BYTES);
        interrupt::room_for(size.ok_or_else(too_long)?)?;
        string(text(&a[0]).repeat(times))
    });
    r.strict("split_part", &[Text, Text, Int4], Text, |_, a| split_part(text(&a[0]), text(&a[1]), int(&a[2])));
    r.strict("overlay", &[Text, Text, Int4], Text, |_, a| {
        overlay(text(&a[0]), text(&a[1]), int(&a[2]), text(&a[1]).chars().count() as i64)
    });
    r.strict("overlay", &[Text, Text, Int4, Int4], Text, |_, a| {
        overlay(text(&a[0]), text(&a[1]), int(&a[2]), int(&a[3]))
    });
}

/// From `start`, counted from 1; positions before the string count towards the length.
fn substring(value: &str, start: i64, length: Option<i64>) -> Result<Datum, SqlError> {
    let end = match length {
        Some(length) if length < 0 => return Err(SqlError::new("22011", "negative substring length not allowed")),
        Some(length) => start.saturating_add(length),
        None => i64::MAX,
    };
    let first = start.max(1);
    let taken = (end - first).max(0) as usize;
    string(value.chars().skip(first as usize - 1).take(taken).collect::<String>())
}

/// Likewise of bytes.
fn subbytes(value: &[u8], start: i64, length: Option<i64>) -> Result<Datum, SqlError> {
    let end = match length {
        Some(length) if length < 0 => return Err(SqlError::new("22011", "negative substring length not allowed")),
        Some(length) => start.saturating_add(length),
        None => i64::MAX,
    };
    let first = start.max(1);
    let taken = value.iter().skip(first as usize - 1).take((end - first).max(0) as usize);
    Ok(Datum::Bytea(taken.copied().collect()))
}

fn byte_at(value: &[u8], place: i64) -> Result<u8, SqlError> {
    let found = usize::try_from(place).ok().and_then(|place| value.get(place)).copied();
    found.ok_or_else(|| {
        SqlError::new("2202E", format!("index {place} out of valid range, 0..{}", value.len() as i64 - 1))
    })
}

fn overlay(value: &str, with: &str, start: i64, length: i64) -> Result<Datum, SqlError> {
    if start < 1 {
        return Err(SqlError::new("22011", "negative substring length not allowed"));
    }
    let head: String = value.chars().take(start as usize - 1).collect();
    let tail: String = value.chars().skip((start - 1 + length).max(0) as usize).collect();
    string(head + with + &tail)
}

fn pad(value: &str, length: i64, fill: &str, left: bool) -> Result<Datum, SqlError> {
    // PostgreSQL counts with the longest encoding of each character.
    if length > LONGEST_BYTES as i64 / 4 {
        return Err(too_long());
    }
    interrupt::room_for(length.max(0) as usize)?;
    let (length, present) = (length.max(0) as usize, value.chars().count());
    if present >= length || fill.is_empty() {
        return string(value.chars().take(length).collect::<String>());
    }
    let padding: String = fill.chars().cycle().take(length - present).collect();
    string(if left { padding + value } else { value.to_owned() + &padding })
}

fn split_part(value: &str, delimiter: &str, field: i64) -> Result<Datum, SqlError> {
    let parts: Vec<&str> = if delimiter.is_empty() { vec![value] } else { value.split(delimiter).collect() };
    let index = match field {
        0 => return Err(SqlError::new("22023", "field position must not be zero")),
        1.. => field - 1,
        _ => parts.len() as i64 + field,
    };
    string(usize::try_from(index).ok().and_then(|index| parts.get(index)).copied().unwrap_or_default())
}

fn searches(r: &mut Registry) {
    for name in ["strpos", "position"] {
        r.strict(name, &[Text, Text], Int4, |_, a| {
            let found = text(&a[0]).find(text(&a[1]));
            count(found.map_or(0, |at| text(&a[0])[..at].chars().count() + 1))
        });
    }
    for name in ["starts_with", "^@"] {
        r.strict(name, &[Text, Text], PgType::Bool, |_, a| Ok(Datum::Bool(text(&a[0]).starts_with(text(&a[1])))));
    }
    r.strict("replace", &[Text, Text, Text], Text, |_, a| match text(&a[1]) {
        "" => string(text(&a[0])),
        from => {
            let (whole, to) = (text(&a[0]), text(&a[2]));
            if to.len() > from.len() {
                let grown = whole.matches(from).count().saturating_mul(to.len() - from.len());
                bounded(whole.len().saturating_add(grown))?;
            }
            string(whole.replace(from, to))
        }
    });
    r.strict("translate", &[Text, Text, Text], Text, |_, a| {
        let (from, to): (Vec<char>, Vec<char>) = (text(&a[1]).chars().collect(), text(&a[2]).chars().collect());
        let map = |c: char| match from.iter().position(|candidate| *candidate == c) {
            Some(place) => to.get(place).copied(),
            None => Some(c),
        };
        string(text(&a[0]).chars().filter_map(map).collect::<String>())
    });
}

fn joins(r: &mut Registry) {
    r.strict("||", &[Text, Text], Text, |_, a| {
        bounded(text(&a[0]).len() + text(&a[1]).len())?;
        string(text(&a[0]).to_owned() + text(&a[1]))
    });
    r.strict("||", &[Bytea, Bytea], Bytea, |_, a| {
        bounded(bytes(&a[0]).len() + bytes(&a[1]).len())?;
        Ok(Datum::Bytea([bytes(&a[0]), bytes(&a[1])].concat()))
    });
    // text || anything, through the anything's text.
    let join = |call: &Call<'_>, a: &[Datum]| {
        let (left, right) = (call.text(a, 0), call.text(a, 1));
        bounded(left.len() + right.len())?;
        string(left + &right)
    };
    r.polymorphic("||", &[Arg::Is(Text), Arg::Any], Ret::Is(Text), join).stable();
    r.polymorphic("||", &[Arg::Any, Arg::Is(Text)], Ret::Is(Text), join).stable();
    r.polymorphic("concat", &[Arg::Any, Arg::Any], Ret::Is(Text), |call, a| {
        let parts: Vec<String> = (0..a.len()).map(|place| call.text(a, place)).collect();
        bounded(parts.iter().map(String::len).sum())?;
        string(parts.concat())
    })
    .variadic()
    .called_on_null()
    .stable();
    r.polymorphic("concat_ws", &[Arg::Is(Text), Arg::Any], Ret::Is(Text), |call, a| {
        if a[0].is_null() {
            return Ok(Datum::Null);
        }
        let parts = (1..a.len()).filter(|place| !a[*place].is_null()).map(|place| call.text(a, place));
        let parts: Vec<String> = parts.collect();
        bounded(parts.iter().map(|part| part.len() + text(&a[0]).len()).sum())?;
        string(parts.join(text(&a[0])))
    })
    .variadic()
    .called_on_null()
    .stable();
    r.polymorphic("format", &[Arg::Is(Text), Arg::Any], Ret::Is(Text), format).variadic().called_on_null().stable();
    r.strict("quote_ident", &[Text], Text, |_, a| string(quote_identifier(text(&a[0]))));
    r.strict("quote_literal", &[Text], Text, |_, a| string(quote_literal(text(&a[0]))));
    r.strict("quote_nullable", &[Text], Text, |_, a| match &a[0] {
        Datum::Null => string("NULL"),
        value => string(quote_literal(text(value))),
    })
    .called_on_null();
    r.strict("name", &[Text], Name, |_, a| Ok(a[0].clone()));
}

/// An identifier, in quotes if it needs them.
pub(super) fn quote_identifier(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    const RESERVED: [&str; 18] = [
        "all", "and", "as", "case", "default", "desc", "from", "group", "in", "limit", "not", "null", "order",
        "select", "table", "user", "where", "with",
    ];
    match plain && !RESERVED.contains(&name) {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

pub(super) fn quote_literal(value: &str) -> String {
    let quoted = value.replace('\'', "''");
    match quoted.contains('\\') {
        true => format!("E'{}'", quoted.replace('\\', "\\\\")),
        false => format!("'{quoted}'"),
    }
}

fn codes(r: &mut Registry) {
    r.strict("ascii", &[Text], Int4, |_, a| count(text(&a[0]).chars().next().map_or(0, |c| c as usize)));
    r.strict("chr", &[Int4], Text, |_, a| match u32::try_from(int(&a[0])).ok().and_then(char::from_u32) {
        Some('\0') => Err(SqlError::new("54000", "null character not permitted")),
        Some(c) => string(c),
        None => Err(SqlError::new("54000", format!("requested character too large for encoding: {}", int(&a[0])))),
    });
    r.strict("to_hex", &[Int4], Text, |_, a| string(format!("{:x}", int(&a[0]) as i32)));
    r.strict("to_hex", &[Int8], Text, |_, a| string(format!("{:x}", int(&a[0]))));
    r.strict("encode", &[Bytea, Text], Text, |_, a| match text(&a[1]) {
        "hex" => string(bytes(&a[0]).iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        "base64" => string(base64(bytes(&a[0]))),
        "escape" => string(escaped(bytes(&a[0]))),
        other => Err(SqlError::new("22023", format!("unrecognized encoding: \"{other}\""))),
    });
    r.strict("decode", &[Text, Text], Bytea, |call, a| match text(&a[1]) {
        "hex" => crate::types::parse_text(&format!("\\x{}", text(&a[0])), Bytea, -1, call.settings()),
        "base64" => unbase64(text(&a[0])).map(Datum::Bytea),
        "escape" => unescaped(text(&a[0])).map(Datum::Bytea),
        other => Err(SqlError::new("22023", format!("unrecognized encoding: \"{other}\""))),
    });
}

/// Zero and bytes beyond ASCII in octal, a backslash twice.
fn escaped(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        match byte {
            b'\\' => out.push_str("\\\\"),
            0 | 0x80.. => out.push_str(&format!("\\{byte:03o}")),
            plain => out.push(char::from(*plain)),
        }
        out
    })
}

fn unescaped(value: &str) -> Result<Vec<u8>, SqlError> {
    let invalid = || SqlError::new("22P02", "invalid input syntax for type bytea");
    let (mut out, mut rest) = (Vec::with_capacity(value.len()), value.as_bytes());
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'\\' {
            out.push(*first);
        } else if let Some(after) = rest.strip_prefix(b"\\") {
            out.push(b'\\');
            rest = after;
        } else {
            let digits = rest.get(..3).and_then(|digits| std::str::from_utf8(digits).ok()).ok_or_else(invalid)?;
            out.push(u8::from_str_radix(digits, 8).map_err(|_| invalid())?);
            rest = &rest[3..];
        }
    }
    Ok(out)
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// In lines of 76 characters, as PostgreSQL writes it.
fn base64(bytes: &[u8]) -> String {
    let mut out = String::new();
    for (index, chunk) in bytes.chunks(3).enumerate() {
        if index > 0 && index % 19 == 0 {
            out.push('\n');
        }
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = BASE64[(word >> (18 - 6 * place) & 63) as usize];
            out.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

fn unbase64(value: &str) -> Result<Vec<u8>, SqlError> {
    let invalid = || SqlError::new("22023", "invalid base64 end sequence");
    let (mut out, mut word, mut bits) = (Vec::new(), 0u32, 0);
    for byte in value.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'=') {
        let digit = BASE64.iter().position(|candidate| *candidate == byte).ok_or_else(invalid)?;
        word = (word << 6 | digit as u32) & 0xff_ffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push((word >> bits) as u8);
        }
    }
    Ok(out)
}
