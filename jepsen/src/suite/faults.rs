//! What a cluster must survive.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::ProcessDatabase;
use crate::cluster::Cluster;
use crate::nemesis::{self, Fault};
use crate::workload::bank::Bank;
use crate::workload::register::Registers;
use crate::workload::set::Set;
use crate::workload::{Load, Report};

const TIME: Duration = Duration::from_secs(20);
const HOLD: Duration = Duration::from_secs(5);

fn database(cluster: &Cluster) -> ProcessDatabase {
    let ports = (0..cluster.len()).map(|index| cluster.node(index).ports().sql).collect();
    ProcessDatabase { ports, timeout: Duration::from_secs(15) }
}

fn load() -> Load {
    let seed = clock::Random::from_entropy().seed();
    Load { clients: 8, duration: TIME, seed }
}

async fn verdict(cluster: &Cluster, report: Report, nemesis: Result<()>) -> Result<String> {
    nemesis?;
    cluster.wait_until_ready().await?;
    ensure!(report.violations.is_empty(), "{report}");
    ensure!(report.ok > 0, "nothing was ever acknowledged: {report}");
    Ok(report.to_string())
}

pub(super) async fn set_under_kill(cluster: &mut Cluster) -> Result<String> {
    let (database, load) = (database(cluster), load());
    Set.set_up(&database).await?;
    let broken = nemesis::run(cluster, Fault::Kill, TIME, HOLD, load.seed);
    let (report, nemesis) = tokio::join!(Set.run(&database, load), broken);
    verdict(cluster, report, nemesis).await
}

pub(super) async fn bank_under_kill(cluster: &mut Cluster) -> Result<String> {
    bank(cluster, Fault::Kill).await
}

pub(super) async fn bank_under_partition(cluster: &mut Cluster) -> Result<String> {
    bank(cluster, Fault::Partition).await
}

async fn bank(cluster: &mut Cluster, fault: Fault) -> Result<String> {
    let (database, load, bank) = (database(cluster), load(), Bank::default());
    bank.set_up(&database).await?;
    let broken = nemesis::run(cluster, fault, TIME, HOLD, load.seed);
    let (report, nemesis) = tokio::join!(bank.run(&database, load), broken);
    verdict(cluster, report, nemesis).await
}

pub(super) async fn register_under_pause(cluster: &mut Cluster) -> Result<String> {
    let (database, load, registers) = (database(cluster), load(), Registers::default());
    registers.set_up(&database).await?;
    let broken = nemesis::run(cluster, Fault::Pause, TIME, HOLD, load.seed);
    let (report, nemesis) = tokio::join!(registers.run(&database, load, None), broken);
    verdict(cluster, report, nemesis).await
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
