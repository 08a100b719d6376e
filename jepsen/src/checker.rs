//! Verdicts on histories.
//!
//! ```text
//!   history ─▶ checker ─▶ verdict: valid, invalid with its anomalies, or unknown with the reason
//! ```
//!
//! A verdict is *invalid* only if an anomaly proves it, *unknown* if a checker could not tell: it ran out of its budget, nothing was
//! acknowledged, a final read failed. Unknown is reported as such and never taken for valid.

pub mod dependency;
pub mod linearizable;
pub mod second_opinion;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::history::{Counts, History};

/// What a history turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Nothing that the workload promises was broken.
    Valid,
    /// Something was, provably.
    Invalid,
    /// The checker cannot tell.
    Unknown,
}

impl Serialize for Validity {
    /// As Jepsen writes it: true, false or "unknown".
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Validity::Valid => serializer.serialize_bool(true),
            Validity::Invalid => serializer.serialize_bool(false),
            Validity::Unknown => serializer.serialize_str("unknown"),
        }
    }
}

/// Something that must not have happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Anomaly {
    /// What such things are called: `G-single`, `lost row`.
    pub name: String,
    /// What happened, in words; several lines if need be.
    pub explanation: String,
    /// The events that prove it, by index.
    pub events: Vec<u64>,
    /// Transactions each of which must come before the next, and the last before the first; if that is what is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cycle: Option<Cycle>,
}

/// Transactions that must each come before the next, in a circle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cycle {
    /// The transactions.
    pub transactions: Vec<Member>,
    /// Why each comes before the next; the last, why it comes before the first.
    pub edges: Vec<Reason>,
}

/// A transaction of a cycle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// `T` with the index of its last event.
    pub name: String,
    /// What it did.
    pub shown: String,
}

/// Why a transaction comes before another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// `ww`, `wr`, `rw`, `process` or `realtime`.
    pub kind: String,
    /// In words.
    pub why: String,
}

/// What a checker found.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// How the operations ended.
    pub counts: Counts,
    /// What must not have happened; of each name, the first few.
    pub anomalies: Vec<Anomaly>,
    /// How often each thing that must not have happened did.
    pub found: BTreeMap<String, u64>,
    /// Why the checker cannot tell, if it cannot.
    pub unknown: Vec<String>,
}

impl Verdict {
    /// A verdict on a history in which nothing was found yet. If nothing was acknowledged, nothing was tested.
    pub fn on(history: &History) -> Self {
        let counts = history.counts();
        let unknown = if counts.ok == 0 { vec!["nothing was ever acknowledged".to_owned()] } else { Vec::new() };
        Verdict { counts, anomalies: Vec::new(), found: BTreeMap::new(), unknown }
    }

    /// Adds an anomaly.
    pub fn found(&mut self, name: &str, explanation: impl Into<String>, events: Vec<u64>) {
        self.add(Anomaly { name: name.to_owned(), explanation: explanation.into(), events, cycle: None });
    }

    /// Adds an anomaly. Many of the same name are counted, and the first few are kept.
    pub fn add(&mut self, anomaly: Anomaly) {
        let count = self.found.entry(anomaly.name.clone()).or_default();
        *count += 1;
        if *count <= KEPT_MAX {
            self.anomalies.push(anomaly);
        }
    }

    /// Says why the checker cannot tell.
    pub fn cannot_tell(&mut self, why: impl Into<String>) {
        self.unknown.push(why.into());
    }

    /// Valid, invalid or unknown.
    pub fn validity(&self) -> Validity {
        match (self.anomalies.as_slice(), self.unknown.as_slice()) {
            ([], []) => Validity::Valid,
            ([], _) => Validity::Unknown,
            _ => Validity::Invalid,
        }
    }

    /// Whether the history is valid, and known to be.
    pub fn is_valid(&self) -> bool {
        self.validity() == Validity::Valid
    }

    /// The names of the anomalies, each once, sorted.
    pub fn names(&self) -> Vec<&str> {
        self.found.keys().map(String::as_str).collect()
    }
}

impl Serialize for Verdict {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut fields = serializer.serialize_struct("Verdict", 5)?;
        fields.serialize_field("valid", &self.validity())?;
        fields.serialize_field("found", &self.found)?;
        fields.serialize_field("counts", &self.counts)?;
        fields.serialize_field("anomalies", &self.anomalies)?;
        fields.serialize_field("unknown", &self.unknown)?;
        fields.end()
    }
}

/// Of each name, so many anomalies are kept.
const KEPT_MAX: u64 = 16;
/// How many anomalies are told in words, the first of each name before the second of any; the rest is in the run's folder.
const TOLD_MAX: usize = 8;

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Counts { ok, failed, unknown, faults, longest_gap } = self.counts;
        write!(f, "{ok} ok, {failed} failed, {unknown} unknown, {faults} faults; ")?;
        write!(f, "longest gap without an acknowledged write {} ms; ", longest_gap.as_millis())?;
        match self.validity() {
            Validity::Valid => write!(f, "valid")?,
            Validity::Unknown => write!(f, "UNKNOWN")?,
            Validity::Invalid => {
                let found: Vec<String> = self.found.iter().map(|(name, count)| format!("{count} {name}")).collect();
                write!(f, "INVALID ({})", found.join(", "))?;
            }
        }
        for why in &self.unknown {
            write!(f, "\n  cannot tell: {why}")?;
        }
        let mut told = BTreeMap::new();
        let mut order: Vec<(u64, &Anomaly)> = Vec::new();
        for anomaly in &self.anomalies {
            let turn: &mut u64 = told.entry(&anomaly.name).or_default();
            *turn += 1;
            order.push((*turn, anomaly));
        }
        order.sort_by_key(|(turn, _)| *turn);
        for (_, anomaly) in order.iter().take(TOLD_MAX) {
            write!(f, "\n  {}: {}", anomaly.name, anomaly.explanation.trim_end().replace('\n', "\n    "))?;
        }
        Ok(())
    }
}
