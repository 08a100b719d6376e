//! Numbers are inserted, each once; every acknowledged one must be there at the end, none that failed, and none twice.
//!
//! Half of them go into a table whose key is the number: whoever inserts again what a lost answer left in doubt is told of a
//! duplicate key, and must not pass that on as a failure. The other half goes into a table that would take a number twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use clock::Random;
use serde_json::{Value, json};

use super::clients::{self, Clients, Done, Step, Trouble, number};
use super::{Load, Workload};
use crate::checker::Verdict;
use crate::client::{Client, Database, Failure, Rows, run_anywhere};
use crate::history::{History, Kind, Recorder};

/// Numbers in two tables: those that are keys, and those that are not.
#[derive(Clone, Copy, Debug, Default)]
pub struct Set;

const READ_ALL: &str = "SELECT number FROM numbers UNION ALL SELECT number FROM bag";

#[async_trait]
impl Workload for Set {
    fn name(&self) -> &'static str {
        "set"
    }

    async fn set_up(&self, database: &dyn Database) -> Result<(), Failure> {
        for (table, column) in [("numbers", "number bigint PRIMARY KEY"), ("bag", "number bigint NOT NULL")] {
            run_anywhere(database, &format!("DROP TABLE IF EXISTS {table}")).await?;
            run_anywhere(database, &format!("CREATE TABLE IF NOT EXISTS {table} ({column})")).await?;
        }
        Ok(())
    }

    async fn run(&self, database: &dyn Database, load: Load, recorder: &Recorder) {
        clients::work(&Inserters { next: AtomicU64::new(0) }, database, load, recorder).await;
    }

    async fn finish(&self, database: &dyn Database, recorder: &Recorder) {
        let numbers = |rows: &Rows| rows.iter().map(|row| json!(number(row, 0))).collect();
        clients::final_read(database, recorder, READ_ALL, numbers).await;
    }

    fn check(&self, history: &History) -> Verdict {
        let mut verdict = Verdict::on(history);
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
    fn next(&self, _number: usize, _random: &Random) -> Step {
        Step { f: "add", value: json!(self.next.fetch_add(1, Ordering::Relaxed)) }
    }

    async fn execute(&self, client: &mut dyn Client, step: &Step) -> Result<Done, Trouble> {
        let number = step.value.as_u64().expect("what is added is a number");
        let table = if number.is_multiple_of(2) { "numbers" } else { "bag" };
        client.run(&format!("INSERT INTO {table} VALUES ({number})")).await?;
        Ok(Done::Ok(step.value.clone()))
    }
}

/// Compares what was found in the end with what the history says was inserted.
fn compare(history: &History, found: &Value, verdict: &mut Verdict) {
    let mut times: BTreeMap<u64, u64> = BTreeMap::new();
    for number in found.as_array().into_iter().flatten().filter_map(Value::as_u64) {
        *times.entry(number).or_default() += 1;
    }
    let mut invoked = BTreeSet::new();
    let mut tell = |name: &str, number: u64, events: Vec<u64>, what: &str| {
        verdict.found(name, format!("{number} {what}"), events);
    };
    for operation in history.operations().iter().filter(|operation| operation.invoked.f == "add") {
        let Some(number) = operation.invoked.value.as_u64() else { continue };
        invoked.insert(number);
        let count = times.get(&number).copied().unwrap_or(0);
        let event = vec![operation.last_event().index];
        match (operation.outcome(), count) {
            (Kind::Ok, 0) => tell("lost row", number, event, "was acknowledged, and is not there"),
            (Kind::Fail, 1) => tell("undead row", number, event, "failed, and is there"),
            (_, count) if count > 1 => tell("duplicate row", number, event, &format!("is there {count} times")),
            _ => {}
        }
    }
    for number in times.keys().filter(|number| !invoked.contains(number)) {
        tell("row from nowhere", *number, Vec::new(), "is there, and nobody inserted it");
    }
}

#[cfg(test)]
mod tests;
