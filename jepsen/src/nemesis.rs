//! What breaks a cluster of processes while a workload runs on it.
//!
//! A fault is begun, held, and healed, again and again until the time is up; at the end everything is healed.

use std::time::Duration;

use anyhow::Result;
use clock::Random;

use crate::cluster::{Cluster, Signal};
use crate::history::Recorder;

/// What is done to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Fault {
    /// Nothing.
    None,
    /// A node is killed with kill -9 and started again.
    Kill,
    /// A node is stopped with SIGSTOP and goes on later.
    Pause,
    /// A node is cut off from the others.
    Partition,
    /// Any of these.
    All,
}

/// Breaks the cluster for so long, and heals it.
///
/// # Errors
/// When the cluster does not take it: a process that cannot be started again, say.
pub async fn run(
    cluster: &mut Cluster,
    fault: Fault,
    duration: Duration,
    hold: Duration,
    seed: u64,
    recorder: &Recorder,
) -> Result<()> {
    let random = Random::from_seed(seed).fork("nemesis");
    let end = tokio::time::Instant::now() + duration;
    if fault == Fault::None {
        tokio::time::sleep_until(end).await;
        return Ok(());
    }
    let rest = hold.min(Duration::from_secs(3));
    tokio::time::sleep(rest).await;
    while tokio::time::Instant::now() + hold < end {
        let victim = random.range(0, cluster.len() as u64) as usize;
        let kind = match fault {
            Fault::All => [Fault::Kill, Fault::Pause, Fault::Partition][random.range(0, 3) as usize],
            one => one,
        };
        tracing::info!(node = victim + 1, ?kind, "fault begins");
        let (name, node) = (format!("{kind:?}").to_lowercase(), format!("n{}", victim + 1));
        recorder.fault_begins(&name, node.as_str());
        begin(cluster, kind, victim).await?;
        tokio::time::sleep(hold).await;
        heal(cluster, kind, victim).await?;
        recorder.fault_ends(&name, node);
        tracing::info!(node = victim + 1, ?kind, "fault healed");
        tokio::time::sleep(rest).await;
    }
    tokio::time::sleep_until(end).await;
    Ok(())
}

async fn begin(cluster: &mut Cluster, kind: Fault, victim: usize) -> Result<()> {
    match kind {
        Fault::Kill => cluster.node_mut(victim).signal(Signal::Kill).await,
        Fault::Pause => cluster.node_mut(victim).signal(Signal::Stop).await,
        Fault::Partition => cut(cluster, victim, true).await,
        Fault::None | Fault::All => Ok(()),
    }
}

async fn heal(cluster: &mut Cluster, kind: Fault, victim: usize) -> Result<()> {
    match kind {
        Fault::Kill => cluster.node_mut(victim).start(),
        Fault::Pause => cluster.node_mut(victim).signal(Signal::Continue).await,
        Fault::Partition => cut(cluster, victim, false).await,
        Fault::None | Fault::All => Ok(()),
    }
}

async fn cut(cluster: &Cluster, victim: usize, cut: bool) -> Result<()> {
    let others: Vec<usize> = (0..cluster.len()).filter(|index| *index != victim).collect();
    cluster.set_partition(&[victim], &others, cut).await
}
