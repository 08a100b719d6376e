//! What clients of a node hear when it stops.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use clock::{Hlc, Random, SimulatedTime, Tasks, Timestamp, VolatileCeiling};
use sql::{CheckView, ClusterView, NodeView, RangeView, SettingView, SqlNode, SqlNodeConfig, SqlSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;
use crate::cancel::CancelRegistry;
use crate::connection::{Shared, serve};
use crate::metrics::Metrics;

struct OneRange;

#[async_trait]
impl ClusterView for OneRange {
    async fn ranges(&self, _: Bytes, _: Bytes) -> Result<Vec<RangeView>, SqlError> {
        Ok(Vec::new())
    }
    fn nodes(&self) -> Vec<NodeView> {
        Vec::new()
    }
    async fn split_at(&self, _: Bytes) -> Result<(), SqlError> {
        Ok(())
    }
    async fn check(&self, _: Bytes, _: Bytes) -> Result<Vec<CheckView>, SqlError> {
        Ok(Vec::new())
    }
    fn settings(&self) -> Vec<SettingView> {
        Vec::new()
    }
    async fn set_setting(&self, name: &str, _: Option<&str>) -> Result<(), SqlError> {
        Err(SqlError::no_cluster_setting(name))
    }
}

async fn node() -> Arc<Shared> {
    let time = SimulatedTime::starting_at(1_790_000_000_000_000_000, Duration::ZERO);
    let hlc = Arc::new(Hlc::new(Arc::new(time), Duration::ZERO, Arc::new(VolatileCeiling), Timestamp::MIN));
    let tasks = Tasks::deterministic(tokio::runtime::Handle::current());
    let random = Random::from_seed(7);
    let sender = kv::local_range(hlc.clone(), tasks.clone(), random.fork("kv"), kv::Settings::default());
    let database = txn::Database::new(sender, hlc, tasks.clone(), random.fork("txn"), 1, txn::Settings::default());
    let sql = SqlNode::start(SqlNodeConfig {
        database,
        cluster: Arc::new(OneRange),
        node_id: 1,
        tasks: tasks.clone(),
        query_tasks: tasks.clone(),
        random: random.fork("sql"),
        settings: SqlSettings::default(),
    });
    Arc::new(Shared {
        sql: sql.await.expect("the node starts"),
        cancels: CancelRegistry::new(1, random.fork("cancel")),
        tasks,
        metrics: Metrics::new(),
        farewell: Farewell::default(),
    })
}

/// A client that speaks the protocol by hand.
struct Client(DuplexStream);

impl Client {
    /// Connects, and waits until it may go on.
    async fn connect(shared: &Arc<Shared>) -> Client {
        let mut client = Client::knock(shared);
        let mut packet = BytesMut::new();
        packet.put_i32(3 << 16);
        packet.put_slice(b"user\0postgres\0database\0postgres\0\0");
        client.0.write_i32(packet.len() as i32 + 4).await.expect("sent");
        client.0.write_all(&packet).await.expect("sent");
        while client.message().await.expect("an answer").0 != b'Z' {}
        client
    }

    fn knock(shared: &Arc<Shared>) -> Client {
        let (near, far) = tokio::io::duplex(64 << 10);
        drop(shared.tasks.spawn("connection", serve(far, Arc::clone(shared))));
        Client(near)
    }

    async fn query(&mut self, text: &str) {
        self.0.write_u8(b'Q').await.expect("sent");
        self.0.write_i32(text.len() as i32 + 5).await.expect("sent");
        self.0.write_all(text.as_bytes()).await.expect("sent");
        self.0.write_u8(0).await.expect("sent");
    }

    async fn message(&mut self) -> Option<(u8, Bytes)> {
        let kind = self.0.read_u8().await.ok()?;
        let length = self.0.read_i32().await.ok()?;
        let mut body = vec![0; length as usize - 4];
        self.0.read_exact(&mut body).await.ok()?;
        Some((kind, body.into()))
    }

    /// What it hears until the connection closes: kinds of messages, errors as severity and SQLSTATE.
    async fn last_words(&mut self) -> Vec<String> {
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
            heard.push(if kind == b'E' { fields.join(" ") } else { char::from(kind).to_string() });
        }
        heard
    }
}

#[test]
fn every_client_is_told_before_its_connection_closes() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
    runtime.block_on(async {
        let shared = node().await;
        let mut idle = Client::connect(&shared).await;
        let mut open = Client::connect(&shared).await;
        open.query("BEGIN").await;
        while open.message().await.expect("an answer").0 != b'Z' {}
        let mut busy = Client::connect(&shared).await;
        busy.query("SELECT pg_sleep(600)").await;
        let mut copying = Client::connect(&shared).await;
        copying.query("CREATE TABLE t (id int)").await;
        while copying.message().await.expect("an answer").0 != b'Z' {}
        copying.query("COPY t FROM STDIN").await;
        while copying.message().await.expect("an answer").0 != b'G' {}
        let mut undecided = Client::knock(&shared);
        shared.stop().await;
        assert_eq!(idle.last_words().await, ["FATAL 57P01"]);
        assert_eq!(open.last_words().await, ["FATAL 57P01"]);
        // What of its result has been sent already is none of an error's business.
        assert_eq!(busy.last_words().await.last().map(String::as_str), Some("FATAL 57P01"));
        assert_eq!(copying.last_words().await, ["FATAL 57P01"]);
        assert_eq!(undecided.last_words().await, ["FATAL 57P03"]);
        assert_eq!(shared.cancels.connections(), 0, "all have left");
    });
}
