//! pgbench's own TPC-B, in each of its modes; afterwards the balances must equal the history's.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cluster::Cluster;

const SCALE: u32 = 1;
const SECONDS: u32 = 10;

async fn pgbench(port: u16, arguments: &[&str]) -> Result<String> {
    let output = tokio::process::Command::new("pgbench")
        .args(["-h", "127.0.0.1", "-U", "postgres", "-p", &port.to_string()])
        .args(arguments)
        .arg("postgres")
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(300), output).await.context("pgbench did not end")?;
    let output = output.context("pgbench cannot be run; .ci/tools installs it")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "pgbench {arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    Ok(said)
}

fn figure(report: &str, name: &str) -> Option<f64> {
    let line = report.lines().find(|line| line.starts_with(name))?;
    line[name.len()..].trim_start_matches([' ', '=', ':']).split_whitespace().next()?.parse().ok()
}

pub(super) async fn check(cluster: &mut Cluster, mode: &str) -> Result<String> {
    let port = cluster.node(0).ports().sql;
    pgbench(port, &["-i", "-q", "-I", "dtgp", "-s", &SCALE.to_string()]).await.context("initialisation")?;
    let seconds = SECONDS.to_string();
    let report = pgbench(port, &["-n", "-M", mode, "-c", "8", "-j", "2", "-T", &seconds, "--max-tries=10"]).await?;
    let failed = figure(&report, "number of failed transactions").context("pgbench names no failed transactions")?;
    ensure!(failed == 0.0, "{failed} transactions failed:\n{report}");
    let tps = figure(&report, "tps").context("pgbench names no tps")?;
    balances(cluster).await?;
    Ok(format!("{tps:.0} tps with 8 clients, 3 synced logs"))
}

/// Accounts, tellers and branches have the sums that the history has.
async fn balances(cluster: &Cluster) -> Result<()> {
    let client = cluster.connect(2).await?;
    let mut sums = Vec::new();
    for (column, table) in
        [("abalance", "accounts"), ("tbalance", "tellers"), ("bbalance", "branches"), ("delta", "history")]
    {
        let sql = format!("SELECT coalesce(sum({column}), 0)::bigint FROM pgbench_{table}");
        sums.push(client.query_one(&sql, &[]).await.with_context(|| sql.clone())?.get::<_, i64>(0));
    }
    ensure!(sums.iter().all(|sum| *sum == sums[3]), "accounts, tellers, branches and history sum to {sums:?}");
    Ok(())
}
