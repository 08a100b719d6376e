//! Clients at work: each asks for one thing after the other, and records what came of it.
//!
//! ```text
//!   next ─▶ record invoke ─▶ execute ─┬─ done ─────────────▶ record ok (or fail, if it found nothing to do)
//!                                     ├─ certainly undone ─▶ record fail, roll back
//!                                     └─ nobody knows ─────▶ record info; go on as another process, on another connection
//! ```
//!
//! A transaction whose connection breaks before its COMMIT was sent has certainly not happened; one whose COMMIT was sent may have.
//! An operation whose name ends in `read` changes nothing, so that for it, unknown is failed.

use std::time::Duration;

use async_trait::async_trait;
use clock::Random;
use futures::future::join_all;
use serde_json::Value;

use super::Load;
use crate::checker::Verdict;
use crate::client::{Client, Database, Failure, Rows, run_all_anywhere, run_anywhere};
use crate::history::{History, Kind, Recorder};

/// An operation to be done.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub f: &'static str,
    pub value: Value,
}

/// What came of an operation that the database answered.
#[derive(Clone, Debug)]
pub(super) enum Done {
    /// It happened; this came of it.
    Ok(Value),
    /// There was nothing to do, and nothing was done.
    Nothing(&'static str),
}

/// What came of an operation that failed.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    failure: Failure,
    /// It certainly has not happened.
    is_definite: bool,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Trouble { is_definite: failure.is_definite(), failure }
    }
}

/// What all clients of a workload do.
#[async_trait]
pub(super) trait Clients: Sync {
    /// What client `number` does next.
    fn next(&self, number: usize, random: &Random) -> Step;

    /// Does it.
    async fn execute(&self, client: &mut dyn Client, step: &Step) -> Result<Done, Trouble>;
}

/// Lets clients work until the time is up.
pub(super) async fn work(clients: &dyn Clients, database: &dyn Database, load: Load, recorder: &Recorder) {
    let end = tokio::time::Instant::now() + load.duration;
    join_all((0..load.clients).map(|number| one(clients, database, load, recorder, number, end))).await;
}

async fn one(
    clients: &dyn Clients,
    database: &dyn Database,
    load: Load,
    recorder: &Recorder,
    number: usize,
    end: tokio::time::Instant,
) {
    let random = Random::from_seed(load.seed).fork(&format!("client {number}"));
    let mut roaming = Roaming::new(database, number);
    let mut process = number as u64;
    while tokio::time::Instant::now() < end {
        let Some(client) = roaming.client().await else { continue };
        let step = clients.next(number, &random);
        recorder.record(Kind::Invoke, process, step.f, step.value.clone(), None);
        match clients.execute(client.as_mut(), &step).await {
            Ok(Done::Ok(value)) => recorder.record(Kind::Ok, process, step.f, value, None),
            Ok(Done::Nothing(why)) => recorder.record(Kind::Fail, process, step.f, step.value, Some(why.to_owned())),
            Err(Trouble { failure, is_definite }) => {
                let said = Some(failure.to_string());
                if is_definite || step.f.ends_with("read") {
                    recorder.record(Kind::Fail, process, step.f, step.value, said);
                } else {
                    recorder.record(Kind::Info, process, step.f, step.value, said);
                    process += load.clients as u64;
                }
                // What was begun is given up; a connection that does not even take that is of no use.
                if failure.is_fatal() || client.run("ROLLBACK").await.is_err() {
                    roaming.lose();
                }
            }
        }
        if !load.pause.is_zero() {
            tokio::time::sleep(load.pause.mul_f64(random.range(0, 2_000) as f64 / 1_000.0)).await;
        }
    }
}

/// A transaction in the making.
pub(super) struct Transaction<'a> {
    client: &'a mut dyn Client,
}

impl<'a> Transaction<'a> {
    pub async fn begin(client: &'a mut dyn Client) -> Result<Self, Trouble> {
        let mut transaction = Transaction { client };
        transaction.run("BEGIN").await?;
        Ok(transaction)
    }

    /// Runs a statement. Whatever goes wrong, the transaction has not happened, since nobody will commit it.
    pub async fn run(&mut self, sql: &str) -> Result<Rows, Trouble> {
        self.client.run(sql).await.map_err(|failure| Trouble { failure, is_definite: true })
    }

