//! PostgreSQL's frontend/backend protocol, version 3: bytes to messages and back.
//!
//! ```text
//!   socket ──▶ Framed::read ──▶ Frontend (validated: framing, counts, UTF-8)
//!   socket ◀── Framed::flush ◀── backend::* (appended to one buffer, sent at Sync, Flush or when it is full)
//! ```
//!
//! Nothing here panics on what a client sends: frontend messages are decoded from a body that is
//! cut out whole first, and every read in it is bounds-checked. (The `pgwire` crate's own frontend decoder replaces invalid
//! UTF-8 and reads past short bodies, so only its backend messages are used.)
//!
//! Knows nothing of SQL or sessions. Source: the PostgreSQL manual, chapter "Frontend/Backend Protocol".

pub mod backend;
mod framed;
mod frontend;

pub use framed::{Framed, WireError};
pub use frontend::{Bind, Frontend, Parse, StartupPacket, Target};
