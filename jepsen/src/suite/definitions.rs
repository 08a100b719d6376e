//! Definitions that are stopped on their way, however that comes about, leave nothing locked (`locks_have_owner`).
//!
//! ```text
//!   gateway   CREATE TABLE, CREATE INDEX, ALTER TABLE, DROP TABLE at once ──✕ cancelled, timed out, client gone, paused, killed
//!   another   rows of the same tables are written meanwhile; once it has happened: soon, each of them again
//!   third     a definition in another database, over and over: none of it concerns it
//! ```
//!
//! Whoever is told to stop unlocks at once. The locks of a node that is heard of no more stand until its lease on the catalog has run
//! out: half a lease more than the 6 s that it lasts.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::FutureExt;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

use super::on_own_cluster;
use crate::cluster::{Cluster, Signal};

/// The tables, each with what is done to it.
const DEFINITIONS: [(&str, &str); 4] = [
    ("indexed", "CREATE INDEX ON indexed (note)"),
    ("altered", "ALTER TABLE altered ADD COLUMN more int DEFAULT 7"),
    ("dropped", "DROP TABLE dropped"),
    ("made", "CREATE TABLE made (id int PRIMARY KEY, note text)"),
];
const ROWS: usize = 2_000;
/// How far the definitions get before they are stopped by their clients, in turn.
const AFTER: [Duration; 2] = [Duration::from_millis(40), Duration::from_millis(150)];
/// How soon the tables are free when their gateway lives.
const FREE_SOON: Duration = Duration::from_secs(3);
/// How soon they are when it does not, or cannot say: its leases run out, on the catalog and on ranges.
const FREE_AT_LAST: Duration = Duration::from_secs(20);

/// How a definition is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Cancel,
    TimeOut,
    /// The client's connection is gone.
    HangUp,
    /// The gateway's process is paused until the tables are free, and goes on then.
    Pause,
    /// The gateway's process ends without a word.
    Kill,
}

/// See the module.
pub(super) async fn stopped() -> Result<String> {
    on_own_cluster("definitions", Cluster::start, judge).await
}

async fn judge(cluster: &mut Cluster) -> Result<String> {
    cluster.connect(0).await?.batch_execute("CREATE DATABASE elsewhere").await?;
    let mut told = Vec::new();
    let [early, late] = AFTER;
    for (stop, after) in [
        (Stop::Cancel, early),
        (Stop::Cancel, late),
        (Stop::TimeOut, late),
        (Stop::HangUp, late),
        (Stop::Pause, late),
        (Stop::Kill, late),
    ] {
        let free = round(cluster, stop, after).await.with_context(|| format!("{stop:?} after {after:?}"))?;
        told.push(format!("{stop:?} {} ms", free.as_millis()));
    }
    Ok(format!("all usable again after: {}", told.join(", ")))
}

/// The tables, as they are before each round.
async fn prepare(client: &Client) -> Result<()> {
    for (table, _) in DEFINITIONS {
        client.batch_execute(&format!("DROP TABLE IF EXISTS {table}")).await?;
        if table != "made" {
            client.batch_execute(&format!("CREATE TABLE {table} (id int PRIMARY KEY, note text)")).await?;
            let fill = format!("INSERT INTO {table} SELECT g, 'note ' || g FROM generate_series(1, {ROWS}) g");
            client.batch_execute(&fill).await?;
        }
    }
    Ok(())
}

