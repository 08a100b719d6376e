//! Rows are inserted and all of them read, while their ranges are split: each scan has every row, once, and in order.
//!
//! ```text
//!   rows   0 ─────────────── 300 │ 301 … inserted in groups, one transaction each
//!   scans  whole, upwards or downwards · by pages · counted        splits  anywhere
//! ```
//!
//! What was there before a scan began is in it; of a group that was inserted, all or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use clock::Random;
use serde_json::{Value, json};

use super::clients::{self, Clients, Done, Step, Transaction, Trouble, number};
use super::{Load, Workload};
use crate::checker::Verdict;
use crate::client::{Client, Database, Dialect, Failure, Rows, run_anywhere};
use crate::history::{Event, History, Kind, Recorder};

/// A table that is scanned.
#[derive(Clone, Copy, Debug)]
pub struct Scan {
    /// So many rows are there from the beginning.
    pub base: u64,
    /// So many rows are inserted at once.
    pub group: u64,
    /// So many rows are read at once, where a scan goes by pages.
    pub page: u64,
}

impl Default for Scan {
    fn default() -> Self {
        Scan { base: 300, group: 4, page: 37 }
    }
}

/// Rows are wide enough for a scan to be answered in pieces.
const PAD: usize = 60;

/// Inserted rows lie between those of the beginning, so that splits go through them.
const STRIDE: u64 = 1_000_000;

#[async_trait]
impl Workload for Scan {
    fn name(&self) -> &'static str {
        "scan"
    }

    async fn set_up(&self, database: &dyn Database) -> Result<(), Failure> {
        run_anywhere(database, "DROP TABLE IF EXISTS scanned").await?;
        run_anywhere(database, "CREATE TABLE IF NOT EXISTS scanned (id bigint PRIMARY KEY, pad text NOT NULL)").await?;
        let pad = "base".repeat(PAD);
        let rows: Vec<String> = (0..self.base).map(|row| format!("({}, '{pad}')", row * STRIDE)).collect();
        let insert = format!("INSERT INTO scanned VALUES {} ON CONFLICT DO NOTHING", rows.join(", "));
        run_anywhere(database, &insert).await?;
        Ok(())
    }

    async fn run(&self, database: &dyn Database, load: Load, recorder: &Recorder) {
        let can_split = database.dialect() == Dialect::Meridian;
        let scanners = Scanners { shape: *self, can_split, next: AtomicU64::new(0) };
        clients::work(&scanners, database, load, recorder).await;
    }

    async fn finish(&self, database: &dyn Database, recorder: &Recorder) {
        clients::final_read(database, recorder, "SELECT id FROM scanned ORDER BY id", ids).await;
    }

    fn check(&self, history: &History) -> Verdict {
        let mut verdict = Verdict::on(history);
        clients::require_final_read(history, &mut verdict);
        self.check_scans(history, &mut verdict);
        verdict
    }
}

fn ids(rows: &Rows) -> Value {
    rows.iter().map(|row| json!(number(row, 0))).collect()
}

struct Scanners {
    shape: Scan,
    can_split: bool,
    next: AtomicU64,
}

#[async_trait]
impl Clients for Scanners {
    fn next(&self, number: usize, random: &Random) -> Step {
        let Scan { base, group, .. } = self.shape;
        if number == 0 && self.can_split {
            return Step { f: "split", value: json!(random.range(0, base) * STRIDE + random.range(0, STRIDE)) };
        }
        match random.range(0, 8) {
            0 => Step { f: "upward-read", value: Value::Null },
            1 => Step { f: "downward-read", value: Value::Null },
            2 => Step { f: "paged-read", value: Value::Null },
            _ => {
                // The rows of a group lie far apart, so in different ranges.
                let next = self.next.fetch_add(1, Ordering::Relaxed);
                let row = |place| (next * 7 + place * base / group) % base * STRIDE + 1 + next;
                Step { f: "insert", value: (0..group).map(row).collect() }
            }
        }
    }

