//! `jepsen run`: one workload on a fresh cluster of processes or containers while a nemesis breaks it, or on somebody else's PostgreSQL.
//!
//! ```text
//!   cluster, as the fault needs it ─▶ workload beside nemesis ─▶ all healed ─▶ final reads ─▶ verdict
//! ```
//!
//! What the fault needs and cannot have here is said aloud: links are cut by the kernel where this process may make network
//! namespaces, by the nodes' own fault hook otherwise; disks are only full where a small one can be mounted. In containers links are
//! cut by taking nodes off networks, and all else is as with processes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use pgwire_server::cli::parse_duration;

use crate::checker::Verdict;
use crate::client::{Database, ProcessDatabase, UrlDatabase};
use crate::cluster::{Cluster, ClusterConfig, Confinement, Namespaces, Volume};
use crate::history::{History, Recorder};
use crate::nemesis::{self, Fault, Plan};
use crate::report;
use crate::workload::{self, Load, Workload};

/// Size of a node's disk where disks are filled, in mebibytes; and what a node keeps free of it.
const VOLUME_MIB: u64 = 768;
const DISK_FLOOR_MIB: u64 = 64;
/// How wrong clocks may be where they are put wrong.
const CLOCK_ERROR: Duration = Duration::from_millis(20);
/// When a node counts as dead where nodes are replaced.
const DEAD_AFTER: &str = "10s";
const LIBFAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// `jepsen run`
#[derive(Clone, Debug, Args)]
pub struct RunArguments {
    /// What clients do.
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(workload::names()))]
    pub workload: String,
    /// What is done to the cluster meanwhile.
    #[arg(long, value_enum, default_value = "none")]
    pub nemesis: Fault,
    /// How many nodes.
    #[arg(long, default_value_t = 5)]
    pub nodes: usize,
    /// For how long; seconds, if no unit is given.
    #[arg(long, default_value = "60s", value_parser = parse_time)]
    pub time: Duration,
    /// How long each fault is held.
    #[arg(long, default_value = "5s", value_parser = parse_time)]
    pub hold: Duration,
    /// How many clients.
    #[arg(long, default_value_t = 10)]
    pub clients: usize,
    /// How long a client thinks between two operations, on average.
    #[arg(long, default_value = "0ms", value_parser = parse_time)]
    pub pause: Duration,
    /// What all choices follow from; a fresh one each time if it is not given.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Cut links by the nodes' own fault hook even where the kernel could.
    #[arg(long)]
    pub no_namespaces: bool,
    /// Each node runs in a container of its own, one network for each region; a Docker engine must answer on this machine.
    #[arg(long, conflicts_with_all = ["no_namespaces", "faketime", "url"])]
    pub containers: bool,
    /// One node's clock is put wrong from outside, by libfaketime, as far as its bound allows.
    #[arg(long)]
    pub faketime: bool,
    /// Run against this database instead of a cluster of our own, without a nemesis.
    #[arg(long, conflicts_with_all = ["nemesis", "nodes", "faketime"])]
    pub url: Option<String>,
    /// Write history, verdict and report into this directory.
    #[arg(long)]
    pub output: Option<PathBuf>,
    /// Keep data and logs in this directory.
    #[arg(long)]
    pub directory: Option<PathBuf>,
}

fn parse_time(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_secs).or_else(|_| parse_duration(text))
}

/// Runs it, and prints the verdict.
///
/// # Errors
/// When the verdict is not *valid*, or the cluster or the nemesis failed.
pub async fn run(arguments: &RunArguments) -> Result<()> {
    let seed = arguments.seed.unwrap_or_else(|| clock::Random::from_entropy().seed());
    println!("seed {seed}");
    let workload = workload::named(&arguments.workload).context("no such workload")?;
    let load = Load { clients: arguments.clients, duration: arguments.time, seed, pause: arguments.pause };
    let (history, verdict) = match &arguments.url {
        Some(url) => on_url(&*workload, url, load).await?,
        None => on_cluster(&*workload, arguments, load).await?,
    };
    if let Some(output) = &arguments.output {
        let title = format!("{} under {}", workload.name(), arguments.nemesis.name());
        report::write(output, &title, &history, &verdict)?;
    }
    println!("{} under {}: {verdict}", arguments.workload, arguments.nemesis.name());
    ensure!(
        verdict.is_valid(),
        "not valid; again with: jepsen run --workload {} --nemesis {} --nodes {} --seed {seed}{}",
        arguments.workload,
        arguments.nemesis.name(),
        arguments.nodes,
        if arguments.containers { " --containers" } else { "" }
    );
    Ok(())
}

