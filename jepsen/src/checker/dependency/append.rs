//! Lists that are appended to: each read shows the order of all appends before it.
//!
//! ```text
//!   longest read of key x:   [1, 2, 5]        another read: [1, 2]        7 was appended and never seen
//!
//!   writer of 1 ─ww▶ writer of 2 ─ww▶ writer of 5 ─ww▶ writer of 7
//!                          └─wr▶ reader of [1, 2] ─rw▶ writer of 5
//! ```
//!
//! The versions of a key are the prefixes of its longest read. An element that nobody saw came after all that somebody saw, if it
//! came at all.
//!
//! Source: Kingsbury and Alvaro, "Elle: inferring isolation anomalies from experimental observations" (2020).

use std::collections::{BTreeMap, HashMap, HashSet};

use super::graph::{Edges, Graph, RW, WR, WW};
use super::transaction::{Key, Micro, Transaction, Transactions};
use super::{Explain, local};
use crate::checker::Verdict;
use crate::history::Kind;

/// What is known of the versions of lists.
pub(super) struct Lists<'a> {
    transactions: &'a Transactions,
    /// By key, the elements in the order in which they were appended, as far as anybody saw.
    orders: Vec<Vec<u64>>,
    /// The place of each element in its order.
    places: HashMap<(Key, u64), usize>,
    /// Who appended an element.
    writers: HashMap<(Key, u64), u32>,
    /// Who saw a list that ended with this element; without one, an empty list.
    readers: HashMap<(Key, Option<u64>), Vec<u32>>,
}

impl<'a> Lists<'a> {
    /// Infers the versions, and reports what contradicts that there are any.
    pub fn infer(transactions: &'a Transactions, verdict: &mut Verdict) -> Self {
        let mut lists = Lists {
            transactions,
            orders: vec![Vec::new(); transactions.key_count()],
            places: HashMap::new(),
            writers: HashMap::new(),
            readers: HashMap::new(),
        };
        lists.find_writers(verdict);
        lists.find_orders(verdict);
        for (number, transaction) in transactions.acknowledged() {
            local::check_lists(transactions, transaction, verdict);
            for micro in &transaction.micros {
                if let Micro::ReadList(key, elements) = micro {
                    lists.readers.entry((*key, elements.last().copied())).or_default().push(number);
                    lists.check_read(transaction, number, *key, elements, verdict);
                }
            }
        }
        lists.check_dirty_updates(verdict);
        lists
    }

    fn find_writers(&mut self, verdict: &mut Verdict) {
        for (number, transaction) in self.transactions.numbered() {
            for micro in &transaction.micros {
                let Micro::Append(key, element) = micro else { continue };
                if self.writers.insert((*key, *element), number).is_some() {
                    let key = self.transactions.key_name(*key);
                    verdict
                        .cannot_tell(format!("{element} was appended to {key} twice, so that nobody can say by whom"));
                }
            }
        }
    }

    fn find_orders(&mut self, verdict: &mut Verdict) {
        let reads = || {
            self.transactions.acknowledged().flat_map(|(_, transaction)| {
                transaction.micros.iter().filter_map(move |micro| match micro {
                    Micro::ReadList(key, elements) => Some((*key, elements, transaction)),
                    _ => None,
                })
            })
        };
        let mut longest: HashMap<Key, (&Vec<u64>, &Transaction)> = HashMap::new();
        for (key, elements, transaction) in reads() {
            let entry = longest.entry(key).or_insert((elements, transaction));
            if elements.len() > entry.0.len() {
                *entry = (elements, transaction);
            }
        }
        let mut told = HashSet::new();
        for (key, elements, transaction) in reads() {
            let (whole, witness) = longest[&key];
            if !whole.starts_with(elements) && told.insert(key) {
                let explanation = format!(
                    "{} saw {key_name} as {elements:?}, {} saw it as {whole:?}: neither is the beginning of the other",
                    transaction.name(),
                    witness.name(),
                    key_name = self.transactions.key_name(key),
                );
                verdict.found("incompatible-order", explanation, vec![transaction.event, witness.event]);
            }
        }
        for (key, (elements, _)) in longest {
            let order = &mut self.orders[key as usize];
            for element in elements {
                // An element that is there twice is reported by itself.
                if let std::collections::hash_map::Entry::Vacant(place) = self.places.entry((key, *element)) {
                    place.insert(order.len());
                    order.push(*element);
                }
            }
        }
    }

    /// What a read shows of transactions that failed, or were not done yet.
    fn check_read(&self, reader: &Transaction, number: u32, key: Key, elements: &[u64], verdict: &mut Verdict) {
        let key_name = self.transactions.key_name(key);
        for element in elements {
            let Some(writer) = self.writers.get(&(key, *element)) else {
                let explanation = format!("{} saw {element} in {key_name}, which nobody appended", reader.name());
                verdict.found("garbage-read", explanation, vec![reader.event]);
                continue;
            };
            let writer = &self.transactions.list[*writer as usize];
            if writer.outcome == Kind::Fail {
                let explanation = format!(
                    "{} saw {element} in {key_name}, which {} appended, and failed",
                    reader.name(),
                    writer.name()
                );
                verdict.found("G1a", explanation, vec![reader.event, writer.event]);
            }
        }
        let Some(last) = elements.last() else { return };
        let Some(writer) = self.writers.get(&(key, *last)).filter(|writer| **writer != number) else { return };
        let writer = &self.transactions.list[*writer as usize];
        let final_element = writer.micros.iter().rev().find_map(|micro| match micro {
            Micro::Append(to, element) if *to == key => Some(*element),
            _ => None,
        });
        if let Some(final_element) = final_element.filter(|element| element != last) {
            let explanation = format!(
                "{} saw {key_name} end with {last}, between {}'s appends of {last} and {final_element}",
                reader.name(),
                writer.name()
            );
            verdict.found("G1b", explanation, vec![reader.event, writer.event]);
        }
    }

