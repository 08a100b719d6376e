//! Closed-loop load, with figures that say what they were measured on.
//!
//! Each client waits for its answer before it asks again. Every line says system, workload, clients, throughput and latency, and the
//! head of the report the durability and replication it was measured with. Where PostgreSQL is installed the same load runs on it in the
//! same run, alone and with two synchronous standbys.

mod load;
mod postgres;

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use pgwire_server::cli::parse_duration;

use crate::cluster::{Cluster, ClusterConfig};
use load::{Figures, Workload};

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
    /// Rows in the table of accounts.
    #[arg(long, default_value_t = 100_000)]
    rows: u64,
    /// Leave PostgreSQL out.
    #[arg(long)]
    no_postgres: bool,
}

/// Runs all workloads and prints the figures.
///
/// # Errors
/// When a cluster or a load does not come up.
pub async fn run(arguments: &BenchArguments) -> Result<()> {
    let directory = tempfile::TempDir::with_prefix("meridian-bench-")?;
    println!("closed loop, prepared statements, loopback, {} rows, {:?} each", arguments.rows, arguments.time);
    println!("| system | durability | workload | clients | /s | p50 µs | p99 µs | errors |");
    println!("|---|---|---|---|---|---|---|---|");
    {
        let cluster = Cluster::start(ClusterConfig::in_directory(directory.path().join("meridian"))?).await?;
        let sql_port = |index: usize| cluster.node(index).ports().sql;
        load::fill(sql_port(0), arguments.rows).await?;
        let leaseholder = load::gateway_beside_lease(&cluster).await?;
        measure("meridian, leaseholder's gateway", "3 synced logs", sql_port(leaseholder), arguments).await?;
        let other = (leaseholder + 1) % cluster.len();
        measure("meridian, another gateway", "3 synced logs", sql_port(other), arguments).await?;
    }
    if arguments.no_postgres {
        return Ok(());
    }
    let Some(binaries) = postgres::find() else {
        println!("no PostgreSQL is installed here: nothing to compare with");
        return Ok(());
    };
    for standbys in [0, 2] {
        let server =
            postgres::Server::start(&binaries, &directory.path().join(format!("pg{standbys}")), standbys).await?;
        load::fill(server.port(), arguments.rows).await?;
        let durability = if standbys == 0 { "1 synced log" } else { "synced log + any 1 of 2 standbys" };
        measure("PostgreSQL", durability, server.port(), arguments).await?;
        server.stop().await;
    }
    Ok(())
}

async fn measure(system: &str, durability: &str, port: u16, arguments: &BenchArguments) -> Result<()> {
    for workload in Workload::ALL {
        for clients in &arguments.clients {
            let Figures { per_second, p50_us, p99_us, errors } =
                load::run(port, workload, *clients, arguments.time, arguments.rows).await?;
            println!(
                "| {system} | {durability} | {} | {clients} | {per_second:.0} | {p50_us} | {p99_us} | {errors} |",
                workload.name()
            );
        }
    }
    Ok(())
}
