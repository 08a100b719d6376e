//! Statements that cost much, beside one that costs nothing.
//!
//! ```text
//!   four clients   wide, deep, multiplying, hungry statements, ─▶ answered, refused or cancelled in time
//!                  COPY both ways, each with a second
//!   one client     SELECT 1, ten times a second ──────────────▶ at once
//!   another        connects anew, twice a second ─────────────▶ at once
//!   a crowd        has prepared statements, and waits
//!   afterwards     the process is the same, and its memory is back
//! ```

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use clock::Random;
use futures::future::try_join_all;
use futures::{SinkExt, TryStreamExt};
use tokio_postgres::Client;

use crate::cluster::Cluster;

/// How long it lasts, and how many at once.
const STORM: Duration = Duration::from_secs(30);
const CLIENTS: usize = 4;
/// How large a statement is at most, in what it counts.
const MOST: u64 = 1 << 10;
/// How often as much as a statement may write is written before, and given up: some hundred megabytes.
const CACHES_FILLED: usize = 3;
/// Clients that wait meanwhile.
const CROWD: usize = 100;
/// What a statement may take, and how soon after that it must have been stopped.
const LIMIT: Duration = Duration::from_secs(1);
const STOP_MAX: Duration = Duration::from_secs(1);
/// How long other clients may wait, 99 of 100 times.
const ASIDE_MAX: Duration = Duration::from_millis(50);
/// By how much the memory may have grown once all is calm again, and how soon it must be calm.
const GROWTH_PERCENT_MAX: u64 = 20;
const CALM_MAX: Duration = Duration::from_secs(30);

/// Storms, and says how others fared.
pub(super) async fn check(cluster: &mut Cluster) -> Result<String> {
    let random = Random::from_entropy().fork("storm");
    warm_up(cluster, &random).await?;
    let crowd = gather(cluster).await?;
    super::memory::warm_up(cluster).await?;
    let before_bytes = cluster.node(0).resident_bytes().context("the process has memory")?;
    let end = Instant::now() + STORM;
    let storms = (0..CLIENTS).map(|client| storm(cluster, random.fork(&client.to_string()), end));
    let (counts, waits, arrivals) = tokio::try_join!(try_join_all(storms), beside(cluster, end), arrive(cluster, end))?;
    let peak_bytes = cluster.node(0).resident_bytes().unwrap_or(0);
    ensure!(cluster.node_mut(0).is_running().await, "the process has ended");
    ensure!(!cluster.node(0).log_contains("panicked at"), "the process has panicked");
    for client in &crowd {
        client.simple_query("EXECUTE p").await.context("a client that has waited")?;
    }
    let (p99, worst) = (percentile(&waits, 99), percentile(&waits, 100));
    let arrival = percentile(&arrivals, 99);
    let after_bytes = calm(cluster, before_bytes).await?;
    let (answered, refused) = counts.iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    let said = format!(
        "{answered} answered, {refused} refused or stopped; beside them SELECT 1 took {} ms (p99), {} ms at most, a connection {} ms \
         (p99); memory {} MiB before, {} at the end, {} afterwards",
        p99.as_millis(),
        worst.as_millis(),
        arrival.as_millis(),
        before_bytes >> 20,
        peak_bytes >> 20,
        after_bytes >> 20,
    );
    ensure!(p99 <= ASIDE_MAX, "SELECT 1 waited: {said}");
    ensure!(after_bytes * 100 <= before_bytes * (100 + GROWTH_PERCENT_MAX), "its memory stays: {said}");
    Ok(said)
}

/// Clients that have prepared something, and wait.
async fn gather(cluster: &Cluster) -> Result<Vec<Client>> {
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let client = cluster.connect(0).await.context("one of many clients")?;
        client.batch_execute("PREPARE p AS SELECT count(*) FROM storm WHERE n > 0").await?;
        crowd.push(client);
    }
    Ok(crowd)
}

/// What a process takes anyway once it has been used: a statement of each kind, small, and as much data as fills its caches.
async fn warm_up(cluster: &Cluster, random: &Random) -> Result<()> {
    let client = cluster.connect(0).await?;
    client.batch_execute("DROP TABLE IF EXISTS storm; CREATE TABLE storm (n int PRIMARY KEY, s text)").await?;
    client.batch_execute("INSERT INTO storm SELECT i, repeat('x', 100) FROM generate_series(1, 2000) AS g(i)").await?;
    for kind in KINDS {
        let _ = client.simple_query(&kind(3, random)).await;
        let _ = client.simple_query("ROLLBACK; DEALLOCATE ALL").await;
    }
    for _ in 0..CACHES_FILLED {
        let _ = copy_in(&client, MOST).await;
    }
    client.simple_query("SELECT 1").await.context("service before the storm")?;
    Ok(())
}

