//! Single rows are read, written and compared-and-set; each row must be linearizable.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use clock::Random;
use futures::future::join_all;
use serde::{Deserialize, Serialize};

use super::{GapMeter, Load, Report, Roaming};
use crate::checker::linearizable::{self, Action, Operation};
use crate::client::{Client, Database, Failure, run_anywhere};
use crate::history::{Event, Kind, Recorder};

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

/// A register's key with what is done to it: what was read, or written, or the two values of a compare-and-set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Value(pub u64, pub Option<u64>, pub Option<u64>);

impl Registers {
    /// Makes the table, with every register at 0 and one range for each two keys.
    ///
    /// # Errors
    /// What the database says.
    pub async fn set_up(&self, database: &dyn Database) -> Result<(), Failure> {
        run_anywhere(database, "DROP TABLE IF EXISTS registers").await?;
        run_anywhere(database, "CREATE TABLE registers (id int PRIMARY KEY, value bigint NOT NULL)").await?;
        for key in (2..self.keys).step_by(2) {
            run_anywhere(database, &format!("ALTER TABLE registers SPLIT AT VALUES ({key})")).await?;
        }
        let rows: Vec<String> = (0..self.keys).map(|key| format!("({key}, 0)")).collect();
        run_anywhere(database, &format!("INSERT INTO registers VALUES {}", rows.join(", "))).await?;
        Ok(())
    }

    /// Runs the operations and checks the history, which is also written to a file if one is named.
    pub async fn run(&self, database: &dyn Database, load: Load, history: Option<&Path>) -> Report {
        let recorder = Recorder::new();
        let gap = Mutex::new(GapMeter::new());
        let process_ids = AtomicU64::new(0);
        let values = AtomicU64::new(1);
        let end = tokio::time::Instant::now() + load.duration;
        let clients = (0..load.clients).map(|number| {
            let (recorder, gap, process_ids, values) = (&recorder, &gap, &process_ids, &values);
            async move {
                let random = Random::from_seed(load.seed).fork(&format!("register {number}"));
                let mut roaming = Roaming::new(database, number);
                let mut process = process_ids.fetch_add(1, Ordering::Relaxed);
                while tokio::time::Instant::now() < end {
                    let Some(client) = roaming.client().await else { continue };
                    let (f, value) = self.choose(&random, values);
                    recorder.record(Kind::Invoke, process, f, value.clone());
                    match operate(client.as_mut(), f, &value).await {
                        Ok(Some(done)) => {
                            recorder.record(Kind::Ok, process, f, done);
                            if f != "read" {
                                gap.lock().expect("no client panics").acknowledged();
                            }
                        }
                        Ok(None) => recorder.record(Kind::Fail, process, f, value),
                        Err(failure) if failure.is_definite() || f == "read" => {
                            recorder.record(Kind::Fail, process, f, value);
                            roaming.lose();
                        }
                        Err(_) => {
                            recorder.record(Kind::Info, process, f, value);
                            process = process_ids.fetch_add(1, Ordering::Relaxed);
                            roaming.lose();
                        }
                    }
                }
            }
        });
        join_all(clients).await;
        let events = recorder.events();
        let mut report = check(&events);
        report.longest_gap = gap.lock().expect("no client panics").longest;
        if let Some(path) = history
            && let Err(error) = recorder.write(path)
        {
            report.violations.push(format!("the history was not written: {error}"));
        }
        report
    }

    fn choose(&self, random: &Random, values: &AtomicU64) -> (&'static str, Value) {
        let key = random.range(0, self.keys);
        let fresh = || values.fetch_add(1, Ordering::Relaxed);
        match random.range(0, 3) {
            0 => ("read", Value(key, None, None)),
            1 => ("write", Value(key, Some(fresh()), None)),
            _ => ("cas", Value(key, None, Some(fresh()))),
        }
    }
}

/// Does one operation; `None` when a compare-and-set found another value.
async fn operate(client: &mut dyn Client, f: &str, value: &Value) -> Result<Option<Value>, Failure> {
    let Value(key, first, second) = value;
    let read = format!("SELECT value FROM registers WHERE id = {key}");
    let number = |rows: crate::client::Rows| rows.first().and_then(|row| row[0].as_deref()?.parse::<u64>().ok());
    match f {
        "read" => Ok(Some(Value(*key, number(client.run(&read).await?), None))),
        "write" => {
            let new = first.expect("a write has a value");
            client.run(&format!("UPDATE registers SET value = {new} WHERE id = {key}")).await?;
            Ok(Some(value.clone()))
        }
        _ => {
            let new = second.expect("a compare-and-set has a new value");
            client.run("BEGIN").await?;
            let Some(old) = number(client.run(&read).await?) else { return Ok(None) };
            client.run(&format!("UPDATE registers SET value = {new} WHERE id = {key}")).await?;
            client.run("COMMIT").await?;
            Ok(Some(Value(*key, Some(old), Some(new))))
        }
    }
}

/// Checks a history, register by register.
pub fn check(events: &[Event<Value>]) -> Report {
    let mut report = Report::default();
    let mut open: BTreeMap<u64, &Event<Value>> = BTreeMap::new();
    let mut by_key: BTreeMap<u64, Vec<Operation>> = BTreeMap::new();
    for event in events {
        match event.kind {
            Kind::Invoke => {
                open.insert(event.process, event);
            }
            Kind::Fail => {
                open.remove(&event.process);
                report.failed += 1;
            }
            Kind::Ok => {
                let Some(invoked) = open.remove(&event.process) else { continue };
                report.ok += 1;
                add(&mut by_key, invoked.time, Some(event.time), &event.f, &event.value);
            }
            Kind::Info => report.unknown += 1,
        }
    }
    // What is still open may have happened: unknown outcomes, and what the end of the run cut off.
    for invoked in open.values() {
        add(&mut by_key, invoked.time, None, &invoked.f, &invoked.value);
    }
    for (key, operations) in by_key {
        if let Err(violation) = linearizable::check(Some(0), &operations) {
            let stuck: Vec<_> = violation.stuck_at.iter().map(|index| operations[*index]).collect();
            let explained = violation.explained.len();
            report.violations.push(format!(
                "linearizability: register {key}: {explained} of {} operations explained, then none of these fits: {stuck:?}",
                operations.len()
            ));
        }
    }
    report
}

fn add(by_key: &mut BTreeMap<u64, Vec<Operation>>, invoked: u64, completed: Option<u64>, f: &str, value: &Value) {
    let Value(key, first, second) = value;
    let action = match (f, first, second) {
        ("read", seen, _) => completed.map(|_| Action::Read(*seen)),
        ("write", Some(new), _) => Some(Action::Write(*new)),
        ("cas", Some(old), Some(new)) => Some(Action::CompareAndSet(*old, *new)),
        // A compare-and-set of unknown outcome wrote its value over one that nobody was told of: a write, if anything.
        ("cas", None, Some(new)) => Some(Action::Write(*new)),
        _ => None,
    };
    if let Some(action) = action {
        by_key.entry(*key).or_default().push(Operation { action, invoked, completed });
    }
}

#[cfg(test)]
mod tests;
