//! Who waits for whom: the edges that deadlocks are found by.
//!
//! ```text
//!   T1 waits for T2 at range A      noted at T1's anchor: T1 ─▶ T2
//!   T2 waits for T1 at range B      noted at T2's anchor: T2 ─▶ T1
//!   each waiter walks the edges from anchor to anchor; one that comes back to itself knows the whole cycle
//! ```
//!
//! A transaction's waits are noted at the leaseholder of its anchor, in memory. Everyone who finds a cycle names
//! the same victim ([`victim`]): lower priority, then younger, then by identity. Only the victim acts on it, and only
//! when a second walk finds the same waits, so that an edge that was just removed breaks nothing. A
//! transaction without an anchor holds nothing, and is in no cycle.
//!
//! Invariant: `deterministic_victim`. The module knows nothing of requests or of sending them.

use std::collections::BTreeMap;

use clock::Timestamp;
use parking_lot::Mutex;

use crate::api::{TxnId, TxnMeta, WaitEdge};

#[derive(Debug)]
struct Noted {
    blockers: Vec<TxnMeta>,
    until: Timestamp,
}

/// The waits noted at one range, of transactions anchored there.
#[derive(Debug, Default)]
pub struct Waits {
    edges: Mutex<BTreeMap<TxnId, BTreeMap<u64, Noted>>>,
}

impl Waits {
    /// Notes that a wait of the transaction goes on, until told otherwise or the time is up; or that it is over.
    pub fn note(&self, txn: TxnId, edge: &WaitEdge, now: Timestamp, until: Timestamp) {
        let mut edges = self.edges.lock();
        edges.retain(|_, waits| {
            waits.retain(|_, noted| noted.until > now);
            !waits.is_empty()
        });
        let waits = edges.entry(txn).or_default();
        if edge.blockers.is_empty() {
            waits.remove(&edge.wait);
        } else {
            waits.insert(edge.wait, Noted { blockers: edge.blockers.clone(), until });
        }
        if waits.is_empty() {
            edges.remove(&txn);
        }
    }

    /// The waits of a transaction.
    pub fn of(&self, txn: TxnId, now: Timestamp) -> Vec<WaitEdge> {
        let edges = self.edges.lock();
        let waits = edges.get(&txn).into_iter().flatten().filter(|(_, noted)| noted.until > now);
        waits.map(|(wait, noted)| WaitEdge { wait: *wait, blockers: noted.blockers.clone() }).collect()
    }
}

/// Who of a cycle yields: the lowest priority, then the youngest, then the highest identity.
///
/// # Panics
/// When the cycle is empty.
pub fn victim(cycle: &[TxnMeta]) -> TxnId {
    let rank = |txn: &&TxnMeta| (std::cmp::Reverse(txn.priority), txn.begin_timestamp, txn.id);
    let chosen = cycle.iter().max_by_key(rank).expect("a cycle has members").id;
    debug_assert!(
        cycle.iter().rev().max_by_key(rank).is_some_and(|other| other.id == chosen),
        "deterministic_victim: the order of the cycle must not matter"
    );
    chosen
}

/// A walk along the edges, from a waiter back to itself.
#[derive(Debug, Default)]
pub struct Walk {
    /// Where the walk has been: who led there, and by which wait.
    came_from: BTreeMap<TxnId, (TxnId, u64)>,
    metas: BTreeMap<TxnId, TxnMeta>,
}

impl Walk {
    /// A walk that starts at a waiter.
    pub fn from(waiter: &TxnMeta) -> Self {
        Walk { came_from: BTreeMap::new(), metas: BTreeMap::from([(waiter.id, waiter.clone())]) }
    }

    /// Follows the waits of `at`; returns those not visited before. `start` is visited like any other, which
    /// closes the cycle.
    pub fn follow(&mut self, at: TxnId, waits: &[WaitEdge]) -> Vec<TxnMeta> {
        let mut next = Vec::new();
        for edge in waits {
            for blocker in &edge.blockers {
                if blocker.id != at && !self.came_from.contains_key(&blocker.id) {
                    self.came_from.insert(blocker.id, (at, edge.wait));
                    self.metas.entry(blocker.id).or_insert_with(|| blocker.clone());
                    next.push(blocker.clone());
                }
            }
        }
        next
    }

    /// The cycle through `start`, if the walk came back to it: its members and the waits that join them.
    pub fn cycle(&self, start: TxnId) -> Option<(Vec<TxnMeta>, Vec<u64>)> {
        let mut members = Vec::new();
        let mut waits = Vec::new();
        let mut at = start;
        loop {
            let (from, wait) = self.came_from.get(&at)?;
            members.push(self.metas.get(from)?.clone());
            waits.push(*wait);
            at = *from;
            if at == start {
                waits.sort_unstable();
                return Some((members, waits));
            }
        }
    }
}

#[cfg(test)]
mod tests;
