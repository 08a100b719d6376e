//! Fresh clusters, whose table is split many times at once while its first copies are made.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::on_own_cluster;
use crate::cluster::Cluster;

/// How soon every range has all its copies, alive.
const REPLICATED_WITHIN: Duration = Duration::from_secs(20);
/// Splits of the clusters, in turn.
const SPLITS: [usize; 5] = [9, 19, 29, 39, 49];
const ROWS: usize = 5_000;

/// Splits a table of each of so many clusters; tells how long the slowest took to have all copies of all ranges.
pub(super) async fn at_once(clusters: usize) -> Result<String> {
    let mut took = Vec::new();
    for (number, splits) in SPLITS.iter().cycle().take(clusters).enumerate() {
        let result = on_own_cluster("splits", Cluster::found, async |cluster| split_one(cluster, *splits).await);
        took.push(result.await.with_context(|| format!("cluster {} with {splits} splits", number + 1))?);
    }
    took.sort();
    let slowest = took.last().context("no cluster was asked for")?.as_millis();
    Ok(format!(
        "{clusters} clusters, all copies after {} ms (median), {slowest} ms (slowest)",
        took[took.len() / 2].as_millis()
    ))
}

async fn split_one(cluster: &Cluster, splits: usize) -> Result<Duration> {
    let client = cluster.connect(0).await?;
    let begun = Instant::now();
    client.batch_execute("CREATE TABLE split (id int PRIMARY KEY, t text)").await?;
    let fill = format!("INSERT INTO split SELECT g, repeat('x', 100) FROM generate_series(0, {}) g", ROWS - 1);
    client.batch_execute(&fill).await?;
    let at: Vec<String> = (1..=splits).map(|split| format!("({})", split * ROWS / (splits + 1))).collect();
    client.batch_execute(&format!("ALTER TABLE split SPLIT AT VALUES {}", at.join(", "))).await?;
    loop {
        let lacking = lacking(&client).await?;
        if lacking.is_empty() {
            break;
        }
        let took = begun.elapsed();
        ensure!(took < REPLICATED_WITHIN, "after {} ms ranges lack live voters: {lacking:?}", took.as_millis());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let took = begun.elapsed();
    let count: i64 = client.query_one("SELECT count(*) FROM split", &[]).await?.get(0);
    ensure!(usize::try_from(count) == Ok(ROWS), "{count} rows of {ROWS} are left");
    Ok(took)
}

/// The ranges that have fewer than three voters that are alive, with these.
async fn lacking(client: &tokio_postgres::Client) -> Result<Vec<(i64, String)>> {
    let ranges = client.query("SHOW RANGES", &[]).await?;
    ensure!(!ranges.is_empty(), "no ranges are shown");
    let live = |range: &tokio_postgres::Row| {
        (range.get("range_id"), range.get::<_, Option<String>>("live_voters").unwrap_or_default())
    };
    let is_lacking = |(_, voters): &(i64, String)| {
        voters.trim_matches(['{', '}']).split(',').filter(|id| !id.is_empty()).count() < 3
    };
    Ok(ranges.iter().map(live).filter(is_lacking).collect())
}
