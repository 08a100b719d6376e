//! Counters are added to, and read; no addition is lost, none is made twice.
//!
//! An addition is an UPDATE of one statement, which a gateway may well try again when an answer is lost: it must not count twice.
//! A read lies between what was acknowledged before it began and what was asked for before it ended.

use std::collections::BTreeMap;

use async_trait::async_trait;
use clock::Random;
use serde_json::{Value, json};

use super::clients::{self, Clients, Done, Step, Trouble, number};
use super::{Load, Workload};
use crate::checker::Verdict;
use crate::client::{Client, Database, Failure, Rows, run_anywhere, split};
use crate::history::{Event, History, Kind, Operation, Recorder};

/// Some counters.
#[derive(Clone, Copy, Debug)]
pub struct Counters {
    /// How many.
    pub keys: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Counters { keys: 6 }
    }
}

const READ_ALL: &str = "SELECT id, n FROM counters ORDER BY id";

#[async_trait]
impl Workload for Counters {
    fn name(&self) -> &'static str {
        "counter"
    }

    async fn set_up(&self, database: &dyn Database) -> Result<(), Failure> {
        run_anywhere(database, "DROP TABLE IF EXISTS counters").await?;
        run_anywhere(database, "CREATE TABLE IF NOT EXISTS counters (id int PRIMARY KEY, n bigint NOT NULL)").await?;
        split(database, "counters", self.keys / 2).await?;
        let rows: Vec<String> = (0..self.keys).map(|key| format!("({key}, 0)")).collect();
        let insert = format!("INSERT INTO counters VALUES {} ON CONFLICT DO NOTHING", rows.join(", "));
        run_anywhere(database, &insert).await?;
        Ok(())
    }

    async fn run(&self, database: &dyn Database, load: Load, recorder: &Recorder) {
        clients::work(self, database, load, recorder).await;
    }

    async fn finish(&self, database: &dyn Database, recorder: &Recorder) {
        clients::final_read(database, recorder, READ_ALL, counts).await;
        // A lease that moves between the two may take a lock with it, which soon after all was healed is no fault.
        let mut granted_twice = 0;
        for _ in 0..LOCK_PROBES {
            granted_twice += u64::from(is_granted_twice(database).await.unwrap_or(false));
        }
        recorder.record(Kind::Invoke, PROBER, GRANTED_TWICE, Value::Null, None);
        recorder.record(Kind::Ok, PROBER, GRANTED_TWICE, json!(granted_twice), None);
    }

    fn check(&self, history: &History) -> Verdict {
        let mut verdict = Verdict::on(history);
        clients::require_final_read(history, &mut verdict);
        check(history, &mut verdict);
        let probes = history.events().iter().filter(|event| event.kind == Kind::Ok && event.f == GRANTED_TWICE);
        for event in probes.filter(|event| event.value == LOCK_PROBES) {
            verdict.found(
                "lock granted twice",
                "one had locked a row, and another locked it as well",
                vec![event.index],
            );
        }
        verdict
    }
}

/// How often it is tried whether a lock keeps others away, and under which name and by whom that is recorded.
const LOCK_PROBES: u64 = 3;
const GRANTED_TWICE: &str = "locks-granted-twice";
const PROBER: u64 = u32::MAX as u64 - 1;

/// Two transactions on different nodes update the same row, the second one while the first one is open, and it does not wait for
/// long: whether both do.
async fn is_granted_twice(database: &dyn Database) -> Result<bool, Failure> {
    const UPDATE: &str = "UPDATE counters SET n = n WHERE id = 0";
    let mut one = database.connect(0).await?;
    let mut other = database.connect(database.nodes() - 1).await?;
    one.run("BEGIN").await?;
    one.run(UPDATE).await?;
    other.run("BEGIN").await?;
    other.run("SET LOCAL lock_timeout = '300ms'").await?;
    let granted = other.run(UPDATE).await;
    one.run("ROLLBACK").await?;
    other.run("ROLLBACK").await?;
    match granted {
        Ok(_) => Ok(true),
        Err(failure) if failure.code.as_deref() == Some("55P03") => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// `[[id, n], …]`
fn counts(rows: &Rows) -> Value {
    rows.iter().map(|row| json!([number(row, 0), number(row, 1)])).collect()
}

#[async_trait]
impl Clients for Counters {
    fn next(&self, _number: usize, random: &Random) -> Step {
        if random.chance(0.1) {
            return Step { f: "read", value: Value::Null };
        }
        Step { f: "add", value: json!([random.range(0, self.keys), random.range(1, 4)]) }
    }

    async fn execute(&self, client: &mut dyn Client, step: &Step) -> Result<Done, Trouble> {
        if step.f == "read" {
            return Ok(Done::Ok(counts(&client.run(READ_ALL).await?)));
        }
        let (key, by) = (&step.value[0], &step.value[1]);
        client.run(&format!("UPDATE counters SET n = n + {by} WHERE id = {key}")).await?;
        Ok(Done::Ok(step.value.clone()))
    }
}

/// What a counter is at least, and at most.
#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    acknowledged: i64,
    possible: i64,
}

fn check(history: &History, verdict: &mut Verdict) {
    let operations = history.operations();
    let by_invocation: BTreeMap<u64, &Operation<'_>> = operations.iter().map(|one| (one.invoked.index, one)).collect();
    let by_completion: BTreeMap<u64, &Operation<'_>> =
        operations.iter().map(|one| (one.last_event().index, one)).collect();
    let mut bounds: BTreeMap<u64, Bounds> = BTreeMap::new();
    // What each running read must at least see.
    let mut least: BTreeMap<u64, BTreeMap<u64, Bounds>> = BTreeMap::new();
    let addition = |event: &Event| Some((event.value[0].as_u64()?, event.value[1].as_i64()?));
    for event in history.events() {
        if event.kind == Kind::Invoke {
            let Some(operation) = by_invocation.get(&event.index) else { continue };
            match (event.is_read(), addition(event)) {
                (true, _) => drop(least.insert(event.index, bounds.clone())),
                // What failed is known to, whenever that was said.
                (false, Some((key, by))) if operation.outcome() != Kind::Fail => {
                    bounds.entry(key).or_default().possible += by
                }
                _ => {}
            }
        } else if let Some(operation) = by_completion.get(&event.index).filter(|_| event.kind == Kind::Ok) {
            if let (false, Some((key, by))) = (event.is_read(), addition(event)) {
                bounds.entry(key).or_default().acknowledged += by;
            } else if let Some(least) = least.remove(&operation.invoked.index) {
                check_read(event, &least, &bounds, verdict);
            }
        }
    }
}

fn check_read(event: &Event, least: &BTreeMap<u64, Bounds>, most: &BTreeMap<u64, Bounds>, verdict: &mut Verdict) {
    for counter in event.value.as_array().into_iter().flatten() {
        let (Some(key), Some(seen)) = (counter[0].as_u64(), counter[1].as_i64()) else { continue };
        let low = least.get(&key).map_or(0, |bounds| bounds.acknowledged);
        let high = most.get(&key).map_or(0, |bounds| bounds.possible);
        let said = format!("counter {key} was read as {seen}, and is between {low} and {high}");
        match seen {
            _ if seen < low => verdict.found("lost addition", said, vec![event.index]),
            _ if seen > high => verdict.found("addition made twice", said, vec![event.index]),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
