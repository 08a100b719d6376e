//! What pgbench's tables say: sums, rows, ranges.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::cluster::Cluster;

/// How long the accounts may take to be split.
const SPLIT_TIMEOUT: Duration = Duration::from_secs(120);

/// The sums of all four tables, read in one transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Books {
    accounts: i64,
    tellers: i64,
    branches: i64,
    history: i64,
    /// Rows of history.
    pub transactions: u64,
}

impl Books {
    /// Every transaction added the same amount to one row of each table, and wrote it down.
    pub fn check(&self) -> Result<()> {
        let sums = [self.accounts, self.tellers, self.branches, self.history];
        ensure!(sums.iter().all(|sum| *sum == sums[3]), "accounts, tellers, branches and history sum to {sums:?}");
        Ok(())
    }
}

/// Reads the books through the last node.
pub(super) async fn read(cluster: &Cluster) -> Result<Books> {
    let mut client = cluster.connect(cluster.len() - 1).await?;
    let transaction = client.transaction().await?;
    let mut sums = [0i64; 4];
    let columns = [("abalance", "accounts"), ("tbalance", "tellers"), ("bbalance", "branches"), ("delta", "history")];
    for (sum, (column, table)) in sums.iter_mut().zip(columns) {
        let sql = format!("SELECT coalesce(sum({column}), 0)::bigint FROM pgbench_{table}");
        *sum = transaction.query_one(&sql, &[]).await.with_context(|| sql.clone())?.get(0);
    }
    let rows: i64 = transaction.query_one("SELECT count(*) FROM pgbench_history", &[]).await?.get(0);
    transaction.commit().await?;
    let [accounts, tellers, branches, history] = sums;
    Ok(Books { accounts, tellers, branches, history, transactions: u64::try_from(rows)? })
}

/// How many ranges hold the accounts.
async fn ranges(cluster: &Cluster) -> Result<usize> {
    let client = cluster.connect(0).await?;
    Ok(client.query("SHOW RANGES FROM TABLE pgbench_accounts", &[]).await?.len())
}

/// Waits until the accounts are in so many ranges; returns in how many they are.
pub(super) async fn wait_for_ranges(cluster: &Cluster, least: usize) -> Result<usize> {
    let begun = Instant::now();
    loop {
        let count = ranges(cluster).await?;
        if count >= least.max(1) {
            return Ok(count);
        }
        ensure!(begun.elapsed() < SPLIT_TIMEOUT, "the accounts are in {count} ranges after {SPLIT_TIMEOUT:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// The index of the node that holds the lease of the branches, which every transaction changes.
pub(super) async fn leaseholder(cluster: &Cluster) -> Result<usize> {
    cluster.leaseholder("pgbench_branches").await
}
