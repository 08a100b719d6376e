//! `cargo run -p jepsen -- …`: local clusters, workloads under faults, load.
#![allow(clippy::disallowed_methods, reason = "tests of real processes use the real world")]

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use jepsen::allocator::AllocatorArguments;
use jepsen::bench;
use jepsen::cluster::{Cluster, ClusterConfig};
use jepsen::history::History;
use jepsen::sim::command::SimArguments;
use jepsen::sim::mutants::MutantArguments;
use jepsen::workload;
use jepsen::{control, pgbench, report, run, suite};
use pgwire_server::cli::parse_duration;

/// Clusters of real processes on this machine: to use, to break, to measure.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a cluster of processes and keep it until Ctrl-C.
    Cluster(ClusterArguments),
    /// Run a workload on a fresh cluster while a nemesis breaks it, and check what came of it.
    Run(run::RunArguments),
    /// Run seeds in simulation, in virtual time, and check what came of each.
    Sim(SimArguments),
    /// Bring known bugs back, one at a time, and see whether the simulated suite catches them.
    Mutants(MutantArguments),
    /// Run the end-to-end suite: drivers, psql, pgbench and faults against real processes.
    Suite(suite::SuiteArguments),
    /// Run workloads against PostgreSQL, at each isolation level, and compare what is found with what it promises.
    Control(control::ControlArguments),
    /// Check a history that a run left behind, again.
    Check(CheckArguments),
    /// Run pgbench's TPC-B on a fresh cluster, with a fault in the middle if wanted, and check its books.
    Pgbench(pgbench::PgbenchArguments),
    /// Let the product decide where replicas and leases go in a large cluster of numbers, from several starts, and plot what comes of it.
    Allocator(AllocatorArguments),
    /// Put closed-loop load on a fresh cluster, and on PostgreSQL where one is installed, side by side.
    Bench(bench::BenchArguments),
}

#[derive(Debug, Args)]
struct ClusterArguments {
    /// How many nodes.
    #[arg(long, default_value_t = 3)]
    nodes: usize,
    /// Over how many regions they are spread.
    #[arg(long, default_value_t = 3)]
    regions: usize,
    /// Round trip between two regions.
    #[arg(long, default_value = "0ms", value_parser = parse_duration)]
    latency: Duration,
    /// SQL port of the first node.
    #[arg(long, default_value_t = 7500)]
    sql_port: u16,
    /// Keep data and logs in this directory.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// More arguments for every node.
    #[arg(last = true)]
    arguments: Vec<String>,
}

#[derive(Debug, Args)]
struct CheckArguments {
    /// Whose history it is.
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(workload::names()))]
    workload: String,
    /// The history, in lines of JSON.
    history: PathBuf,
    /// Write verdict and report into this directory.
    #[arg(long)]
    output: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Command::Sim(arguments) = arguments.command {
        return jepsen::sim::command::run(&arguments);
    }
    pgwire_server::logging::start(pgwire_server::cli::LogFormat::Text, "warn,jepsen=info");
    // Each client of a check with many is a file.
    pgwire_server::cli::raise_file_limit();
    tokio::runtime::Runtime::new()?.block_on(async {
        // On a signal everything is dropped, which ends what was started; then the program ends.
        tokio::select! {
            biased;
            result = obey(arguments.command) => result,
            signal = stop_signal() => signal.and_then(|name| bail!("ended by {name}")),
        }
    })
}

/// Returns when the program is asked to end, with the signal's name.
async fn stop_signal() -> Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = terminate.recv() => Ok("SIGTERM"),
        _ = hang_up.recv() => Ok("SIGHUP"),
        interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| "Ctrl-C").map_err(Into::into),
    }
}

async fn obey(command: Command) -> Result<()> {
    match command {
        Command::Cluster(arguments) => run_cluster(arguments).await,
        Command::Run(arguments) => run::run(&arguments).await,
        Command::Sim(_) => bail!("simulation runs by itself"),
        Command::Mutants(arguments) => jepsen::sim::mutants::run(&arguments).await,
        Command::Suite(arguments) => suite::run(&arguments).await,
        Command::Control(arguments) => control::run(&arguments).await,
        Command::Check(arguments) => check(&arguments),
        Command::Allocator(arguments) => jepsen::allocator::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments).await,
        Command::Pgbench(arguments) => pgbench::run(&arguments).await,
    }
}

/// A directory that is removed at the end, unless one was named.
fn directory(named: Option<&PathBuf>) -> Result<(PathBuf, Option<tempfile::TempDir>)> {
    match named {
        Some(directory) => Ok((directory.clone(), None)),
        None => {
            let temporary = tempfile::TempDir::with_prefix("meridian-")?;
            Ok((temporary.path().to_path_buf(), Some(temporary)))
        }
    }
}

fn check(arguments: &CheckArguments) -> Result<()> {
    let file = std::fs::File::open(&arguments.history)?;
    let history = History::read_json(std::io::BufReader::new(file))?;
    let workload = workload::named(&arguments.workload).context("no such workload")?;
    let verdict = workload.check(&history);
    if let Some(output) = &arguments.output {
        report::write(output, workload.name(), &history, &verdict)?;
    }
    println!("{}: {verdict}", workload.name());
    if !verdict.is_valid() {
        bail!("not valid");
    }
    Ok(())
}

async fn run_cluster(arguments: ClusterArguments) -> Result<()> {
    let (path, _guard) = directory(arguments.directory.as_ref())?;
    let config = ClusterConfig {
        nodes: arguments.nodes,
        regions: arguments.regions,
        latency: arguments.latency,
        first_sql_port: Some(arguments.sql_port),
        arguments: arguments.arguments,
        ..ClusterConfig::in_directory(&path)?
    };
    let cluster = Cluster::start(config).await?;
    println!("{} nodes in {} regions, data and logs in {}:", cluster.len(), arguments.regions, path.display());
    for index in 0..cluster.len() {
        let node = cluster.node(index);
        let ports = node.ports();
        println!(
            "  node {} ({}): psql -h 127.0.0.1 -p {} -U postgres    http://127.0.0.1:{}/metrics    process {}",
            index + 1,
            node.region(),
            ports.sql,
            ports.http,
            node.id().unwrap_or(0)
        );
    }
    println!("round trip between regions: {} ms. Ctrl-C ends all of it.", arguments.latency.as_millis());
    stop_signal().await?;
    Ok(())
}
