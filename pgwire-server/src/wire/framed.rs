//! A socket as a stream of messages in, and one buffer out.

use std::io;

use bytes::{Buf, BytesMut};
use pgwire::messages::Message;
use sql::{ClientMemory, Hold, SqlError};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Frontend, StartupPacket};

/// The longest message a client may send.
const MAX_MESSAGE_BYTES: usize = 64 << 20;
/// The longest startup packet.
const MAX_STARTUP_BYTES: usize = 10_000;
/// Output is sent once this much is buffered, so that a large result needs bounded memory.
const SEND_ABOVE_BYTES: usize = 64 << 10;
/// A message longer than this is counted before it is read, and its buffer goes with it.
const LARGE_BYTES: usize = 64 << 10;
/// A buffer that nothing large is in.
const SMALL_BYTES: usize = 8 << 10;

/// Why a connection cannot go on reading.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The socket failed.
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// The message's type is none the protocol knows.
    #[error("invalid frontend message type {0}")]
    UnknownMessage(u8),
    /// The message's length is impossible or above the limit.
    #[error("invalid message length {0}: at most {MAX_MESSAGE_BYTES} bytes are accepted")]
    Length(i64),
    /// The message's contents do not fit its form.
    #[error("invalid message format: {0}")]
    Malformed(&'static str),
    /// A string is not UTF-8.
    #[error("invalid byte sequence for encoding \"UTF8\"")]
    NotUtf8,
    /// The client speaks another major version.
    #[error("unsupported frontend protocol {major}.{minor}: server supports 3.0")]
    UnsupportedProtocol {
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
    },
}

/// A client's connection, buffered both ways.
pub struct Framed<S> {
    socket: S,
    incoming: BytesMut,
    outgoing: BytesMut,
    /// The message in hand or on its way in, if it is large.
    held: Hold,
    passed_over: Option<PassedOver>,
}

