//! Registers that are written and read: each value is written once, so that who reads it says from whom, but not what came before.
//!
//! ```text
//!   nothing ─▶ 1            every register starts as nothing
//!   T: r x 1, w x 2         1 ─▶ 2     a transaction writes after what it read
//!   ├ w x 2 ┤  ├ r x 3 ┤    2 ─▶ 3     real time, where single keys are linearizable
//! ```
//!
//! These give a graph of versions for each key. A cycle in it contradicts the assumption that was added last, which is reported, and the
//! assumption is not used for that key.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::graph::{ALONE, Edges, Graph, RW, WR, WW, components};
use super::transaction::{Key, Micro, Transaction, Transactions};
use super::{Explain, RegisterAssumptions, local, order};
use crate::checker::Verdict;
use crate::history::Kind;

/// A value of a register; `None` before anyone wrote it.
type Version = Option<u64>;

/// Of one transaction and key: what it saw before it wrote, and what it left.
#[derive(Clone, Copy, Debug, Default)]
struct Touch {
    read: Option<Version>,
    written: Option<u64>,
}

/// What is known of the versions of registers.
pub(super) struct Registers<'a> {
    transactions: &'a Transactions,
    /// Who left a value.
    writers: HashMap<(Key, u64), u32>,
    /// Who saw a value that others left.
    readers: HashMap<(Key, Version), Vec<u32>>,
    /// By key, what came before what.
    versions: Vec<BTreeSet<(Version, u64)>>,
}

/// The keys that a transaction touched, in order.
fn touches(transaction: &Transaction) -> BTreeMap<Key, Touch> {
    let mut touches: BTreeMap<Key, Touch> = BTreeMap::new();
    for micro in &transaction.micros {
        match micro {
            Micro::ReadRegister(key, value) => {
                let touch = touches.entry(*key).or_default();
                if touch.written.is_none() && touch.read.is_none() {
                    touch.read = Some(*value);
                }
            }
            Micro::Write(key, value) => touches.entry(*key).or_default().written = Some(*value),
            Micro::Append(..) | Micro::ReadList(..) => {}
        }
    }
    touches
}

impl<'a> Registers<'a> {
    /// Infers the versions, and reports what contradicts that there are any.
    pub fn infer(transactions: &'a Transactions, assume: RegisterAssumptions, verdict: &mut Verdict) -> Self {
        let mut registers = Registers {
            transactions,
            writers: HashMap::new(),
            readers: HashMap::new(),
            versions: vec![BTreeSet::new(); transactions.key_count()],
        };
        let touched: Vec<BTreeMap<Key, Touch>> = transactions.list.iter().map(touches).collect();
        registers.find_writers_and_readers(&touched, verdict);
        for (_, transaction) in transactions.acknowledged() {
            local::check_registers(transactions, transaction, verdict);
        }
        check_lost_updates(transactions, &touched, verdict);
        if assume.writes_follow_reads {
            registers.assume("writes follow reads", follow(transactions, &touched), verdict);
        }
        if assume.linearizable_keys {
            let order = realtime(transactions, &touched);
            registers.assume("each key is linearizable", order, verdict);
        }
        registers.begin_with_nothing(&touched);
        registers
    }

    fn find_writers_and_readers(&mut self, touched: &[BTreeMap<Key, Touch>], verdict: &mut Verdict) {
        let mut written: HashMap<(Key, u64), (u32, bool)> = HashMap::new();
        for (number, transaction) in self.transactions.numbered() {
            for micro in &transaction.micros {
                let Micro::Write(key, value) = micro else { continue };
                let is_final = touched[number as usize][key].written == Some(*value);
                if written.insert((*key, *value), (number, is_final)).is_some() {
                    let key = self.transactions.key_name(*key);
                    verdict.cannot_tell(format!("{value} was written to {key} twice, so that nobody can say by whom"));
                }
                if is_final && transaction.is_possible() {
                    self.writers.insert((*key, *value), number);
                }
            }
        }
        for (number, transaction) in self.transactions.acknowledged() {
            for (key, touch) in &touched[number as usize] {
                if let Some(version) = touch.read {
                    self.readers.entry((*key, version)).or_default().push(number);
                }
            }
            self.check_reads(transaction, number, &written, verdict);
        }
    }