    /// A transaction that was acknowledged appended to what one that failed had left.
    fn check_dirty_updates(&self, verdict: &mut Verdict) {
        for (key, order) in self.orders.iter().enumerate() {
            let mut failed: Option<(&Transaction, u64)> = None;
            for element in order {
                let Some(writer) = self.writers.get(&(key as Key, *element)) else { break };
                let writer = &self.transactions.list[*writer as usize];
                match (writer.outcome, failed) {
                    (Kind::Fail, None) => failed = Some((writer, *element)),
                    (Kind::Ok, Some((aborted, lost))) => {
                        let explanation = format!(
                            "{} appended {element} to {} after the {lost} of {}, which failed",
                            writer.name(),
                            self.transactions.key_name(key as Key),
                            aborted.name()
                        );
                        verdict.found("dirty-update", explanation, vec![aborted.event, writer.event]);
                        failed = None;
                    }
                    _ => {}
                }
            }
        }
    }

    /// The element before this one in its list; `None` at the beginning.
    fn before(&self, key: Key, element: u64) -> Option<u64> {
        let order = &self.orders[key as usize];
        match self.places.get(&(key, element)) {
            Some(place) => place.checked_sub(1).map(|place| order[place]),
            None => order.last().copied(),
        }
    }

    /// Adds who depends on whom.
    pub fn add_edges(&self, graph: &mut Graph) {
        let possible = |writer: &&u32| self.transactions.list[**writer as usize].is_possible();
        for (number, transaction) in self.transactions.possible() {
            for micro in &transaction.micros {
                match micro {
                    Micro::ReadList(key, elements) => {
                        let last = elements.last().and_then(|last| self.writers.get(&(*key, *last)));
                        if let Some(writer) = last.filter(possible) {
                            graph.add(*writer, number, WR);
                        }
                    }
                    Micro::Append(key, element) => {
                        let before = self.before(*key, *element);
                        let writer = before.and_then(|before| self.writers.get(&(*key, before)));
                        if let Some(writer) = writer.filter(possible) {
                            graph.add(*writer, number, WW);
                        }
                        for reader in self.readers.get(&(*key, before)).into_iter().flatten() {
                            graph.add(*reader, number, RW);
                        }
                    }
                    Micro::Write(..) | Micro::ReadRegister(..) => {}
                }
            }
        }
    }
}

impl Explain for Lists<'_> {
    fn explain(&self, from: u32, to: u32, edge: Edges) -> Option<String> {
        let name = |number: u32| self.transactions.list[number as usize].name();
        self.transactions.list[to as usize].micros.iter().find_map(|micro| match micro {
            Micro::ReadList(key, elements) if edge == WR => {
                let last = elements.last().filter(|last| self.writers.get(&(*key, **last)) == Some(&from))?;
                Some(format!(
                    "{} saw {}'s append of {last} to {}",
                    name(to),
                    name(from),
                    self.transactions.key_name(*key)
                ))
            }
            Micro::Append(key, element) if edge == WW || edge == RW => {
                let before = self.before(*key, *element);
                let key_name = self.transactions.key_name(*key);
                if edge == WW {
                    let before = before.filter(|before| self.writers.get(&(*key, *before)) == Some(&from))?;
                    let said = format!("{} appended {element} to {key_name} after {}'s {before}", name(to), name(from));
                    return Some(said);
                }
                self.readers.get(&(*key, before)).filter(|readers| readers.contains(&from))?;
                Some(format!("{} did not see {}'s append of {element} to {key_name}", name(from), name(to)))
            }
            _ => None,
        })
    }
}

/// Transactions that saw the same version of a list and then appended to it: all but one of them overwrote what they had not seen.
pub(super) fn check_lost_updates(transactions: &Transactions, verdict: &mut Verdict) {
    let mut updates: BTreeMap<(Key, Option<u64>, usize), Vec<&Transaction>> = BTreeMap::new();
    for (_, transaction) in transactions.acknowledged() {
        let mut first_read: HashMap<Key, &Vec<u64>> = HashMap::new();
        let mut appended = HashSet::new();
        for micro in &transaction.micros {
            match micro {
                Micro::ReadList(key, elements) if !appended.contains(key) => {
                    first_read.entry(*key).or_insert(elements);
                }
                Micro::Append(key, _) if appended.insert(*key) => {
                    if let Some(elements) = first_read.get(key) {
                        let version = (*key, elements.last().copied(), elements.len());
                        updates.entry(version).or_default().push(transaction);
                    }
                }
                _ => {}
            }
        }
    }
    for ((key, last, _), lost) in updates.iter().filter(|(_, lost)| lost.len() > 1) {
        let seen = last.map_or("empty".to_owned(), |last| format!("ending with {last}"));
        local::report_lost_update(transactions.key_name(*key), &seen, lost, verdict);
    }
}
