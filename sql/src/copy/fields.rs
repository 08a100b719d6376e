//! Bytes cut into lines and fields.

use super::options::{CopyFormat, CopyOptions};
use crate::error::{SqlError, code};

/// A field: `None` for NULL.
pub(super) type Field = Option<String>;

/// A buffer that is larger than this does not outlive what is in it.
const KEPT_CAPACITY_BYTES: usize = 64 << 10;

/// Cuts data that comes in chunks into rows of fields. What is not a whole row yet is kept.
pub(super) struct Cutter {
    options: CopyOptions,
    kept: Vec<u8>,
    /// Where the line in hand begins in `kept`.
    start: usize,
    /// How far `kept` was looked through, and whether inside quotes there (CSV).
    seen: usize,
    quoted: bool,
    header_due: bool,
    /// The end-of-data marker was met: whatever follows is ignored.
    ended: bool,
}

impl Cutter {
    pub fn new(options: CopyOptions) -> Self {
        let header_due = options.header;
        Cutter { options, kept: Vec::new(), start: 0, seen: 0, quoted: false, header_due, ended: false }
    }

    /// Takes a chunk.
    pub fn push(&mut self, data: &[u8]) {
        if self.ended {
            return;
        }
        self.kept.drain(..self.start);
        self.seen -= self.start;
        self.start = 0;
        self.kept.extend_from_slice(data);
    }

    /// Bytes that are kept.
    pub fn kept_bytes(&self) -> usize {
        self.kept.capacity()
    }

    /// The next row that is complete.
    pub fn next_row(&mut self) -> Result<Option<Vec<Field>>, SqlError> {
        while !self.ended {
            let Some(end) = self.line_end() else { break };
            let start = std::mem::replace(&mut self.start, end + 1);
            if let Some(row) = self.line(start, end)? {
                return Ok(Some(row));
            }
        }
        if self.kept.len() == self.start && self.kept.capacity() > KEPT_CAPACITY_BYTES {
            (self.kept, self.start, self.seen) = (Vec::new(), 0, 0);
        }
        Ok(None)
    }

    /// The data is over: the last line may lack its end.
    pub fn finish(&mut self) -> Result<Option<Vec<Field>>, SqlError> {
        if self.quoted {
            return Err(malformed("unterminated CSV quoted field"));
        }
        let (start, end) = (self.start, self.kept.len());
        if start == end || self.ended { Ok(None) } else { self.line(start, end) }
    }

    /// The next end of a line at or after `seen`.
    fn line_end(&mut self) -> Option<usize> {
        let csv = self.options.format == CopyFormat::Csv;
        while let Some(byte) = self.kept.get(self.seen) {
            let at = self.seen;
            self.seen += 1;
            if csv && *byte == self.options.quote {
                // A doubled quote opens and closes in turn, which comes to the same.
                self.quoted = !self.quoted;
            } else if csv && self.quoted && *byte == self.options.escape && self.options.escape != self.options.quote {
                self.seen += 1;
            } else if *byte == b'\n' && !self.quoted {
                return Some(at);
            }
        }
        self.seen = self.seen.min(self.kept.len());
        None
    }

    /// A line of `kept`, unless it is a header or the end.
    fn line(&mut self, start: usize, end: usize) -> Result<Option<Vec<Field>>, SqlError> {
        let line = trim_return(&self.kept[start..end]);
        if line == b"\\." {
            self.ended = true;
            return Ok(None);
        }
        if std::mem::take(&mut self.header_due) {
            return Ok(None);
        }
        let row = match self.options.format {
            CopyFormat::Text => self.text(line)?,
            CopyFormat::Csv => self.csv(line)?,
        };
        Ok(Some(row))
    }

    fn text(&self, line: &[u8]) -> Result<Vec<Field>, SqlError> {
        let mut fields = Vec::new();
        let mut start = 0;
        let mut at = 0;
        loop {
            match line.get(at) {
                // A backslash keeps the next byte from ending the field.
                Some(b'\\') => at += 2,
                Some(byte) if *byte != self.options.delimiter => at += 1,
                end => {
                    let raw = &line[start..at.min(line.len())];
                    fields.push(if raw == self.options.null.as_bytes() { None } else { Some(unescape(raw)?) });
                    if end.is_none() {
                        return Ok(fields);
                    }
                    at += 1;
                    start = at;
                }
            }
        }
    }

    fn csv(&self, line: &[u8]) -> Result<Vec<Field>, SqlError> {
        let CopyOptions { delimiter, quote, escape, .. } = self.options;
        let mut fields = Vec::new();
        let (mut value, mut was_quoted, mut quoted) = (Vec::new(), false, false);
        let mut at = 0;
        loop {
            let byte = line.get(at).copied();
            at += 1;
            match byte {
                Some(byte)
                    if quoted
                        && byte == escape
                        && matches!(line.get(at), Some(next) if *next == quote || *next == escape) =>
                {
                    value.push(line[at]);
                    at += 1;
                }
                Some(byte) if byte == quote => {
                    quoted = !quoted;
                    was_quoted = true;
                }
                Some(byte) if quoted || byte != delimiter => value.push(byte),
                end => {
                    if quoted {
                        return Err(malformed("unterminated CSV quoted field"));
                    }
                    let is_null = !was_quoted && value == self.options.null.as_bytes();
                    let bytes = std::mem::take(&mut value);
                    was_quoted = false;
                    fields.push(if is_null { None } else { Some(utf8(bytes)?) });
                    if end.is_none() {
                        return Ok(fields);
                    }
                }
            }
        }
    }
}

fn trim_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn unescape(raw: &[u8]) -> Result<String, SqlError> {
    if !raw.contains(&b'\\') {
        return utf8(raw.to_vec());
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        let Some((escaped, after)) = rest.split_first() else {
            out.push(b'\\');
            break;
        };
        rest = after;
        match escaped {
            b'b' => out.push(0x08),
            b'f' => out.push(0x0c),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'v' => out.push(0x0b),
            b'0'..=b'7' => {
                let mut value = u32::from(escaped - b'0');
                for _ in 0..2 {
                    let Some((digit @ b'0'..=b'7', after)) = rest.split_first() else { break };
                    value = value * 8 + u32::from(digit - b'0');
                    rest = after;
                }
                out.push(value as u8);
            }
            b'x' if rest.first().is_some_and(u8::is_ascii_hexdigit) => {
                let mut value = 0u32;
                for _ in 0..2 {
                    let Some(digit) = rest.first().and_then(|digit| char::from(*digit).to_digit(16)) else { break };
                    value = value * 16 + digit;
                    rest = &rest[1..];
                }
                out.push(value as u8);
            }
            other => out.push(*other),
        }
    }
    utf8(out)
}

fn utf8(bytes: Vec<u8>) -> Result<String, SqlError> {
    String::from_utf8(bytes).map_err(|_| SqlError::new("22021", "invalid byte sequence for encoding \"UTF8\""))
}

fn malformed(message: &str) -> SqlError {
    SqlError::new(code::BAD_COPY_FILE_FORMAT, message)
}