    pub async fn roll_back(mut self) -> Result<(), Trouble> {
        self.run("ROLLBACK").await.map(drop)
    }

    pub async fn commit(self) -> Result<(), Trouble> {
        Ok(self.client.run("COMMIT").await.map(drop)?)
    }
}

/// The number in a row's column; `None` for NULL.
pub(super) fn number(row: &[Option<String>], column: usize) -> Option<i64> {
    row.get(column)?.as_deref()?.parse().ok()
}

/// A client that connects again, to the next node, whenever its connection broke.
struct Roaming<'a> {
    database: &'a dyn Database,
    node: usize,
    client: Option<Box<dyn Client>>,
}

impl<'a> Roaming<'a> {
    fn new(database: &'a dyn Database, node: usize) -> Self {
        Roaming { database, node: node % database.nodes(), client: None }
    }

    /// The connection; `None` when no node takes one now.
    async fn client(&mut self) -> Option<&mut Box<dyn Client>> {
        if self.client.is_none() {
            match self.database.connect(self.node).await {
                Ok(client) => self.client = Some(client),
                Err(_) => {
                    self.lose();
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        self.client.as_mut()
    }

    /// The connection is of no use any more, and its node perhaps neither.
    fn lose(&mut self) {
        self.client = None;
        self.node = (self.node + 1) % self.database.nodes();
    }
}

/// What the last read of all is called.
pub(super) const FINAL_READ: &str = "final-read";

/// Who does what is done in the end, and those below, where several things are done at once: no client has such a number.
const FINAL_PROCESS: u64 = u32::MAX as u64;

/// What is read in the end, once all is healed, and the name it is recorded by.
pub(super) struct FinalRead {
    pub f: &'static str,
    pub asked: Value,
    pub sql: String,
    pub what: fn(&Rows) -> Value,
}

/// Reads what is there in the end, once all is healed, and records it.
pub(super) async fn final_read(database: &dyn Database, recorder: &Recorder, sql: &str, what: fn(&Rows) -> Value) {
    final_reads(database, recorder, &[FinalRead { f: FINAL_READ, asked: Value::Null, sql: sql.to_owned(), what }])
        .await;
}

/// Reads several things of one moment: what nobody knows the outcome of may still be under way, and must not fall between two reads.
pub(super) async fn final_reads(database: &dyn Database, recorder: &Recorder, reads: &[FinalRead]) {
    let in_one = ["BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"].into_iter();
    let statements: Vec<&str> = in_one.chain(reads.iter().map(|read| read.sql.as_str())).chain(["COMMIT"]).collect();
    let record = |kind: Kind, value: &dyn Fn(usize) -> Value, error: Option<String>| {
        for (at, process) in (0..reads.len()).zip((0..=FINAL_PROCESS).rev()) {
            recorder.record(kind, process, reads[at].f, value(at), error.clone());
        }
    };
    record(Kind::Invoke, &|at| reads[at].asked.clone(), None);
    match run_all_anywhere(database, &statements).await {
        // The first rows are those of BEGIN.
        Ok(rows) => record(Kind::Ok, &|at| (reads[at].what)(&rows[at + 1]), None),
        Err(failure) => record(Kind::Fail, &|at| reads[at].asked.clone(), Some(failure.to_string())),
    }
}

/// Runs one more statement, once all is healed. It must bear being run twice.
pub(super) async fn final_statement(database: &dyn Database, recorder: &Recorder, f: &str, sql: &str) {
    recorder.record(Kind::Invoke, FINAL_PROCESS, f, Value::from(sql), None);
    match run_anywhere(database, sql).await {
        Ok(_) => recorder.record(Kind::Ok, FINAL_PROCESS, f, Value::Null, None),
        Err(failure) => recorder.record(Kind::Fail, FINAL_PROCESS, f, Value::from(sql), Some(failure.to_string())),
    }
}

/// What the final read saw; without it a checker cannot tell.
pub(super) fn require_final_read<'a>(history: &'a History, verdict: &mut Verdict) -> Option<&'a Value> {
    let last = history.events().iter().rfind(|event| event.f == FINAL_READ);
    match last {
        Some(event) if event.kind == Kind::Ok => return Some(&event.value),
        Some(event) => {
            verdict.cannot_tell(format!("the final read failed: {}", event.error.as_deref().unwrap_or("no answer")));
        }
        None => verdict.cannot_tell("there was no final read"),
    }
    None
}
