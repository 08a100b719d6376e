//! Transactions that insert a number into three tables: it is in all of them at the end, or in none, and what was acknowledged stays.
//!
//! ```text
//!   insert n here ┄ there ┄ think ┄ and there ─▶ commit        meanwhile others read one of the tables, and push it
//! ```
//!
//! Nobody else writes what such a transaction has written, and what is pushed lies apart from its record: so that nothing but the
//! record can tell it that it was taken for dead.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use clock::Random;
use serde_json::{Value, json};

use super::clients::{self, Clients, Done, Step, Transaction, Trouble, number};
use super::{Load, Workload};
use crate::checker::Verdict;
use crate::client::{Client, Database, Failure, Rows, run_anywhere, split};
use crate::history::{History, Kind, Recorder};

/// Numbers that are in all tables, or in none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Triples;

/// In the order in which they are inserted into; all but the first are read meanwhile.
const TABLES: [&str; 3] = ["triples0", "triples1", "triples2"];

/// One transaction in so many takes its time before the last insertion: longer than a silent one is taken for alive.
const SLOW: u64 = 3;
const TIME_TAKEN: Duration = Duration::from_secs(7);

/// Readers look at so many of the newest numbers.
const NEWEST: u64 = 64;

fn read_from(table: &str, first: u64) -> String {
    format!("SELECT number FROM {table} WHERE number >= {first}")
}

fn numbers(rows: &Rows) -> Value {
    rows.iter().map(|row| json!(number(row, 0))).collect()
}

#[async_trait]
impl Workload for Triples {
    fn name(&self) -> &'static str {
        "triples"
    }

    async fn set_up(&self, database: &dyn Database) -> Result<(), Failure> {
        for table in TABLES {
            run_anywhere(database, &format!("DROP TABLE IF EXISTS {table}")).await?;
            let create = format!("CREATE TABLE IF NOT EXISTS {table} (number bigint PRIMARY KEY)");
            run_anywhere(database, &create).await?;
            split(database, table, 0).await?;
        }
        Ok(())
    }

    async fn run(&self, database: &dyn Database, load: Load, recorder: &Recorder) {
        clients::work(&Inserters { next: AtomicU64::new(0) }, database, load, recorder).await;
    }

    async fn finish(&self, database: &dyn Database, recorder: &Recorder) {
        let all = TABLES.map(|table| read_from(table, 0)).join(" UNION ALL ");
        clients::final_read(database, recorder, &all, numbers).await;
    }

    fn check(&self, history: &History) -> Verdict {
        let mut verdict = Verdict::on(history);
        find_missing(history, &mut verdict);
        if let Some(found) = clients::require_final_read(history, &mut verdict) {
            compare(history, found, &mut verdict);
        }
        verdict
    }
}

struct Inserters {
    next: AtomicU64,
}

#[async_trait]
impl Clients for Inserters {
    fn next(&self, _number: usize, random: &Random) -> Step {
        if random.chance(0.5) {
            let first = self.next.load(Ordering::Relaxed).saturating_sub(NEWEST);
            return Step { f: "read", value: json!([random.range(1, TABLES.len() as u64), first]) };
        }
        Step { f: "add", value: json!(self.next.fetch_add(1, Ordering::Relaxed)) }
    }

    async fn execute(&self, client: &mut dyn Client, step: &Step) -> Result<Done, Trouble> {
        if let Some((table, first)) = asked(&step.value) {
            let read = numbers(&client.run(&read_from(TABLES[table], first)).await?);
            return Ok(Done::Ok(json!([table, first, read])));
        }
        let number = step.value.as_u64().expect("what is added is a number");
        let mut transaction = Transaction::begin(client).await?;
        for table in TABLES {
            if table == TABLES[2] && number.is_multiple_of(SLOW) {
                tokio::time::sleep(TIME_TAKEN).await;
            }
            transaction.run(&format!("INSERT INTO {table} VALUES ({number})")).await?;
        }
        transaction.commit().await?;
        Ok(Done::Ok(step.value.clone()))
    }
}

/// The table that a read is of, and the first number it asks for.
fn asked(read: &Value) -> Option<(usize, u64)> {
    Some((usize::try_from(read[0].as_u64()?).ok()?, read[1].as_u64()?))
}

/// How often each number was read.
fn count(read: &Value) -> BTreeMap<u64, usize> {
    let mut times = BTreeMap::new();
    for number in read.as_array().into_iter().flatten().filter_map(Value::as_u64) {
        *times.entry(number).or_default() += 1;
    }
    times
}

/// What was acknowledged before a read began must be in it.
fn find_missing(history: &History, verdict: &mut Verdict) {
    let operations = history.operations();
    let is_done =
        |f: &'static str| operations.iter().filter(move |each| each.invoked.f == f && each.outcome() == Kind::Ok);
    let acknowledged: BTreeMap<u64, u64> =
        is_done("add").filter_map(|add| Some((add.invoked.value.as_u64()?, add.last_event().index))).collect();
    for read in is_done("read") {
        let event = read.last_event();
        let Some((_, first)) = asked(&event.value) else { continue };
        let seen = count(&event.value[2]);
        // Higher numbers were not taken yet when it began.
        let known = acknowledged.range(first..first + NEWEST);
        for (number, at) in known.filter(|(number, at)| **at < read.invoked.index && !seen.contains_key(number)) {
            let said = format!("{number} was acknowledged before a read, and is not in it");
            verdict.found("missing row", said, vec![*at, event.index]);
        }
    }
}

/// Compares what was found in the end with what the history says was inserted.
fn compare(history: &History, found: &Value, verdict: &mut Verdict) {
    let times = count(found);
    let mut invoked = BTreeSet::new();
    for operation in history.operations().iter().filter(|operation| operation.invoked.f == "add") {
        let Some(number) = operation.invoked.value.as_u64() else { continue };
        invoked.insert(number);
        let event = vec![operation.last_event().index];
        match (operation.outcome(), times.get(&number).copied().unwrap_or(0)) {
            (Kind::Ok, 0) => verdict.found("lost row", format!("{number} was acknowledged, and is not there"), event),
            (Kind::Fail, 1..) => verdict.found("undead row", format!("{number} failed, and is there"), event),
            (_, times) if times != 0 && times != TABLES.len() => {
                verdict.found("torn row", format!("{number} is there {times} times"), event);
            }
            _ => {}
        }
    }
    for number in times.keys().filter(|number| !invoked.contains(number)) {
        verdict.found("row from nowhere", format!("{number} is there, and nobody inserted it"), Vec::new());
    }
}

#[cfg(test)]
mod tests;