    fn check_reads(
        &self,
        reader: &Transaction,
        number: u32,
        written: &HashMap<(Key, u64), (u32, bool)>,
        verdict: &mut Verdict,
    ) {
        for micro in &reader.micros {
            let Micro::ReadRegister(key, Some(value)) = micro else { continue };
            let key_name = self.transactions.key_name(*key);
            let Some((writer, is_final)) = written.get(&(*key, *value)) else {
                let explanation = format!("{} saw {key_name} as {value}, which nobody wrote", reader.name());
                verdict.found("garbage-read", explanation, vec![reader.event]);
                continue;
            };
            let by = &self.transactions.list[*writer as usize];
            if by.outcome == Kind::Fail {
                let said =
                    format!("{} saw {key_name} as {value}, which {} wrote, and failed", reader.name(), by.name());
                verdict.found("G1a", said, vec![reader.event, by.event]);
            }
            if !is_final && *writer != number {
                let said = format!("{} saw {key_name} as {value}, which {} wrote over", reader.name(), by.name());
                verdict.found("G1b", said, vec![reader.event, by.event]);
            }
        }
    }

    /// Adds what an assumption says of versions, except where it contradicts what is there.
    fn assume(&mut self, name: &str, order: Vec<(Key, Version, Version)>, verdict: &mut Verdict) {
        let mut by_key: BTreeMap<Key, Vec<(Version, Version)>> = BTreeMap::new();
        for (key, before, after) in order {
            if before != after {
                by_key.entry(key).or_default().push((before, after));
            }
        }
        for (key, order) in by_key {
            let known = &self.versions[key as usize];
            // Nothing is before everything.
            let first = order.iter().find(|(_, after)| after.is_none()).map(|(before, _)| vec![*before, None]);
            if let Some(cycle) = first.or_else(|| version_cycle(known, &order)) {
                let shown: Vec<String> = cycle.iter().map(|version| show(*version)).collect();
                let key_name = self.transactions.key_name(key);
                let readers = |version: &Version| self.readers.get(&(key, *version)).into_iter().flatten();
                let events =
                    cycle.iter().flat_map(readers).map(|number| self.transactions.list[*number as usize].event);
                let explanation = format!(
                    "if {name}, then the versions {} of {key_name} each come before the next, in a circle",
                    shown.join(", ")
                );
                verdict.found("cyclic-versions", explanation, events.take(8).collect());
                continue;
            }
            let known = &mut self.versions[key as usize];
            known.extend(order.into_iter().filter_map(|(before, after)| Some((before, after?))));
        }
    }

    /// Nothing comes before each value that no other is known to come before.
    fn begin_with_nothing(&mut self, touched: &[BTreeMap<Key, Touch>]) {
        let mut values: BTreeSet<(Key, u64)> = self.writers.keys().copied().collect();
        for touch in touched.iter().flatten() {
            values.extend(touch.1.read.flatten().map(|value| (*touch.0, value)));
        }
        let preceded: HashSet<(Key, u64)> = (0..self.versions.len() as Key)
            .flat_map(|key| self.versions[key as usize].iter().map(move |(_, after)| (key, *after)))
            .collect();
        for (key, value) in values.into_iter().filter(|version| !preceded.contains(version)) {
            self.versions[key as usize].insert((None, value));
        }
    }

    /// Adds who depends on whom.
    pub fn add_edges(&self, graph: &mut Graph) {
        for ((key, version), readers) in &self.readers {
            let Some(writer) = version.and_then(|value| self.writers.get(&(*key, value))) else { continue };
            readers.iter().for_each(|reader| graph.add(*writer, *reader, WR));
        }
        for (key, versions) in self.versions.iter().enumerate() {
            for (before, after) in versions {
                let Some(writer) = self.writers.get(&(key as Key, *after)) else { continue };
                if let Some(former) = before.and_then(|before| self.writers.get(&(key as Key, before))) {
                    graph.add(*former, *writer, WW);
                }
                for reader in self.readers.get(&(key as Key, *before)).into_iter().flatten() {
                    graph.add(*reader, *writer, RW);
                }
            }
        }
    }
}

fn show(version: Version) -> String {
    version.map_or("nothing".to_owned(), |value| value.to_string())
}

/// What transactions wrote comes after what they read.
fn follow(transactions: &Transactions, touched: &[BTreeMap<Key, Touch>]) -> Vec<(Key, Version, Version)> {
    let acknowledged = transactions.acknowledged().flat_map(|(number, _)| &touched[number as usize]);
    acknowledged.filter_map(|(key, touch)| Some((*key, touch.read?, Some(touch.written?)))).collect()
}

