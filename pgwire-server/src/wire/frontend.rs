//! What a client may send.

use bytes::{Buf, Bytes};
use sql::SqlError;

use super::WireError;

/// A message of a client that has started up.
#[derive(Debug, PartialEq)]
pub enum Frontend {
    /// A string of statements, to be run at once.
    Query(String),
    /// A statement to prepare.
    Parse(Parse),
    /// A portal to make from a prepared statement.
    Bind(Bind),
    /// Asks for the shape of a statement or portal.
    Describe(Target),
    /// Runs a portal for at most so many rows; 0 for all.
    Execute {
        /// The portal's name.
        portal: String,
        /// The most rows to return before the portal is suspended; 0 for all.
        max_rows: u32,
    },
    /// Forgets a statement or portal.
    Close(Target),
    /// Asks for what is buffered.
    Flush,
    /// Ends a batch of extended-query messages.
    Sync,
    /// A piece of a COPY's data.
    CopyData(Bytes),
    /// The end of a COPY's data.
    CopyDone,
    /// The client gives the COPY up, and says why.
    CopyFail(String),
    /// An answer to a request for authentication.
    Password(Bytes),
    /// A message of that type came that there was no room for.
    PassedOver {
        /// Its type.
        kind: u8,
        /// What the client is told.
        error: SqlError,
    },
    /// The client leaves.
    Terminate,
}

/// See [`Frontend::Parse`].
#[derive(Debug, PartialEq)]
pub struct Parse {
    /// The statement's name; empty for the unnamed one.
    pub name: String,
    /// One statement.
    pub query: String,
    /// OIDs of the parameters' types; 0 or missing for "infer it".
    pub types: Vec<u32>,
}

/// See [`Frontend::Bind`].
#[derive(Debug, PartialEq)]
pub struct Bind {
    /// The portal's name; empty for the unnamed one.
    pub portal: String,
    /// The statement's name; empty for the unnamed one.
    pub statement: String,
    /// Formats of the parameters: none for all text, one for all, or one each. 0 text, 1 binary.
    pub parameter_formats: Vec<i16>,
    /// The parameters; `None` for NULL.
    pub parameters: Vec<Option<Bytes>>,
    /// Formats of the result's columns, in the same way.
    pub result_formats: Vec<i16>,
}

/// A statement or a portal, by name.
#[derive(Debug, PartialEq)]
pub enum Target {
    /// A prepared statement.
    Statement(String),
    /// A portal.
    Portal(String),
}

/// The first packet of a connection.
#[derive(Debug, PartialEq)]
pub enum StartupPacket {
    /// Asks for TLS.
    Tls,
    /// Asks for GSS encryption.
    Gss,
    /// Asks to cancel what another connection runs.
    Cancel {
        /// Which connection.
        process_id: i32,
        /// The secret it was given.
        secret: i32,
    },
    /// Starts a session.
    Start {
        /// The minor protocol version the client asks for.
        minor: u16,
        /// The parameters, in the client's order.
        parameters: Vec<(String, String)>,
    },
}

const TLS_CODE: i32 = 80_877_103;
const GSS_CODE: i32 = 80_877_104;
const CANCEL_CODE: i32 = 80_877_102;

impl StartupPacket {
    /// Decodes the body of a startup packet: what follows its length.
    pub(super) fn decode(body: Bytes) -> Result<Self, WireError> {
        let mut body = Body(body);
        match body.i32()? {
            TLS_CODE => Ok(StartupPacket::Tls),
            GSS_CODE => Ok(StartupPacket::Gss),
            CANCEL_CODE => Ok(StartupPacket::Cancel { process_id: body.i32()?, secret: body.i32()? }),
            version if version >> 16 == 3 => {
                let mut parameters = Vec::new();
                loop {
                    let name = body.string()?;
                    if name.is_empty() {
                        break;
                    }
                    parameters.push((name, body.string()?));
                }
                Ok(StartupPacket::Start { minor: (version & 0xffff) as u16, parameters })
            }
            version => Err(WireError::UnsupportedProtocol { major: (version >> 16) as u16, minor: version as u16 }),
        }
    }
}

