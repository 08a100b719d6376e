//! pgbench's own TPC-B on a cluster of processes, with a fault in the middle if one is asked for.
//!
//! ```text
//!   pgbench -i ─▶ enough ranges? ─▶ pgbench -T ─▶ failed transactions within bounds?
//!                                      ▲          rows of history = what was acknowledged, and what is unknown?
//!                              kill, pause the    accounts = tellers = branches = history?
//!                              leaseholder's node
//! ```
//!
//! pgbench repeats transactions that a serialization failure ended, and gives up a client whose transaction ended in any other
//! error. So a client that was given up stands for one transaction of unknown outcome, at most.

mod books;
mod tool;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use pgwire_server::cli::parse_duration;

use crate::cluster::{Cluster, ClusterConfig, Signal};
use tool::{Figures, Run};

/// In which of its ways pgbench sends statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// As text.
    Simple,
    /// Parsed anew each time.
    Extended,
    /// Prepared once.
    Prepared,
}

/// What is done to processes during a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Blow {
    /// Nothing.
    None,
    /// kill -9 of the leaseholder's in the middle, and started again.
    Kill,
    /// SIGSTOP of the leaseholder's in the middle, and SIGCONT.
    Pause,
    /// kill -9 of one after the other but the clients' own, over and over, each started again before the next.
    Kills,
}

/// `jepsen pgbench`
#[derive(Clone, Debug, Args)]
pub struct PgbenchArguments {
    /// Hundred thousands of accounts.
    #[arg(long, default_value_t = 10)]
    pub scale: u32,
    /// How many clients.
    #[arg(long, default_value_t = 8)]
    pub clients: u32,
    /// For how long, each time.
    #[arg(long, default_value = "60s", value_parser = parse_duration)]
    pub time: Duration,
    /// How statements are sent; one run for each.
    #[arg(long, value_delimiter = ',', value_enum, default_value = "simple,extended,prepared")]
    pub mode: Vec<Mode>,
    /// How often a transaction is tried; one run for each. With more than one try none may fail, with one 1% may.
    #[arg(long, value_delimiter = ',', default_value = "10,1")]
    pub max_tries: Vec<u32>,
    /// Split a range once it holds more than this many mebibytes.
    #[arg(long, default_value_t = 256)]
    pub range_split_mib: u64,
    /// Wait until the accounts are in so many ranges.
    #[arg(long, default_value_t = 1)]
    pub ranges: usize,
    /// What is done to processes during each run. Clients are connected to another node than the leaseholder's.
    #[arg(long, value_enum, default_value = "none")]
    pub fault: Blow,
    /// How long it lasts; of several, how long it is from one to the next.
    #[arg(long, default_value = "5s", value_parser = parse_duration)]
    pub hold: Duration,
    /// How often each run is done.
    #[arg(long, default_value_t = 1)]
    pub repeat: u32,
    /// How many nodes.
    #[arg(long, default_value_t = 3)]
    pub nodes: usize,
    /// Keep data and logs in this directory.
    #[arg(long)]
    pub directory: Option<PathBuf>,
}

/// Runs pgbench on a fresh cluster, once for each mode and number of tries.
///
/// # Errors
/// When a run went wrong; data and logs are then kept.
pub async fn run(arguments: &PgbenchArguments) -> Result<()> {
    let temporary = tempfile::TempDir::with_prefix("meridian-pgbench-")?;
    let directory = arguments.directory.clone().unwrap_or_else(|| temporary.path().to_path_buf());
    let split = ["--range-split-mib".to_owned(), arguments.range_split_mib.to_string()];
    let config = ClusterConfig {
        nodes: arguments.nodes,
        regions: arguments.nodes,
        arguments: split.into(),
        ..ClusterConfig::in_directory(&directory)?
    };
    let mut cluster = Cluster::start(config).await?;
    let result = run_all(&mut cluster, arguments, &directory).await;
    if result.is_err() {
        cluster.print_logs();
        println!("data and logs are kept in {}", directory.display());
        let _kept = temporary.keep();
    }
    result
}

async fn run_all(cluster: &mut Cluster, arguments: &PgbenchArguments, directory: &Path) -> Result<()> {
    let took = initialise(cluster, arguments.scale).await?;
    println!("pgbench -i -s {} -I dtgp took {:.1} s", arguments.scale, took.as_secs_f64());
    for mode in &arguments.mode {
        for max_tries in arguments.max_tries.iter().flat_map(|tries| (0..arguments.repeat).map(move |_| tries)) {
            let settings = Settings {
                mode: *mode,
                clients: arguments.clients,
                time: arguments.time,
                max_tries: *max_tries,
                ranges: arguments.ranges,
                blow: arguments.fault,
                hold: arguments.hold,
            };
            println!("{}", once(cluster, settings, directory).await.with_context(|| format!("{settings:?}"))?);
        }
    }
    Ok(())
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub mode: Mode,
    pub clients: u32,
    pub time: Duration,
    pub max_tries: u32,
    pub ranges: usize,
    pub blow: Blow,
    pub hold: Duration,
}

