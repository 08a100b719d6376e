//! What the server sends.

use bytes::{BufMut, BytesMut};
use pgwire::messages::Message;
use pgwire::messages::response::{ErrorResponse, NoticeResponse};
use sql::SqlError;

/// The longest field of an error that is sent whole.
const MAX_FIELD_BYTES: usize = 8 << 10;

/// Appends a message whose size is known to be within the protocol's bounds.
pub fn append<M: Message>(out: &mut BytesMut, message: &M) {
    let before = out.len();
    if let Err(error) = message.encode(out) {
        tracing::error!(%error, "a message was not sent");
        out.truncate(before);
    }
}

/// An error as the protocol's fields. `severity` is `ERROR` or `FATAL`.
pub fn error(severity: &str, error: &SqlError) -> ErrorResponse {
    ErrorResponse::new(fields(severity, error))
}

/// A notice as the protocol's fields. `severity` is `NOTICE` or `WARNING`.
pub fn notice(severity: &str, notice: &SqlError) -> NoticeResponse {
    NoticeResponse::new(fields(severity, notice))
}

fn fields(severity: &str, error: &SqlError) -> Vec<(u8, String)> {
    let mut fields = vec![
        (b'S', severity.to_owned()),
        (b'V', severity.to_owned()),
        (b'C', error.code.to_string()),
        (b'M', shorten(&error.message)),
    ];
    let optional = [
        (b'D', error.detail.as_deref()),
        (b'H', error.hint.as_deref()),
        (b'W', error.context.as_deref()),
        (b't', error.table.as_deref()),
        (b'c', error.column.as_deref()),
        (b'n', error.constraint.as_deref()),
    ];
    fields.extend(optional.into_iter().filter_map(|(kind, text)| Some((kind, shorten(text?)))));
    if let Some(position) = error.position {
        fields.push((b'P', position.to_string()));
    }
    fields
}

fn shorten(text: &str) -> String {
    if text.len() <= MAX_FIELD_BYTES {
        return text.to_owned();
    }
    let mut end = MAX_FIELD_BYTES;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

/// Writes a message in place: its type, a length that is filled in afterwards, and what `write` appends.
pub fn in_place<E>(out: &mut BytesMut, kind: u8, write: impl FnOnce(&mut BytesMut) -> Result<(), E>) -> Result<(), E> {
    let start = out.len();
    out.put_u8(kind);
    out.put_i32(0);
    if let Err(error) = write(out) {
        out.truncate(start);
        return Err(error);
    }
    let length = (out.len() - start - 1) as u32;
    out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
    Ok(())
}
