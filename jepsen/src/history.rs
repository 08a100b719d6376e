//! What happened, operation by operation, in the shape of Jepsen's histories.
//!
//! ```text
//!   index  type    process  f         value                          time
//!   0      invoke  0        txn       [["r", 1, null], ["append", 1, 7]]   1200
//!   1      info    nemesis  start-kill  "n2"                         1300
//!   2      ok      0        txn       [["r", 1, [4]], ["append", 1, 7]]    9800
//! ```
//!
//! Each operation has an invocation and, if an answer came, a completion: `ok` (it happened), `fail` (it did not),
//! `info` (nobody knows, and it may still happen at any later time). A process does one thing at a time; one whose operation
//! ended as `info` is not heard of again. What a nemesis does stands between, as `info` of the process `nemesis`: `start-X` when the
//! fault X begins, `stop-X` when it is healed.
//!
//! The order of events is the order in which they were recorded, and a checker goes by it and not by times: what was answered
//! before another was asked for has the lower index.
//!
//! This module knows nothing of what operations mean.

mod edn;
mod operations;

use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::Mutex;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use tokio::time::Instant;

pub use operations::{Counts, Operation};

/// How an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

/// Who does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Process {
    /// A client. It does one thing at a time.
    Client(u64),
    /// Whoever breaks the database, and heals it.
    Nemesis,
}

impl Serialize for Process {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Process::Client(number) => serializer.serialize_u64(*number),
            Process::Nemesis => serializer.serialize_str("nemesis"),
        }
    }
}

impl<'de> Deserialize<'de> for Process {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(name) if name == "nemesis" => Ok(Process::Nemesis),
            other => other.as_u64().map(Process::Client).ok_or_else(|| {
                serde::de::Error::custom(format!("expected a process number or \"nemesis\", found {other}"))
            }),
        }
    }
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Process::Client(number) => write!(f, "{number}"),
            Process::Nemesis => write!(f, "nemesis"),
        }
    }
}

/// One line of a history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its place in the history, from 0.
    pub index: u64,
    /// Invocation or completion.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Who.
    pub process: Process,
    /// What.
    pub f: String,
    /// With what, or what came of it.
    pub value: Value,
    /// Nanoseconds since the start of the run.
    pub time: u64,
    /// Why it failed, or why nobody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// All events of a run, by index.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    events: Vec<Event>,
}

impl History {
    /// A history of these events, which get their indices from their order.
    pub fn new(mut events: Vec<Event>) -> Self {
        for (index, event) in events.iter_mut().enumerate() {
            event.index = index as u64;
        }
        History { events }
    }

    /// The events, by index.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The first so many events: what was not answered by then is unknown.
    pub fn beginning(&self, events: usize) -> History {
        History { events: self.events[..events.min(self.events.len())].to_vec() }
    }

    /// Writes the history as JSON, one object a line.
    ///
    /// # Errors
    /// The writer's.
    pub fn write_json(&self, out: &mut dyn Write) -> std::io::Result<()> {
        for event in &self.events {
            serde_json::to_writer(&mut *out, event)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Writes the history as EDN, one map a line, as Jepsen does.
    ///
    /// # Errors
    /// The writer's.
    pub fn write_edn(&self, out: &mut dyn Write) -> std::io::Result<()> {
        for event in &self.events {
            writeln!(out, "{}", edn::event(event))?;
        }
        Ok(())
    }

    /// Writes `history.jsonl` and `history.edn` into a directory.
    ///
    /// # Errors
    /// The disk's.
    pub fn write_into(&self, directory: &Path) -> std::io::Result<()> {
        let mut json = std::io::BufWriter::new(std::fs::File::create(directory.join("history.jsonl"))?);
        self.write_json(&mut json)?;
        json.flush()?;
        let mut edn = std::io::BufWriter::new(std::fs::File::create(directory.join("history.edn"))?);
        self.write_edn(&mut edn)?;
        edn.flush()
    }

    /// Reads a history of JSON objects, one a line.
    ///
    /// # Errors
    /// The reader's, and of a line that is no event.
    pub fn read_json(input: impl BufRead) -> std::io::Result<Self> {
        let mut events = Vec::new();
        for line in input.lines() {
            let line = line?;
            if !line.trim().is_empty() {
                events.push(serde_json::from_str(&line)?);
            }
        }
        Ok(History::new(events))
    }
}

/// Records a history from many tasks.
#[derive(Debug)]
pub struct Recorder {
    start: Instant,
    events: Mutex<Vec<Event>>,
}

impl Recorder {
    /// An empty history that starts now.
    #[allow(clippy::new_without_default, reason = "it reads a clock")]
    pub fn new() -> Self {
        Recorder { start: Instant::now(), events: Mutex::new(Vec::new()) }
    }

    /// Records a client's event now.
    pub fn record(&self, kind: Kind, process: u64, f: &str, value: Value, error: Option<String>) {
        self.push(kind, Process::Client(process), f, value, error);
    }

    /// A fault begins: what, and where.
    pub fn fault_begins(&self, fault: &str, detail: impl Into<Value>) {
        self.push(Kind::Info, Process::Nemesis, &format!("start-{fault}"), detail.into(), None);
    }

    /// A fault is healed.
    pub fn fault_ends(&self, fault: &str, detail: impl Into<Value>) {
        self.push(Kind::Info, Process::Nemesis, &format!("stop-{fault}"), detail.into(), None);
    }

    fn push(&self, kind: Kind, process: Process, f: &str, value: Value, error: Option<String>) {
        let mut events = self.events.lock().expect("no recorder panics while it records");
        // The time is read under the lock, so that the order of events is the order of times.
        let time = self.start.elapsed().as_nanos() as u64;
        let index = events.len() as u64;
        events.push(Event { index, kind, process, f: f.to_owned(), value, time, error });
    }

    /// What was recorded so far.
    pub fn history(&self) -> History {
        History { events: self.events.lock().expect("no recorder panics while it records").clone() }
    }
}

#[cfg(test)]
mod tests;
