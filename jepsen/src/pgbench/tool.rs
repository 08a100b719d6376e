//! pgbench itself, and what it prints.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

use super::Mode;
use crate::cluster::tied_command;

/// How much longer than its time pgbench may take: a statement waits up to 10 s for a quorum, and each is tried again.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long filling the tables may take.
const INITIALISATION_TIMEOUT: Duration = Duration::from_secs(900);
/// pgbench ends with this status when it gave up clients.
const CLIENTS_GIVEN_UP: i32 = 2;

/// How to run it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run<'a> {
    pub port: u16,
    pub mode: Mode,
    pub clients: u32,
    pub time: Duration,
    pub max_tries: u32,
    /// Where its log of transactions goes.
    pub directory: &'a Path,
}

/// What it reported.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    /// Transactions that were acknowledged.
    pub processed: u64,
    /// Transactions that ended in a serialization failure at their last try.
    pub failed: u64,
    /// Transactions that were tried more than once.
    pub retried: u64,
    /// Clients that were given up because of another error.
    pub given_up: u64,
    pub per_second: f64,
    /// The longest time without an acknowledgement, the ends of the run included.
    pub longest_gap: Duration,
    /// What it wrote to standard error.
    pub complaints: String,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Figures { processed, failed, retried, given_up, per_second, .. } = self;
        let gap = self.longest_gap.as_millis();
        write!(
            f,
            "{processed} transactions, {per_second:.0}/s, {retried} retried, {failed} failed, {given_up} unknown, longest gap {gap} ms"
        )
    }
}

struct Said {
    status: Option<i32>,
    report: String,
    complaints: String,
}

async fn pgbench(port: u16, arguments: &[&str], patience: Duration) -> Result<Said> {
    let output = tied_command("pgbench")
        .args(["-h", "127.0.0.1", "-U", "postgres", "-p", &port.to_string()])
        .args(arguments)
        .arg("postgres")
        .output();
    let output = tokio::time::timeout(patience, output).await.context("pgbench did not end")?;
    let output = output.context("pgbench cannot be run; .ci/tools installs it")?;
    Ok(Said {
        status: output.status.code(),
        report: String::from_utf8_lossy(&output.stdout).into_owned(),
        complaints: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Drops, makes and fills its tables, and gives them their keys.
pub(super) async fn initialise(port: u16, scale: u32) -> Result<()> {
    let arguments = ["-i", "-q", "-I", "dtgp", "-s", &scale.to_string()];
    let said = pgbench(port, &arguments, INITIALISATION_TIMEOUT).await?;
    ensure!(said.status == Some(0), "pgbench {arguments:?}: {}{}", said.report, said.complaints);
    Ok(())
}

/// Runs it to its end.
pub(super) async fn run(run: Run<'_>) -> Result<Figures> {
    let mode = format!("{:?}", run.mode).to_lowercase();
    let (clients, seconds) = (run.clients.to_string(), run.time.as_secs().max(1).to_string());
    let (threads, tries) = (run.clients.min(2).to_string(), format!("--max-tries={}", run.max_tries));
    let logs = tempfile::TempDir::with_prefix_in("pgbench-", run.directory)?;
    let prefix = format!("--log-prefix={}", logs.path().join("log").display());
    let arguments = ["-n", "-l", &prefix, "-M", &mode, "-c", &clients, "-j", &threads, "-T", &seconds, &tries];
    let begun = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let said = pgbench(run.port, &arguments, run.time + PATIENCE).await?;
    let ended = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let given_up =
        said.complaints.lines().filter(|line| line.contains("client") && line.contains("aborted")).count() as u64;
    let acceptable = said.status == Some(0) || (said.status == Some(CLIENTS_GIVEN_UP) && given_up > 0);
    ensure!(acceptable, "pgbench {arguments:?}: {}{}", said.report, said.complaints);
    let figure =
        |name: &str| figure(&said.report, name).with_context(|| format!("pgbench says no {name}:\n{}", said.report));
    Ok(Figures {
        processed: figure("number of transactions actually processed")? as u64,
        failed: figure("number of failed transactions")? as u64,
        // It says so only when there may have been some.
        retried: figure("number of transactions retried").unwrap_or(0.0) as u64,
        given_up,
        per_second: figure("tps")?,
        longest_gap: longest_gap(acknowledgements(logs.path())?, begun, ended),
        complaints: said.complaints,
    })
}

fn figure(report: &str, name: &str) -> Option<f64> {
    let line = report.lines().find(|line| line.starts_with(name))?;
    line[name.len()..].trim_start_matches([' ', '=', ':']).split_whitespace().next()?.parse().ok()
}

/// When each transaction was acknowledged, since the epoch, from the logs of pgbench's threads.
fn acknowledgements(directory: &Path) -> Result<Vec<Duration>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path: PathBuf = entry?.path();
        let text = std::fs::read_to_string(&path)?;
        all.extend(text.lines().filter_map(acknowledgement));
    }
    Ok(all)
}

/// A line is `client transaction latency script seconds microseconds …`; the latency of one that failed is a word.
fn acknowledgement(line: &str) -> Option<Duration> {
    let fields: Vec<&str> = line.split(' ').collect();
    fields.get(2)?.parse::<u64>().ok()?;
    let (seconds, microseconds): (u64, u64) = (fields.get(4)?.parse().ok()?, fields.get(5)?.parse().ok()?);
    Some(Duration::from_secs(seconds) + Duration::from_micros(microseconds))
}

fn longest_gap(mut times: Vec<Duration>, begun: Duration, ended: Duration) -> Duration {
    times.extend([begun, ended]);
    times.sort_unstable();
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

#[cfg(test)]
mod tests;
