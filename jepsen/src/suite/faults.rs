//! What a cluster must survive.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::ProcessDatabase;
use crate::cluster::Cluster;
use crate::history::Recorder;
use crate::nemesis::{self, Fault};
use crate::workload::{self, Load};

const TIME: Duration = Duration::from_secs(20);
const HOLD: Duration = Duration::from_secs(5);

pub(super) async fn set_under_kill(cluster: &mut Cluster) -> Result<String> {
    under(cluster, "set", Fault::Kill).await
}

pub(super) async fn bank_under_kill(cluster: &mut Cluster) -> Result<String> {
    under(cluster, "bank", Fault::Kill).await
}

pub(super) async fn bank_under_partition(cluster: &mut Cluster) -> Result<String> {
    under(cluster, "bank", Fault::Partition).await
}

pub(super) async fn register_under_pause(cluster: &mut Cluster) -> Result<String> {
    under(cluster, "register", Fault::Pause).await
}

async fn under(cluster: &mut Cluster, workload: &str, fault: Fault) -> Result<String> {
    let workload = workload::named(workload).context("no such workload")?;
    let database = ProcessDatabase::of(cluster, Duration::from_secs(15));
    let seed = clock::Random::from_entropy().seed();
    let load = Load { clients: 8, duration: TIME, seed, pause: Duration::ZERO };
    let recorder = Recorder::new();
    let broken = nemesis::run(cluster, fault, TIME, HOLD, seed, &recorder);
    let (_, verdict) = workload::drive(&*workload, &database, load, &recorder, broken).await?;
    cluster.wait_until_ready().await?;
    ensure!(verdict.is_valid(), "{verdict}");
    Ok(verdict.to_string())
}

/// Bytes that mean nothing, messages too long, and connections that say nothing: the node goes on, and its memory stays.
pub(super) async fn garbage(cluster: &mut Cluster) -> Result<String> {
    const GROWTH_BYTES_MAX: u64 = 64 << 20;
    let random = clock::Random::from_entropy().fork("garbage");
    let ports = cluster.node(0).ports();
    let before = cluster.node(0).resident_bytes().unwrap_or(0);
    for port in [ports.sql, ports.rpc, ports.http] {
        for round in 0..200 {
            let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
            let mut bytes: Vec<u8> = (0..random.range(1, 3_000)).map(|_| random.next_u64() as u8).collect();
            if round % 2 == 0 && port == ports.sql {
                // A good startup packet first, so that the garbage is read as messages.
                let mut packet = b"\0\0\0\x21\0\x03\0\0user\0postgres\0database\0".to_vec();
                packet.extend_from_slice(b"postgres\0\0");
                packet[3] = packet.len() as u8;
                packet.append(&mut bytes);
                bytes = packet;
            }
            let _ = socket.write_all(&bytes).await;
            let _ = socket.shutdown().await;
            let mut answer = Vec::new();
            let _ = tokio::time::timeout(Duration::from_millis(500), socket.read_to_end(&mut answer)).await;
        }
    }
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(TcpStream::connect(("127.0.0.1", ports.sql)).await?);
    }
    cluster.connect(0).await?.simple_query("SELECT 1").await?;
    let grown = cluster.node(0).resident_bytes().unwrap_or(0).saturating_sub(before);
    ensure!(grown <= GROWTH_BYTES_MAX, "its memory grew by {} MiB", grown >> 20);
    ensure!(cluster.node(0).id().is_some(), "the process has ended");
    Ok(format!("memory grew by {} MiB", grown >> 20))
}
