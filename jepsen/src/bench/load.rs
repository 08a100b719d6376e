//! The load itself: one statement or transaction at a time and client.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::ValueEnum;
use clock::Random;
use futures::future::try_join_all;
use hdrhistogram::Histogram;
use tokio_postgres::{Client, Statement};

use super::report::Line;
use crate::cluster::connect;

/// What a client does, over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Workload {
    /// Reads a row by its key.
    PointRead,
    /// Updates a row by its key.
    PointWrite,
    /// pgbench's own transaction: three updates, a read, an insert.
    TpcB,
}

impl Workload {
    pub fn name(self) -> &'static str {
        match self {
            Workload::PointRead => "point read",
            Workload::PointWrite => "point write",
            Workload::TpcB => "TPC-B",
        }
    }
}

/// In which form statements are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(super) enum Protocol {
    /// Prepared once, then bound and executed.
    Prepared,
    /// As text, values included, each time anew.
    Simple,
}

impl Protocol {
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Prepared => "prepared",
            Protocol::Simple => "simple",
        }
    }
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures {
    pub per_second: f64,
    pub p50_us: u64,
    pub p99_us: u64,
    pub errors: u64,
}

/// Rows of accounts to one branch, as pgbench has them; ten tellers to a branch.
const ACCOUNTS_PER_BRANCH: u64 = 10_000;

/// Makes and fills the tables.
pub(super) async fn fill(port: u16, rows: u64) -> Result<()> {
    let client = connect(port).await?;
    client
        .batch_execute(
            "DROP TABLE IF EXISTS accounts; DROP TABLE IF EXISTS tellers; DROP TABLE IF EXISTS branches; DROP TABLE IF EXISTS history;
             CREATE TABLE accounts (aid int PRIMARY KEY, bid int NOT NULL, abalance int NOT NULL, filler char(84));
             CREATE TABLE tellers (tid int PRIMARY KEY, bid int NOT NULL, tbalance int NOT NULL);
             CREATE TABLE branches (bid int PRIMARY KEY, bbalance int NOT NULL);
             CREATE TABLE history (tid int, bid int, aid int, delta int, mtime timestamp)",
        )
        .await
        .context("the tables were not made")?;
    let branches = rows.div_ceil(ACCOUNTS_PER_BRANCH);
    let account = |row: u64| format!("({row},{},0,'')", row / ACCOUNTS_PER_BRANCH);
    insert(&client, "accounts", rows, account).await?;
    insert(&client, "tellers", 10 * branches, |row| format!("({row},{},0)", row / 10)).await?;
    insert(&client, "branches", branches, |row| format!("({row},0)")).await
}

async fn insert(client: &Client, table: &str, rows: u64, row: impl Fn(u64) -> String) -> Result<()> {
    for start in (0..rows).step_by(1_000) {
        let values: Vec<String> = (start..rows.min(start + 1_000)).map(&row).collect();
        client.batch_execute(&format!("INSERT INTO {table} VALUES {}", values.join(","))).await?;
    }
    Ok(())
}

struct Statements {
    read: Statement,
    account: Statement,
    teller: Statement,
    branch: Statement,
    history: Statement,
}

async fn prepare(client: &Client) -> Result<Statements> {
    Ok(Statements {
        read: client.prepare("SELECT abalance FROM accounts WHERE aid = $1").await?,
        account: client.prepare("UPDATE accounts SET abalance = abalance + $1 WHERE aid = $2").await?,
        teller: client.prepare("UPDATE tellers SET tbalance = tbalance + $1 WHERE tid = $2").await?,
        branch: client.prepare("UPDATE branches SET bbalance = bbalance + $1 WHERE bid = $2").await?,
        history: client
            .prepare("INSERT INTO history (tid, bid, aid, delta, mtime) VALUES ($1, $2, $3, $4, CURRENT_TIMESTAMP)")
            .await?,
    })
}

