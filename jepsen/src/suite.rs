//! The end-to-end suite: other people's tools and real faults against one cluster of processes.
//!
//! Each check is named, runs by itself, and says what went wrong. The suite ends with `N passed, N failed`.

mod definitions;
mod departures;
mod differential;
mod disk;
mod drivers;
mod faults;
mod hostile;
mod limits;
mod load;
mod losses;
mod memory;
mod rust_driver;
mod splits;
mod storm;
mod tools;

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use pgwire_server::cli::parse_duration;

use crate::cluster::{Cluster, ClusterConfig};
use crate::pgbench::{self, Blow, Mode};

/// `jepsen suite`
#[derive(Clone, Debug, Args)]
pub struct SuiteArguments {
    /// Run only checks whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// How many idle connections a node must bear.
    #[arg(long, default_value_t = 1_000)]
    idle_connections: usize,
    /// For how long.
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    idle_time: Duration,
    /// How many fresh clusters are split at once.
    #[arg(long, default_value_t = 3)]
    clusters: usize,
    /// How much the check `load` loads, in mebibytes.
    #[arg(long, default_value_t = 128)]
    load_mib: u64,
}

type Check = for<'a> fn(&'a mut Cluster, &'a SuiteArguments) -> Pin<Box<dyn Future<Output = Result<String>> + 'a>>;

/// The checks in their order; those that break things come last.
const CHECKS: &[(&str, Check)] = &[
    ("tokio-postgres", |cluster, _| Box::pin(rust_driver::check(cluster))),
    ("psql describes what is there", |cluster, _| Box::pin(tools::describe(cluster))),
    ("psycopg", |cluster, _| Box::pin(drivers::check(cluster, "psycopg_check.py"))),
    ("asyncpg", |cluster, _| Box::pin(drivers::check(cluster, "asyncpg_check.py"))),
    ("sqlalchemy", |cluster, _| Box::pin(drivers::check(cluster, "sqlalchemy_check.py"))),
    ("differential against PostgreSQL", |cluster, _| Box::pin(differential::check(cluster))),
    ("garbage on the ports", |cluster, _| Box::pin(hostile::garbage(cluster))),
    ("oversized messages", |cluster, _| Box::pin(hostile::oversized(cluster))),
    ("half-open connections", |cluster, _| Box::pin(hostile::half_open(cluster))),
    ("idle connections", |cluster, arguments| Box::pin(hostile::idle(cluster, arguments))),
    ("a statement is cancelled", |cluster, _| Box::pin(tools::cancel(cluster))),
    ("a storm of statements", |cluster, _| Box::pin(storm::check(cluster))),
    ("memory comes back", |cluster, _| Box::pin(memory::check(cluster))),
    ("pgbench, simple", |cluster, _| Box::pin(short_pgbench(cluster, Mode::Simple))),
    ("pgbench, extended", |cluster, _| Box::pin(short_pgbench(cluster, Mode::Extended))),
    ("pgbench, prepared", |cluster, _| Box::pin(short_pgbench(cluster, Mode::Prepared))),
    ("transfers over three ranges", |cluster, _| Box::pin(faults::transfers(cluster))),
    ("set under kill -9", |cluster, _| Box::pin(faults::set_under_kill(cluster))),
    ("bank under kill -9", |cluster, _| Box::pin(faults::bank_under_kill(cluster))),
    ("register under SIGSTOP", |cluster, _| Box::pin(faults::register_under_pause(cluster))),
    ("bank under partition", |cluster, _| Box::pin(faults::bank_under_partition(cluster))),
    ("splits at once", |_, arguments| Box::pin(splits::at_once(arguments.clusters))),
    ("definitions are stopped", |_, _| Box::pin(definitions::stopped())),
    ("a minority refuses", |cluster, _| Box::pin(limits::minority(cluster))),
    ("disk full", |_, _| Box::pin(limits::disk_full())),
    ("any two of five nodes are lost", |_, _| Box::pin(losses::any_two())),
    ("nodes leave", |_, _| Box::pin(departures::check())),
    ("load", |_, arguments| Box::pin(load::check(arguments.load_mib))),
    ("disk taken by others", |_, _| Box::pin(disk::taken_by_others())),
];

/// Runs the suite on a fresh cluster.
///
/// # Errors
/// When a check failed.
pub async fn run(arguments: &SuiteArguments) -> Result<()> {
    let directory = tempfile::TempDir::with_prefix("meridian-suite-")?;
    let started = Instant::now();
    let mut cluster = Cluster::start(ClusterConfig::in_directory(directory.path())?).await?;
    println!("three processes answer after {} ms", started.elapsed().as_millis());
    let (mut passed, mut failed) = (0, 0);
    for (name, check) in CHECKS {
        if arguments.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
            continue;
        }
        let begun = Instant::now();
        let result = check(&mut cluster, arguments).await;
        let seconds = begun.elapsed().as_secs_f64();
        match result {
            Ok(said) => {
                passed += 1;
                println!("ok      {name} ({seconds:.1} s) {said}");
            }
            Err(error) => {
                failed += 1;
                println!("FAILED  {name} ({seconds:.1} s): {error:#}");
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed > 0 {
        cluster.print_logs();
        let kept = directory.keep();
        bail!("data and logs are kept in {}", kept.display());
    }
    Ok(())
}

/// Has a check judge a cluster that is its own, in a directory that goes with it; where it does not pass, the logs are printed.
async fn on_own_cluster<T>(
    name: &str,
    start: impl AsyncFnOnce(ClusterConfig) -> Result<Cluster>,
    judge: impl AsyncFnOnce(&mut Cluster) -> Result<T>,
) -> Result<T> {
    let directory = tempfile::TempDir::with_prefix(format!("meridian-{name}-"))?;
    let mut cluster = start(ClusterConfig::in_directory(directory.path())?).await?;
    let result = judge(&mut cluster).await;
    if result.is_err() {
        cluster.print_logs();
    }
    result
}

/// A short run on fresh tables.
async fn short_pgbench(cluster: &mut Cluster, mode: Mode) -> Result<String> {
    let directory = cluster.config().directory.clone();
    pgbench::initialise(cluster, 1).await?;
    let settings = pgbench::Settings {
        mode,
        clients: 8,
        time: Duration::from_secs(10),
        max_tries: 10,
        ranges: 1,
        blow: Blow::None,
        hold: Duration::ZERO,
    };
    pgbench::once(cluster, settings, &directory).await
}
