//! What five nodes go on with when two of them are lost at once, in every pairing.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio_postgres::Client;

use super::on_own_cluster;
use crate::cluster::{Cluster, ClusterConfig, Signal};

const NODES: usize = 5;
/// How soon service must go on.
const RECOVERY_MAX: Duration = Duration::from_secs(15);
/// Rows of a pairing lie in as many ranges.
const RANGES: usize = 4;

/// With five copies of each range everything goes on; with three, whatever does not lie in a table: of a table's range two of the
/// three copies may have been on the nodes that were lost.
pub(super) async fn any_two() -> Result<String> {
    let rows = on_cluster_of("5", |client, pairing| Box::pin(write_rows(client, pairing))).await?;
    let catalog = on_cluster_of("3", |client, pairing| Box::pin(change_catalog(client, pairing))).await?;
    Ok(format!("five copies, rows written {rows}; three copies, catalog changed {catalog}"))
}

type Work = for<'c> fn(&'c Client, usize) -> futures::future::BoxFuture<'c, Result<()>>;

/// Kills each pair of nodes in turn, has the work done by the others, and starts the pair again.
async fn on_cluster_of(copies: &str, work: Work) -> Result<String> {
    let start = async |config| {
        let arguments = ["--replication-factor", copies].map(str::to_owned).into();
        Cluster::start(ClusterConfig { nodes: NODES, arguments, ..config }).await
    };
    on_own_cluster("losses", start, async |cluster| every_pairing(cluster, work).await).await
}

async fn every_pairing(cluster: &mut Cluster, work: Work) -> Result<String> {
    let splits: Vec<String> = (1..RANGES).map(|range| format!("({})", 1_000 * range)).collect();
    let client = cluster.connect(0).await?;
    client.batch_execute("CREATE TABLE losses (id int PRIMARY KEY, pairing int)").await?;
    client.batch_execute(&format!("ALTER TABLE losses SPLIT AT VALUES {}", splits.join(", "))).await?;
    drop(client);
    let mut gaps = Vec::new();
    let pairs = (0..NODES).flat_map(|one| (one + 1..NODES).map(move |other| [one, other]));
    for (pairing, pair) in pairs.enumerate() {
        cluster.wait_until_replicated(Duration::from_secs(30)).await?;
        for node in pair {
            cluster.node_mut(node).signal(Signal::Kill).await?;
        }
        let survivor = (0..NODES).find(|node| !pair.contains(node)).context("three nodes are left")?;
        let lost = pair.map(|node| node + 1);
        let took =
            until_done(cluster, survivor, pairing, work).await.with_context(|| format!("without nodes {lost:?}"))?;
        gaps.push(format!("n{}+n{} {} ms", lost[0], lost[1], took.as_millis()));
        for node in pair {
            cluster.restart(node).await?;
        }
    }
    Ok(format!("without {}", gaps.join(", ")))
}

/// How long until the work is done, trying over and over.
async fn until_done(cluster: &Cluster, node: usize, pairing: usize, work: Work) -> Result<Duration> {
    let begun = Instant::now();
    loop {
        let tried = async { work(&cluster.connect(node).await?, pairing).await };
        match tokio::time::timeout(RECOVERY_MAX, tried).await.context("no answer in time").flatten() {
            Ok(()) => return Ok(begun.elapsed()),
            Err(error) if begun.elapsed() > RECOVERY_MAX => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// A row in each range; those of the pairings before are all there.
async fn write_rows(client: &Client, pairing: usize) -> Result<()> {
    for range in 0..RANGES {
        let row = format!("INSERT INTO losses VALUES ({}, {pairing}) ON CONFLICT DO NOTHING", 1_000 * range + pairing);
        client.batch_execute(&row).await?;
    }
    let count: i64 = client.query_one("SELECT count(*) FROM losses", &[]).await?.get(0);
    ensure!(count == i64::try_from(RANGES * (pairing + 1))?, "{count} rows after pairing {pairing}");
    Ok(())
}

async fn change_catalog(client: &Client, pairing: usize) -> Result<()> {
    client.batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS pairing{pairing}")).await?;
    let found = "SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname LIKE 'pairing%'";
    let count: i64 = client.query_one(found, &[]).await?.get(0);
    ensure!(count == i64::try_from(pairing + 1)?, "{count} schemas after pairing {pairing}");
    ensure!(!client.query("SHOW RANGES", &[]).await?.is_empty(), "no ranges are shown");
    Ok(())
}
