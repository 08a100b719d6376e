//! What tests of connections have in common: a node on one range in memory, and clients that speak the protocol by hand.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use clock::{Random, Tasks};
use sql::SqlSettings;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::{Farewell, Shared, serve};
use crate::cancel::CancelRegistry;
use crate::metrics::Metrics;

#[path = "../../../sql/tests/support/mod.rs"]
mod support;

pub use support::in_runtime;

/// What the connections of a node share whose statements and sessions may hold so much together.
pub async fn node(query_memory_bytes: usize) -> Arc<Shared> {
    let settings = SqlSettings { query_memory_bytes, ..SqlSettings::default() };
    let sql = support::nodes(1, 7, settings).await.remove(0);
    Arc::new(Shared {
        sql,
        cancels: CancelRegistry::new(1, Random::from_seed(7)),
        tasks: Tasks::deterministic(tokio::runtime::Handle::current()),
        metrics: Metrics::new(),
        farewell: Farewell::default(),
    })
}

/// A client.
pub struct Client(DuplexStream);

impl Client {
    /// Connects, and waits until it may go on.
    pub async fn connect(shared: &Arc<Shared>) -> Client {
        let mut client = Client::knock(shared);
        let mut packet = BytesMut::new();
        packet.put_i32(3 << 16);
        packet.put_slice(b"user\0postgres\0database\0postgres\0\0");
        client.0.write_i32(packet.len() as i32 + 4).await.expect("sent");
        client.0.write_all(&packet).await.expect("sent");
        client.until(b'Z').await;
        client
    }

    /// Connects, and says nothing.
    pub fn knock(shared: &Arc<Shared>) -> Client {
        let (near, far) = tokio::io::duplex(64 << 10);
        drop(shared.tasks.spawn("connection", serve(far, Arc::clone(shared))));
        Client(near)
    }

    /// Sends a message.
    pub async fn send(&mut self, kind: u8, body: &[u8]) {
        self.0.write_u8(kind).await.expect("sent");
        self.0.write_i32(body.len() as i32 + 4).await.expect("sent");
        self.0.write_all(body).await.expect("sent");
    }

    /// Sends a simple query.
    pub async fn query(&mut self, text: &str) {
        self.send(b'Q', format!("{text}\0").as_bytes()).await;
    }

    /// The next message: its type and body.
    pub async fn message(&mut self) -> Option<(u8, Bytes)> {
        let kind = self.0.read_u8().await.ok()?;
        let length = self.0.read_i32().await.ok()?;
        let mut body = vec![0; length as usize - 4];
        self.0.read_exact(&mut body).await.ok()?;
        Some((kind, body.into()))
    }

    /// What it hears up to a message of that type, or until the connection closes: types of messages, errors as severity and
    /// SQLSTATE, tags as they are.
    pub async fn until(&mut self, last: u8) -> Vec<String> {
        let mut heard = Vec::new();
        while let Some((kind, mut body)) = self.message().await {
            let mut fields = Vec::new();
            while kind == b'E' && body.len() > 1 {
                let field = body.get_u8();
                let end = body.iter().position(|byte| *byte == 0).expect("a field ends");
                let text = String::from_utf8_lossy(&body.split_to(end)).into_owned();
                body.advance(1);
                fields.extend((field == b'S' || field == b'C').then_some(text));
            }
            heard.push(match kind {
                b'E' => fields.join(" "),
                b'C' => String::from_utf8_lossy(&body[..body.len() - 1]).into_owned(),
                kind => char::from(kind).to_string(),
            });
            if kind == last {
                break;
            }
        }
        heard
    }

    /// What it hears until the connection closes.
    pub async fn last_words(&mut self) -> Vec<String> {
        self.until(0).await
    }
}