/// Stops the definitions once; how long until everything could be used again.
async fn round(cluster: &mut Cluster, stop: Stop, after: Duration) -> Result<Duration> {
    prepare(&cluster.connect(0).await?).await?;
    // Not the node that leads what all depend on: that its leases run out is another check's business.
    let gateway = (cluster.leaseholder("indexed").await? + 1) % cluster.len();
    let (user, third) = ((gateway + 1) % cluster.len(), (gateway + 2) % cluster.len());
    let mut at_work = Vec::new();
    for (_, definition) in DEFINITIONS {
        let (client, connection) = connect(cluster, gateway, "postgres").await?;
        if stop == Stop::TimeOut {
            client.batch_execute(&format!("SET statement_timeout = {}", after.as_millis())).await?;
        }
        let token = client.cancel_token();
        at_work.push((token, connection, tokio::spawn(async move { client.batch_execute(definition).await })));
    }
    let writer = cluster.connect(user).await?;
    let write = async {
        loop {
            // Whoever is in the way of a definition waits for it, or may be told to try again.
            let _ = writer.batch_execute("UPDATE indexed SET note = note || '.' WHERE id = 1").await;
        }
    };
    let _: Result<(), _> = tokio::time::timeout(after, write).await;
    match stop {
        Stop::Cancel => {
            for (token, ..) in &at_work {
                token.cancel_query(NoTls).await?;
            }
        }
        Stop::TimeOut => {}
        Stop::HangUp => at_work.iter().for_each(|(_, connection, _)| connection.abort()),
        Stop::Pause => cluster.node_mut(gateway).signal(Signal::Stop).await?,
        Stop::Kill => cluster.node_mut(gateway).signal(Signal::Kill).await?,
    }
    let begun = Instant::now();
    let bound = if matches!(stop, Stop::Pause | Stop::Kill) { FREE_AT_LAST } else { FREE_SOON };
    let (used, elsewhere) = tokio::join!(use_again(cluster, user, bound), define_elsewhere(cluster, third, bound));
    let free = begun.elapsed();
    match stop {
        Stop::Pause => cluster.node_mut(gateway).signal(Signal::Continue).await?,
        Stop::Kill => cluster.restart(gateway).await?,
        _ => {}
    }
    used?;
    elsewhere?;
    if stop == Stop::Pause {
        // What it comes to now, it does not come to on top of what others have done since.
        for (_, _, work) in at_work {
            let _ = work.await;
        }
        use_again(cluster, third, FREE_SOON).await.context("after the gateway went on")?;
    }
    Ok(free)
}

/// Writes to each table, and defines it anew.
async fn use_again(cluster: &Cluster, node: usize, bound: Duration) -> Result<()> {
    let client = cluster.connect(node).await?;
    for (table, _) in DEFINITIONS {
        let create = format!("CREATE TABLE IF NOT EXISTS {table} (id int PRIMARY KEY, note text)");
        until_done(&client, &create, bound).await?;
        until_done(&client, &format!("UPDATE {table} SET note = '' WHERE id = 2"), bound).await?;
        until_done(&client, &format!("ALTER TABLE {table} ADD COLUMN IF NOT EXISTS anew{node} int"), bound).await?;
        until_done(&client, &format!("ALTER TABLE {table} DROP COLUMN IF EXISTS anew{node}"), bound).await?;
    }
    Ok(())
}

/// A definition in another database goes through at once, whatever stands locked here.
async fn define_elsewhere(cluster: &Cluster, node: usize, bound: Duration) -> Result<()> {
    let (client, _) = connect(cluster, node, "elsewhere").await?;
    for _ in 0..3 {
        until_done(&client, "CREATE TABLE IF NOT EXISTS beside (id int PRIMARY KEY)", bound).await?;
        until_done(&client, "DROP TABLE IF EXISTS beside", bound).await?;
    }
    Ok(())
}

/// A connection, and the task without which it is gone: a client that is dropped waits for its answer first.
async fn connect(cluster: &Cluster, node: usize, database: &str) -> Result<(Client, JoinHandle<()>)> {
    let address = cluster.sql_address(node);
    let config = format!("host={} port={} user=postgres dbname={database}", address.ip(), address.port());
    let (client, connection) = tokio_postgres::connect(&config, NoTls).await?;
    Ok((client, tokio::spawn(connection.map(|_| ()))))
}

/// Has a statement executed, trying over and over until the bound.
async fn until_done(client: &Client, sql: &str, bound: Duration) -> Result<()> {
    let begun = Instant::now();
    loop {
        let left = bound.saturating_sub(begun.elapsed());
        match tokio::time::timeout(left, client.batch_execute(sql)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => ensure!(begun.elapsed() < bound, "`{sql}` fails still after {bound:?}: {error:?}"),
            Err(_) => anyhow::bail!("`{sql}` was not through within {bound:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
