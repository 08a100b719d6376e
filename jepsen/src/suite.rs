//! The end-to-end suite: other people's tools and real faults against one cluster of processes.
//!
//! Each check is named, runs by itself, and says what went wrong. The suite ends with `N passed, N failed`.

mod drivers;
mod faults;
mod pgbench;
mod rust_driver;
mod tools;

use std::future::Future;
use std::pin::Pin;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;

use crate::cluster::{Cluster, ClusterConfig};

/// `jepsen suite`
#[derive(Clone, Debug, Args)]
pub struct SuiteArguments {
    /// Run only checks whose name contains this.
    #[arg(long)]
    only: Option<String>,
}

type Check = for<'a> fn(&'a mut Cluster) -> Pin<Box<dyn Future<Output = Result<String>> + 'a>>;

/// The checks in their order; those that break things come last.
const CHECKS: &[(&str, Check)] = &[
    ("tokio-postgres", |cluster| Box::pin(rust_driver::check(cluster))),
    ("psql describes what is there", |cluster| Box::pin(tools::describe(cluster))),
    ("psycopg", |cluster| Box::pin(drivers::check(cluster, "psycopg_check.py"))),
    ("asyncpg", |cluster| Box::pin(drivers::check(cluster, "asyncpg_check.py"))),
    ("sqlalchemy", |cluster| Box::pin(drivers::check(cluster, "sqlalchemy_check.py"))),
    ("garbage on the ports", |cluster| Box::pin(faults::garbage(cluster))),
    ("a statement is cancelled", |cluster| Box::pin(tools::cancel(cluster))),
    ("pgbench, simple", |cluster| Box::pin(pgbench::check(cluster, "simple"))),
    ("pgbench, extended", |cluster| Box::pin(pgbench::check(cluster, "extended"))),
    ("pgbench, prepared", |cluster| Box::pin(pgbench::check(cluster, "prepared"))),
    ("set under kill -9", |cluster| Box::pin(faults::set_under_kill(cluster))),
    ("bank under kill -9", |cluster| Box::pin(faults::bank_under_kill(cluster))),
    ("register under SIGSTOP", |cluster| Box::pin(faults::register_under_pause(cluster))),
    ("bank under partition", |cluster| Box::pin(faults::bank_under_partition(cluster))),
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
        let result = check(&mut cluster).await;
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
        for index in 0..cluster.len() {
            println!("--- log of node {}\n{}", index + 1, cluster.node(index).log_tail());
        }
        let kept = directory.keep();
        bail!("data and logs are kept in {}", kept.display());
    }
    Ok(())
}
