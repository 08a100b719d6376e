//! Two clients each look whether there is a row, and insert one if there is none; only one of them may.
//!
//! ```text
//!   one:    no row with key 7 in a or b? ─▶ insert into a        snapshots let both commit: they write different rows,
//!   other:  no row with key 7 in a or b? ─▶ insert into b        and what they read is a predicate, not a row
//! ```

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use clock::Random;
use serde_json::json;

use super::clients::{self, Clients, Done, Step, Transaction, Trouble};
use super::{Load, Workload};
use crate::checker::Verdict;
use crate::client::{Client, Database, Failure, run_anywhere, split};
use crate::history::{History, Kind, Recorder};

/// Pairs of clients.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriteSkew;

#[async_trait]
impl Workload for WriteSkew {
    fn name(&self) -> &'static str {
        "write-skew"
    }

    async fn set_up(&self, database: &dyn Database) -> Result<(), Failure> {
        for table in ["skew0", "skew1"] {
            run_anywhere(database, &format!("DROP TABLE IF EXISTS {table}")).await?;
            let columns = "id bigint PRIMARY KEY, key bigint NOT NULL, value bigint NOT NULL";
            run_anywhere(database, &format!("CREATE TABLE IF NOT EXISTS {table} ({columns})")).await?;
            run_anywhere(database, &format!("CREATE INDEX IF NOT EXISTS {table}_key ON {table} (key)")).await?;
            split(database, table, 0).await?;
        }
        Ok(())
    }

    async fn run(&self, database: &dyn Database, load: Load, recorder: &Recorder) {
        let pairs = load.clients.div_ceil(2);
        let skewers = Skewers { tickets: (0..pairs).map(|_| AtomicU64::new(0)).collect(), pairs: pairs as u64 };
        clients::work(&skewers, database, load, recorder).await;
    }

    fn check(&self, history: &History) -> Verdict {
        let mut verdict = Verdict::on(history);
        let mut inserted: BTreeMap<u64, u64> = BTreeMap::new();
        for event in history.events().iter().filter(|event| event.kind == Kind::Ok && event.f == "insert") {
            let Some(key) = event.value[0].as_u64() else { continue };
            if let Some(other) = inserted.insert(key, event.index) {
                let said = format!("two clients found nothing of key {key}, and both inserted a row of it");
                verdict.found("G2", said, vec![other, event.index]);
            }
        }
        verdict
    }
}

struct Skewers {
    /// Each pair draws tickets: two of them are for the same key.
    tickets: Vec<AtomicU64>,
    pairs: u64,
}

#[async_trait]
impl Clients for Skewers {
    /// The value is `[key, table]`.
    fn next(&self, number: usize, _random: &Random) -> Step {
        let pair = (number / 2) % self.tickets.len();
        let ticket = self.tickets[pair].fetch_add(1, Ordering::Relaxed);
        Step { f: "insert", value: json!([ticket / 2 * self.pairs + pair as u64, ticket % 2]) }
    }

    async fn execute(&self, client: &mut dyn Client, step: &Step) -> Result<Done, Trouble> {
        let (key, table) = (&step.value[0], &step.value[1]);
        let mut transaction = Transaction::begin(client).await?;
        for other in 0..2 {
            let predicate = format!("SELECT id FROM skew{other} WHERE key = {key} AND value % 3 = 0");
            if !transaction.run(&predicate).await?.is_empty() {
                transaction.roll_back().await?;
                return Ok(Done::Nothing("the other was first"));
            }
        }
        transaction.run(&format!("INSERT INTO skew{table} VALUES ({key}, {key}, 30)")).await?;
        transaction.commit().await?;
        Ok(Done::Ok(step.value.clone()))
    }
}

#[cfg(test)]
mod tests;
