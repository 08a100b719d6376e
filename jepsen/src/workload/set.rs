//! Rows are inserted; every acknowledged one must be there at the end, and none that certainly failed.

use std::collections::BTreeSet;
use std::sync::Mutex;

use futures::future::join_all;

use super::{GapMeter, Load, Report, Roaming};
use crate::client::{Database, Failure, run_anywhere};

/// Rows by number.
#[derive(Clone, Copy, Debug, Default)]
pub struct Set;

#[derive(Default)]
struct Outcomes {
    acknowledged: BTreeSet<u64>,
    failed: BTreeSet<u64>,
    unknown: BTreeSet<u64>,
}

impl Set {
    /// Makes the table.
    ///
    /// # Errors
    /// What the database says.
    pub async fn set_up(&self, database: &dyn Database) -> Result<(), Failure> {
        run_anywhere(database, "DROP TABLE IF EXISTS numbers").await?;
        run_anywhere(database, "CREATE TABLE numbers (id bigint PRIMARY KEY)").await?;
        Ok(())
    }

    /// Inserts numbers, none twice, and compares at the end.
    pub async fn run(&self, database: &dyn Database, load: Load) -> Report {
        let outcomes = Mutex::new(Outcomes::default());
        let gap = Mutex::new(GapMeter::new());
        let end = tokio::time::Instant::now() + load.duration;
        let clients = (0..load.clients).map(|number| {
            let (outcomes, gap) = (&outcomes, &gap);
            async move {
                let mut roaming = Roaming::new(database, number);
                let mut next = number as u64;
                while tokio::time::Instant::now() < end {
                    let Some(client) = roaming.client().await else { continue };
                    let result = client.run(&format!("INSERT INTO numbers VALUES ({next})")).await;
                    let mut outcomes = outcomes.lock().expect("no client panics");
                    match result {
                        Ok(_) => {
                            outcomes.acknowledged.insert(next);
                            gap.lock().expect("no client panics").acknowledged();
                        }
                        Err(failure) if failure.is_definite() => drop(outcomes.failed.insert(next)),
                        Err(_) => {
                            outcomes.unknown.insert(next);
                            roaming.lose();
                        }
                    }
                    next += load.clients as u64;
                }
            }
        });
        join_all(clients).await;
        let outcomes = outcomes.into_inner().expect("no client panics");
        let longest_gap = gap.lock().expect("no client panics").longest;
        let violations = match run_anywhere(database, "SELECT id FROM numbers ORDER BY id").await {
            Ok(rows) => verdict(&outcomes, rows.iter().filter_map(|row| row[0].as_deref()?.parse().ok()).collect()),
            Err(failure) => vec![format!("the final read failed: {failure}")],
        };
        Report {
            ok: outcomes.acknowledged.len() as u64,
            failed: outcomes.failed.len() as u64,
            unknown: outcomes.unknown.len() as u64,
            longest_gap,
            violations,
        }
    }
}

fn verdict(outcomes: &Outcomes, found: BTreeSet<u64>) -> Vec<String> {
    let mut violations = Vec::new();
    let lost: Vec<_> = outcomes.acknowledged.difference(&found).collect();
    if !lost.is_empty() {
        violations.push(format!("{} acknowledged rows are lost: {lost:?}", lost.len()));
    }
    let undead: Vec<_> = outcomes.failed.intersection(&found).collect();
    if !undead.is_empty() {
        violations.push(format!("{} rows are there whose insertion failed: {undead:?}", undead.len()));
    }
    let strangers =
        found.iter().filter(|id| !outcomes.acknowledged.contains(id) && !outcomes.unknown.contains(id)).count();
    if strangers > undead.len() {
        violations.push(format!("{} rows are there that nobody inserted", strangers - undead.len()));
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_and_what_should_not_be_there() {
        let outcomes = Outcomes { acknowledged: [1, 2].into(), failed: [3].into(), unknown: [4].into() };
        assert!(verdict(&outcomes, [1, 2].into()).is_empty());
        assert!(verdict(&outcomes, [1, 2, 4].into()).is_empty());
        assert_eq!(verdict(&outcomes, [1].into()).len(), 1);
        assert_eq!(verdict(&outcomes, [1, 2, 3].into()).len(), 1);
        assert_eq!(verdict(&outcomes, [1, 2, 9].into()).len(), 1);
    }
}
