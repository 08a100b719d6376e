//! Keys are written independently of each other, and groups of them are read at once; all readers agree on an order of the writes.
//!
//! ```text
//!   write x,  write y            a long fork: one reader sees x and not y, another y and not x
//! ```
//!
//! Parallel snapshot isolation allows it, snapshot isolation does not.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use clock::Random;
use serde_json::{Value, json};

use super::clients::{self, Clients, Done, Step, Transaction, Trouble};
use super::{Load, Workload};
use crate::checker::Verdict;
use crate::client::{Client, Database, Failure, run_anywhere, split};
use crate::history::{History, Kind, Recorder};

/// Groups of keys, one in each table.
#[derive(Clone, Copy, Debug)]
pub struct LongFork {
    /// How many keys are in a group.
    pub keys: u64,
}

impl Default for LongFork {
    fn default() -> Self {
        LongFork { keys: 3 }
    }
}

#[async_trait]
impl Workload for LongFork {
    fn name(&self) -> &'static str {
        "long-fork"
    }

    async fn set_up(&self, database: &dyn Database) -> Result<(), Failure> {
        for table in 0..self.keys {
            run_anywhere(database, &format!("DROP TABLE IF EXISTS longfork{table}")).await?;
            let create = format!("CREATE TABLE IF NOT EXISTS longfork{table} (id bigint PRIMARY KEY)");
            run_anywhere(database, &create).await?;
            split(database, &format!("longfork{table}"), 0).await?;
        }
        Ok(())
    }

    async fn run(&self, database: &dyn Database, load: Load, recorder: &Recorder) {
        clients::work(&Forkers { keys: self.keys, next: AtomicU64::new(0) }, database, load, recorder).await;
    }

    fn check(&self, history: &History) -> Verdict {
        check(history)
    }
}

struct Forkers {
    keys: u64,
    next: AtomicU64,
}

#[async_trait]
impl Clients for Forkers {
    /// A write is `[group, key]`; a read is `[group, the keys in the order they are read]`, and then `[group, the keys that were seen]`.
    fn next(&self, _number: usize, random: &Random) -> Step {
        let next = self.next.load(Ordering::Relaxed);
        if random.chance(0.7) {
            let first = random.range(0, self.keys);
            let order: Vec<u64> = (0..self.keys).map(|key| (first + key) % self.keys).collect();
            return Step { f: "read", value: json!([next / self.keys, order]) };
        }
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        Step { f: "write", value: json!([next / self.keys, next % self.keys]) }
    }

    async fn execute(&self, client: &mut dyn Client, step: &Step) -> Result<Done, Trouble> {
        let (group, keys) = (&step.value[0], &step.value[1]);
        if step.f == "write" {
            client.run(&format!("INSERT INTO longfork{keys} VALUES ({group})")).await?;
            return Ok(Done::Ok(step.value.clone()));
        }
        let mut transaction = Transaction::begin(client).await?;
        let mut seen = Vec::new();
        for key in keys.as_array().into_iter().flatten() {
            let rows = transaction.run(&format!("SELECT id FROM longfork{key} WHERE id = {group}")).await?;
            if !rows.is_empty() {
                seen.push(key.clone());
            }
        }
        transaction.commit().await?;
        Ok(Done::Ok(json!([group, seen])))
    }
}

/// Of two reads of a group, one must have seen all that the other saw.
fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::on(history);
    // By group, the sets that were seen, as bits, and who saw each first.
    let mut seen: BTreeMap<u64, BTreeMap<u64, u64>> = BTreeMap::new();
    for event in history.events().iter().filter(|event| event.kind == Kind::Ok && event.is_read()) {
        let Some(group) = event.value[0].as_u64() else { continue };
        let keys = event.value[1].as_array().into_iter().flatten().filter_map(Value::as_u64);
        let set = keys.fold(0, |set, key| set | 1 << key);
        let sets = seen.entry(group).or_default();
        for (other, witness) in sets.iter().filter(|(other, _)| **other & set != set && **other & set != **other) {
            let said = format!("of group {group}, one reader saw the keys {other:b} and another {set:b}, in bits");
            verdict.found("long fork", said, vec![*witness, event.index]);
        }
        sets.entry(set).or_insert(event.index);
    }
    verdict
}

#[cfg(test)]
mod tests;