impl Frontend {
    /// Decodes the body of a message: what follows its type and length.
    pub(super) fn decode(kind: u8, body: Bytes) -> Result<Self, WireError> {
        let mut body = Body(body);
        let message = match kind {
            b'Q' => Frontend::Query(body.string()?),
            b'P' => {
                let (name, query, count) = (body.string()?, body.string()?, body.count(4)?);
                let types = (0..count).map(|_| body.i32().map(|oid| oid as u32)).collect::<Result<_, _>>()?;
                Frontend::Parse(Parse { name, query, types })
            }
            b'B' => Frontend::Bind(body.bind()?),
            b'D' => Frontend::Describe(body.target()?),
            b'C' => Frontend::Close(body.target()?),
            b'E' => Frontend::Execute { portal: body.string()?, max_rows: u32::try_from(body.i32()?).unwrap_or(0) },
            b'H' => Frontend::Flush,
            b'S' => Frontend::Sync,
            b'X' => Frontend::Terminate,
            b'd' => return Ok(Frontend::CopyData(body.0)),
            b'c' => Frontend::CopyDone,
            b'f' => Frontend::CopyFail(body.string()?),
            b'p' => return Ok(Frontend::Password(body.0)),
            other => return Err(WireError::UnknownMessage(other)),
        };
        if body.0.has_remaining() {
            return Err(WireError::Malformed("a message is longer than its contents"));
        }
        Ok(message)
    }
}

/// A message's body, read from the front; every read is checked.
struct Body(Bytes);

impl Body {
    fn i16(&mut self) -> Result<i16, WireError> {
        self.0.try_get_i16().map_err(|_| WireError::Malformed("a message is shorter than its contents"))
    }

    fn i32(&mut self) -> Result<i32, WireError> {
        self.0.try_get_i32().map_err(|_| WireError::Malformed("a message is shorter than its contents"))
    }

    /// A count of elements of at least `size` bytes each, which must fit into what is left.
    fn count(&mut self, size: usize) -> Result<usize, WireError> {
        let count = self.i16()? as u16 as usize;
        if count * size > self.0.len() {
            return Err(WireError::Malformed("a message announces more elements than it holds"));
        }
        Ok(count)
    }

    fn string(&mut self) -> Result<String, WireError> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(WireError::Malformed("a string has no end"))?;
        let bytes = self.0.split_to(end);
        self.0.advance(1);
        String::from_utf8(bytes.into()).map_err(|_| WireError::NotUtf8)
    }

    fn target(&mut self) -> Result<Target, WireError> {
        match self.0.try_get_u8() {
            Ok(b'S') => Ok(Target::Statement(self.string()?)),
            Ok(b'P') => Ok(Target::Portal(self.string()?)),
            _ => Err(WireError::Malformed("neither a statement nor a portal is meant")),
        }
    }

    fn formats(&mut self) -> Result<Vec<i16>, WireError> {
        let count = self.count(2)?;
        (0..count)
            .map(|_| match self.i16()? {
                format @ (0 | 1) => Ok(format),
                _ => Err(WireError::Malformed("a format code is neither text (0) nor binary (1)")),
            })
            .collect()
    }

    fn bind(&mut self) -> Result<Bind, WireError> {
        let (portal, statement, parameter_formats) = (self.string()?, self.string()?, self.formats()?);
        let count = self.count(4)?;
        let mut parameters = Vec::with_capacity(count);
        for _ in 0..count {
            let length = self.i32()?;
            parameters.push(match usize::try_from(length) {
                Err(_) if length == -1 => None,
                Ok(length) if length <= self.0.len() => Some(self.0.split_to(length)),
                _ => return Err(WireError::Malformed("a parameter is longer than its message")),
            });
        }
        Ok(Bind { portal, statement, parameter_formats, parameters, result_formats: self.formats()? })
    }
}

#[cfg(test)]
mod tests;