/// A message that there is no room for.
struct PassedOver {
    kind: u8,
    /// What of it has not arrived yet.
    left_bytes: usize,
    error: SqlError,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Framed<S> {
    /// Frames messages on a socket.
    pub fn new(socket: S, memory: &ClientMemory) -> Self {
        let (incoming, outgoing) = (BytesMut::with_capacity(SMALL_BYTES), BytesMut::with_capacity(SMALL_BYTES));
        Framed { socket, incoming, outgoing, held: memory.nothing(), passed_over: None }
    }

    /// The first packet; `None` when the client left before it was whole.
    pub async fn read_startup(&mut self) -> Result<Option<StartupPacket>, WireError> {
        loop {
            if self.incoming.len() >= 4 {
                let length = (&self.incoming[..4]).get_i32();
                let whole = usize::try_from(length).ok().filter(|whole| (8..=MAX_STARTUP_BYTES).contains(whole));
                let whole = whole.ok_or(WireError::Length(length.into()))?;
                if self.incoming.len() >= whole {
                    self.incoming.advance(4);
                    return StartupPacket::decode(self.incoming.split_to(whole - 4).freeze()).map(Some);
                }
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// The next message; `None` when the client left. The one before is done with. Cancel safe.
    pub async fn read(&mut self) -> Result<Option<Frontend>, WireError> {
        loop {
            if let Some(passed_over) = self.pass_over() {
                return Ok(Some(passed_over));
            }
            if let Some(message) = self.take_buffered()? {
                return Ok(Some(message));
            }
            if self.passed_over.is_none() && !self.make_room()? {
                continue;
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// Sees to it that there is room for the next message, if it is large and not there yet: else it is passed over.
    fn make_room(&mut self) -> Result<bool, WireError> {
        let Some(whole) = self.next_length()?.filter(|whole| *whole > LARGE_BYTES) else {
            let _ = self.held.resize(0);
            return Ok(true);
        };
        match self.held.resize(whole) {
            Ok(()) => {
                self.incoming.reserve(whole.saturating_sub(self.incoming.len()));
                Ok(true)
            }
            Err(error) => {
                self.passed_over = Some(PassedOver { kind: self.incoming[0], left_bytes: whole, error });
                Ok(false)
            }
        }
    }

    /// Drops what has arrived of a message that is passed over; gives what is said of it once that is all.
    fn pass_over(&mut self) -> Option<Frontend> {
        let passed_over = self.passed_over.as_mut()?;
        let arrived = passed_over.left_bytes.min(self.incoming.len());
        self.incoming.advance(arrived);
        passed_over.left_bytes -= arrived;
        if passed_over.left_bytes > 0 {
            return None;
        }
        self.passed_over.take().map(|PassedOver { kind, error, .. }| Frontend::PassedOver { kind, error })
    }

    /// The next message, if all of it has arrived.
    pub fn take_buffered(&mut self) -> Result<Option<Frontend>, WireError> {
        let Some(whole) = self.buffered_length()? else { return Ok(None) };
        let kind = self.incoming[0];
        self.incoming.advance(5);
        let body = self.incoming.split_to(whole - 5).freeze();
        if whole > LARGE_BYTES {
            // What is left of a large buffer would keep all of it.
            let mut small = BytesMut::with_capacity(SMALL_BYTES.max(self.incoming.len()));
            small.extend_from_slice(&self.incoming);
            self.incoming = small;
        }
        Frontend::decode(kind, body).map(Some)
    }

    /// The type of the next message, if all of it has arrived.
    pub fn peek_kind(&self) -> Option<u8> {
        self.buffered_length().ok().flatten().map(|_| self.incoming[0])
    }

    /// Bytes of the next message with its header, if all of it has arrived.
    fn buffered_length(&self) -> Result<Option<usize>, WireError> {
        Ok(self.next_length()?.filter(|whole| self.incoming.len() >= *whole))
    }

    /// Bytes of the next message with its header, if its header has arrived.
    fn next_length(&self) -> Result<Option<usize>, WireError> {
        if self.incoming.len() < 5 || self.passed_over.is_some() {
            return Ok(None);
        }
        let length = (&self.incoming[1..5]).get_i32();
        let whole = usize::try_from(length).ok().filter(|whole| (4..=MAX_MESSAGE_BYTES).contains(whole));
        Ok(Some(whole.ok_or(WireError::Length(length.into()))? + 1))
    }

    /// Waits until the client leaves, buffering what it sends meanwhile. Cancel safe.
    ///
    /// Used beside a running statement. Once a message's worth of bytes is buffered it stops reading, so that a client
    /// cannot fill the memory with requests it never waits for.
    pub async fn closed(&mut self) {
        loop {
            if self.incoming.len() > SEND_ABOVE_BYTES {
                std::future::pending::<()>().await;
            }
            match self.fill().await {
                Ok(true) => {}
                Ok(false) | Err(_) => return,
            }
        }
    }

    /// Reads once more; `false` at the end of the stream. Cancel safe.
    async fn fill(&mut self) -> io::Result<bool> {
        if self.incoming.capacity() - self.incoming.len() < 4 << 10 {
            self.incoming.reserve(16 << 10);
        }
        Ok(self.socket.read_buf(&mut self.incoming).await? > 0)
    }

    /// Appends a message to the output.
    pub fn send<M: Message>(&mut self, message: &M) {
        super::backend::append(&mut self.outgoing, message);
    }

    /// The output buffer, for messages that are written in place.
    pub fn outgoing(&mut self) -> &mut BytesMut {
        &mut self.outgoing
    }

    /// Appends one bare byte: the answer to a request for encryption.
    pub fn send_byte(&mut self, byte: u8) {
        self.outgoing.extend_from_slice(&[byte]);
    }

    /// Sends what is buffered if it is much.
    pub async fn flush_if_full(&mut self) -> io::Result<()> {
        if self.outgoing.len() >= SEND_ABOVE_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Sends everything that is buffered.
    pub async fn flush(&mut self) -> io::Result<()> {
        if !self.outgoing.is_empty() {
            self.socket.write_all(&self.outgoing).await?;
            self.outgoing.clear();
            if self.outgoing.capacity() > 4 * SEND_ABOVE_BYTES {
                self.outgoing = BytesMut::with_capacity(SMALL_BYTES);
            }
        }
        self.socket.flush().await
    }
}
