//! The order that everyone saw: of each process, and of real time.
//!
//! ```text
//!   A ├────┤            ├── D ──┤       edges A→C, B→C, C→D: A→D follows from A→C→D and is left out
//!   B   ├────┤
//!   C          ├──────┤
//! ```
//!
//! The *frontier* are those acknowledged transactions that do not yet precede another acknowledged one. Who begins is preceded by the
//! frontier, and thereby by everyone who was acknowledged before; who is acknowledged replaces in the frontier those that preceded it.
//! The frontier is never larger than the number of clients, so the edges, the transitive reduction of the order, are few.

use std::collections::HashMap;

use super::graph::{Graph, PROCESS, REALTIME};
use super::transaction::{Transaction, Transactions};

/// Adds the order in which each process did things.
pub(super) fn add_process(transactions: &Transactions, graph: &mut Graph) {
    let mut last = HashMap::new();
    for (number, transaction) in transactions.possible() {
        if let Some(before) = last.get(&transaction.process) {
            graph.add(*before, number, PROCESS);
        }
        // Whoever is not acknowledged is the last of its process.
        last.insert(transaction.process, number);
    }
}

/// Adds the order of real time.
pub(super) fn add_realtime(transactions: &Transactions, graph: &mut Graph) {
    each_realtime(transactions.possible(), |before, after| graph.add(before, after, REALTIME));
}

/// Calls `visit` for each pair of the reduced order of real time among some transactions.
pub(super) fn each_realtime<'a>(
    transactions: impl Iterator<Item = (u32, &'a Transaction)>,
    mut visit: impl FnMut(u32, u32),
) {
    let mut moments: Vec<(u64, bool, u32)> = Vec::new();
    for (number, transaction) in transactions {
        moments.push((transaction.invoked, false, number));
        moments.extend(transaction.acknowledged.map(|at| (at, true, number)));
    }
    moments.sort_unstable();
    let mut frontier: Vec<u32> = Vec::new();
    let mut preceded_by: HashMap<u32, Vec<u32>> = HashMap::new();
    for (_, is_acknowledgement, number) in moments {
        if is_acknowledgement {
            let implied = preceded_by.remove(&number).unwrap_or_default();
            frontier.retain(|before| !implied.contains(before));
            frontier.push(number);
        } else {
            frontier.iter().for_each(|before| visit(*before, number));
            preceded_by.insert(number, frontier.clone());
        }
    }
}

/// Why one of a process comes before another, or why real time says so.
pub(super) fn explain(transactions: &Transactions, from: u32, to: u32, is_process: bool) -> String {
    let (before, after) = (&transactions.list[from as usize], &transactions.list[to as usize]);
    if is_process {
        return format!("process {} did {} before {}", before.process, before.name(), after.name());
    }
    format!(
        "{} was acknowledged at event {}, before {} was asked for at event {}",
        before.name(),
        before.acknowledged.unwrap_or(before.event),
        after.name(),
        after.invoked
    )
}