/// Runs a workload with so many clients for so long.
pub(super) async fn run(port: u16, line: Line, time: Duration, rows: u64) -> Result<Figures> {
    let mut clients = Vec::new();
    for number in 0..line.clients {
        let client = connect(port).await?;
        let statements = prepare(&client).await?;
        let random = Random::from_seed(number as u64).fork(line.workload.name());
        clients.push(Worker { client, statements, random, line, rows });
    }
    let start = Instant::now();
    // Each client is a task of its own, so that the load uses all processors.
    let results = try_join_all(clients.into_iter().map(|worker| tokio::spawn(worker.work(start + time)))).await?;
    let elapsed = start.elapsed().as_secs_f64();
    let mut all = Histogram::<u64>::new(3)?;
    let (mut done, mut errors) = (0, 0);
    for result in results {
        let (latencies, d, e) = result?;
        all.add(latencies)?;
        done += d;
        errors += e;
    }
    Ok(Figures {
        per_second: done as f64 / elapsed,
        p50_us: all.value_at_quantile(0.5),
        p99_us: all.value_at_quantile(0.99),
        errors,
    })
}

/// One client.
struct Worker {
    client: Client,
    statements: Statements,
    random: Random,
    line: Line,
    rows: u64,
}

/// The numbers of one transaction.
#[derive(Clone, Copy)]
struct Draw {
    aid: i32,
    tid: i32,
    bid: i32,
    delta: i32,
}

impl Worker {
    async fn work(self, end: Instant) -> Result<(Histogram<u64>, u64, u64)> {
        let mut latencies = Histogram::<u64>::new(3)?;
        let (mut done, mut errors) = (0u64, 0u64);
        while Instant::now() < end {
            let draw = self.draw();
            let begun = Instant::now();
            let result = match self.line.protocol {
                Protocol::Prepared => self.prepared(draw).await,
                Protocol::Simple => self.simple(draw).await,
            };
            match result {
                Ok(()) => done += 1,
                Err(_) => {
                    errors += 1;
                    self.client.batch_execute("ROLLBACK").await?;
                }
            }
            latencies.record(begun.elapsed().as_micros() as u64)?;
        }
        Ok((latencies, done, errors))
    }

    fn draw(&self) -> Draw {
        let branches = self.rows.div_ceil(ACCOUNTS_PER_BRANCH);
        Draw {
            aid: self.random.range(0, self.rows) as i32,
            tid: self.random.range(0, 10 * branches) as i32,
            bid: self.random.range(0, branches) as i32,
            delta: self.random.range(0, 10_001) as i32 - 5_000,
        }
    }

    async fn prepared(&self, draw: Draw) -> Result<(), tokio_postgres::Error> {
        let Draw { aid, tid, bid, delta } = draw;
        let (client, statements) = (&self.client, &self.statements);
        match self.line.workload {
            Workload::PointRead => {
                client.query_one(&statements.read, &[&aid]).await?;
            }
            Workload::PointWrite => {
                client.execute(&statements.account, &[&delta, &aid]).await?;
            }
            Workload::TpcB => {
                client.batch_execute("BEGIN").await?;
                client.execute(&statements.account, &[&delta, &aid]).await?;
                client.query_one(&statements.read, &[&aid]).await?;
                client.execute(&statements.teller, &[&delta, &tid]).await?;
                client.execute(&statements.branch, &[&delta, &bid]).await?;
                client.execute(&statements.history, &[&tid, &bid, &aid, &delta]).await?;
                client.batch_execute("END").await?;
            }
        }
        Ok(())
    }

    async fn simple(&self, draw: Draw) -> Result<(), tokio_postgres::Error> {
        let Draw { aid, tid, bid, delta } = draw;
        let read = format!("SELECT abalance FROM accounts WHERE aid = {aid}");
        let account = format!("UPDATE accounts SET abalance = abalance + {delta} WHERE aid = {aid}");
        match self.line.workload {
            Workload::PointRead => self.say(&read).await,
            Workload::PointWrite => self.say(&account).await,
            Workload::TpcB => {
                self.say("BEGIN").await?;
                self.say(&account).await?;
                self.say(&read).await?;
                self.say(&format!("UPDATE tellers SET tbalance = tbalance + {delta} WHERE tid = {tid}")).await?;
                self.say(&format!("UPDATE branches SET bbalance = bbalance + {delta} WHERE bid = {bid}")).await?;
                let values = format!("{tid}, {bid}, {aid}, {delta}, CURRENT_TIMESTAMP");
                self.say(&format!("INSERT INTO history (tid, bid, aid, delta, mtime) VALUES ({values})")).await?;
                self.say("END").await
            }
        }
    }

    async fn say(&self, text: &str) -> Result<(), tokio_postgres::Error> {
        self.client.simple_query(text).await.map(|_| ())
    }
}