/// Makes pgbench's tables anew; returns how long that took.
pub(crate) async fn initialise(cluster: &Cluster, scale: u32) -> Result<Duration> {
    let begun = Instant::now();
    tool::initialise(cluster.node(0).ports().sql, scale).await.context("initialisation")?;
    Ok(begun.elapsed())
}

/// Runs pgbench once on tables that are there, and checks what came of it. Returns what to tell people.
pub(crate) async fn once(cluster: &mut Cluster, settings: Settings, directory: &Path) -> Result<String> {
    let ranges = books::wait_for_ranges(cluster, settings.ranges).await?;
    let before = books::read(cluster).await?;
    before.check().context("before the run")?;
    let holder = books::leaseholder(cluster).await?;
    let gateway = match settings.blow {
        Blow::None => 0,
        Blow::Kill | Blow::Pause | Blow::Kills => (holder + 1) % cluster.len(),
    };
    let run = Run {
        port: cluster.node(gateway).ports().sql,
        mode: settings.mode,
        clients: settings.clients,
        time: settings.time,
        max_tries: settings.max_tries,
        directory,
    };
    let (figures, struck) = tokio::join!(tool::run(run), strike(cluster, holder, settings));
    struck?;
    let figures = figures?;
    cluster.wait_until_ready().await?;
    let after = books::read(cluster).await?;
    after.check()?;
    judge(&figures, after.transactions - before.transactions, settings)?;
    Ok(format!(
        "{:?}, --max-tries={}, {} clients, {} ranges of accounts, fault {:?}: {figures}",
        settings.mode, settings.max_tries, settings.clients, ranges, settings.blow
    ))
}

/// Hits the process in the middle of the run, or one after the other, and lets it come back.
async fn strike(cluster: &mut Cluster, victim: usize, settings: Settings) -> Result<()> {
    let wait = settings.time.saturating_sub(settings.hold) / 2;
    match settings.blow {
        Blow::None => Ok(()),
        Blow::Kill => {
            tokio::time::sleep(wait).await;
            let node = cluster.node_mut(victim);
            node.signal(Signal::Kill).await?;
            tokio::time::sleep(settings.hold).await;
            node.start().await
        }
        Blow::Pause => {
            tokio::time::sleep(wait).await;
            let node = cluster.node_mut(victim);
            node.signal(Signal::Stop).await?;
            tokio::time::sleep(settings.hold).await;
            node.signal(Signal::Continue).await
        }
        Blow::Kills => kill_in_turn(cluster, victim, settings).await,
    }
}

/// Kills every node but the one after `first`, in turn, while the run lasts. Each is away for half of the interval, and serves again before
/// the next one is killed: with one more away there is no quorum.
async fn kill_in_turn(cluster: &mut Cluster, first: usize, settings: Settings) -> Result<()> {
    let spared = (first + 1) % cluster.len();
    let begun = Instant::now();
    let mut victim = first;
    while begun.elapsed() + settings.hold < settings.time {
        tokio::time::sleep(settings.hold / 2).await;
        cluster.node_mut(victim).signal(Signal::Kill).await?;
        tokio::time::sleep(settings.hold / 2).await;
        cluster.restart(victim).await?;
        victim = (victim + 1) % cluster.len();
        if victim == spared {
            victim = (victim + 1) % cluster.len();
        }
    }
    Ok(())
}

fn judge(figures: &Figures, rows: u64, settings: Settings) -> Result<()> {
    let allowed = if settings.max_tries > 1 { 0.0 } else { 0.01 };
    let share = figures.failed as f64 / (figures.failed + figures.processed).max(1) as f64;
    ensure!(figures.processed > 0, "nothing was ever acknowledged: {figures}");
    ensure!(
        share <= allowed,
        "{} of {} transactions failed, more than {:.0}%:\n{}",
        figures.failed,
        figures.failed + figures.processed,
        100.0 * allowed,
        figures.complaints
    );
    if settings.blow == Blow::None && figures.given_up > 0 {
        bail!("{} clients were given up though nothing was broken:\n{}", figures.given_up, figures.complaints);
    }
    let (least, most) = (figures.processed, figures.processed + figures.given_up);
    ensure!(
        (least..=most).contains(&rows),
        "{rows} transactions are in the history; {least} were acknowledged, {} are of unknown outcome",
        figures.given_up
    );
    Ok(())
}
