//! Clients that mean no good, or nothing at all: a node goes on, and its memory stays.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clock::Random;
use futures::future::try_join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::SuiteArguments;
use crate::cluster::{Cluster, connect};

/// By how much a node's memory may grow.
const GROWTH_BYTES_MAX: u64 = 64 << 20;
const ROUNDS: u64 = 200;

/// Bytes that mean nothing, on every port.
pub(super) async fn garbage(cluster: &mut Cluster) -> Result<String> {
    let random = Random::from_entropy().fork("garbage");
    let memory = Memory::of(cluster);
    let ports = cluster.node(0).ports();
    for port in [ports.sql, ports.rpc, ports.http] {
        for round in 0..ROUNDS {
            let mut bytes: Vec<u8> = (0..random.range(1, 3_000)).map(|_| random.next_u64() as u8).collect();
            if round % 2 == 0 {
                // A good beginning first, so that the garbage is read as messages, or frames.
                let mut beginning = if port == ports.sql { startup() } else { PREFACE.to_vec() };
                beginning.append(&mut bytes);
                bytes = beginning;
            }
            say(port, &bytes).await?;
        }
    }
    memory.check(cluster).await
}

/// Messages that announce more bytes than anyone would take, and statements as long as they may be.
pub(super) async fn oversized(cluster: &mut Cluster) -> Result<String> {
    let memory = Memory::of(cluster);
    let sql = cluster.node(0).ports().sql;
    for length in [0u32, 1, 3, 64 << 20, (64 << 20) + 5, 1 << 30, i32::MAX as u32, u32::MAX] {
        // As a startup packet, and as a query.
        say(sql, &length.to_be_bytes()).await?;
        let mut query = startup();
        query.push(b'Q');
        query.extend_from_slice(&length.to_be_bytes());
        query.resize(query.len() + (1 << 20), b'x');
        say(sql, &query).await?;
    }
    for port in [cluster.node(0).ports().rpc, cluster.node(0).ports().http] {
        // A frame of 16 MiB, the most that HTTP/2 can announce, and a header without an end.
        let mut frame = PREFACE.to_vec();
        frame.extend_from_slice(&[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]);
        frame.resize(frame.len() + (1 << 20), 0);
        say(port, &frame).await?;
        say(port, format!("GET /{} HTTP/1.1\r\n", "x".repeat(4 << 20)).as_bytes()).await?;
    }
    let client = cluster.connect(0).await?;
    let long = "y".repeat(16 << 20);
    let row = client.query_one("SELECT length($1::text)", &[&long]).await.context("a value of 16 MiB")?;
    ensure!(row.get::<_, i32>(0) == 16 << 20, "a value of 16 MiB was cut");
    drop((client, row, long));
    memory.check(cluster).await
}

/// Connections that stop in the middle of their first message and say nothing more.
pub(super) async fn half_open(cluster: &mut Cluster) -> Result<String> {
    const EACH: usize = 100;
    let memory = Memory::of(cluster);
    let ports = cluster.node(0).ports();
    let mut open = Vec::new();
    for port in [ports.sql, ports.rpc, ports.http] {
        let half: &[u8] = if port == ports.sql { &startup()[..11] } else { &PREFACE[..9] };
        for _ in 0..EACH {
            let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
            socket.write_all(half).await?;
            open.push(socket);
        }
    }
    memory.check(cluster).await
}

/// Many sessions that do nothing, for a while.
pub(super) async fn idle(cluster: &mut Cluster, arguments: &SuiteArguments) -> Result<String> {
    let memory = Memory::of(cluster);
    let port = cluster.node(0).ports().sql;
    let mut clients = Vec::new();
    while clients.len() < arguments.idle_connections {
        let some = (arguments.idle_connections - clients.len()).min(50);
        clients.extend(try_join_all((0..some).map(|_| connect(port))).await?);
    }
    let end = Instant::now() + arguments.idle_time;
    while Instant::now() < end {
        cluster.connect(0).await?.simple_query("SELECT 1").await.context("service beside idle connections")?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    for client in &clients {
        client.simple_query("SELECT 1").await.context("an idle connection does not go on")?;
    }
    let said = memory.check(cluster).await?;
    Ok(format!("{} connections for {} s, {said}", clients.len(), arguments.idle_time.as_secs()))
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn startup() -> Vec<u8> {
    let mut packet = b"\0\0\0\0\0\x03\0\0user\0postgres\0database\0postgres\0\0".to_vec();
    packet[3] = packet.len() as u8;
    packet
}

/// Says it, and hears what comes, for a while.
async fn say(port: u16, bytes: &[u8]) -> Result<()> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
    let talk = async {
        // Whoever does not want to hear more may hang up.
        let _ = socket.write_all(bytes).await;
        let _ = socket.shutdown().await;
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer).await;
    };
    let _ = tokio::time::timeout(Duration::from_millis(500), talk).await;
    Ok(())
}

/// A node's memory before something is done to it.
struct Memory {
    before_bytes: u64,
}

impl Memory {
    fn of(cluster: &Cluster) -> Memory {
        Memory { before_bytes: cluster.node(0).resident_bytes().unwrap_or(0) }
    }

    /// The node still serves, has not panicked, and has not grown too much.
    async fn check(self, cluster: &mut Cluster) -> Result<String> {
        cluster.connect(0).await?.simple_query("SELECT 1").await.context("service afterwards")?;
        let node = cluster.node_mut(0);
        ensure!(node.is_running().await, "the process has ended");
        ensure!(!node.log_contains("panicked at"), "the process has panicked");
        let now_bytes = node.resident_bytes().context("the process has memory")?;
        let grown = now_bytes.saturating_sub(self.before_bytes);
        ensure!(grown <= GROWTH_BYTES_MAX, "its memory grew by {} MiB", grown >> 20);
        Ok(format!("memory grew by {} MiB", grown >> 20))
    }
}
