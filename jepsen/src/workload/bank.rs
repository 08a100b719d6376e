//! Money moves between accounts; the total never changes.
//!
//! A transfer reads two accounts and writes both, in one transaction; with the accounts split over several ranges it commits in two
//! phases. Readers read all accounts in one statement, and every such read must have the total, also one as of a time that is past. At READ COMMITTED a transfer that
//! sets what it computed from its reads loses updates, so that a database that promises less than serializability fails here.

use std::time::Duration;

use async_trait::async_trait;
use clock::Random;
use serde_json::{Value, json};

use super::clients::{self, Clients, Done, Step, Transaction, Trouble, number};
use super::{Load, Workload};
use crate::checker::Verdict;
use crate::client::{Client, Database, Dialect, Failure, Rows, run_anywhere, split};
use crate::history::{History, Kind, Recorder};

/// The bank.
#[derive(Clone, Copy, Debug)]
pub struct Bank {
    /// How many accounts.
    pub accounts: u64,
    /// What each starts with.
    pub balance: u64,
    /// Split the table into this many ranges.
    pub ranges: u64,
}

impl Default for Bank {
    fn default() -> Self {
        Bank { accounts: 30, balance: 100, ranges: 3 }
    }
}

const READ_ALL: &str = "SELECT id, balance FROM bank ORDER BY id";

#[async_trait]
impl Workload for Bank {
    fn name(&self) -> &'static str {
        "bank"
    }

    async fn set_up(&self, database: &dyn Database) -> Result<(), Failure> {
        run_anywhere(database, "DROP TABLE IF EXISTS bank").await?;
        let create =
            "CREATE TABLE IF NOT EXISTS bank (id int PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0))";
        run_anywhere(database, create).await?;
        for part in 1..self.ranges {
            split(database, "bank", part * self.accounts / self.ranges).await?;
        }
        let rows: Vec<String> = (0..self.accounts).map(|id| format!("({id}, {})", self.balance)).collect();
        let insert = format!("INSERT INTO bank VALUES {} ON CONFLICT DO NOTHING", rows.join(", "));
        run_anywhere(database, &insert).await?;
        Ok(())
    }

    async fn run(&self, database: &dyn Database, load: Load, recorder: &Recorder) {
        let can_see_past = database.dialect() == Dialect::Meridian;
        let bankers = Bankers { bank: *self, can_see_past, begun: tokio::time::Instant::now() };
        clients::work(&bankers, database, load, recorder).await;
    }

    async fn finish(&self, database: &dyn Database, recorder: &Recorder) {
        clients::final_read(database, recorder, READ_ALL, balances).await;
    }

    fn check(&self, history: &History) -> Verdict {
        let mut verdict = Verdict::on(history);
        for operation in history.operations() {
            let event = operation.last_event();
            if event.kind != Kind::Ok || !event.is_read() {
                continue;
            }
            if let Err(problem) = self.check_read(&event.value) {
                verdict.found("wrong total", problem, vec![event.index]);
            }
        }
        clients::require_final_read(history, &mut verdict);
        verdict
    }
}

/// `[[id, balance], …]`
fn balances(rows: &Rows) -> Value {
    rows.iter().map(|row| json!([number(row, 0), number(row, 1)])).collect()
}

impl Bank {
    fn check_read(&self, read: &Value) -> Result<(), String> {
        let accounts = read.as_array().map(Vec::as_slice).unwrap_or_default();
        let total: i64 = accounts.iter().filter_map(|account| account[1].as_i64()).sum();
        let expected = (self.accounts * self.balance) as i64;
        if accounts.len() as u64 == self.accounts && total == expected {
            return Ok(());
        }
        let accounts = accounts.len();
        Err(format!("read {accounts} accounts with a total of {total}, expected {} with {expected}", self.accounts))
    }
}

struct Bankers {
    bank: Bank,
    can_see_past: bool,
    begun: tokio::time::Instant,
}

/// A node's clock may be this far behind the one by which the accounts were made.
const CLOCKS_APART: Duration = Duration::from_millis(600);

impl Bankers {
    /// A moment since the beginning, as so many milliseconds ago.
    fn ago(&self, random: &Random) -> Option<u64> {
        let most = self.begun.elapsed().min(Duration::from_secs(4)).checked_sub(CLOCKS_APART)?;
        (self.can_see_past && random.chance(0.25)).then(|| random.range(0, most.as_millis() as u64 + 1))
    }
}

#[async_trait]
impl Clients for Bankers {
    /// One client in four reads: mostly now, and sometimes as of a time that is past, by the milliseconds that are its value.
    fn next(&self, number: usize, random: &Random) -> Step {
        if number % 4 == 3 {
            return match self.ago(random) {
                Some(ago) => Step { f: "past-read", value: json!(ago) },
                None => Step { f: "read", value: Value::Null },
            };
        }
        let from = random.range(0, self.bank.accounts);
        let to = (from + random.range(1, self.bank.accounts)) % self.bank.accounts;
        Step { f: "transfer", value: json!({ "from": from, "to": to, "amount": random.range(1, 6) }) }
    }

    async fn execute(&self, client: &mut dyn Client, step: &Step) -> Result<Done, Trouble> {
        if step.f == "read" {
            return Ok(Done::Ok(balances(&client.run(READ_ALL).await?)));
        }
        if step.f == "past-read" {
            let ago = &step.value;
            let sql = format!("SELECT id, balance FROM bank AS OF SYSTEM TIME '-{ago}ms' ORDER BY id");
            return Ok(Done::Ok(balances(&client.run(&sql).await?)));
        }
        let (from, to) = (&step.value["from"], &step.value["to"]);
        let amount = step.value["amount"].as_i64().expect("a transfer has an amount");
        let mut transaction = Transaction::begin(client).await?;
        let balance_of = |rows: Rows| rows.first().and_then(|row| number(row, 0)).unwrap_or(0);
        let rich = balance_of(transaction.run(&format!("SELECT balance FROM bank WHERE id = {from}")).await?);
        if rich < amount {
            transaction.roll_back().await?;
            return Ok(Done::Nothing("too poor"));
        }
        let other = balance_of(transaction.run(&format!("SELECT balance FROM bank WHERE id = {to}")).await?);
        for (id, balance) in [(from, rich - amount), (to, other + amount)] {
            transaction.run(&format!("UPDATE bank SET balance = {balance} WHERE id = {id}")).await?;
        }
        transaction.commit().await?;
        Ok(Done::Ok(step.value.clone()))
    }
}

#[cfg(test)]
mod tests;
