//! Transactions that append to lists, or write registers, and read them: whatever a database promises of isolation, they see.
//!
//! | name | a row is | steps |
//! |---|---|---|
//! | `append` | a list, as text with commas | `["append", key, element]`, `["r", key, [elements]]` |
//! | `register-txn` | a number | `["w", key, value]`, `["r", key, value]` |
//!
//! Keys are spread over three tables, so over ranges; a third of the reads goes through a secondary index. Some keys are in use at a
//! time; each is left for a new one after so many writes, so that lists stay short. One step is a transaction by itself, without BEGIN.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use clock::Random;
use serde_json::{Value, json};

use super::clients::{self, Clients, Done, Step, Transaction, Trouble};
use super::{Load, Workload};
use crate::checker::Verdict;
use crate::checker::dependency::{self, RegisterAssumptions};
use crate::checker::second_opinion::{self, Opinion};
use crate::client::{Client, Database, Failure, Rows, run_anywhere, split};
use crate::history::{History, Recorder};

/// What the transactions are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// Lists that are appended to.
    Append,
    /// Registers that are written.
    Register,
}

/// Transactions of some steps over some keys.
#[derive(Clone, Copy, Debug)]
pub struct Transactions {
    /// What they are about.
    pub model: Model,
    /// How many keys are in use at a time.
    pub keys: u64,
    /// After so many writes a key is left for a new one.
    pub writes_a_key: u64,
    /// At most so many steps a transaction.
    pub steps_max: u64,
}

impl Transactions {
    /// The usual ones.
    pub fn new(model: Model) -> Self {
        Transactions { model, keys: 8, writes_a_key: 32, steps_max: 4 }
    }

    fn prefix(self) -> &'static str {
        match self.model {
            Model::Append => "append",
            Model::Register => "registertxn",
        }
    }

    fn table(self, key: u64) -> String {
        format!("{}{}", self.prefix(), key % TABLES)
    }
}

const TABLES: u64 = 3;
/// Registers are linearizable each by itself under strict serializability, and under PostgreSQL's snapshots, which are taken after a
/// transaction begins; and what was read is committed, and so was committed before what is then written.
const ASSUME: RegisterAssumptions = RegisterAssumptions { writes_follow_reads: true, linearizable_keys: true };

#[async_trait]
impl Workload for Transactions {
    fn name(&self) -> &'static str {
        match self.model {
            Model::Append => "append",
            Model::Register => "register-txn",
        }
    }

    async fn set_up(&self, database: &dyn Database) -> Result<(), Failure> {
        let value = if self.model == Model::Append { "text" } else { "bigint" };
        for key in 0..TABLES {
            let table = self.table(key);
            run_anywhere(database, &format!("DROP TABLE IF EXISTS {table}")).await?;
            let columns = format!("id bigint PRIMARY KEY, other bigint NOT NULL, value {value} NOT NULL");
            run_anywhere(database, &format!("CREATE TABLE IF NOT EXISTS {table} ({columns})")).await?;
            run_anywhere(database, &format!("CREATE INDEX IF NOT EXISTS {table}_other ON {table} (other)")).await?;
            split(database, &table, self.keys).await?;
            split(database, &table, 4 * self.keys).await?;
        }
        Ok(())
    }

    async fn run(&self, database: &dyn Database, load: Load, recorder: &Recorder) {
        clients::work(&Transactors { shape: *self, next: AtomicU64::new(1) }, database, load, recorder).await;
    }

    fn check(&self, history: &History) -> Verdict {
        let mut verdict = self.verdict(history);
        let most = if self.model == Model::Append { LISTS_MAX } else { REGISTERS_MAX };
        let disagreement = if history.events().len() <= most {
            self.second_opinion(history).disagreement(&verdict)
        } else {
            let part = history.beginning(most);
            self.second_opinion(&part).disagreement(&self.verdict(&part))
        };
        if let Some(disagreement) = disagreement {
            verdict.found("checkers disagree", disagreement, Vec::new());
        }
        verdict
    }
}

/// The other checker is asked about so many events, the first of a long history: it takes quadratic time where a key is left, as ours
/// does not.
const LISTS_MAX: usize = 100_000;
const REGISTERS_MAX: usize = 10_000;

impl Transactions {
    fn verdict(self, history: &History) -> Verdict {
        match self.model {
            Model::Append => dependency::check_append(history),
            Model::Register => dependency::check_register(history, ASSUME),
        }
    }

    fn second_opinion(self, history: &History) -> Opinion {
        match self.model {
            Model::Append => second_opinion::on_lists(history),
            Model::Register => second_opinion::on_registers(history, ASSUME),
        }
    }
}

struct Transactors {
    shape: Transactions,
    next: AtomicU64,
}

#[async_trait]
impl Clients for Transactors {
    fn next(&self, _number: usize, random: &Random) -> Step {
        let Transactions { model, keys, writes_a_key, steps_max } = self.shape;
        let steps = (0..random.range(1, steps_max + 1)).map(|_| {
            let oldest = self.next.load(Ordering::Relaxed) / writes_a_key;
            let key = oldest + random.range(0, keys);
            match model {
                _ if random.chance(0.5) => json!(["r", key, null]),
                Model::Append => json!(["append", key, self.next.fetch_add(1, Ordering::Relaxed)]),
                Model::Register => json!(["w", key, self.next.fetch_add(1, Ordering::Relaxed)]),
            }
        });
        Step { f: "txn", value: steps.collect() }
    }

    async fn execute(&self, client: &mut dyn Client, step: &Step) -> Result<Done, Trouble> {
        let micros = step.value.as_array().expect("a transaction has steps");
        if let [micro] = micros.as_slice() {
            let rows = client.run(&self.statement(micro)).await?;
            return Ok(Done::Ok(json!([self.answer(micro, &rows)])));
        }
        let mut transaction = Transaction::begin(client).await?;
        let mut done = Vec::new();
        for micro in micros {
            let rows = transaction.run(&self.statement(micro)).await?;
            done.push(self.answer(micro, &rows));
        }
        transaction.commit().await?;
        Ok(Done::Ok(Value::Array(done)))
    }
}

impl Transactors {
    fn statement(&self, micro: &Value) -> String {
        let (key, value) = (micro[1].as_u64().expect("keys are numbers"), &micro[2]);
        let table = self.shape.table(key);
        if micro[0] == "r" {
            let column = if key % TABLES == 1 { "other" } else { "id" };
            return format!("SELECT value FROM {table} WHERE {column} = {key}");
        }
        let (literal, update) = match self.shape.model {
            Model::Append => (format!("'{value}'"), format!("{table}.value || ',' || excluded.value")),
            Model::Register => (value.to_string(), "excluded.value".to_owned()),
        };
        format!("INSERT INTO {table} VALUES ({key}, {key}, {literal}) ON CONFLICT (id) DO UPDATE SET value = {update}")
    }

    /// The step with what was read.
    fn answer(&self, micro: &Value, rows: &Rows) -> Value {
        if micro[0] != "r" {
            return micro.clone();
        }
        let text = rows.first().and_then(|row| row[0].as_deref());
        let elements = |text: &str| text.split(',').map(|element| element.parse::<u64>().ok()).collect::<Vec<_>>();
        match self.shape.model {
            Model::Append => json!(["r", micro[1], text.map(elements).unwrap_or_default()]),
            Model::Register => json!(["r", micro[1], text.and_then(|text| text.parse::<u64>().ok())]),
        }
    }
}
