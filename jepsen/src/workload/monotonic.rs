//! Each adds a row with the highest number so far plus one; numbers rise with real time.
//!
//! Who began after another was acknowledged has the higher number, whatever the table: the rows lie in several, in ranges of their own.
//! Half of the time it is one statement that reads and adds, which a gateway tries again by itself, each time as one of higher
//! priority: it pushes those whose additions stand in its way.

use async_trait::async_trait;
use clock::Random;
use serde_json::{Value, json};

use super::clients::{self, Clients, Done, Step, Transaction, Trouble, number};
use super::{Load, Workload};
use crate::checker::Verdict;
use crate::client::{Client, Database, Failure, Rows, run_anywhere, split};
use crate::history::{History, Kind, Operation, Recorder};

/// Rows over some tables.
#[derive(Clone, Copy, Debug)]
pub struct Monotonic {
    /// How many tables.
    pub tables: u64,
}

impl Default for Monotonic {
    fn default() -> Self {
        Monotonic { tables: 3 }
    }
}

impl Monotonic {
    fn read_all(self) -> String {
        let tables: Vec<String> = (0..self.tables).map(|table| format!("SELECT n FROM monotonic{table}")).collect();
        tables.join(" UNION ALL ")
    }
}

#[async_trait]
impl Workload for Monotonic {
    fn name(&self) -> &'static str {
        "monotonic"
    }

    async fn set_up(&self, database: &dyn Database) -> Result<(), Failure> {
        for table in 0..self.tables {
            run_anywhere(database, &format!("DROP TABLE IF EXISTS monotonic{table}")).await?;
            let columns = "n bigint PRIMARY KEY";
            run_anywhere(database, &format!("CREATE TABLE IF NOT EXISTS monotonic{table} ({columns})")).await?;
            split(database, &format!("monotonic{table}"), 0).await?;
        }
        Ok(())
    }

    async fn run(&self, database: &dyn Database, load: Load, recorder: &Recorder) {
        clients::work(self, database, load, recorder).await;
    }

    async fn finish(&self, database: &dyn Database, recorder: &Recorder) {
        let numbers = |rows: &Rows| rows.iter().map(|row| json!(number(row, 0))).collect();
        clients::final_read(database, recorder, &self.read_all(), numbers).await;
    }

    fn check(&self, history: &History) -> Verdict {
        let mut verdict = Verdict::on(history);
        check_order(history, &mut verdict);
        if let Some(found) = clients::require_final_read(history, &mut verdict) {
            check_end(history, found, &mut verdict);
        }
        verdict
    }
}

#[async_trait]
impl Clients for Monotonic {
    /// The value is the table, and then `[table, number]`.
    fn next(&self, _number: usize, random: &Random) -> Step {
        let f = if random.chance(0.5) { ADD } else { ADD_AT_ONCE };
        Step { f, value: json!([random.range(0, self.tables), null]) }
    }

    async fn execute(&self, client: &mut dyn Client, step: &Step) -> Result<Done, Trouble> {
        let table = &step.value[0];
        if step.f == ADD_AT_ONCE {
            let all = self.read_all();
            let next = format!("SELECT coalesce(max(n), 0) + 1 FROM ({all}) AS every");
            let rows = client.run(&format!("INSERT INTO monotonic{table} {next} RETURNING n")).await?;
            return Ok(Done::Ok(json!([table, rows.first().and_then(|row| number(row, 0))])));
        }
        let mut transaction = Transaction::begin(client).await?;
        let mut highest = 0;
        for other in 0..self.tables {
            let rows = transaction.run(&format!("SELECT max(n) FROM monotonic{other}")).await?;
            highest = highest.max(rows.first().and_then(|row| number(row, 0)).unwrap_or(0));
        }
        transaction.run(&format!("INSERT INTO monotonic{table} VALUES ({})", highest + 1)).await?;
        transaction.commit().await?;
        Ok(Done::Ok(json!([table, highest + 1])))
    }
}

/// A transaction that reads the tables one by one.
const ADD: &str = "add";
/// One statement.
const ADD_AT_ONCE: &str = "add-at-once";

fn added(history: &History) -> Vec<(i64, Operation<'_>)> {
    let is_addition = |operation: &Operation<'_>| {
        operation.outcome() == Kind::Ok && [ADD, ADD_AT_ONCE].contains(&operation.invoked.f.as_str())
    };
    let acknowledged = history.operations().into_iter().filter(is_addition);
    acknowledged.filter_map(|operation| Some((operation.last_event().value[1].as_i64()?, operation))).collect()
}

/// In the order of invocation, each number is above all that were acknowledged before.
fn check_order(history: &History, verdict: &mut Verdict) {
    let mut moments: Vec<(u64, bool, i64)> = Vec::new();
    for (n, operation) in added(history) {
        moments.push((operation.invoked.index, true, n));
        moments.push((operation.last_event().index, false, n));
    }
    moments.sort_unstable();
    let mut highest = (0, 0);
    for (index, is_invocation, n) in moments {
        if is_invocation && n <= highest.0 {
            let said = format!("{n} was added after {} was acknowledged", highest.0);
            verdict.found("number went back", said, vec![highest.1, index]);
        } else if !is_invocation {
            highest = highest.max((n, index));
        }
    }
}

/// Each number is there once, and all that were acknowledged are.
fn check_end(history: &History, found: &Value, verdict: &mut Verdict) {
    let mut numbers: Vec<i64> = found.as_array().into_iter().flatten().filter_map(Value::as_i64).collect();
    numbers.sort_unstable();
    for twice in numbers.windows(2).filter(|pair| pair[0] == pair[1]) {
        verdict.found("number given twice", format!("{} is there twice", twice[0]), Vec::new());
    }
    for (n, operation) in added(history) {
        if numbers.binary_search(&n).is_err() {
            verdict.found(
                "lost row",
                format!("{n} was acknowledged, and is not there"),
                vec![operation.last_event().index],
            );
        }
    }
}

#[cfg(test)]
mod tests;
