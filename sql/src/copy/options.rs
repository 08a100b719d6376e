//! What COPY's WITH clause says.

use datafusion::sql::sqlparser::ast::{CopyLegacyCsvOption, CopyLegacyOption, CopyOption};

use crate::error::{SqlError, code};

/// How COPY data is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyFormat {
    /// Tab-separated with backslash escapes.
    Text,
    /// Comma-separated with quotes.
    Csv,
}

/// The options of a COPY, with their defaults filled in.
#[derive(Clone, Debug)]
pub(super) struct CopyOptions {
    pub format: CopyFormat,
    pub delimiter: u8,
    pub null: String,
    pub header: bool,
    pub quote: u8,
    pub escape: u8,
}

impl CopyOptions {
    /// Reads both spellings of the options.
    pub fn read(options: &[CopyOption], legacy: &[CopyLegacyOption]) -> Result<CopyOptions, SqlError> {
        let mut format = CopyFormat::Text;
        let (mut delimiter, mut null, mut quote, mut escape, mut header) = (None, None, None, None, false);
        for option in options {
            match option {
                CopyOption::Format(name) => match name.value.to_lowercase().as_str() {
                    "text" => format = CopyFormat::Text,
                    "csv" => format = CopyFormat::Csv,
                    "binary" => return Err(SqlError::unsupported("COPY format binary")),
                    other => {
                        let message = format!("COPY format \"{other}\" not recognized");
                        return Err(SqlError::new(code::INVALID_PARAMETER_VALUE, message));
                    }
                },
                CopyOption::Delimiter(value) => delimiter = Some(*value),
                CopyOption::Null(value) => null = Some(value.clone()),
                CopyOption::Header(value) => header = *value,
                CopyOption::Quote(value) => quote = Some(*value),
                CopyOption::Escape(value) => escape = Some(*value),
                CopyOption::Freeze(_) => {}
                CopyOption::Encoding(name) if matches!(&*name.to_uppercase(), "UTF8" | "UTF-8" | "UNICODE") => {}
                other => return Err(SqlError::unsupported(format!("COPY … {other}"))),
            }
        }
        for option in legacy {
            match option {
                CopyLegacyOption::Csv(inner) => {
                    format = CopyFormat::Csv;
                    for option in inner {
                        match option {
                            CopyLegacyCsvOption::Header => header = true,
                            CopyLegacyCsvOption::Quote(value) => quote = Some(*value),
                            CopyLegacyCsvOption::Escape(value) => escape = Some(*value),
                            other => return Err(SqlError::unsupported(format!("COPY … {other}"))),
                        }
                    }
                }
                CopyLegacyOption::Delimiter(value) => delimiter = Some(*value),
                CopyLegacyOption::Null(value) => null = Some(value.clone()),
                CopyLegacyOption::Header => header = true,
                other => return Err(SqlError::unsupported(format!("COPY … {other}"))),
            }
        }
        let csv = format == CopyFormat::Csv;
        let quote = one_byte(quote, '"', "quote")?;
        Ok(CopyOptions {
            format,
            delimiter: one_byte(delimiter, if csv { ',' } else { '\t' }, "delimiter")?,
            null: null.unwrap_or_else(|| if csv { String::new() } else { "\\N".to_owned() }),
            header,
            quote,
            escape: one_byte(escape, char::from(quote), "escape")?,
        })
    }
}

fn one_byte(given: Option<char>, default: char, what: &str) -> Result<u8, SqlError> {
    u8::try_from(given.unwrap_or(default)).ok().filter(u8::is_ascii).ok_or_else(|| {
        SqlError::new(code::FEATURE_NOT_SUPPORTED, format!("COPY {what} must be a single one-byte character"))
    })
}