    async fn execute(&self, client: &mut dyn Client, step: &Step) -> Result<Done, Trouble> {
        let all = "SELECT id FROM scanned ORDER BY id";
        match step.f {
            "split" => drop(client.run(&format!("ALTER TABLE scanned SPLIT AT VALUES ({})", step.value)).await?),
            "upward-read" => return Ok(Done::Ok(ids(&client.run(all).await?))),
            "downward-read" => {
                let mut rows = client.run(&format!("{all} DESC")).await?;
                rows.reverse();
                return Ok(Done::Ok(ids(&rows)));
            }
            "paged-read" => return self.paged(client).await,
            _ => {
                let rows = step.value.as_array().into_iter().flatten();
                let rows: Vec<String> = rows.map(|id| format!("({id}, 'group')")).collect();
                client.run(&format!("INSERT INTO scanned VALUES {}", rows.join(", "))).await?;
            }
        }
        Ok(Done::Ok(step.value.clone()))
    }
}

impl Scanners {
    /// One transaction that reads page after page, each from where the last one ended.
    async fn paged(&self, client: &mut dyn Client) -> Result<Done, Trouble> {
        let mut transaction = Transaction::begin(client).await?;
        let (mut all, mut last) = (Rows::new(), -1);
        loop {
            let page = self.shape.page;
            let sql = format!("SELECT id FROM scanned WHERE id > {last} ORDER BY id LIMIT {page}");
            let rows = transaction.run(&sql).await?;
            let is_last = (rows.len() as u64) < page;
            last = rows.last().and_then(|row| number(row, 0)).unwrap_or(last);
            all.extend(rows);
            if is_last {
                break;
            }
        }
        transaction.commit().await?;
        Ok(Done::Ok(ids(&all)))
    }
}

fn numbers(value: &Value) -> Vec<u64> {
    value.as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
}

impl Scan {
    fn check_scans(&self, history: &History, verdict: &mut Verdict) {
        let operations = history.operations();
        let inserts = || operations.iter().filter(|operation| operation.invoked.f == "insert");
        let groups: BTreeMap<u64, Vec<u64>> = inserts()
            .flat_map(|insert| {
                numbers(&insert.invoked.value).into_iter().map(|id| (id, numbers(&insert.invoked.value)))
            })
            .collect();
        let failed: BTreeSet<u64> = inserts()
            .filter(|insert| insert.outcome() == Kind::Fail)
            .flat_map(|insert| numbers(&insert.invoked.value))
            .collect();
        let mut acknowledged: Vec<(u64, Vec<u64>)> =
            inserts().filter_map(|insert| Some((insert.acknowledged()?, numbers(&insert.invoked.value)))).collect();
        acknowledged.sort_unstable();
        for scan in operations.iter().filter(|operation| operation.invoked.is_read() && operation.outcome() == Kind::Ok)
        {
            let event = scan.last_event();
            let list = numbers(&event.value);
            if !list.windows(2).all(|pair| pair[0] < pair[1]) {
                verdict.found("out of order", "a scan has a row twice, or out of order", vec![event.index]);
            }
            let found: BTreeSet<u64> = list.into_iter().collect();
            let before = acknowledged.iter().take_while(|(at, _)| *at < scan.invoked.index);
            let base = (0..self.base).map(|row| row * STRIDE);
            let missing: Vec<u64> = before
                .flat_map(|(_, rows)| rows.iter().copied())
                .chain(base)
                .filter(|id| !found.contains(id))
                .collect();
            if !missing.is_empty() {
                let said = format!(
                    "a scan of {} rows misses {} that were there before it: {:?}",
                    found.len(),
                    missing.len(),
                    &missing[..missing.len().min(10)]
                );
                verdict.found("missing row", said, vec![event.index]);
            }
            self.check_rows(event, &found, &groups, &failed, verdict);
        }
    }

    fn check_rows(
        &self,
        event: &Event,
        found: &BTreeSet<u64>,
        groups: &BTreeMap<u64, Vec<u64>>,
        failed: &BTreeSet<u64>,
        verdict: &mut Verdict,
    ) {
        for id in found.iter().filter(|id| **id % STRIDE != 0) {
            let Some(group) = groups.get(id) else {
                verdict.found("row from nowhere", format!("{id} was never inserted"), vec![event.index]);
                continue;
            };
            if failed.contains(id) {
                verdict.found("undead row", format!("{id} failed, and is there"), vec![event.index]);
            }
            if group.iter().any(|other| !found.contains(other)) {
                verdict.found("torn group", format!("{id} is there without others of {group:?}"), vec![event.index]);
            }
        }
    }
}

#[cfg(test)]
mod tests;