/// One client's storm; how many statements were answered, and how many refused.
async fn storm(cluster: &Cluster, random: Random, end: Instant) -> Result<(u64, u64)> {
    let client = cluster.connect(0).await?;
    client.batch_execute(&format!("SET statement_timeout = {}", LIMIT.as_millis())).await?;
    let (mut answered, mut refused) = (0, 0);
    while Instant::now() < end {
        let size = 1 << random.range(2, u64::from(MOST.ilog2()) + 1);
        let answer = match random.range(0, KINDS.len() as u64 + 2) as usize {
            number if number < KINDS.len() => {
                let sql = KINDS[number](size, &random);
                let answer = timed(&sql, async { client.simple_query(&sql).await.map(|_| ()) }).await?;
                // It may have begun a transaction, and not come to its end.
                client.simple_query("ROLLBACK; DEALLOCATE ALL").await?;
                answer
            }
            number if number == KINDS.len() => {
                let sql =
                    format!("COPY (SELECT repeat('x', {size}), x FROM generate_series(1, 100000) s(x)) TO STDOUT");
                timed(&sql, copy_out(&client, &sql)).await?
            }
            _ => timed("COPY storm FROM STDIN", copy_in(&client, size)).await?,
        };
        match answer {
            true => answered += 1,
            false => refused += 1,
        }
    }
    Ok((answered, refused))
}

/// COPY of rows that are read and forgotten.
async fn copy_out(client: &Client, sql: &str) -> Result<(), tokio_postgres::Error> {
    let data = client.copy_out(sql).await?;
    futures::pin_mut!(data);
    while data.try_next().await?.is_some() {}
    Ok(())
}

/// COPY of lines of some length, up to one that is refused.
async fn copy_in(client: &Client, size: u64) -> Result<(), tokio_postgres::Error> {
    let sink = client.copy_in::<_, Bytes>("COPY storm FROM STDIN").await?;
    futures::pin_mut!(sink);
    let line = format!("\t{}\n", "x".repeat(100 * size as usize));
    for number in 10_000..11_000 {
        sink.feed(Bytes::from(format!("{number}{line}"))).await?;
    }
    sink.send(Bytes::from_static(b"not a number\tx\n")).await?;
    sink.finish().await.map(|_| ())
}

/// Whether a statement was answered; it fails when it took too long to be stopped, or its connection broke.
async fn timed(sql: &str, work: impl Future<Output = Result<(), tokio_postgres::Error>>) -> Result<bool> {
    let begun = Instant::now();
    let result = work.await;
    let took = begun.elapsed();
    let start: String = sql.chars().take(120).collect();
    ensure!(took <= LIMIT + STOP_MAX, "`{start}…` ({} bytes) was stopped only after {took:?}", sql.len());
    match result {
        Ok(_) => Ok(true),
        Err(error) => match error.as_db_error() {
            Some(said) if said.code().code() == "XX000" && !said.message().contains("memory alloc") => {
                bail!("`{start}…` met an internal error: {said}")
            }
            Some(_) => Ok(false),
            None => Err(error).with_context(|| format!("the connection broke instead of an answer to `{start}…`")),
        },
    }
}

