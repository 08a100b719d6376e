//! bytea's text format: `\x` and hexadecimal out, that or the escape format in.

use crate::SqlError;

/// Reads either format.
pub fn parse(text: &str) -> Result<Vec<u8>, SqlError> {
    match text.strip_prefix("\\x") {
        Some(digits) => parse_hex(digits),
        None => parse_escaped(text),
    }
}

/// Appends the hexadecimal format.
pub fn format(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(2 + bytes.len() * 2);
    out.push_str("\\x");
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

fn parse_hex(digits: &str) -> Result<Vec<u8>, SqlError> {
    let mut out = Vec::with_capacity(digits.len() / 2);
    let mut high = None;
    for character in digits.chars() {
        if high.is_none() && character.is_ascii_whitespace() {
            continue;
        }
        let digit = character
            .to_digit(16)
            .ok_or_else(|| SqlError::new("22023", format!("invalid hexadecimal digit: \"{character}\"")))?
            as u8;
        match high.take() {
            None => high = Some(digit),
            Some(first) => out.push(first << 4 | digit),
        }
    }
    match high {
        None => Ok(out),
        Some(_) => Err(SqlError::new("22023", "invalid hexadecimal data: odd number of digits")),
    }
}

fn parse_escaped(text: &str) -> Result<Vec<u8>, SqlError> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            out.push(bytes[at]);
            at += 1;
            continue;
        }
        let octal = |offset: usize, most: u8| {
            bytes.get(at + offset).filter(|byte| (b'0'..=most).contains(byte)).map(|byte| byte - b'0')
        };
        if bytes.get(at + 1) == Some(&b'\\') {
            out.push(b'\\');
            at += 2;
        } else if let (Some(a), Some(b), Some(c)) = (octal(1, b'3'), octal(2, b'7'), octal(3, b'7')) {
            out.push(a << 6 | b << 3 | c);
            at += 4;
        } else {
            return Err(SqlError::new("22P02", "invalid input syntax for type bytea"));
        }
    }
    Ok(out)
}
