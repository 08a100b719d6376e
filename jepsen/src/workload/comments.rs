//! Comments are inserted blindly, into tables in different ranges; who sees one sees all that were acknowledged before it was asked for.
//!
//! ```text
//!   first:  ├─ insert 1 into a ─┤
//!   second:                       ├─ insert 2 into b ─┤
//!   reader:   ├───────── reads a and b ────────────┤          2 without 1 is a causal reverse
//! ```
//!
//! The two inserts touch nothing in common, so that any order of them is serializable; only their order in real time binds them. A
//! database whose timestamps are further apart than it waits for puts the second before the first.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use clock::Random;
use serde_json::{Value, json};

use super::clients::{self, Clients, Done, Step, Transaction, Trouble, number};
use super::{Load, Workload};
use crate::checker::Verdict;
use crate::client::{Client, Database, Failure, run_anywhere, split};
use crate::history::{History, Kind, Operation, Recorder};

/// Comments of threads, over some tables.
#[derive(Clone, Copy, Debug)]
pub struct Comments {
    /// Over how many tables.
    pub tables: u64,
    /// After so many comments a new thread begins, so that reads stay short.
    pub comments_a_thread: u64,
}

impl Default for Comments {
    fn default() -> Self {
        Comments { tables: 4, comments_a_thread: 60 }
    }
}

#[async_trait]
impl Workload for Comments {
    fn name(&self) -> &'static str {
        "comments"
    }

    async fn set_up(&self, database: &dyn Database) -> Result<(), Failure> {
        for table in 0..self.tables {
            run_anywhere(database, &format!("DROP TABLE IF EXISTS comments{table}")).await?;
            let columns = "thread bigint, id bigint, PRIMARY KEY (thread, id)";
            run_anywhere(database, &format!("CREATE TABLE IF NOT EXISTS comments{table} ({columns})")).await?;
            split(database, &format!("comments{table}"), 0).await?;
        }
        Ok(())
    }

    async fn run(&self, database: &dyn Database, load: Load, recorder: &Recorder) {
        clients::work(&Commenters { shape: *self, next: AtomicU64::new(0) }, database, load, recorder).await;
    }

    fn check(&self, history: &History) -> Verdict {
        check(history)
    }
}

struct Commenters {
    shape: Comments,
    next: AtomicU64,
}

#[async_trait]
impl Clients for Commenters {
    /// The value is `[thread, comment]`, that of a read `[thread, comments]`.
    fn next(&self, _number: usize, random: &Random) -> Step {
        if random.chance(0.3) {
            let thread = self.next.load(Ordering::Relaxed) / self.shape.comments_a_thread;
            return Step { f: "read", value: json!([thread, null]) };
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        Step { f: "write", value: json!([id / self.shape.comments_a_thread, id]) }
    }

    async fn execute(&self, client: &mut dyn Client, step: &Step) -> Result<Done, Trouble> {
        let (thread, id) = (&step.value[0], &step.value[1]);
        if let Some(id) = id.as_u64() {
            client.run(&format!("INSERT INTO comments{} VALUES ({thread}, {id})", id % self.shape.tables)).await?;
            return Ok(Done::Ok(step.value.clone()));
        }
        let mut transaction = Transaction::begin(client).await?;
        let mut seen = Vec::new();
        for table in 0..self.shape.tables {
            let rows = transaction.run(&format!("SELECT id FROM comments{table} WHERE thread = {thread}")).await?;
            seen.extend(rows.iter().filter_map(|row| number(row, 0)));
        }
        transaction.commit().await?;
        Ok(Done::Ok(json!([thread, seen])))
    }
}

/// Who sees a write sees all writes that were acknowledged before it was asked for, and all that were before the read itself was.
fn check(history: &History) -> Verdict {
    let mut verdict = Verdict::on(history);
    let operations = history.operations();
    let mut writes: BTreeMap<u64, BTreeMap<u64, &Operation<'_>>> = BTreeMap::new();
    for write in operations.iter().filter(|operation| operation.invoked.f == "write") {
        let (thread, id) = (write.invoked.value[0].as_u64(), write.invoked.value[1].as_u64());
        if let (Some(thread), Some(id)) = (thread, id) {
            writes.entry(thread).or_default().insert(id, write);
        }
    }
    let nothing = BTreeMap::new();
    for read in operations.iter().filter(|operation| operation.invoked.f == "read" && operation.outcome() == Kind::Ok) {
        let event = read.last_event();
        let writes = event.value[0].as_u64().and_then(|thread| writes.get(&thread)).unwrap_or(&nothing);
        let seen: Vec<u64> = event.value[1].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
        check_read(read, &seen, writes, &mut verdict);
    }
    verdict
}

fn check_read(read: &Operation<'_>, seen: &[u64], writes: &BTreeMap<u64, &Operation<'_>>, verdict: &mut Verdict) {
    let event = read.last_event();
    for id in seen {
        match writes.get(id) {
            Some(write) if write.outcome() == Kind::Fail => {
                verdict.found("aborted read", format!("comment {id} was seen, and had failed"), vec![event.index]);
            }
            Some(_) => {}
            None => verdict.found("garbage read", format!("comment {id} was never written"), vec![event.index]),
        }
    }
    let last = seen.iter().filter_map(|id| Some((writes.get(id)?.invoked.index, *id))).max();
    for (id, write) in writes.iter().filter(|(id, _)| !seen.contains(id)) {
        let Some(acknowledged) = write.acknowledged() else { continue };
        if let Some((_, later)) = last.filter(|(invoked, _)| acknowledged < *invoked) {
            let said = format!(
                "event {} sees comment {later} and not {id}, which was acknowledged before {later} was asked for",
                event.index
            );
            verdict.found("causal reverse", said, vec![acknowledged, writes[&later].invoked.index, event.index]);
        } else if acknowledged < read.invoked.index {
            let said = format!("event {} does not see comment {id}, which was acknowledged before", event.index);
            verdict.found("stale read", said, vec![acknowledged, event.index]);
        }
    }
}

#[cfg(test)]
mod tests;
