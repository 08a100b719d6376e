//! `cargo run -p jepsen -- …`: local clusters, workloads under faults, load.
#![allow(clippy::disallowed_methods, reason = "tests of real processes use the real world")]

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};
use jepsen::bench;
use jepsen::client::{Database, ProcessDatabase};
use jepsen::cluster::{Cluster, ClusterConfig};
use jepsen::nemesis::{self, Fault};
use jepsen::sim::{SimWorkload, run_seed};
use jepsen::suite;
use jepsen::workload::bank::Bank;
use jepsen::workload::register::Registers;
use jepsen::workload::set::Set;
use jepsen::workload::{Load, Report};
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
    Test(TestArguments),
    /// Run seeds in simulation, in virtual time, and check what came of each.
    Sim(SimArguments),
    /// Run the end-to-end suite: drivers, psql, pgbench and faults against real processes.
    Suite(suite::SuiteArguments),
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WorkloadName {
    Bank,
    Register,
    Set,
}

#[derive(Debug, Args)]
struct TestArguments {
    /// What clients do.
    #[arg(value_enum)]
    workload: WorkloadName,
    /// What is done to the cluster meanwhile.
    #[arg(long, value_enum, default_value = "kill")]
    nemesis: Fault,
    /// For how long.
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    time: Duration,
    /// How long each fault is held.
    #[arg(long, default_value = "5s", value_parser = parse_duration)]
    hold: Duration,
    /// How many clients.
    #[arg(long, default_value_t = 8)]
    clients: usize,
    /// What all choices follow from; a fresh one each time if it is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Write the history here (register workload).
    #[arg(long)]
    history: Option<PathBuf>,
    /// Keep data and logs in this directory.
    #[arg(long)]
    directory: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct SimArguments {
    /// Run this seed only.
    #[arg(long)]
    seed: Option<u64>,
    /// Run so many seeds, fresh ones.
    #[arg(long, default_value_t = 10)]
    seeds: u64,
    /// What clients do; all of them in turn if it is not given.
    #[arg(long, value_enum)]
    workload: Option<SimWorkload>,
    /// Leave the faults out.
    #[arg(long)]
    no_faults: bool,
    /// What to log, as for meridian's --log.
    #[arg(long, default_value = "error")]
    log: String,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Command::Sim(arguments) = arguments.command {
        return run_sim(&arguments);
    }
    pgwire_server::logging::start(pgwire_server::cli::LogFormat::Text, "warn,jepsen=info");
    tokio::runtime::Runtime::new()?.block_on(run(arguments.command))
}

/// Runs seeds. A simulation has a runtime of its own, so this runs outside any.
fn run_sim(arguments: &SimArguments) -> Result<()> {
    pgwire_server::logging::start(pgwire_server::cli::LogFormat::Text, &arguments.log);
    const ALL: [SimWorkload; 3] = [SimWorkload::Bank, SimWorkload::Register, SimWorkload::Set];
    let fresh = clock::Random::from_entropy();
    let seeds: Vec<u64> = match arguments.seed {
        Some(seed) => vec![seed],
        None => (0..arguments.seeds).map(|_| fresh.next_u64() >> 16).collect(),
    };
    let mut failed = 0;
    for (index, seed) in seeds.iter().enumerate() {
        let workload = arguments.workload.unwrap_or(ALL[index % ALL.len()]);
        let verdict = match run_seed(*seed, workload, !arguments.no_faults) {
            Ok(outcome) if outcome.report.violations.is_empty() => {
                println!("seed {seed} {workload:?}: {} (trace {:016x})", outcome.report, outcome.trace_hash);
                continue;
            }
            Ok(outcome) => outcome.report.to_string(),
            Err(error) => format!("{error:#}"),
        };
        failed += 1;
        let name = format!("{workload:?}").to_lowercase();
        println!("seed {seed} {workload:?} FAILED: {verdict}");
        println!("  replay with: cargo run -p jepsen -- sim --seed {seed} --workload {name}");
    }
    println!("{} passed, {failed} failed", seeds.len() as u64 - failed);
    if failed > 0 {
        bail!("{failed} seeds failed");
    }
    Ok(())
}

async fn run(command: Command) -> Result<()> {
    match command {
        Command::Cluster(arguments) => run_cluster(arguments).await,
        Command::Test(arguments) => run_test(arguments).await,
        Command::Sim(_) => bail!("simulation runs by itself"),
        Command::Suite(arguments) => suite::run(&arguments).await,
        Command::Bench(arguments) => bench::run(&arguments).await,
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
    tokio::signal::ctrl_c().await?;
    Ok(())
}

async fn run_test(arguments: TestArguments) -> Result<()> {
    let seed = arguments.seed.unwrap_or_else(|| clock::Random::from_entropy().seed());
    println!("seed {seed}");
    let (path, _guard) = directory(arguments.directory.as_ref())?;
    let mut cluster = Cluster::start(ClusterConfig::in_directory(&path)?).await?;
    let ports = (0..cluster.len()).map(|index| cluster.node(index).ports().sql).collect();
    let database = ProcessDatabase { ports, timeout: Duration::from_secs(15) };
    let load = Load { clients: arguments.clients, duration: arguments.time, seed };
    let broken = nemesis::run(&mut cluster, arguments.nemesis, arguments.time, arguments.hold, seed);
    let (report, nemesis) = run_workload(&database, &arguments, load, broken).await?;
    nemesis?;
    println!("{:?} under {:?}: {report}", arguments.workload, arguments.nemesis);
    if !report.violations.is_empty() {
        bail!(
            "invalid; replay with: jepsen test {:?} --nemesis {:?} --seed {seed}",
            arguments.workload,
            arguments.nemesis
        );
    }
    if report.ok == 0 {
        bail!("nothing was ever acknowledged");
    }
    Ok(())
}

async fn run_workload(
    database: &dyn Database,
    arguments: &TestArguments,
    load: Load,
    nemesis: impl Future<Output = Result<()>>,
) -> Result<(Report, Result<()>)> {
    Ok(match arguments.workload {
        WorkloadName::Bank => {
            let bank = Bank::default();
            bank.set_up(database).await?;
            tokio::join!(bank.run(database, load), nemesis)
        }
        WorkloadName::Register => {
            let registers = Registers::default();
            registers.set_up(database).await?;
            tokio::join!(registers.run(database, load, arguments.history.as_deref()), nemesis)
        }
        WorkloadName::Set => {
            Set.set_up(database).await?;
            tokio::join!(Set.run(database, load), nemesis)
        }
    })
}
