//! Another program takes all of one node's disk, and gives it back.
//!
//! ```text
//!   writes through the others  ████████████████████████████████████████████████████████
//!   disk of the leaseholder              full for 8 s, to the last byte
//!   another node                                                             killed
//! ```
//!
//! The others serve meanwhile. The node itself waits, or ends with a word on why, so that whoever looks after its process starts
//! it again: it is never there in appearance only. Once it is back, it carries a quorum with one other.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio_postgres::Client;

use super::on_own_cluster;
use crate::cluster::{Cluster, ClusterConfig, Signal, Volume};

/// How long the disk is full.
const FULL_FOR: Duration = Duration::from_secs(8);
/// How long nothing may be written, at the longest: a lease runs out, and another leader is elected.
const GAP_MAX: Duration = Duration::from_secs(8);
/// How soon all is well once there is room again.
const RECOVERY_MAX: Duration = Duration::from_secs(20);

/// See the module.
pub(super) async fn taken_by_others() -> Result<String> {
    if let Some(obstacle) = Volume::obstacle() {
        return Ok(format!("SKIPPED: a disk of limited size cannot be had here: {obstacle}"));
    }
    let start = async |config| {
        let arguments = ["--disk-floor-mib", "32"].map(str::to_owned).into();
        Cluster::start(ClusterConfig { arguments, volume_mib: Some(512), ..config }).await
    };
    on_own_cluster("taken", start, judge).await
}

async fn judge(cluster: &mut Cluster) -> Result<String> {
    cluster.wait_until_replicated(RECOVERY_MAX).await?;
    cluster.connect(0).await?.batch_execute("CREATE TABLE taken (id int PRIMARY KEY, note text)").await?;
    cluster.wait_until_replicated(RECOVERY_MAX).await?;
    let victim = cluster.leaseholder("taken").await?;
    let (writer, third) = ((victim + 1) % cluster.len(), (victim + 2) % cluster.len());
    let client = cluster.connect(writer).await?;
    let mut next_id = 0;
    write_for(&client, &mut next_id, Duration::from_secs(2)).await?;
    let volume = || cluster.node(victim).volume().context("every node has a volume");
    // Twice: what the node gives up to help itself is taken, too.
    volume()?.fill(0)?;
    let noticed = write_for(&client, &mut next_id, Duration::from_secs(2)).await?;
    volume()?.fill(0)?;
    let full = write_for(&client, &mut next_id, FULL_FOR).await?;
    volume()?.free()?;
    let gap = noticed.max(full);
    ensure!(gap <= GAP_MAX, "nothing was written for {gap:?} while one disk of three was full");
    let how = until_well(cluster, victim).await?;
    cluster.wait_until_replicated(RECOVERY_MAX).await?;
    cluster.node_mut(third).signal(Signal::Kill).await?;
    let gap_after = write_for(&client, &mut next_id, Duration::from_secs(12)).await?;
    ensure!(gap_after <= GAP_MAX, "nothing was written for {gap_after:?} after another node was killed");
    let rows: i64 = client.query_one("SELECT count(*) FROM taken", &[]).await?.get(0);
    ensure!(rows >= i64::from(next_id), "{next_id} rows were acknowledged, {rows} are there");
    cluster.restart(third).await?;
    Ok(format!(
        "{rows} rows; longest gaps {} ms with the disk full, {} ms with another node killed; the node {how}",
        gap.as_millis(),
        gap_after.as_millis()
    ))
}

/// Writes row after row, again where one failed; returns the longest time without a success.
async fn write_for(client: &Client, next_id: &mut i32, duration: Duration) -> Result<Duration> {
    let begun = Instant::now();
    let (mut last, mut longest) = (begun, Duration::ZERO);
    let note = "x".repeat(8 << 10);
    while begun.elapsed() < duration || last.elapsed() > Duration::from_secs(1) {
        let sql = "INSERT INTO taken VALUES ($1, $2) ON CONFLICT DO NOTHING";
        match client.execute(sql, &[&*next_id, &note]).await {
            Ok(_) => {
                longest = longest.max(last.elapsed());
                last = Instant::now();
                *next_id += 1;
            }
            Err(error) if error.is_closed() => return Err(error).context("the connection to a healthy node broke"),
            Err(_) if last.elapsed() > 2 * GAP_MAX => bail!("nothing was written for {:?}", last.elapsed()),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    Ok(longest)
}

/// Waits until the node is ready again, after another start if it has ended; and says how it went.
async fn until_well(cluster: &mut Cluster, index: usize) -> Result<&'static str> {
    let begun = Instant::now();
    let mut how = "waited for room";
    loop {
        if !cluster.node_mut(index).is_running().await {
            ensure!(
                cluster.node(index).log_contains("cannot go on"),
                "the node has ended without a word: {}",
                cluster.node(index).log_tail()
            );
            how = "ended, and was started again";
            cluster.restart(index).await?;
        }
        match cluster.node(index).http("GET", "/health").await {
            Ok(_) => return Ok(how),
            Err(error) if begun.elapsed() > RECOVERY_MAX => return Err(error).context("the node is not ready again"),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}
