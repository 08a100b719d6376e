//! What clients do while faults happen, and what must hold of it.
//!
//! | workload | what clients do | what must hold |
//! |---|---|---|
//! | [`bank`] | move money between accounts | the total, at every read |
//! | [`comments`] | insert blindly into tables in different ranges | no causal reverse: who sees one sees all before it |
//! | [`counter`] | add to counters | no addition is lost or made twice |
//! | [`ddl`] | insert and update rows while columns and indexes come and go | no row misses a default or an index entry |
//! | [`long_fork`] | write keys, and read groups of them | all readers agree on an order of the writes |
//! | [`monotonic`] | add the highest number plus one | numbers rise with real time |
//! | [`register`] | read, write, compare-and-set single rows | linearizability of each row |
//! | [`scan`] | insert rows and read all of them while ranges split | every row is in every scan, once and in order |
//! | [`sequential`] | write keys one after the other | who sees a later one sees the earlier ones |
//! | [`set`] | insert rows | every acknowledged row is there at the end once, and none that failed |
//! | [`transactions`] | append to lists or write registers, and read them | strict serializability, by cycles of dependencies |
//! | [`triples`] | insert a row into each of three tables in a transaction | acknowledged ones are read at once, and at the end in all tables or none |
//! | [`write_skew`] | insert a row if there is none | of two, one does |
//!
//! ```text
//!   set_up ─▶ run, while a nemesis breaks the database ─▶ all is healed ─▶ finish ─▶ check the history
//! ```
//!
//! A workload records what it does as a history, and its verdict follows from the history alone, so that a history kept in a file
//! can be checked again. It knows a [`crate::client::Database`] and nothing of how that runs: in simulation, as processes, in
//! containers, or as somebody else's PostgreSQL.

pub mod bank;
mod clients;
pub mod comments;
pub mod counter;
pub mod ddl;
pub mod long_fork;
pub mod monotonic;
pub mod register;
pub mod scan;
pub mod sequential;
pub mod set;
pub mod transactions;
pub mod triples;
pub mod write_skew;

use std::time::Duration;

use async_trait::async_trait;

use crate::checker::Verdict;
use crate::client::{Database, Failure};
use crate::history::{History, Recorder};
use transactions::{Model, Transactions};

/// How long, and by how many clients.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Concurrent clients, spread over the nodes.
    pub clients: usize,
    /// How long they go on.
    pub duration: Duration,
    /// What their choices follow from.
    pub seed: u64,
    /// How long a client thinks between two operations, on average.
    pub pause: Duration,
}

/// Something to do to a database, and to check.
#[async_trait]
pub trait Workload: Send + Sync {
    /// What it is called on the command line.
    fn name(&self) -> &'static str;

    /// Makes the tables, whatever was there before.
    ///
    /// # Errors
    /// What the database says.
    async fn set_up(&self, database: &dyn Database) -> Result<(), Failure>;

    /// Lets clients work for as long as the load says, whatever happens to the database.
    async fn run(&self, database: &dyn Database, load: Load, recorder: &Recorder);

    /// Reads what is there in the end. Everything is healed by then.
    async fn finish(&self, _database: &dyn Database, _recorder: &Recorder) {}

    /// The verdict on a history that [`Workload::run`] and [`Workload::finish`] recorded.
    fn check(&self, history: &History) -> Verdict;
}

/// Every workload, by name.
const REGISTRY: &[(&str, fn() -> Box<dyn Workload>)] = &[
    ("append", || Box::new(Transactions::new(Model::Append))),
    ("bank", || Box::new(bank::Bank::default())),
    ("comments", || Box::new(comments::Comments::default())),
    ("counter", || Box::new(counter::Counters::default())),
    ("ddl", || Box::new(ddl::SchemaChange)),
    ("long-fork", || Box::new(long_fork::LongFork::default())),
    ("monotonic", || Box::new(monotonic::Monotonic::default())),
    ("register", || Box::new(register::Registers::default())),
    ("register-txn", || Box::new(Transactions::new(Model::Register))),
    ("scan", || Box::new(scan::Scan::default())),
    ("sequential", || Box::new(sequential::Sequential::default())),
    ("set", || Box::new(set::Set)),
    ("triples", || Box::new(triples::Triples)),
    ("write-skew", || Box::new(write_skew::WriteSkew)),
];

/// The names of all workloads.
pub fn names() -> Vec<&'static str> {
    REGISTRY.iter().map(|(name, _)| *name).collect()
}

/// A workload by its name.
pub fn named(name: &str) -> Option<Box<dyn Workload>> {
    REGISTRY.iter().find(|(known, _)| *known == name).map(|(_, make)| make())
}

/// All workloads.
pub fn all() -> Vec<Box<dyn Workload>> {
    REGISTRY.iter().map(|(_, make)| make()).collect()
}

/// Sets a workload up, runs it beside a nemesis, reads what is there in the end, and gives history and verdict.
///
/// The nemesis is whatever breaks the database while clients work and heals it before it is done.
///
/// # Errors
/// When the workload cannot be set up, or the nemesis fails.
pub async fn drive(
    workload: &dyn Workload,
    database: &dyn Database,
    load: Load,
    recorder: &Recorder,
    nemesis: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<(History, Verdict)> {
    workload
        .set_up(database)
        .await
        .map_err(|failure| anyhow::anyhow!("{} was not set up: {failure}", workload.name()))?;
    let ((), healed) = tokio::join!(workload.run(database, load, recorder), nemesis);
    healed?;
    workload.finish(database, recorder).await;
    let history = recorder.history();
    let verdict = workload.check(&history);
    Ok((history, verdict))
}

#[cfg(test)]
mod tests;
