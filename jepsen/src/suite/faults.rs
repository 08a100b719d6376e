//! Workloads while processes are killed, stopped and cut off.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::client::ProcessDatabase;
use crate::cluster::Cluster;
use crate::history::Recorder;
use crate::nemesis::{self, Fault, Plan};
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

/// Money moves between three ranges through three gateways at once, and rows are written blindly over ranges: totals hold, and
/// whoever sees a row sees what was acknowledged before it.
pub(super) async fn transfers(cluster: &mut Cluster) -> Result<String> {
    let moved = under(cluster, "bank", Fault::None).await?;
    let ranges = cluster.connect(0).await?.query("SHOW RANGES FROM TABLE bank", &[]).await?;
    ensure!(ranges.len() >= 3, "the accounts are in {} ranges", ranges.len());
    let seen = under(cluster, "comments", Fault::None).await?;
    Ok(format!("{moved}; comments: {seen}"))
}

pub(super) async fn register_under_pause(cluster: &mut Cluster) -> Result<String> {
    under(cluster, "register", Fault::Pause).await
}

async fn under(cluster: &mut Cluster, workload: &str, fault: Fault) -> Result<String> {
    let workload = workload::named(workload).context("no such workload")?;
    let database = ProcessDatabase::of(cluster);
    let seed = clock::Random::from_entropy().seed();
    let load = Load { clients: 8, duration: TIME, seed, pause: Duration::ZERO };
    let plan = Plan { fault, duration: TIME, hold: HOLD, seed, clock_error: Duration::ZERO };
    let recorder = Recorder::new();
    let broken = nemesis::run(cluster, plan, &recorder);
    let (_, verdict) = workload::drive(&*workload, &database, load, &recorder, broken).await?;
    cluster.wait_until_ready().await?;
    ensure!(verdict.is_valid(), "{verdict}");
    Ok(verdict.to_string())
}