async fn on_url(workload: &dyn Workload, url: &str, load: Load) -> Result<(History, Verdict)> {
    let database = UrlDatabase::open(url).await?;
    let recorder = Recorder::new();
    let calm = async {
        tokio::time::sleep(load.duration).await;
        Ok(())
    };
    workload::drive(workload, &database as &dyn Database, load, &recorder, calm).await
}

async fn on_cluster(workload: &dyn Workload, arguments: &RunArguments, load: Load) -> Result<(History, Verdict)> {
    let temporary = tempfile::TempDir::with_prefix("meridian-run-")?;
    let directory = arguments.directory.clone().unwrap_or_else(|| temporary.path().to_path_buf());
    let config = config(arguments, &directory)?;
    let plan = Plan {
        fault: arguments.nemesis,
        duration: arguments.time,
        hold: arguments.hold,
        seed: load.seed,
        // A clock that is wrong from outside already has no room left to jump.
        clock_error: if arguments.faketime { Duration::ZERO } else { clock_error(arguments) },
    };
    let mut cluster = Cluster::start(config).await?;
    if plan.fault.cuts_links() {
        println!("links are cut by {}", cluster.cutter());
    }
    let database = ProcessDatabase::of(&cluster);
    let recorder = Recorder::new();
    let broken = nemesis::run(&mut cluster, plan, &recorder);
    let result = workload::drive(workload, &database, load, &recorder, broken).await;
    if !result.as_ref().is_ok_and(|(_, verdict)| verdict.is_valid()) {
        cluster.print_logs();
        drop(cluster);
        println!("data and logs are kept in {}", directory.display());
        let _kept = temporary.keep();
    }
    result
}

fn clock_error(arguments: &RunArguments) -> Duration {
    let wrong = arguments.faketime || arguments.nemesis.needs_clock_error();
    if wrong { CLOCK_ERROR } else { Duration::ZERO }
}

/// A cluster as the fault needs it, as far as it can be had here.
fn config(arguments: &RunArguments, directory: &Path) -> Result<ClusterConfig> {
    let fault = arguments.nemesis;
    let mut config =
        ClusterConfig { nodes: arguments.nodes, regions: arguments.nodes, ..ClusterConfig::in_directory(directory)? };
    let mut more = |name: &str, value: String| config.arguments.extend([name.to_owned(), value]);
    more("--clock-error", format!("{}us", clock_error(arguments).as_micros()));
    more("--node-dead-after", DEAD_AFTER.to_owned());
    if arguments.containers {
        config.confinement = Confinement::Containers;
    } else if fault.cuts_links() && !arguments.no_namespaces {
        match Namespaces::obstacle() {
            None => config.confinement = Confinement::Namespaces,
            Some(obstacle) => println!("no network namespaces: {obstacle}"),
        }
    }
    if fault.needs_volumes() {
        match Volume::obstacle() {
            None => {
                config.volume_mib = Some(VOLUME_MIB);
                config.arguments.extend(["--disk-floor-mib".to_owned(), DISK_FLOOR_MIB.to_string()]);
            }
            Some(obstacle) if fault == Fault::DiskFull => bail!("disks cannot be filled here: {obstacle}"),
            Some(obstacle) => println!("SKIPPED: disks cannot be filled here: {obstacle}"),
        }
    }
    if arguments.faketime {
        ensure!(Path::new(LIBFAKETIME).exists(), "{LIBFAKETIME} is missing; .ci/tools installs it");
        let ahead = CLOCK_ERROR.mul_f64(0.9).as_secs_f64();
        for (name, value) in [
            ("LD_PRELOAD", LIBFAKETIME.to_owned()),
            ("FAKETIME", format!("+{ahead}s")),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ] {
            config.environment.push((0, name.to_owned(), value));
        }
        println!("the clock of node 1 is {:.0} ms ahead, by libfaketime", ahead * 1_000.0);
    }
    Ok(config)
}
