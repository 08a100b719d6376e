//! A table much larger than what a node keeps in memory: what is left of the load in logs and in memory, and how soon a node is back.
//!
//! ```text
//!   COPY, 8 MiB at a time ─▶ split as it grows ─▶ quiet ─▶ logs, memory ─▶ a node stops and starts ─▶ it serves
//! ```
//!
//! A range's log is for those who lag. What a whole load leaves in the logs of its ranges is read at each start, and kept in memory
//! an entry each, so it has to be a small part of the data; and what a node holds in memory must not follow the size of its data.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use clock::Random;
use futures::SinkExt;

use super::on_own_cluster;
use crate::cluster::{Cluster, ClusterConfig, Signal};

/// What a row takes, about, and what goes in one statement.
const ROW_BYTES: usize = 1 << 10;
const STATEMENT_BYTES: u64 = 8 << 20;
/// A load of at least this many mebibytes is split as a user's would be; smaller ones sooner, so that there are ranges.
const LARGE_MIB: u64 = 1024;
/// The log may be this part of the data, beside the segments that it has in any case.
const LOG_PART: u64 = 5;
const LOG_BYTES_MIN: u64 = 160 << 20;
/// What a node may hold in memory.
const RESIDENT_BYTES_MAX: u64 = 512 << 20;
/// How soon a node that stopped serves again.
const RESTART_MAX: Duration = Duration::from_secs(5);
/// How long logs and ranges may take to come to rest after the load.
const REST_MAX: Duration = Duration::from_secs(60);

/// See the module.
pub(super) async fn check(mebibytes: u64) -> Result<String> {
    let start = async |config| {
        let split = if mebibytes >= LARGE_MIB { "64" } else { "16" };
        let arguments = ["--range-split-mib", split].map(str::to_owned).into();
        Cluster::start(ClusterConfig { arguments, ..config }).await
    };
    on_own_cluster("load", start, async |cluster| judge(cluster, mebibytes << 20).await).await
}

async fn judge(cluster: &mut Cluster, data_bytes: u64) -> Result<String> {
    let client = cluster.connect(0).await?;
    client.batch_execute("CREATE TABLE loaded (id bigint PRIMARY KEY, payload text)").await?;
    cluster.wait_until_replicated(REST_MAX).await?;
    let (begun, mut rows, mut resident_bytes) = (Instant::now(), 0, 0);
    let random = Random::from_seed(1);
    while rows * (ROW_BYTES as u64) < data_bytes {
        rows = copy(&client, &random, rows).await?;
        for index in 0..cluster.len() {
            resident_bytes = resident_bytes.max(cluster.node(index).resident_bytes().context("the node runs")?);
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    cluster.wait_until_replicated(REST_MAX).await?;
    let log_max = data_bytes / LOG_PART + LOG_BYTES_MIN;
    let log_bytes = rest(cluster, log_max).await?;
    let back = restart(cluster).await?;
    let ranges = client.query("SHOW RANGES FROM TABLE loaded", &[]).await?.len();
    let said = format!(
        "{} MiB in {rows} rows and {ranges} ranges, {:.1} MiB/s; the longest log has {} MiB, a node held {} MiB at most, and served \
         {} ms after its start",
        data_bytes >> 20,
        (data_bytes >> 20) as f64 / seconds,
        log_bytes >> 20,
        resident_bytes >> 20,
        back.as_millis(),
    );
    ensure!(log_bytes <= log_max, "the logs keep the load: {said}");
    ensure!(resident_bytes <= RESIDENT_BYTES_MAX, "memory follows the data: {said}");
    ensure!(back <= RESTART_MAX, "a start takes too long: {said}");
    Ok(said)
}

/// One statement's rows, from this one on; returns the one after.
async fn copy(client: &tokio_postgres::Client, random: &Random, first: u64) -> Result<u64> {
    let mut text = String::with_capacity(STATEMENT_BYTES as usize + ROW_BYTES);
    let mut id = first;
    while (text.len() as u64) < STATEMENT_BYTES {
        text.push_str(&format!("{id}\t"));
        (0..ROW_BYTES / 16).for_each(|_| text.push_str(&format!("{:016x}", random.next_u64())));
        text.push('\n');
        id += 1;
    }
    let sink = client.copy_in("COPY loaded FROM STDIN").await?;
    tokio::pin!(sink);
    sink.send(Bytes::from(text)).await?;
    let copied = sink.finish().await?;
    ensure!(copied == id - first, "{copied} rows of {} were copied", id - first);
    Ok(id)
}

/// The longest log of a node, once it is short enough, or has had its time.
async fn rest(cluster: &Cluster, wanted: u64) -> Result<u64> {
    let begun = Instant::now();
    loop {
        let logs = (0..cluster.len()).map(|index| cluster.node(index).data_bytes("log"));
        let longest = logs.collect::<Result<Vec<_>>>()?.into_iter().max().unwrap_or(0);
        if longest <= wanted || begun.elapsed() > REST_MAX {
            return Ok(longest);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// How long a node takes from its start until it answers from the table.
async fn restart(cluster: &mut Cluster) -> Result<Duration> {
    let index = cluster.len() - 1;
    cluster.node_mut(index).signal(Signal::Terminate).await?;
    let begun = Instant::now();
    cluster.restart(index).await?;
    let client = cluster.connect(index).await?;
    client.query_one("SELECT payload FROM loaded WHERE id = 1", &[]).await.context("a read after the start")?;
    Ok(begun.elapsed())
}
