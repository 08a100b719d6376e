//! What adya, somebody else's checker of the same kind, says of a history.
//!
//! Two checkers that were written apart seldom err alike; so each checks the other on every history. They must agree on whether it is
//! strictly serializable, and on the kinds of anomaly, where a kind stands for those that follow from it. For cycles in real time they
//! differ in names: an edge that is both an anti-dependency and real-time order is an anti-dependency to adya and real time here, so
//! that only the presence of such a cycle is compared.

use std::collections::BTreeSet;

use adya::{Opts, Report, Valid, Workload};

use super::dependency::RegisterAssumptions;
use super::{Validity, Verdict};
use crate::history::History;

/// A verdict of adya's.
#[derive(Debug)]
pub struct Opinion {
    report: Result<Report, String>,
    /// The history does not show in which order all versions were.
    is_order_partial: bool,
}

/// Its opinion on transactions of lists.
pub fn on_lists(history: &History) -> Opinion {
    opinion(history, Workload::ListAppend, Opts::default())
}

/// Its opinion on transactions of registers.
pub fn on_registers(history: &History, assume: RegisterAssumptions) -> Opinion {
    let options =
        Opts { wfr_keys: assume.writes_follow_reads, linearizable_keys: assume.linearizable_keys, ..Opts::default() };
    opinion(history, Workload::RwRegister, options)
}

fn opinion(history: &History, workload: Workload, options: Opts) -> Opinion {
    let mut text = Vec::new();
    let written = history.write_json(&mut text).map_err(|error| error.to_string());
    let parsed = written.and_then(|()| {
        let text = String::from_utf8(text).map_err(|error| error.to_string())?;
        adya::History::from_json(&text).map_err(|error| error.to_string())
    });
    let is_order_partial = workload == Workload::RwRegister;
    Opinion { report: parsed.map(|history| adya::check(&history, workload, &options)), is_order_partial }
}

/// What adya calls what it did not find out.
const UNDECIDED: [&str; 2] = ["empty-transaction-graph", "cycle-search-timeout"];

impl Opinion {
    /// The kinds of anomaly it found, in our words; cycles in real time and of sessions as one kind each.
    fn kinds(&self) -> BTreeSet<String> {
        let Ok(report) = &self.report else { return BTreeSet::new() };
        let concrete = report.anomaly_types.iter().filter(|name| !UNDECIDED.contains(&name.as_str()));
        let mut kinds: BTreeSet<String> = concrete.map(|name| kind(&name.replace("-item", ""))).collect();
        // "G2-item" has lost its end with the others.
        if kinds.remove("G2") {
            kinds.insert("G2-item".to_owned());
        }
        kinds
    }

    /// Whether it could tell.
    fn is_decided(&self) -> bool {
        self.report.as_ref().is_ok_and(|report| {
            report.valid != Valid::Unknown
                && !report.anomaly_types.iter().any(|name| UNDECIDED.contains(&name.as_str()))
        })
    }

    /// In what it contradicts a verdict of ours, if it does.
    pub fn disagreement(&self, verdict: &Verdict) -> Option<String> {
        if let Err(problem) = &self.report {
            return Some(format!("adya does not take the history: {problem}"));
        }
        if !self.is_decided() || verdict.validity() == Validity::Unknown {
            return None;
        }
        // What nobody wrote is nothing to adya, and takes part in nothing there.
        let is_garbage = |name: &&str| *name == "garbage-read";
        let ours = verdict.names().into_iter().filter(|name| !is_garbage(name)).map(kind);
        let (mut ours, mut theirs) = (implied(ours.collect()), implied(self.kinds()));
        let is_cycle = |name: &String| CYCLES.contains(&name.as_str());
        // Versions that nobody was told of stand between others: adya does not look past them, and may find lesser cycles only.
        if self.is_order_partial && theirs.iter().any(is_cycle) {
            theirs.extend(ours.iter().filter(|name| is_cycle(name)).cloned());
        }
        let both = |name: &&str| ours.contains(*name) && theirs.contains(*name);
        if verdict.names().iter().any(is_garbage) || CONTRADICTIONS.iter().any(both) {
            ours.retain(|name| !is_cycle(name));
            theirs.retain(|name| !is_cycle(name));
        }
        // A read after the reader's own append is to adya as good as one before it, where others saw the same: what it then takes for
        // a lost update is none, and if it were one there would be a cycle.
        if !ours.contains(LOST) && ours.contains("G-single") {
            theirs.remove(LOST);
        }
        (ours != theirs).then(|| format!("found here: {ours:?}, by adya: {theirs:?}"))
    }
}

/// Cycles that need real time or sessions are one kind.
fn kind(name: &str) -> String {
    let is_ordered = name.ends_with("-realtime") || name.ends_with("-process") || name.ends_with("-cycle-exists");
    if is_ordered { ORDERED.to_owned() } else { name.to_owned() }
}

/// Kinds of anomaly with those that follow from them, which neither checker looks for where it found the former.
fn implied(mut kinds: BTreeSet<String>) -> BTreeSet<String> {
    for (kind, follows) in [
        ("G0", "G1c"),
        ("G1c", ORDERED),
        ("G-single", "G-nonadjacent"),
        ("G-nonadjacent", "G2-item"),
        ("G2-item", ORDERED),
    ] {
        if kinds.contains(kind) {
            kinds.insert(follows.to_owned());
        }
    }
    kinds
}

const LOST: &str = "lost-update";
const ORDERED: &str = "an ordered cycle";
const CYCLES: [&str; 6] = ["G0", "G1c", "G-single", "G-nonadjacent", "G2-item", ORDERED];
/// Where versions contradict each other, each checker goes on with some of them, and may find other cycles.
const CONTRADICTIONS: [&str; 3] = ["cyclic-versions", "incompatible-order", "duplicate-elements"];

impl std::fmt::Display for Opinion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.report {
            Err(problem) => write!(f, "does not take the history: {problem}"),
            Ok(report) => write!(f, "{:?}: {}", report.valid, report.anomaly_types.join(", ")),
        }
    }
}
