//! One fault, begun, held and healed.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clock::Random;

use super::shapes::{self, Cuts};
use super::{Fault, Plan};
use crate::cluster::{Cluster, Signal};

/// What is left of a full disk, in bytes.
const LEFT_BYTES: u64 = 1 << 20;
/// Bounds of how slow a slow link is, each way, in milliseconds.
const DELAY_MS: (u64, u64) = (50, 300);
/// Bounds of how slow a slow disk is, in milliseconds.
const SYNC_MS: (u64, u64) = (20, 200);
/// How often clocks jump while that fault is held.
const JUMP_INTERVAL: Duration = Duration::from_millis(500);
/// How long the copies of a node that was replaced may take to be made anew.
const HEAL_TIMEOUT: Duration = Duration::from_secs(120);

/// A fault with its victims.
pub(super) struct Injury {
    kind: Fault,
    victims: Vec<usize>,
    cuts: Cuts,
    shape: &'static str,
    amount: Duration,
}

impl fmt::Display for Injury {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.shape.is_empty() {
            let cut: Vec<String> = self.cuts.iter().map(|(from, to)| format!("{}>{}", from + 1, to + 1)).collect();
            return write!(f, "{}: {}", self.shape, cut.join(" "));
        }
        let victims: Vec<String> = self.victims.iter().map(|node| format!("n{}", node + 1)).collect();
        write!(f, "{}", victims.join(" "))?;
        if !self.amount.is_zero() {
            write!(f, " by {} ms", self.amount.as_millis())?;
        }
        Ok(())
    }
}

impl Injury {
    pub fn choose(kind: Fault, nodes: usize, random: &Random) -> Injury {
        let victim = random.range(0, nodes as u64) as usize;
        let between = |(least, most): (u64, u64)| Duration::from_millis(random.range(least, most + 1));
        let mut injury = Injury { kind, victims: vec![victim], cuts: Cuts::new(), shape: "", amount: Duration::ZERO };
        match kind {
            Fault::Kill => {
                let minority = (nodes as u64 - 1) / 2;
                let count = random.range(1, minority.max(1) + 1) as usize;
                injury.victims = (0..count).map(|step| (victim + step) % nodes).collect();
            }
            Fault::Partition => (injury.shape, injury.cuts) = shapes::partition(nodes, random),
            Fault::OneWay => (injury.shape, injury.cuts) = shapes::one_way(nodes, random),
            Fault::Latency => injury.amount = between(DELAY_MS),
            Fault::DiskSlow => injury.amount = between(SYNC_MS),
            Fault::Clock | Fault::Restart => injury.victims = (0..nodes).collect(),
            _ => {}
        }
        injury
    }

    pub async fn begin(&self, cluster: &mut Cluster) -> Result<()> {
        for victim in self.victims.iter().copied() {
            match self.kind {
                Fault::Kill => cluster.node_mut(victim).signal(Signal::Kill).await?,
                Fault::Pause => cluster.node_mut(victim).signal(Signal::Stop).await?,
                Fault::Latency => slow_down(cluster, victim, self.amount).await?,
                Fault::DiskSlow => cluster.node(victim).set_sync_delay(self.amount).await?,
                Fault::DiskFull => {
                    cluster.node(victim).volume().context("the node's disk is not limited")?.fill(LEFT_BYTES)?;
                }
                _ => {}
            }
        }
        for (from, to) in &self.cuts {
            cluster.set_cut(*from, *to, true).await?;
        }
        Ok(())
    }

    /// Lets it last, or does what takes its time.
    pub async fn hold(&self, cluster: &mut Cluster, plan: &Plan, random: &Random) -> Result<()> {
        let end = tokio::time::Instant::now() + plan.hold;
        match self.kind {
            Fault::Clock => {
                let bound_us = plan.clock_error.as_micros() as u64;
                while tokio::time::Instant::now() < end {
                    for node in 0..cluster.len() {
                        let offset_us = random.range(0, 2 * bound_us + 1) as i64 - bound_us as i64;
                        cluster.node(node).set_clock_offset(offset_us).await?;
                    }
                    tokio::time::sleep(JUMP_INTERVAL).await;
                }
            }
            Fault::Restart => {
                for victim in &self.victims {
                    cluster.node_mut(*victim).signal(Signal::Terminate).await?;
                    cluster.restart(*victim).await?;
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
            }
            Fault::Replace => {
                for victim in &self.victims {
                    cluster.replace(*victim).await?;
                }
            }
            _ => tokio::time::sleep_until(end).await,
        }
        Ok(())
    }

    pub async fn heal(&self, cluster: &mut Cluster) -> Result<()> {
        for victim in self.victims.iter().copied() {
            match self.kind {
                Fault::Kill => cluster.restart(victim).await?,
                Fault::Pause => cluster.node_mut(victim).signal(Signal::Continue).await?,
                Fault::Latency => slow_down(cluster, victim, Duration::ZERO).await?,
                Fault::Clock => cluster.node(victim).set_clock_offset(0).await?,
                Fault::DiskSlow => cluster.node(victim).set_sync_delay(Duration::ZERO).await?,
                Fault::DiskFull => {
                    cluster.node(victim).volume().context("the node's disk is not limited")?.free()?;
                }
                Fault::Replace => cluster.wait_until_replicated(HEAL_TIMEOUT).await?,
                _ => {}
            }
        }
        for (from, to) in &self.cuts {
            cluster.set_cut(*from, *to, false).await?;
        }
        Ok(())
    }
}

async fn slow_down(cluster: &mut Cluster, victim: usize, delay: Duration) -> Result<()> {
    for other in (0..cluster.len()).filter(|other| *other != victim) {
        cluster.set_delay(victim, other, delay).await?;
        cluster.set_delay(other, victim, delay).await?;
    }
    Ok(())
}

/// Every process still runs: none panicked or was aborted by itself.
pub(super) async fn check_all_run(cluster: &mut Cluster) -> Result<()> {
    for index in 0..cluster.len() {
        let node = cluster.node_mut(index);
        if !node.is_running().await {
            bail!("node {} has ended by itself:\n{}", index + 1, node.log_tail());
        }
        if node.log_contains("panicked at") {
            bail!("node {} has panicked:\n{}", index + 1, node.log_tail());
        }
    }
    Ok(())
}
