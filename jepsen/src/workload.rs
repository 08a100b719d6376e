//! What clients do while faults happen, and what must hold of it.
//!
//! | workload | what clients do | what must hold |
//! |---|---|---|
//! | [`bank`] | move money between accounts | the total, at every read |
//! | [`register`] | read, write, compare-and-set single rows | linearizability of each row |
//! | [`set`] | insert rows, retrying nothing | every acknowledged row is there at the end, and none that failed |
//!
//! A workload knows a [`crate::client::Database`] and nothing of how it runs.

pub mod bank;
pub mod register;
pub mod set;

use std::time::Duration;

use crate::client::{Client, Database};

/// How long, and by how many clients.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Concurrent clients, spread over the nodes.
    pub clients: usize,
    /// How long they go on.
    pub duration: Duration,
    /// What their choices follow from.
    pub seed: u64,
}

/// What a workload counted, and its verdict.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Operations that were acknowledged.
    pub ok: u64,
    /// Operations that certainly failed.
    pub failed: u64,
    /// Operations of unknown outcome.
    pub unknown: u64,
    /// The longest time without an acknowledged write.
    pub longest_gap: Duration,
    /// What was broken, in words; empty when nothing was.
    pub violations: Vec<String>,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} ok, {} failed, {} unknown; longest gap without an acknowledged write {} ms; ",
            self.ok,
            self.failed,
            self.unknown,
            self.longest_gap.as_millis()
        )?;
        match self.violations.as_slice() {
            [] => write!(f, "valid"),
            violations => write!(f, "INVALID:\n  {}", violations.join("\n  ")),
        }
    }
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
                    self.node = (self.node + 1) % self.database.nodes();
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        self.client.as_mut()
    }

    /// The connection is of no use any more.
    fn lose(&mut self) {
        self.client = None;
    }
}

/// Keeps the time since the last acknowledged write.
#[derive(Debug)]
struct GapMeter {
    last: tokio::time::Instant,
    longest: Duration,
}

impl GapMeter {
    fn new() -> Self {
        GapMeter { last: tokio::time::Instant::now(), longest: Duration::ZERO }
    }

    fn acknowledged(&mut self) {
        let now = tokio::time::Instant::now();
        self.longest = self.longest.max(now - self.last);
        self.last = now;
    }
}
