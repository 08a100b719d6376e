//! Statements and sessions that would eat the machine, one kind after the other, and the process's memory beside them.
//!
//! ```text
//!   before ──▶ statement, cut off after a while ──▶ answered or refused, or its client leaves ──▶ after
//!              └ peak: so much more at most ┘                                                      └ back within a fifth, in time
//! ```

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures::SinkExt;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::cluster::Cluster;

/// What a statement may take; those that take more have been seen to hold what they hold by then.
const LIMIT: Duration = Duration::from_secs(2);
/// How soon the memory must be back. The allocator gives back what is unused for a second.
const CALM_MAX: Duration = Duration::from_secs(10);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// By how much the memory may grow meanwhile: what all statements may hold together, and what of it is there twice for a moment.
const GROWTH_MAX_BYTES: u64 = 640 << 20;
/// By how much it may have grown once all is calm again.
const GROWTH_PERCENT_MAX: u64 = 20;

type Done<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// Something that wants a lot.
struct Hungry {
    name: &'static str,
    eat: for<'a> fn(&'a mut Client) -> Done<'a>,
}

/// Feeds one after the other, and prints how the memory went.
pub(super) async fn check(cluster: &mut Cluster) -> Result<String> {
    let begun = Instant::now();
    warm_up(cluster).await?;
    let (mut highest, mut slowest) = (0, Duration::ZERO);
    for hungry in HUNGRY {
        let (growth, calm) = feed(cluster, hungry).await.with_context(|| hungry.name)?;
        (highest, slowest) = (highest.max(growth), slowest.max(calm));
    }
    ensure!(cluster.node_mut(0).is_running().await, "the process has ended");
    ensure!(!cluster.node(0).log_contains("panicked at"), "the process has panicked");
    Ok(format!(
        "{} kinds in {} s: at most {} MiB more, back within {:.1} s",
        HUNGRY.len(),
        begun.elapsed().as_secs(),
        highest >> 20,
        slowest.as_secs_f64(),
    ))
}

/// What a process takes anyway once it has been used: threads, caches, tables.
pub(super) async fn warm_up(cluster: &Cluster) -> Result<()> {
    let client = cluster.connect(0).await?;
    client.batch_execute("DROP TABLE IF EXISTS hungry; CREATE TABLE hungry (id int PRIMARY KEY, s text)").await?;
    client
        .batch_execute("INSERT INTO hungry SELECT i, repeat('x', 1000) FROM generate_series(1, 20000) AS g(i)")
        .await?;
    for _ in 0..3 {
        client.simple_query("SELECT count(*), max(s) FROM hungry").await?;
        client.simple_query("SELECT x FROM generate_series(1, 300000) s(x) ORDER BY x::text DESC").await?;
    }
    tokio::time::sleep(LIMIT).await;
    Ok(())
}

/// Feeds one: by how much the memory grew, and how long it took to be back.
async fn feed(cluster: &Cluster, hungry: &Hungry) -> Result<(u64, Duration)> {
    let resident = || cluster.node(0).resident_bytes().context("the process has memory");
    let mut client = cluster.connect(0).await?;
    client.batch_execute(&format!("SET statement_timeout = {}", LIMIT.as_millis())).await?;
    let (before, begun) = (resident()?, Instant::now());
    let mut peak = before;
    {
        let mut eating = (hungry.eat)(&mut client);
        loop {
            tokio::select! {
                done = &mut eating => break done?,
                () = tokio::time::sleep(LOOK) => peak = peak.max(resident()?),
            }
        }
    }
    drop(client);
    let (took, ended) = (begun.elapsed(), Instant::now());
    let is_back = |now: u64| now * 100 <= before * (100 + GROWTH_PERCENT_MAX);
    let mut after = resident()?;
    while !is_back(after) && ended.elapsed() < CALM_MAX {
        tokio::time::sleep(LOOK).await;
        after = resident()?;
    }
    let calm = ended.elapsed();
    println!(
        "        {:<44} {:>5.1} s   {:>4} MiB before, {:>4} at the peak, {:>4} after {:>4.1} s",
        hungry.name,
        took.as_secs_f64(),
        before >> 20,
        peak >> 20,
        after >> 20,
        calm.as_secs_f64(),
    );
    let growth = peak - before;
    ensure!(growth <= GROWTH_MAX_BYTES, "the memory grew by {} MiB", growth >> 20);
    ensure!(is_back(after), "of {} MiB {} are still there", growth >> 20, (after - before) >> 20);
    Ok((growth, calm))
}

/// An answer or an error of the server is as good as the other; a broken connection is not.
fn settled<T>(result: Result<T, tokio_postgres::Error>) -> Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.as_db_error().is_some() => Ok(false),
        Err(error) => Err(error).context("the connection broke"),
    }
}

/// A statement whose rows are read and forgotten as they come.
async fn read(client: &Client, sql: &str) -> Result<()> {
    use futures::{StreamExt, pin_mut};
    let rows = match client.simple_query_raw(sql).await {
        Ok(rows) => rows,
        Err(error) => return settled(Err::<(), _>(error)).map(|_| ()),
    };
    pin_mut!(rows);
    while let Some(row) = rows.next().await {
        if !settled::<SimpleQueryMessage>(row)? {
            break;
        }
    }
    Ok(())
}