/// How long each SELECT 1 waited.
async fn beside(cluster: &Cluster, end: Instant) -> Result<Vec<Duration>> {
    let client = cluster.connect(0).await?;
    let mut waits = Vec::new();
    while Instant::now() < end {
        let begun = Instant::now();
        client.simple_query("SELECT 1").await.context("SELECT 1 beside the storm")?;
        waits.push(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(waits)
}

/// How long each new connection waited for its first answer.
async fn arrive(cluster: &Cluster, end: Instant) -> Result<Vec<Duration>> {
    let mut waits = Vec::new();
    while Instant::now() < end {
        let begun = Instant::now();
        let client = cluster.connect(0).await.context("a new connection beside the storm")?;
        client.simple_query("SELECT 1").await.context("its first statement")?;
        waits.push(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(waits)
}

fn percentile(waits: &[Duration], percent: usize) -> Duration {
    let mut sorted = waits.to_vec();
    sorted.sort_unstable();
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or_default()
}

/// The node's memory once it is back where it was, or after a while.
async fn calm(cluster: &Cluster, before_bytes: u64) -> Result<u64> {
    let end = Instant::now() + CALM_MAX;
    loop {
        let now_bytes = cluster.node(0).resident_bytes().context("the process has memory")?;
        if now_bytes <= before_bytes || Instant::now() >= end {
            return Ok(now_bytes);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Statements of some size.
type Kind = fn(u64, &Random) -> String;

const KINDS: &[Kind] = &[
    // Wide.
    |size, _| format!("SELECT {}", list(size, ", ", |n| format!("{n} + {n} AS c{n}"))),
    |size, _| {
        format!(
            "SELECT count(*) FROM generate_series(1, 1000) s(x) WHERE x IN ({})",
            list(4 * size, ", ", |n| n.to_string())
        )
    },
    |size, _| format!("SELECT count(*) FROM (VALUES {}) v(a, b)", list(size, ", ", |n| format!("({n}, 'v{n}')"))),
    // Deep.
    |size, _| format!("SELECT {}", list(size, " + ", |_| "1".to_owned())),
    |size, _| format!("SELECT {}1{}", "(".repeat(size as usize), ")".repeat(size as usize)),
    |size, _| format!("SELECT {}1{}", "abs(".repeat(size.min(64) as usize), ")".repeat(size.min(64) as usize)),
    |size, _| {
        format!("SELECT count(*) FROM generate_series(1, 10) s(x) WHERE {}", list(size, " OR ", |n| format!("x = {n}")))
    },
    |size, _| list(size, " UNION ALL ", |n| format!("SELECT {n}")),
    |size, _| {
        format!(
            "{}SELECT 1 AS x{}",
            "SELECT x FROM (".repeat(size.min(200) as usize),
            ") q".repeat(size.min(200) as usize)
        )
    },
    // Multiplying.
    |size, random| {
        let rows = 100 * size + random.range(0, 10);
        format!(
            "SELECT count(*) FROM generate_series(1, {rows}) a(x), generate_series(1, {rows}) b(y) WHERE x::text || y::text LIKE '%z%'"
        )
    },
    |size, _| {
        let rows = 10 * size;
        format!("SELECT x FROM generate_series(1, {rows}) a(x), generate_series(1, {rows}) b(y) ORDER BY x * y % 7, y")
    },
    |size, _| {
        format!("WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT * FROM t LIMIT {}", 1000 * size)
    },
    |size, _| {
        format!(
            "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t, generate_series(1, 2)) SELECT max(n) FROM t WHERE n < {size}"
        )
    },
    // Hungry.
    |size, _| format!("SELECT length(repeat('x', {}))", size << 20),
    |size, _| format!("SELECT repeat('x', {}) FROM generate_series(1, 10000)", 100 * size),
    |size, _| format!("SELECT x FROM generate_series(1, {}) s(x) ORDER BY x::text DESC", 100_000 * size),
    |size, _| format!("SELECT array_agg(x), string_agg(x::text, ',') FROM generate_series(1, {}) s(x)", 10_000 * size),
    |size, _| format!("SELECT sum(x) OVER (ORDER BY -x) FROM generate_series(1, {}) s(x)", 10_000 * size),
    |size, _| format!("SELECT count(DISTINCT x::text) FROM generate_series(1, {}) s(x)", 10_000 * size),
    |size, _| format!("SELECT x, count(*) FROM generate_series(1, {}) s(x) GROUP BY x", 10_000 * size),
    |size, _| format!("SELECT json_agg(x) FROM generate_series(1, {}) s(x)", 10_000 * size),
    |size, _| format!("SELECT count(*) FROM regexp_split_to_table(repeat('a,', {}), ',') s(x)", 10_000 * size),
    |size, _| {
        format!(
            "SELECT count(*) FROM generate_series(1, {0}) a(x) JOIN generate_series(1, {0}) b(y) ON x = y",
            10_000 * size
        )
    },
    |size, _| format!("EXPLAIN ANALYZE SELECT x FROM generate_series(1, {}) s(x) ORDER BY x::text", 10_000 * size),
    // Writing.
    |size, _| {
        format!(
            "BEGIN; INSERT INTO storm SELECT -x, repeat('x', 100) FROM generate_series(1, {}) s(x) RETURNING *; ROLLBACK",
            20 * size
        )
    },
    |size, _| format!("BEGIN; UPDATE storm SET s = repeat('y', {size}) WHERE n < {size} RETURNING s; ROLLBACK"),
    |size, _| format!("BEGIN; UPDATE storm SET n = -n WHERE n < {size}; ROLLBACK"),
    |size, _| {
        format!(
            "BEGIN; DELETE FROM storm WHERE n IN (SELECT x % 2000 FROM generate_series(1, {}) s(x)); ROLLBACK",
            1_000 * size
        )
    },
    |size, _| {
        format!(
            "BEGIN; INSERT INTO storm VALUES {}; ROLLBACK",
            list(size, ", ", |n| format!("({}, '{}')", n + 10_000, "x".repeat(1000)))
        )
    },
    // Prepared.
    |size, _| {
        format!(
            "{}; EXECUTE p1; DEALLOCATE ALL",
            list(size.min(200), "; ", |n| format!("PREPARE p{n} AS SELECT {n} + count(*) FROM storm"))
        )
    },
    |size, _| {
        format!("PREPARE p AS SELECT {}; EXECUTE p; DEALLOCATE ALL", list(size, " + ", |n| format!("length('{n}')")))
    },
    // Many.
    |size, _| list(size, "; ", |n| format!("SELECT {n}")),
    |size, _| format!("SELECT count(*) FROM unnest(string_to_array(repeat('a,', {}), ',')) u(x)", 10_000 * size),
];

fn list(size: u64, between: &str, item: impl Fn(u64) -> String) -> String {
    (1..=size).map(item).collect::<Vec<_>>().join(between)
}
