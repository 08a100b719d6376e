//! Closed-loop load, with figures that say what they were measured on.
//!
//! ```text
//!   Meridian (three processes) ─┐                      ┌─ leaseholder's gateway ─┐
//!   PostgreSQL alone ───────────┼─▶ the same load on ──┤  another gateway        ├─▶ one table, side by side
//!   PostgreSQL + 2 standbys ────┘                      └─ PostgreSQL ────────────┘
//! ```
//!
//! Each client waits for its answer before it asks again. One system runs at a time; each line is printed as it is measured, and all of
//! them side by side at the end. Where PostgreSQL is installed the same load runs on it in the same run, alone and with two
//! synchronous standbys, either of which must have a commit on disk.
//!
//! Knows nothing of why a figure is what it is.

mod load;
pub(crate) mod postgres;
mod report;
mod start;

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};
use pgwire_server::cli::parse_duration;

use crate::cluster::{Cluster, ClusterConfig};
use load::{Protocol, Workload};
use report::{Line, Report, System};

pub(crate) use postgres::{Server, find as find_postgres};

/// `jepsen bench`
#[derive(Clone, Debug, Args)]
pub struct BenchArguments {
    /// How long each measurement takes.
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    time: Duration,
    /// Numbers of clients.
    #[arg(long, value_delimiter = ',', default_value = "1,16")]
    clients: Vec<usize>,
    /// Rows in the table of accounts; there is a branch for each 10,000 of them, and ten tellers a branch.
    #[arg(long, default_value_t = 100_000)]
    rows: u64,
    /// What to measure; everything if it is not given.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Piece>,
    /// In which form statements are sent.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "prepared,simple")]
    protocols: Vec<Protocol>,
    /// Leave PostgreSQL out.
    #[arg(long)]
    no_postgres: bool,
}

/// A part of the bench that can be run by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Piece {
    /// Reading a row by its key.
    Read,
    /// Updating a row by its key.
    Write,
    /// pgbench's transaction.
    TpcB,
    /// From the start of `meridian demo` to its first acknowledged row on three voters, and its memory.
    Demo,
    /// `pgbench -i -s 10`.
    Init,
}

impl BenchArguments {
    fn includes(&self, piece: Piece) -> bool {
        self.only.is_empty() || self.only.contains(&piece)
    }

    fn workloads(&self) -> Vec<Workload> {
        let pieces =
            [(Piece::Read, Workload::PointRead), (Piece::Write, Workload::PointWrite), (Piece::TpcB, Workload::TpcB)];
        pieces.into_iter().filter(|(piece, _)| self.includes(*piece)).map(|(_, workload)| workload).collect()
    }
}

/// Runs what was asked for and prints the figures.
///
/// # Errors
/// When a cluster or a load does not come up.
pub async fn run(arguments: &BenchArguments) -> Result<()> {
    let directory = tempfile::TempDir::with_prefix("meridian-bench-")?;
    println!(
        "closed loop over loopback, {} rows, {:?} a line, {} processors, {} build; the load runs on the same machine",
        arguments.rows,
        arguments.time,
        std::thread::available_parallelism().map_or(0, usize::from),
        if cfg!(debug_assertions) { "development" } else { "release" },
    );
    if arguments.includes(Piece::Demo) {
        start::demo(directory.path()).await?;
    }
    let mut report = Report::default();
    let init = arguments.includes(Piece::Init);
    if arguments.workloads().is_empty() && !init {
        return Ok(());
    }
    measure_meridian(arguments, &directory.path().join("meridian"), init, &mut report).await?;
    let binaries = if arguments.no_postgres { None } else { postgres::find() };
    match binaries {
        Some(binaries) => measure_postgres(arguments, directory.path(), &binaries, init, &mut report).await?,
        None if arguments.no_postgres => {}
        None => println!("no PostgreSQL is installed here: nothing to compare with"),
    }
    println!("{report}");
    Ok(())
}

async fn measure_meridian(arguments: &BenchArguments, directory: &Path, init: bool, report: &mut Report) -> Result<()> {
    let config = ClusterConfig { fault_hooks: false, ..ClusterConfig::in_directory(directory)? };
    let cluster = Cluster::start(config).await?;
    let sql_port = |index: usize| cluster.node(index).ports().sql;
    let resident = |when: &str| {
        let mib: Vec<String> = (0..cluster.len())
            .map(|index| (cluster.node(index).resident_bytes().unwrap_or(0) >> 20).to_string())
            .collect();
        println!("resident memory of the three processes {when}: {} MiB", mib.join(", "));
    };
    resident("at the start");
    if init {
        start::pgbench_init("meridian", sql_port(0)).await?;
        resident("after pgbench -i -s 10");
    }
    let workloads = arguments.workloads();
    if !workloads.is_empty() {
        load::fill(sql_port(0), arguments.rows).await?;
        let leaseholder = cluster.leaseholder("accounts").await?;
        let other = (leaseholder + 1) % cluster.len();
        measure(System::LeaseholderGateway, sql_port(leaseholder), arguments, &workloads, report).await?;
        measure(System::OtherGateway, sql_port(other), arguments, &workloads, report).await?;
        resident("at the end");
    }
    Ok(())
}

async fn measure_postgres(
    arguments: &BenchArguments,
    directory: &Path,
    binaries: &Path,
    init: bool,
    report: &mut Report,
) -> Result<()> {
    let workloads = arguments.workloads();
    for (system, standbys) in [(System::PostgresAlone, 0), (System::PostgresStandbys, 2)] {
        let server = postgres::Server::start(binaries, &directory.join(format!("pg{standbys}")), standbys).await?;
        if init {
            start::pgbench_init(system.name(), server.port()).await?;
        }
        if !workloads.is_empty() {
            load::fill(server.port(), arguments.rows).await?;
            measure(system, server.port(), arguments, &workloads, report).await?;
        }
        server.stop().await;
    }
    Ok(())
}

async fn measure(
    system: System,
    port: u16,
    arguments: &BenchArguments,
    workloads: &[Workload],
    report: &mut Report,
) -> Result<()> {
    println!("{}: {}", system.name(), system.durability());
    for workload in workloads {
        for protocol in &arguments.protocols {
            for clients in &arguments.clients {
                let line = Line { workload: *workload, protocol: *protocol, clients: *clients };
                let figures = load::run(port, line, arguments.time, arguments.rows).await?;
                println!("  {line}: {figures}");
                report.add(line, system, figures);
            }
        }
    }
    Ok(())
}
