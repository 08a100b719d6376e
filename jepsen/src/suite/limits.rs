//! What a node must refuse, how soon, and that it goes on afterwards.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::on_own_cluster;
use crate::cluster::{Cluster, ClusterConfig, Volume};

/// A statement waits 10 s for a quorum, then says so.
const REFUSAL_MAX: Duration = Duration::from_secs(13);
/// How soon service must be back once what stood in its way is gone.
const RECOVERY_MAX: Duration = Duration::from_secs(15);
/// How long a disk may be full before writes are refused: the free room is looked at every second.
const NOTICE_MAX: Duration = Duration::from_secs(10);

/// A node that sees no majority refuses reads and writes in time; the others go on; healed, all is as before.
pub(super) async fn minority(cluster: &mut Cluster) -> Result<String> {
    let client = cluster.connect(0).await?;
    client.batch_execute("DROP TABLE IF EXISTS minority; CREATE TABLE minority (id int PRIMARY KEY)").await?;
    let lonely = cluster.leaseholder("minority").await?;
    let other = (lonely + 1) % cluster.len();
    let (inside, outside) = (cluster.connect(lonely).await?, cluster.connect(other).await?);
    isolate(cluster, lonely, true).await?;
    let judged = judge_minority(&inside, &outside).await;
    isolate(cluster, lonely, false).await?;
    let (refused, served) = judged?;
    let back = until_served(cluster, lonely, "INSERT INTO minority VALUES (4) ON CONFLICT DO NOTHING").await?;
    let rows = client.query("SELECT id FROM minority ORDER BY id", &[]).await?;
    let ids: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
    ensure!(ids.contains(&3) && ids.contains(&4), "rows that were acknowledged are missing: {ids:?}");
    Ok(format!(
        "refused after {} ms, served by the others after {} ms, by itself {} ms after it was healed",
        refused.as_millis(),
        served.as_millis(),
        back.as_millis()
    ))
}

async fn isolate(cluster: &mut Cluster, node: usize, cut: bool) -> Result<()> {
    for other in (0..cluster.len()).filter(|other| *other != node) {
        cluster.set_cut(node, other, cut).await?;
        cluster.set_cut(other, node, cut).await?;
    }
    Ok(())
}

/// How soon the minority refused, and the majority served.
async fn judge_minority(inside: &Client, outside: &Client) -> Result<(Duration, Duration)> {
    let begun = Instant::now();
    let majority = async {
        loop {
            match outside.execute("INSERT INTO minority VALUES (3) ON CONFLICT DO NOTHING", &[]).await {
                Ok(_) => return anyhow::Ok(begun.elapsed()),
                Err(error) if begun.elapsed() > RECOVERY_MAX => {
                    return Err(error).context("the majority does not serve");
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    };
    let (write, served) = tokio::join!(refusal(inside, "INSERT INTO minority VALUES (1)"), majority);
    let write = write?;
    // By now its lease has run out: a read could only be stale.
    let read = refusal(inside, "SELECT count(*) FROM minority").await?;
    Ok((write.max(read), served?))
}

/// How long a statement took to be refused.
async fn refusal(client: &Client, sql: &str) -> Result<Duration> {
    let begun = Instant::now();
    match tokio::time::timeout(2 * REFUSAL_MAX, client.simple_query(sql)).await {
        Err(_) => bail!("`{sql}` was not answered within {:?}", 2 * REFUSAL_MAX),
        Ok(Ok(_)) => bail!("`{sql}` was served without a majority, after {:?}", begun.elapsed()),
        Ok(Err(error)) => {
            let error = error.as_db_error().context("the connection broke instead of an answer")?.clone();
            ensure!(begun.elapsed() <= REFUSAL_MAX, "`{sql}` was refused after {:?}: {error}", begun.elapsed());
            let words = format!("{} {}", error.message(), error.detail().unwrap_or_default());
            let names_nodes = words.contains("did not answer") || words.contains("not heard from");
            ensure!(names_nodes, "`{sql}` was refused without a word on which nodes are missing: {words}");
            Ok(begun.elapsed())
        }
    }
}

/// How long until a node serves a statement, asking over and over.
async fn until_served(cluster: &Cluster, node: usize, sql: &str) -> Result<Duration> {
    let begun = Instant::now();
    loop {
        let tried = match cluster.connect(node).await {
            Ok(client) => client.batch_execute(sql).await.map_err(anyhow::Error::from),
            Err(error) => Err(error),
        };
        match tried {
            Ok(()) => return Ok(begun.elapsed()),
            Err(error) if begun.elapsed() > RECOVERY_MAX => {
                return Err(error).with_context(|| format!("`{sql}` is not served after {RECOVERY_MAX:?}"));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// With their disks full, nodes refuse writes by name and go on reading; with room again, they write again.
pub(super) async fn disk_full() -> Result<String> {
    if let Some(obstacle) = Volume::obstacle() {
        return Ok(format!("SKIPPED: a disk of limited size cannot be had here: {obstacle}"));
    }
    let start = async |config| {
        let arguments = ["--disk-floor-mib", "32"].map(str::to_owned).into();
        Cluster::start(ClusterConfig { arguments, volume_mib: Some(512), ..config }).await
    };
    on_own_cluster("full", start, judge_disk_full).await
}

async fn judge_disk_full(cluster: &mut Cluster) -> Result<String> {
    let client = cluster.connect(0).await?;
    client.batch_execute("CREATE TABLE full_disk (id int PRIMARY KEY, note text)").await?;
    client.batch_execute("INSERT INTO full_disk VALUES (1, 'before')").await?;
    for index in 0..cluster.len() {
        cluster.node(index).volume().context("every node has a volume")?.fill(1 << 20)?;
    }
    let begun = Instant::now();
    let mut next_id = 1;
    let refused = loop {
        next_id += 1;
        match client.execute("INSERT INTO full_disk VALUES ($1, 'x')", &[&next_id]).await {
            Err(error) if error.code() == Some(&SqlState::DISK_FULL) => break begun.elapsed(),
            Err(error) => return Err(error).context("a write to a full disk failed with another error than 53100"),
            Ok(_) if begun.elapsed() > NOTICE_MAX => bail!("writes go on {NOTICE_MAX:?} after the disk was full"),
            Ok(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    };
    for index in 0..cluster.len() {
        let rows = cluster.connect(index).await?.query("SELECT note FROM full_disk WHERE id = 1", &[]).await;
        let rows = rows.with_context(|| format!("a read through node {} with its disk full", index + 1))?;
        ensure!(rows.len() == 1, "the row is gone");
        ensure!(cluster.node_mut(index).is_running().await, "node {} has ended", index + 1);
    }
    for index in 0..cluster.len() {
        cluster.node(index).volume().context("every node has a volume")?.free()?;
    }
    let back = until_served(cluster, 0, "INSERT INTO full_disk VALUES (0, 'after') ON CONFLICT DO NOTHING").await?;
    Ok(format!("refused after {} ms, written again {} ms after there was room", refused.as_millis(), back.as_millis()))
}
