//! `jepsen control`: the same workloads against PostgreSQL, whose promises are known. Who finds nothing there at READ COMMITTED has no eyes.
//!
//! ```text
//!   cargo run -p jepsen -- control                                      a PostgreSQL of its own, where one is installed
//!   cargo run -p jepsen -- control --url-port 5432 --workload append    one that runs already, on loopback
//! ```
//!
//! | workload | READ COMMITTED | REPEATABLE READ (snapshot isolation) | SERIALIZABLE |
//! |---|---|---|---|
//! | append, register-txn | G-single, lost updates | write skew (G2-item) at most | nothing |
//! | bank | a wrong total | nothing | nothing |
//! | register | not linearizable | nothing | nothing |
//! | write-skew | G2 | G2 | nothing |
//! | monotonic | a number given twice | a number given twice | nothing |
//! | comments, long-fork, scan | what is seen by several statements is of several moments | nothing | nothing |
//! | counter, ddl, sequential, set, triples | nothing: each statement stands by itself, or is not undone by half | nothing | nothing |
//!
//! What *must* be found decides the exit status, as does what must not.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use pgwire_server::cli::parse_duration;

use crate::bench::{Server, find_postgres};
use crate::checker::Verdict;
use crate::client::{AtIsolation, Dialect, Isolation, ProcessDatabase};
use crate::history::Recorder;
use crate::report;
use crate::workload::{self, Load, Workload};

/// `jepsen control`
#[derive(Clone, Debug, Args)]
pub struct ControlArguments {
    /// Run against the PostgreSQL that listens on this port of loopback, as user postgres, instead of one of our own.
    #[arg(long)]
    url_port: Option<u16>,
    /// Only this workload; all of them if it is not given.
    #[arg(long, value_parser = clap::builder::PossibleValuesParser::new(workload::names()))]
    workload: Option<String>,
    /// Only at this level; at each of them if it is not given.
    #[arg(long, value_enum)]
    isolation: Option<Isolation>,
    /// For how long, each.
    #[arg(long, default_value = "4s", value_parser = parse_duration)]
    time: Duration,
    /// How many clients.
    #[arg(long, default_value_t = 10)]
    clients: usize,
    /// What all choices follow from; a fresh one each time if it is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// Leave a folder for each run in this directory.
    #[arg(long)]
    output: Option<PathBuf>,
}

const LEVELS: [Isolation; 3] = [Isolation::ReadCommitted, Isolation::RepeatableRead, Isolation::Serializable];

/// What must be found at a level, one of these names at least; and the beginnings of the names that may be.
fn expected(workload: &str, isolation: Isolation) -> (&'static [&'static str], &'static [&'static str]) {
    const ANY: &[&str] = &[""];
    match (workload, isolation) {
        (_, Isolation::Serializable) => (&[], &[]),
        ("append" | "register-txn", Isolation::ReadCommitted) => (&["G-single", "lost-update"], ANY),
        ("append" | "register-txn", Isolation::RepeatableRead) => (&["G2-item"], &["G2-item"]),
        ("bank", Isolation::ReadCommitted) => (&["wrong total"], ANY),
        ("register", Isolation::ReadCommitted) => (&["not linearizable"], ANY),
        ("comments", Isolation::ReadCommitted) => (&["causal reverse"], ANY),
        ("long-fork", Isolation::ReadCommitted) => (&["long fork"], ANY),
        ("scan", Isolation::ReadCommitted) => (&["torn group", "missing row"], ANY),
        ("monotonic", Isolation::ReadCommitted) => (&["number given twice"], ANY),
        ("write-skew", _) => (&["G2"], &["G2"]),
        // Two that see the same highest number give the same one, of which there may be one in each table.
        ("monotonic", Isolation::RepeatableRead) => (&[], &["number"]),
        _ => (&[], &[]),
    }
}

/// Runs the workloads at the levels, and compares what is found with what is expected.
///
/// # Errors
/// When something was found that must not be, or not found that must be; when there is no PostgreSQL.
pub async fn run(arguments: &ControlArguments) -> Result<()> {
    let seed = arguments.seed.unwrap_or_else(|| clock::Random::from_entropy().seed());
    println!("seed {seed}");
    let directory = tempfile::TempDir::with_prefix("meridian-control-")?;
    let (server, port) = match arguments.url_port {
        Some(port) => (None, port),
        None => {
            let bin = find_postgres().context("no PostgreSQL server is installed; give --url-port")?;
            let server = Server::start(&bin, &directory.path().join("postgres"), 0).await?;
            let port = server.port();
            (Some(server), port)
        }
    };
    let inner = ProcessDatabase { addresses: vec![([127, 0, 0, 1], port).into()], timeout: Duration::from_secs(15) };
    let load = Load { clients: arguments.clients, duration: arguments.time, seed, pause: Duration::ZERO };
    let wanted = |workload: &dyn Workload| arguments.workload.as_deref().is_none_or(|name| name == workload.name());
    let mut wrong = 0;
    for workload in workload::all().into_iter().filter(|workload| wanted(&**workload)) {
        for isolation in LEVELS.into_iter().filter(|level| arguments.isolation.is_none_or(|only| only == *level)) {
            let database = AtIsolation { inner: &inner, isolation, dialect: Dialect::PostgreSql };
            let recorder = Recorder::new();
            let calm = async {
                tokio::time::sleep(load.duration).await;
                Ok(())
            };
            let (history, verdict) = workload::drive(&*workload, &database, load, &recorder, calm).await?;
            let title = format!("{} on PostgreSQL, {}", workload.name(), isolation.sql());
            if let Some(output) = &arguments.output {
                let folder = output.join(title.replace([' ', ','], "-"));
                report::write(&folder, &title, &history, &verdict)?;
            }
            match judge(&verdict, workload.name(), isolation) {
                Ok(()) => println!("as expected   {title}: {verdict}"),
                Err(error) => {
                    wrong += 1;
                    println!("NOT EXPECTED  {title}: {error}: {verdict}");
                }
            }
        }
    }
    if let Some(server) = server {
        server.stop().await;
    }
    if wrong > 0 {
        bail!("{wrong} verdicts are not as expected");
    }
    Ok(())
}

fn judge(verdict: &Verdict, workload: &str, isolation: Isolation) -> Result<()> {
    let (must, may) = expected(workload, isolation);
    let names = verdict.names();
    ensure!(verdict.unknown.is_empty(), "the checker cannot tell");
    let foreign = |name: &&&str| !may.iter().any(|allowed| name.starts_with(allowed));
    if let Some(name) = names.iter().find(foreign) {
        bail!("{name} must not be there");
    }
    let found = |wanted: &&str| names.iter().any(|name| name.starts_with(wanted));
    ensure!(must.is_empty() || must.iter().any(found), "one of {must:?} must be found, or the workload is blind");
    Ok(())
}
