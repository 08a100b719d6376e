//! Isolation of transactions, from what they themselves saw: Adya's phenomena, found the way Elle finds them.
//!
//! ```text
//!   history ─▶ transactions ─┬▶ within one: internal, G1a, G1b, duplicates, …
//!                            ├▶ versions of each key ─▶ ww, wr, rw ─┐
//!                            └▶ processes, real time ───────────────┴▶ graph ─▶ cycles by kind ─▶ witness in words
//! ```
//!
//! Transactions append to lists, or write registers, and read them; each value is written once. From what they read follows in which
//! order the versions of a key came ([`append`], [`register`]), and from that, which transaction must come before which other. If
//! all are serializable, there is an order that respects every edge; so a cycle is a proof that they are not, and its edges say which
//! promise is broken:
//!
//! | cycle of | name | what it breaks |
//! |---|---|---|
//! | ww | G0 | writes of two transactions interleave |
//! | ww, wr | G1c | transactions see each other |
//! | one rw | G-single | a snapshot that is none |
//! | several rw, no two in a row | G-nonadjacent | snapshot isolation |
//! | any rw | G2-item | serializability: write skew |
//! | … and process edges | …-process | each session sees what it did |
//! | … and real-time edges | …-realtime | strictness: what was acknowledged comes before what begins later |
//!
//! It never reports what did not happen, as long as histories are as clients saw them; it may miss what nobody saw.
//!
//! Sources: Adya, "Weak consistency" (1999); Kingsbury and Alvaro, "Elle" (2020).

mod append;
mod draw;
mod graph;
mod local;
mod order;
mod register;
mod search;
mod transaction;

use graph::{Edges, Graph, PROCESS, REALTIME};
use search::Step;
use transaction::{Model, Transactions};

use super::{Anomaly, Cycle, Member, Reason, Verdict};
use crate::history::History;

pub(crate) use draw::escape;
pub use draw::{svg, text};

/// What may be assumed of registers, beyond that they start as nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegisterAssumptions {
    /// What a transaction writes to a key comes after what it read there. So it is where versions are ordered by when they were
    /// committed, or where a writer must have seen the latest.
    pub writes_follow_reads: bool,
    /// Each key by itself is linearizable, as under strict serializability, and under snapshots taken after a transaction begins.
    pub linearizable_keys: bool,
}

/// Says why a transaction comes before another, if it does for that reason.
trait Explain {
    fn explain(&self, from: u32, to: u32, edge: Edges) -> Option<String>;
}

/// Checks transactions that append to lists and read them. They are strictly serializable, or the verdict says what is wrong.
pub fn check_append(history: &History) -> Verdict {
    let mut verdict = Verdict::on(history);
    match Transactions::read(history, Model::Lists) {
        Err(problem) => verdict.cannot_tell(problem),
        Ok(transactions) => {
            let lists = append::Lists::infer(&transactions, &mut verdict);
            append::check_lost_updates(&transactions, &mut verdict);
            let mut graph = Graph::new(transactions.list.len());
            lists.add_edges(&mut graph);
            check_cycles(&transactions, graph, &lists, &mut verdict);
        }
    }
    verdict
}

/// Checks transactions that write registers and read them. They are strictly serializable, or the verdict says what is wrong.
pub fn check_register(history: &History, assume: RegisterAssumptions) -> Verdict {
    let mut verdict = Verdict::on(history);
    match Transactions::read(history, Model::Registers) {
        Err(problem) => verdict.cannot_tell(problem),
        Ok(transactions) => {
            let registers = register::Registers::infer(&transactions, assume, &mut verdict);
            let mut graph = Graph::new(transactions.list.len());
            registers.add_edges(&mut graph);
            check_cycles(&transactions, graph, &registers, &mut verdict);
        }
    }
    verdict
}

fn check_cycles(transactions: &Transactions, mut graph: Graph, explain: &dyn Explain, verdict: &mut Verdict) {
    order::add_process(transactions, &mut graph);
    order::add_realtime(transactions, &mut graph);
    graph.merge();
    let found = search::find(&graph);
    for steps in found.cycles {
        let cycle = witness(transactions, explain, &steps);
        verdict.add(Anomaly {
            name: search::classify(&steps),
            explanation: draw::text(&cycle),
            events: steps.iter().map(|step| transactions.list[step.from as usize].event).collect(),
            cycle: Some(cycle),
        });
    }
    found.given_up.into_iter().for_each(|why| verdict.cannot_tell(why));
}

fn witness(transactions: &Transactions, explain: &dyn Explain, steps: &[Step]) -> Cycle {
    let member = |step: &Step| {
        let transaction = &transactions.list[step.from as usize];
        Member { name: transaction.name(), shown: transaction.shown.clone() }
    };
    let reason = |place: usize| {
        let Step { from, edge } = steps[place];
        let to = steps[(place + 1) % steps.len()].from;
        let why = match edge {
            PROCESS | REALTIME => Some(order::explain(transactions, from, to, edge == PROCESS)),
            _ => explain.explain(from, to, edge),
        };
        Reason { kind: edge.name().to_owned(), why: why.expect("who added an edge can explain it") }
    };
    Cycle { transactions: steps.iter().map(member).collect(), edges: (0..steps.len()).map(reason).collect() }
}

#[cfg(test)]
mod tests;
