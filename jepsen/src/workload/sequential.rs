//! A client writes some keys one after the other; who sees a later one sees the earlier ones.
//!
//! ```text
//!   writer:  a ─▶ b ─▶ c      each a transaction of its own, in tables of their own
//!   reader:  c ─▶ b ─▶ a      each a transaction of its own: once one is there, all that follow are
//! ```

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use clock::Random;
use serde_json::{Value, json};

use super::clients::{self, Clients, Done, Step, Trouble};
use super::{Load, Workload};
use crate::checker::Verdict;
use crate::client::{Client, Database, Failure, run_anywhere, split};
use crate::history::{History, Kind, Recorder};

/// Groups of keys, one in each table.
#[derive(Clone, Copy, Debug)]
pub struct Sequential {
    /// How many keys are in a group.
    pub keys: u64,
}

impl Default for Sequential {
    fn default() -> Self {
        Sequential { keys: 4 }
    }
}

#[async_trait]
impl Workload for Sequential {
    fn name(&self) -> &'static str {
        "sequential"
    }

    async fn set_up(&self, database: &dyn Database) -> Result<(), Failure> {
        for table in 0..self.keys {
            run_anywhere(database, &format!("DROP TABLE IF EXISTS sequential{table}")).await?;
            let create = format!("CREATE TABLE IF NOT EXISTS sequential{table} (id bigint PRIMARY KEY)");
            run_anywhere(database, &create).await?;
            split(database, &format!("sequential{table}"), 0).await?;
        }
        Ok(())
    }

    async fn run(&self, database: &dyn Database, load: Load, recorder: &Recorder) {
        clients::work(&Sequencers { keys: self.keys, next: AtomicU64::new(0) }, database, load, recorder).await;
    }

    fn check(&self, history: &History) -> Verdict {
        let mut verdict = Verdict::on(history);
        for operation in history.operations() {
            let event = operation.last_event();
            if event.kind != Kind::Ok || !event.is_read() {
                continue;
            }
            // From the last written to the first: false after true is a gap.
            let seen: Vec<bool> = event.value[1].as_array().into_iter().flatten().filter_map(Value::as_bool).collect();
            if seen.windows(2).any(|pair| pair[0] && !pair[1]) {
                let said =
                    format!("of group {}, a key was seen and then an earlier one was not: {seen:?}", event.value[0]);
                verdict.found("not sequential", said, vec![event.index]);
            }
        }
        verdict
    }
}

struct Sequencers {
    keys: u64,
    next: AtomicU64,
}

#[async_trait]
impl Clients for Sequencers {
    /// The value is the group, that of a read `[group, which of its keys were seen, the last written first]`.
    fn next(&self, _number: usize, random: &Random) -> Step {
        if random.chance(0.5) {
            let recent = self.next.load(Ordering::Relaxed);
            return Step { f: "read", value: json!([recent.saturating_sub(random.range(1, 6)), null]) };
        }
        Step { f: "write", value: json!([self.next.fetch_add(1, Ordering::Relaxed), null]) }
    }

    async fn execute(&self, client: &mut dyn Client, step: &Step) -> Result<Done, Trouble> {
        let group = &step.value[0];
        if step.f == "write" {
            for table in 0..self.keys {
                client.run(&format!("INSERT INTO sequential{table} VALUES ({group})")).await?;
            }
            return Ok(Done::Ok(step.value.clone()));
        }
        let mut seen = Vec::new();
        for table in (0..self.keys).rev() {
            let rows = client.run(&format!("SELECT id FROM sequential{table} WHERE id = {group}")).await?;
            seen.push(!rows.is_empty());
        }
        Ok(Done::Ok(json!([group, seen])))
    }
}

#[cfg(test)]
mod tests;
