//! Single rows are read, written and compared-and-set; each row must be linearizable.
//!
//! Every value is written once, so that who reads it says from whom. A compare-and-set here replaces whatever it finds, by a
//! transaction that reads and then writes: it succeeds unless the transaction fails, and its history says what it found.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use clock::Random;
use serde_json::{Value, json};

use super::clients::{self, Clients, Done, Step, Transaction, Trouble, number};
use super::{Load, Workload};
use crate::checker::Verdict;
use crate::checker::linearizable::{self, Action, Operation, Outcome};
use crate::client::{Client, Database, Failure, run_anywhere, split};
use crate::history::{self, History, Recorder};

/// Rows of one register each.
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    /// How many.
    pub keys: u64,
}

impl Default for Registers {
    fn default() -> Self {
        Registers { keys: 5 }
    }
}

/// What a register holds before anyone writes it.
const INITIAL: u64 = 0;

#[async_trait]
impl Workload for Registers {
    fn name(&self) -> &'static str {
        "register"
    }

    async fn set_up(&self, database: &dyn Database) -> Result<(), Failure> {
        run_anywhere(database, "DROP TABLE IF EXISTS registers").await?;
        let create = "CREATE TABLE IF NOT EXISTS registers (id int PRIMARY KEY, value bigint NOT NULL)";
        run_anywhere(database, create).await?;
        for key in (2..self.keys).step_by(2) {
            split(database, "registers", key).await?;
        }
        let rows: Vec<String> = (0..self.keys).map(|key| format!("({key}, {INITIAL})")).collect();
        let insert = format!("INSERT INTO registers VALUES {} ON CONFLICT DO NOTHING", rows.join(", "));
        run_anywhere(database, &insert).await?;
        Ok(())
    }

    async fn run(&self, database: &dyn Database, load: Load, recorder: &Recorder) {
        let clients = RegisterClients { keys: self.keys, next_value: AtomicU64::new(INITIAL + 1) };
        clients::work(&clients, database, load, recorder).await;
    }

    fn check(&self, history: &History) -> Verdict {
        check(history)
    }
}

struct RegisterClients {
    keys: u64,
    next_value: AtomicU64,
}

#[async_trait]
impl Clients for RegisterClients {
    /// The value of an operation is `[key, what is read or written]`, that of a compare-and-set `[key, [old, new]]`.
    fn next(&self, _number: usize, random: &Random) -> Step {
        let key = random.range(0, self.keys);
        let fresh = || self.next_value.fetch_add(1, Ordering::Relaxed);
        match random.range(0, 3) {
            0 => Step { f: "read", value: json!([key, null]) },
            1 => Step { f: "write", value: json!([key, fresh()]) },
            _ => Step { f: "cas", value: json!([key, [null, fresh()]]) },
        }
    }

    async fn execute(&self, client: &mut dyn Client, step: &Step) -> Result<Done, Trouble> {
        let (key, value) = (&step.value[0], &step.value[1]);
        let read = format!("SELECT value FROM registers WHERE id = {key}");
        let write = |value: &Value| format!("UPDATE registers SET value = {value} WHERE id = {key}");
        match step.f {
            "read" => {
                let rows = client.run(&read).await?;
                Ok(Done::Ok(json!([key, rows.first().and_then(|row| number(row, 0))])))
            }
            "write" => {
                client.run(&write(value)).await?;
                Ok(Done::Ok(step.value.clone()))
            }
            _ => {
                let mut transaction = Transaction::begin(client).await?;
                let rows = transaction.run(&read).await?;
                let old = rows.first().and_then(|row| number(row, 0));
                transaction.run(&write(&value[1])).await?;
                transaction.commit().await?;
                Ok(Done::Ok(json!([key, [old, value[1]]])))
            }
        }
    }
}

/// Checks a history, register by register.
pub fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::on(history);
    let mut by_key: BTreeMap<u64, Vec<Operation>> = BTreeMap::new();
    for operation in history.operations() {
        let (Some(action), Some(key)) = (action_of(&operation), operation.invoked.value[0].as_u64()) else { continue };
        let (invoked, completed) = (operation.invoked.index, operation.acknowledged());
        by_key.entry(key).or_default().push(Operation { action, invoked, completed });
    }
    for (key, operations) in by_key {
        match linearizable::check(Some(INITIAL), &operations) {
            Outcome::Linearizable => {}
            Outcome::Violated(violation) => {
                let events = violation.stuck_at.iter().map(|index| operations[*index].invoked).collect();
                verdict.found("not linearizable", explain(key, &operations, &violation), events);
            }
            Outcome::GaveUp { states } => verdict.cannot_tell(format!(
                "register {key}: the search for a linear order was given up after {states} states"
            )),
        }
    }
    verdict
}

fn explain(key: u64, operations: &[Operation], violation: &linearizable::Violation) -> String {
    let list =
        |indices: &[usize]| -> String { indices.iter().map(|index| format!("\n    {}", operations[*index])).collect() };
    format!(
        "register {key}: {} of {} operations can be put in an order; its end is{}\n  and then none of these fits:{}",
        violation.explained,
        operations.len(),
        list(&violation.last),
        list(&violation.stuck_at),
    )
}

/// What an operation did, if it may have done anything.
fn action_of(operation: &history::Operation<'_>) -> Option<Action> {
    let value = &operation.last_event().value[1];
    match (operation.outcome(), operation.invoked.f.as_str()) {
        (history::Kind::Fail, _) => None,
        (history::Kind::Ok, "read") => Some(Action::Read(value.as_u64())),
        (_, "read") => None,
        (_, "write") => value.as_u64().map(Action::Write),
        (history::Kind::Ok, _) => Some(Action::CompareAndSet(value[0].as_u64(), value[1].as_u64()?)),
        // What a compare-and-set of unknown outcome replaced was told to nobody: a write, if anything.
        _ => value[1].as_u64().map(Action::Write),
    }
}

#[cfg(test)]
mod tests;
