//! Money moves between accounts; the total never changes.
//!
//! A transfer reads two accounts and writes both, in one transaction; with the accounts split over several ranges it commits in two phases. Readers
//! sum all accounts in one statement, and every sum must be the total.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use clock::Random;
use futures::future::join_all;

use super::{GapMeter, Load, Report, Roaming};
use crate::client::{Client, Database, Failure, run_anywhere};

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

#[derive(Default)]
struct Counts {
    ok: AtomicU64,
    failed: AtomicU64,
    unknown: AtomicU64,
}

impl Bank {
    /// Makes the table, split and filled.
    ///
    /// # Errors
    /// What the database says.
    pub async fn set_up(&self, database: &dyn Database) -> Result<(), Failure> {
        run_anywhere(database, "DROP TABLE IF EXISTS bank").await?;
        run_anywhere(database, "CREATE TABLE bank (id int PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0))")
            .await?;
        for part in 1..self.ranges {
            let at = part * self.accounts / self.ranges;
            run_anywhere(database, &format!("ALTER TABLE bank SPLIT AT VALUES ({at})")).await?;
        }
        let rows: Vec<String> = (0..self.accounts).map(|id| format!("({id}, {})", self.balance)).collect();
        run_anywhere(database, &format!("INSERT INTO bank VALUES {}", rows.join(", "))).await?;
        Ok(())
    }

    /// Runs transfers and reads, and checks every total.
    pub async fn run(&self, database: &dyn Database, load: Load) -> Report {
        let counts = Counts::default();
        let gap = Mutex::new(GapMeter::new());
        let violations = Mutex::new(Vec::new());
        let end = tokio::time::Instant::now() + load.duration;
        let clients = (0..load.clients).map(|number| {
            let (counts, gap, violations) = (&counts, &gap, &violations);
            async move {
                let random = Random::from_seed(load.seed).fork(&format!("bank {number}"));
                let mut roaming = Roaming::new(database, number);
                while tokio::time::Instant::now() < end {
                    let Some(client) = roaming.client().await else { continue };
                    // One client in four reads.
                    let result = if number % 4 == 3 {
                        self.read(client.as_mut(), violations).await
                    } else {
                        self.transfer(client.as_mut(), &random).await.inspect(|()| {
                            gap.lock().expect("no client panics").acknowledged();
                        })
                    };
                    match result {
                        Ok(()) => counts.ok.fetch_add(1, Ordering::Relaxed),
                        Err(failure) if failure.is_definite() => {
                            let _ = client.run("ROLLBACK").await;
                            counts.failed.fetch_add(1, Ordering::Relaxed)
                        }
                        Err(_) => {
                            roaming.lose();
                            counts.unknown.fetch_add(1, Ordering::Relaxed)
                        }
                    };
                }
            }
        });
        join_all(clients).await;
        if let Err(problem) = self.check_at_rest(database).await {
            violations.lock().expect("no client panics").push(problem);
        }
        let longest_gap = gap.lock().expect("no client panics").longest;
        Report {
            ok: counts.ok.into_inner(),
            failed: counts.failed.into_inner(),
            unknown: counts.unknown.into_inner(),
            longest_gap,
            violations: violations.into_inner().expect("no client panics"),
        }
    }

    async fn transfer(&self, client: &mut dyn Client, random: &Random) -> Result<(), Failure> {
        let from = random.range(0, self.accounts);
        let to = (from + random.range(1, self.accounts)) % self.accounts;
        let amount = random.range(1, 6);
        client.run("BEGIN").await?;
        let rows = client.run(&format!("SELECT balance FROM bank WHERE id = {from}")).await?;
        let balance: u64 = rows.first().and_then(|row| row[0].as_deref()?.parse().ok()).unwrap_or(0);
        if balance < amount {
            client.run("ROLLBACK").await?;
            return Ok(());
        }
        client.run(&format!("UPDATE bank SET balance = balance - {amount} WHERE id = {from}")).await?;
        client.run(&format!("UPDATE bank SET balance = balance + {amount} WHERE id = {to}")).await?;
        client.run("COMMIT").await?;
        Ok(())
    }

    async fn read(&self, client: &mut dyn Client, violations: &Mutex<Vec<String>>) -> Result<(), Failure> {
        let rows = client.run("SELECT id, balance FROM bank ORDER BY id").await?;
        if let Err(problem) = self.check_rows(&rows) {
            violations.lock().expect("no client panics").push(problem);
        }
        Ok(())
    }

    fn check_rows(&self, rows: &crate::client::Rows) -> Result<(), String> {
        let total: i64 = rows.iter().filter_map(|row| row[1].as_deref()?.parse::<i64>().ok()).sum();
        let expected = (self.accounts * self.balance) as i64;
        if rows.len() as u64 == self.accounts && total == expected {
            return Ok(());
        }
        Err(format!("{} accounts with a total of {total}, expected {} with {expected}", rows.len(), self.accounts))
    }

    async fn check_at_rest(&self, database: &dyn Database) -> Result<(), String> {
        let rows = run_anywhere(database, "SELECT id, balance FROM bank ORDER BY id")
            .await
            .map_err(|failure| format!("the final read failed: {failure}"))?;
        self.check_rows(&rows).map_err(|problem| format!("at the end: {problem}"))
    }
}
