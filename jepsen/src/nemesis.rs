//! What breaks a cluster of processes or containers while a workload runs on it.
//!
//! ```text
//!   rest ─▶ begin one fault ─▶ hold ─▶ heal it ─▶ rest ─▶ … until the time is up; in the end nothing is broken
//! ```
//!
//! | fault | what is done |
//! |---|---|
//! | `kill` | kill -9 to up to a minority of the nodes, and they are started again |
//! | `pause` | SIGSTOP to one, and SIGCONT; a container is frozen and thawed |
//! | `partition` | one cut off, two halves, halves with a bridge, or a ring where each sees a majority |
//! | `one-way` | what one node sends is lost, or what is sent to it |
//! | `latency` | all links of one node are slow |
//! | `clock` | clocks jump about, each within the bound it promised |
//! | `disk-full` | one node's disk has no room |
//! | `disk-slow` | one node's log takes long to sync |
//! | `restart` | all nodes are restarted in turn, each with SIGTERM |
//! | `replace` | a node is killed, its data is removed, and it joins as a new one |
//! | `mixed` | any of these that can be done here |
//!
//! At most a minority of the nodes is broken at any time, and one fault after another; with more nodes than copies a range may still
//! lose its quorum until the fault is healed.

mod fault;
mod shapes;

use std::time::Duration;

use anyhow::Result;
use clock::Random;

use crate::cluster::{Cluster, Volume};
use crate::history::Recorder;
use fault::Injury;

/// What is done to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Fault {
    /// Nothing.
    None,
    /// kill -9, and started again.
    Kill,
    /// SIGSTOP, and SIGCONT.
    Pause,
    /// Links are cut both ways.
    Partition,
    /// Links are cut one way.
    OneWay,
    /// Links are slow.
    Latency,
    /// Clocks jump, within their bound.
    Clock,
    /// A disk is full.
    DiskFull,
    /// A disk is slow.
    DiskSlow,
    /// All nodes are restarted in turn.
    Restart,
    /// A node is replaced by a new one.
    Replace,
    /// Any of these.
    Mixed,
}

impl Fault {
    /// All that can be mixed.
    const SINGLE: [Fault; 10] = [
        Fault::Kill,
        Fault::Pause,
        Fault::Partition,
        Fault::OneWay,
        Fault::Latency,
        Fault::Clock,
        Fault::DiskFull,
        Fault::DiskSlow,
        Fault::Restart,
        Fault::Replace,
    ];

    /// Its name on the command line.
    pub fn name(self) -> String {
        use clap::ValueEnum;
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether nodes need disks of limited size for it.
    pub fn needs_volumes(self) -> bool {
        matches!(self, Fault::DiskFull | Fault::Mixed)
    }

    /// Whether nodes need network namespaces to have it done by the kernel.
    pub fn cuts_links(self) -> bool {
        matches!(self, Fault::Partition | Fault::OneWay | Fault::Mixed)
    }

    /// Whether nodes need clocks that may be wrong.
    pub fn needs_clock_error(self) -> bool {
        matches!(self, Fault::Clock | Fault::Mixed)
    }
}

/// How long, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// What is done.
    pub fault: Fault,
    /// For how long all of it goes on.
    pub duration: Duration,
    /// How long each fault is held.
    pub hold: Duration,
    /// What all choices follow from.
    pub seed: u64,
    /// The bound that every clock promised.
    pub clock_error: Duration,
}

/// Breaks the cluster for so long, and heals it.
///
/// # Errors
/// When the cluster does not take it: a process that cannot be started again, or that ended by itself.
pub async fn run(cluster: &mut Cluster, plan: Plan, recorder: &Recorder) -> Result<()> {
    let random = Random::from_seed(plan.seed).fork("nemesis");
    let end = tokio::time::Instant::now() + plan.duration;
    if plan.fault == Fault::None {
        tokio::time::sleep_until(end).await;
        return fault::check_all_run(cluster).await;
    }
    let kinds: Vec<Fault> = match plan.fault {
        Fault::Mixed => Fault::SINGLE.into_iter().filter(|kind| is_possible(cluster, &plan, *kind)).collect(),
        one => vec![one],
    };
    let rest = plan.hold.min(Duration::from_secs(3));
    tokio::time::sleep(rest).await;
    while tokio::time::Instant::now() + plan.hold < end {
        let kind = kinds[random.range(0, kinds.len() as u64) as usize];
        let injury = Injury::choose(kind, cluster.len(), &random);
        let (name, detail) = (kind.name(), injury.to_string());
        tracing::info!(fault = name, detail, "begins");
        recorder.fault_begins(&name, detail.as_str());
        injury.begin(cluster).await?;
        injury.hold(cluster, &plan, &random).await?;
        injury.heal(cluster).await?;
        recorder.fault_ends(&name, detail.as_str());
        tracing::info!(fault = name, detail, "healed");
        tokio::time::sleep(rest).await;
    }
    tokio::time::sleep_until(end).await;
    fault::check_all_run(cluster).await
}

fn is_possible(cluster: &Cluster, plan: &Plan, kind: Fault) -> bool {
    match kind {
        Fault::DiskFull => cluster.node(0).volume().is_some(),
        Fault::Clock => !plan.clock_error.is_zero(),
        // What the dead node held must find room elsewhere.
        Fault::Replace => cluster.len() > 3,
        _ => true,
    }
}

/// Why disks of limited size cannot be had here, if so.
pub fn obstacle_to_volumes() -> Option<String> {
    Volume::obstacle()
}