/// What a transaction left, or saw, comes before what one saw, or left, that began after it was acknowledged.
fn realtime(transactions: &Transactions, touched: &[BTreeMap<Key, Touch>]) -> Vec<(Key, Version, Version)> {
    let mut by_key: BTreeMap<Key, Vec<(u32, &Transaction)>> = BTreeMap::new();
    for (number, transaction) in transactions.possible() {
        for key in touched[number as usize].keys() {
            by_key.entry(*key).or_default().push((number, transaction));
        }
    }
    let mut versions = Vec::new();
    for (key, transactions) in by_key {
        order::each_realtime(transactions.into_iter(), |before, after| {
            let (left, met) = (touched[before as usize][&key], touched[after as usize][&key]);
            let left = left.written.map(Some).or(left.read);
            let met = met.read.or(met.written.map(Some));
            if let (Some(left), Some(met)) = (left, met) {
                versions.push((key, left, met));
            }
        });
    }
    versions
}

/// Versions of a key of which each comes before the next, and the last before the first.
fn version_cycle(known: &BTreeSet<(Version, u64)>, added: &[(Version, Version)]) -> Option<Vec<Version>> {
    let mut numbers: HashMap<Version, u32> = HashMap::new();
    let mut versions = Vec::new();
    let mut number = |version: Version| {
        *numbers.entry(version).or_insert_with(|| {
            versions.push(version);
            versions.len() as u32 - 1
        })
    };
    let known = known.iter().map(|(before, after)| (*before, Some(*after)));
    let edges: Vec<(u32, u32)> =
        known.chain(added.iter().copied()).map(|(before, after)| (number(before), number(after))).collect();
    let mut graph = Graph::new(versions.len());
    edges.iter().for_each(|(before, after)| graph.add(*before, *after, WW));
    let all: Vec<u32> = (0..versions.len() as u32).collect();
    let (found, component) = components(graph.len(), &all, |node| graph.from(node).iter().map(|(to, _)| *to));
    let smallest = found.iter().min_by_key(|members| members.len())?;
    // Whoever follows edges within a component comes back to where it was.
    let (mut at, mut path, mut been) = (smallest[0], Vec::new(), HashSet::new());
    while been.insert(at) {
        path.push(at);
        let within = |to: &u32| component[*to as usize] != ALONE && component[*to as usize] == component[at as usize];
        at = graph.from(at).iter().map(|(to, _)| *to).find(within)?;
    }
    let begin = path.iter().position(|node| *node == at)?;
    Some(path[begin..].iter().map(|node| versions[*node as usize]).collect())
}

fn check_lost_updates(transactions: &Transactions, touched: &[BTreeMap<Key, Touch>], verdict: &mut Verdict) {
    let mut updates: BTreeMap<(Key, Version), Vec<&Transaction>> = BTreeMap::new();
    for (number, transaction) in transactions.acknowledged() {
        for (key, touch) in &touched[number as usize] {
            if let (Some(read), Some(_)) = (touch.read, touch.written) {
                updates.entry((*key, read)).or_default().push(transaction);
            }
        }
    }
    for ((key, version), lost) in updates.iter().filter(|(_, lost)| lost.len() > 1) {
        local::report_lost_update(transactions.key_name(*key), &format!("as {}", show(*version)), lost, verdict);
    }
}

impl Explain for Registers<'_> {
    fn explain(&self, from: u32, to: u32, edge: Edges) -> Option<String> {
        let list = &self.transactions.list;
        let (before, after) = (&list[from as usize], &list[to as usize]);
        let (left, met) = (touches(before), touches(after));
        let comes_before =
            |key: Key, version: Version, value: u64| self.versions[key as usize].contains(&(version, value));
        left.iter().find_map(|(key, left)| {
            let met = met.get(key)?;
            let key_name = self.transactions.key_name(*key);
            let (first, second) = (before.name(), after.name());
            if edge == WR {
                let value = left.written.filter(|value| met.read == Some(Some(*value)))?;
                return Some(format!("{second} saw {key_name} as {value}, which {first} wrote"));
            }
            let written = met.written?;
            if edge == WW {
                let value = left.written.filter(|value| comes_before(*key, Some(*value), written))?;
                return Some(format!("{second} wrote {written} to {key_name} over {first}'s {value}, or later"));
            }
            let read = left.read.filter(|read| comes_before(*key, *read, written))?;
            Some(format!("{first} saw {key_name} as {}, before {second} wrote {written}", show(read)))
        })
    }
}
