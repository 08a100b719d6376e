//! What happened, operation by operation, in the shape of Jepsen's histories.
//!
//! Each operation has an invocation and, if an answer came, a completion: `ok` (it happened), `fail` (it did not),
//! `info` (nobody knows, and it may still happen at any later time). One JSON object a line, so that other
//! checkers can read it too.

use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// How an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It was asked for.
    Invoke,
    /// It happened.
    Ok,
    /// It did not happen.
    Fail,
    /// It may have happened, or may still.
    Info,
}

/// One line of a history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event<V> {
    /// Invocation or completion.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Who. A process does one thing at a time; one whose operation ended as `info` is not heard of again.
    pub process: u64,
    /// What.
    pub f: String,
    /// With what, or what came of it.
    pub value: V,
    /// Nanoseconds since the start of the run.
    pub time: u64,
}

/// Records a history from many tasks.
#[derive(Debug)]
pub struct Recorder<V> {
    start: Instant,
    events: Mutex<Vec<Event<V>>>,
}

impl<V: Clone + Serialize> Recorder<V> {
    /// An empty history that starts now.
    #[allow(clippy::new_without_default, reason = "it reads a clock")]
    pub fn new() -> Self {
        Recorder { start: Instant::now(), events: Mutex::new(Vec::new()) }
    }

    /// Records an event now.
    pub fn record(&self, kind: Kind, process: u64, f: &str, value: V) {
        let mut events = self.events.lock().expect("no recorder panics while it records");
        // The time is read under the lock, so that the order of lines is the order of times.
        let time = self.start.elapsed().as_nanos() as u64;
        events.push(Event { kind, process, f: f.to_owned(), value, time });
    }

    /// What was recorded so far.
    pub fn events(&self) -> Vec<Event<V>> {
        self.events.lock().expect("no recorder panics while it records").clone()
    }

    /// Writes the history to a file, one JSON object a line.
    ///
    /// # Errors
    /// The disk's.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
        for event in self.events() {
            serde_json::to_writer(&mut file, &event)?;
            file.write_all(b"\n")?;
        }
        Ok(file.flush()?)
    }
}
