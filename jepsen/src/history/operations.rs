//! A history read as operations: each invocation with its completion.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;

use super::{Event, History, Kind, Process};

/// One operation of a client.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'a> {
    /// When it was asked for, and with what.
    pub invoked: &'a Event,
    /// What came of it; `None` when the run ended before an answer.
    pub completed: Option<&'a Event>,
}

impl<'a> Operation<'a> {
    /// `Ok`, `Fail`, or `Info` when nobody knows.
    pub fn outcome(&self) -> Kind {
        self.completed.map_or(Kind::Info, |event| event.kind)
    }

    /// The event that says most: the completion, if there is one.
    pub fn last_event(&self) -> &'a Event {
        self.completed.unwrap_or(self.invoked)
    }

    /// The index of its acknowledgement; `None` if there was none, so that it may take effect at any later time.
    pub fn acknowledged(&self) -> Option<u64> {
        self.completed.filter(|event| event.kind == Kind::Ok).map(|event| event.index)
    }
}

/// How operations ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Acknowledged.
    pub ok: u64,
    /// Certainly failed.
    pub failed: u64,
    /// Of unknown outcome.
    pub unknown: u64,
    /// Faults begun.
    pub faults: u64,
    /// The longest time without the acknowledgement of anything but reads.
    pub longest_gap: Duration,
}

impl History {
    /// The operations of clients, by invocation.
    pub fn operations(&self) -> Vec<Operation<'_>> {
        let mut open: HashMap<Process, usize> = HashMap::new();
        let mut operations = Vec::new();
        for event in self.events() {
            if event.process == Process::Nemesis {
                continue;
            }
            if event.kind == Kind::Invoke {
                open.insert(event.process, operations.len());
                operations.push(Operation { invoked: event, completed: None });
            } else if let Some(place) = open.remove(&event.process) {
                operations[place].completed = Some(event);
            }
        }
        operations
    }

    /// How the operations ended.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for operation in self.operations() {
            match operation.outcome() {
                Kind::Ok => counts.ok += 1,
                Kind::Fail => counts.failed += 1,
                Kind::Info | Kind::Invoke => counts.unknown += 1,
            }
        }
        counts.faults = self.events().iter().filter(|event| event.is_fault_start()).count() as u64;
        counts.longest_gap = self.gaps().into_iter().map(|(from, to)| to - from).max().unwrap_or_default();
        counts
    }

    /// The times between acknowledgements of anything but reads, from the first invocation to the last event.
    pub fn gaps(&self) -> Vec<(Duration, Duration)> {
        let clients = || self.events().iter().filter(|event| event.process != Process::Nemesis);
        let is_write = |event: &&Event| event.kind == Kind::Ok && !event.is_read();
        let Some(begin) = clients().next() else { return Vec::new() };
        // A final read of everything may take long after the last write was asked for.
        let end = clients().rfind(|event| !event.is_read()).map_or(begin.time, |event| event.time);
        let mut moments = vec![begin.time];
        moments.extend(clients().filter(is_write).map(|event| event.time));
        moments.push(end);
        // A history that others recorded may have times that go back.
        moments.sort_unstable();
        moments.windows(2).map(|pair| (Duration::from_nanos(pair[0]), Duration::from_nanos(pair[1]))).collect()
    }

    /// Each fault with its beginning and end in nanoseconds; one that was never healed ends with the history.
    pub fn faults(&self) -> Vec<(String, u64, u64)> {
        let last = self.events().last().map_or(0, |event| event.time);
        let mut open: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut faults = Vec::new();
        for event in self.events().iter().filter(|event| event.process == Process::Nemesis) {
            if let Some(name) = event.f.strip_prefix("start-") {
                open.entry(name).or_default().push(faults.len());
                faults.push((name.to_owned(), event.time, last));
            } else if let Some(name) = event.f.strip_prefix("stop-") {
                for place in open.remove(name).unwrap_or_default() {
                    faults[place].2 = event.time;
                }
            }
        }
        faults
    }
}

impl Event {
    /// Whether it is of an operation that changes nothing: one whose name ends in `read`.
    pub fn is_read(&self) -> bool {
        self.f.ends_with("read")
    }

    /// Whether a fault begins here.
    pub fn is_fault_start(&self) -> bool {
        self.process == Process::Nemesis && self.f.starts_with("start-")
    }
}
