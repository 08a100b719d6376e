//! Nodes leave a cluster that is at work: one is drained, one is decommissioned, and one that died, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio_postgres::error::SqlState;

use super::on_own_cluster;
use crate::cluster::{Cluster, ClusterConfig, Signal, tied_command};

const NODES: usize = 6;
/// How long a command may take.
const COMMAND_MAX: Duration = Duration::from_secs(90);
/// How long the cluster may take for what a command began.
const SETTLED_WITHIN: Duration = Duration::from_secs(30);

/// Five nodes that are asked and written through the first of them, and one more, so that there is room when two have gone.
pub(super) async fn check() -> Result<String> {
    let start = async |config| Cluster::start(ClusterConfig { nodes: NODES, ..config }).await;
    on_own_cluster("departures", start, leave_one_by_one).await
}

async fn leave_one_by_one(cluster: &mut Cluster) -> Result<String> {
    let client = cluster.connect(0).await?;
    client.batch_execute("CREATE TABLE counted (id int PRIMARY KEY, n int NOT NULL)").await?;
    client.batch_execute("INSERT INTO counted SELECT g, 0 FROM generate_series(0, 99) g").await?;
    client.batch_execute("ALTER TABLE counted SPLIT AT VALUES (20), (40), (60), (80)").await?;
    cluster.wait_until_replicated(SETTLED_WITHIN).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let counting = tokio::spawn(count(cluster.connect(0).await?, Arc::clone(&stop)));
    let drained = drain(cluster, 2).await.context("drain")?;
    let emptied = decommission(cluster, 3, true).await.context("decommission a node that serves")?;
    let replaced = decommission(cluster, 4, false).await.context("decommission a node that died")?;
    stop.store(true, Ordering::SeqCst);
    let (counted, gap) = counting.await??;
    let sum: i64 = client.query_one("SELECT sum(n) FROM counted", &[]).await?.get(0);
    ensure!(sum == counted, "{counted} increments were acknowledged, and {sum} are there");
    Ok(format!(
        "drained in {} ms, emptied in {} ms, the dead one replaced in {} ms; {counted} writes, longest gap {} ms",
        drained.as_millis(),
        emptied.as_millis(),
        replaced.as_millis(),
        gap.as_millis()
    ))
}

/// Increments one row after the other. Returns how many were acknowledged, and the longest time between two of them.
async fn count(client: tokio_postgres::Client, stop: Arc<AtomicBool>) -> Result<(i64, Duration)> {
    let increment = client.prepare("UPDATE counted SET n = n + 1 WHERE id = $1").await?;
    let (mut counted, mut gap, mut last) = (0_i64, Duration::ZERO, Instant::now());
    while !stop.load(Ordering::SeqCst) {
        match client.execute(&increment, &[&i32::try_from(counted % 100)?]).await {
            Ok(_) => counted += 1,
            // It did not happen, and may be tried again.
            Err(error) if error.code() == Some(&SqlState::T_R_SERIALIZATION_FAILURE) => continue,
            Err(error) => return Err(error).context("a client on a node that stays saw"),
        }
        gap = gap.max(last.elapsed());
        last = Instant::now();
    }
    Ok((counted, gap))
}

/// `meridian node …`, asked of the first node; returns what it prints.
async fn node_command(cluster: &Cluster, asked: usize, arguments: &[&str]) -> Result<String> {
    let host = format!("127.0.0.1:{}", cluster.node(asked).ports().rpc);
    let command = tied_command(&cluster.config().binary).arg("node").args(arguments).args(["--host", &host]).output();
    let output = tokio::time::timeout(COMMAND_MAX, command).await.context("the command does not end")??;
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "meridian node {arguments:?}: {said}{complained}");
    Ok(said.into_owned())
}

/// Clients of a node that drains are told to leave, its leases go, and then its process may stop.
async fn drain(cluster: &mut Cluster, index: usize) -> Result<Duration> {
    let guest = cluster.connect(index).await?;
    guest.query_one("SELECT sum(n) FROM counted", &[]).await?;
    let begun = Instant::now();
    node_command(cluster, index, &["drain"]).await?;
    let took = begun.elapsed();
    let told = guest.simple_query("SELECT 1").await;
    ensure!(told.is_err() && guest.is_closed(), "a client of the node was not sent away: {told:?}");
    ensure!(cluster.connect(index).await.is_err(), "a node that drains takes clients");
    match cluster.node(index).http("GET", "/health").await {
        Ok(health) => bail!("readiness says {health}"),
        Err(error) => ensure!(error.to_string().contains("draining"), "readiness says {error}"),
    }
    cluster.node_mut(index).signal(Signal::Terminate).await?;
    cluster.restart(index).await?;
    Ok(took)
}

/// A node is decommissioned, alive or killed before: nothing is on it any more, and its process has ended.
async fn decommission(cluster: &mut Cluster, index: usize, is_alive: bool) -> Result<Duration> {
    let id = cluster.node(index).node_id().await?.to_string();
    if !is_alive {
        cluster.node_mut(index).signal(Signal::Kill).await?;
    }
    let begun = Instant::now();
    let said = node_command(cluster, 0, &["decommission", &id]).await?;
    let took = begun.elapsed();
    ensure!(said.contains(&format!("n{id} is decommissioned")), "{said}");
    let status = node_command(cluster, 0, &["status"]).await?;
    let line = status.lines().find(|line| line.starts_with(&format!("{id} "))).context("the node is listed")?;
    ensure!(line.contains("decommissioned"), "{status}");
    let ranges = cluster.connect(0).await?.query("SHOW RANGES", &[]).await?;
    for range in ranges {
        let (range_id, replicas): (i64, String) = (range.get("range_id"), range.get("replicas"));
        let mut nodes = replicas.trim_matches(['{', '}']).split(',');
        ensure!(!nodes.any(|node| node == id), "range {range_id} is still on n{id}: {replicas}");
    }
    let ended = async {
        while cluster.node_mut(index).is_running().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    if tokio::time::timeout(SETTLED_WITHIN, ended).await.is_err() {
        bail!("the process of n{id} goes on");
    }
    Ok(took)
}