/// Data for COPY, piece after piece, which is given up in the end.
async fn copy(client: &Client, sql: &str, piece: Bytes, times: usize) -> Result<()> {
    let sink = client.copy_in::<_, Bytes>(sql).await?;
    futures::pin_mut!(sink);
    for _ in 0..times {
        if sink.send(piece.clone()).await.is_err() {
            // It has been refused, which the next answer says.
            break;
        }
    }
    Ok(())
}

fn list(count: usize, item: impl Fn(usize) -> String) -> String {
    (0..count).map(item).collect::<Vec<_>>().join(", ")
}

/// One that is a query.
macro_rules! query {
    ($name:literal, $sql:expr) => {
        Hungry { name: $name, eat: |client| Box::pin(async move { read(client, &$sql).await }) }
    };
}

const HUNGRY: &[Hungry] = &[
    query!("a sort", "SELECT x FROM generate_series(1, 30000000) s(x) ORDER BY x::text DESC"),
    query!(
        "a join of much with much",
        "SELECT count(*) FROM generate_series(1, 20000000) a(x) JOIN generate_series(1, 20000000) b(y) ON x = y"
    ),
    query!("groups", "SELECT x, count(*) FROM generate_series(1, 20000000) s(x) GROUP BY x"),
    query!(
        "windows over a table",
        "SELECT count(n) FROM (SELECT s, sum(a.id) OVER () AS n FROM hungry a, generate_series(1, 50)) q"
    ),
    query!(
        "aggregates",
        "SELECT array_agg(x), string_agg(x::text, ','), json_agg(x) FROM generate_series(1, 20000000) s(x)"
    ),
    query!("one large value", "SELECT length(repeat('x', 1000000000))"),
    query!("a text taken apart", "SELECT count(*) FROM regexp_split_to_table(repeat('a,', 20000000), ',') s(x)"),
    query!(
        "a recursive query",
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t, generate_series(1, 3)) SELECT max(n) FROM t"
    ),
    query!("wide rows", "SELECT repeat('x', 200000) FROM generate_series(1, 3000)"),
    query!("rows that RETURNING gives", "UPDATE hungry SET s = s RETURNING repeat(s, 50)"),
    query!(
        "rows found before they are changed",
        "DELETE FROM hungry WHERE id IN (SELECT x % 20000 FROM generate_series(1, 10000000) s(x))"
    ),
    query!("a list of millions", format!("SELECT 1 WHERE 1 IN ({})", list(4_000_000, |_| "1".to_owned()))),
    query!("a text of many statements", "SELECT 1;".repeat(1_500_000)),
    Hungry {
        name: "rows of COPY, wide",
        eat: |client| {
            Box::pin(async move {
                let sink = client
                    .copy_out("COPY (SELECT repeat('x', 200000) FROM generate_series(1, 3000)) TO STDOUT")
                    .await?;
                futures::pin_mut!(sink);
                while let Some(data) = futures::StreamExt::next(&mut sink).await {
                    if !settled(data)? {
                        break;
                    }
                }
                Ok(())
            })
        },
    },
    Hungry {
        name: "a line of COPY without end",
        eat: |client| {
            Box::pin(
                async move { copy(client, "COPY hungry (s) FROM STDIN", Bytes::from(vec![b'x'; 1 << 20]), 600).await },
            )
        },
    },
    Hungry {
        name: "short lines of COPY",
        eat: |client| {
            Box::pin(async move {
                copy(client, "COPY hungry (id) FROM STDIN", Bytes::from("x\n".repeat(20_000_000)), 2).await
            })
        },
    },
    Hungry {
        name: "prepared statements",
        eat: |client| {
            Box::pin(async move {
                let mut kept = Vec::new();
                for _ in 0..20 {
                    match client.prepare(&format!("SELECT '{}'", "x".repeat(20_000_000))).await {
                        Ok(statement) => kept.push(statement),
                        Err(error) => return settled(Err::<(), _>(error)).map(|_| ()),
                    }
                }
                Ok(())
            })
        },
    },
    Hungry {
        name: "portals and their parameters",
        eat: |client| {
            Box::pin(async move {
                let transaction = client.transaction().await?;
                let statement = transaction.prepare("SELECT $1::text FROM generate_series(1, 100)").await?;
                let parameter = "x".repeat(20_000_000);
                let mut kept = Vec::new();
                for _ in 0..20 {
                    match transaction.bind(&statement, &[&parameter]).await {
                        Ok(portal) => kept.push(portal),
                        Err(error) => return settled(Err::<(), _>(error)).map(|_| ()),
                    }
                }
                Ok(())
            })
        },
    },
    Hungry {
        name: "settings",
        eat: |client| {
            Box::pin(async move {
                for number in 0..30 {
                    let set = format!("SET my.v{number} = '{}'", "x".repeat(20_000_000));
                    settled(client.simple_query(&set).await)?;
                }
                Ok(())
            })
        },
    },
];
