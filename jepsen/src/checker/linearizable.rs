//! Linearizability of a register, by Wing and Gong's search with Lowe's memory.
//!
//! ```text
//!   time ─▶   ├── write 1 ──┤
//!                 ├─ read → 0 ─┤          some order of the operations, each at a point within its
//!                        ├── write 2 ──…  interval, must explain every result
//! ```
//!
//! The search takes any operation that was invoked before the first completion among those that are left, applies it to the
//! register, and goes on; a set of operations already applied together with the register's value is never searched twice. The set
//! is remembered by a 128-bit sum of random numbers, one an operation (Zobrist), so that a state costs the same however long the
//! history is. Each register is checked by itself, since linearizability is local (Herlihy and Wing 1990).
//!
//! Operations whose outcome is unknown have no end: they may take effect at any time after their invocation, or never. Where all
//! written values differ, a write of unknown outcome that nobody saw is left out, since a linear order is one without it too; one
//! that was seen took effect before whoever saw it was answered. So such operations cost nothing. Where values repeat they cost
//! states, of which there is a budget; a search that reaches it says so.
//!
//! Sources: Wing and Gong, "Testing and verifying concurrent objects" (1993); Lowe, "Testing for linearizability" (2017).

use std::collections::{HashMap, HashSet};

use clock::Random;

/// What an operation did to the register. `None` is a register that was never written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// It saw this value.
    Read(Option<u64>),
    /// It set this value.
    Write(u64),
    /// It replaced the first value by the second, and succeeded.
    CompareAndSet(Option<u64>, u64),
}

impl Action {
    /// The value it must have seen, if it saw any.
    fn seen(self) -> Option<Option<u64>> {
        match self {
            Action::Read(seen) | Action::CompareAndSet(seen, _) => Some(seen),
            Action::Write(_) => None,
        }
    }

    fn written(self) -> Option<u64> {
        match self {
            Action::Write(value) | Action::CompareAndSet(_, value) => Some(value),
            Action::Read(_) => None,
        }
    }
}

/// One operation on the register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What it did.
    pub action: Action,
    /// When it was asked for. No two events have the same time.
    pub invoked: u64,
    /// When it was answered; `None` when it is unknown whether it took effect.
    pub completed: Option<u64>,
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |value: Option<u64>| value.map_or("nothing".to_owned(), |value| value.to_string());
        match self.action {
            Action::Read(seen) => write!(f, "read {}", shown(seen))?,
            Action::Write(value) => write!(f, "write {value}")?,
            Action::CompareAndSet(old, new) => write!(f, "replace {} by {new}", shown(old))?,
        }
        match self.completed {
            Some(completed) => write!(f, " [{}, {completed}]", self.invoked),
            None => write!(f, " [{}, unknown]", self.invoked),
        }
    }
}

/// Why a history is not linearizable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violation {
    /// How many operations the longest explanation that was found has.
    pub explained: usize,
    /// The last of them: indices of operations, in their order.
    pub last: Vec<usize>,
    /// The operations that could come next, none of which fits.
    pub stuck_at: Vec<usize>,
}

/// What the search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Some order explains all results.
    Linearizable,
    /// None does.
    Violated(Violation),
    /// There were too many states to tell.
    GaveUp {
        /// How many were looked at.
        states: usize,
    },
}

/// At most so many states are looked at: some 500 MB of memory.
const STATES_MAX: usize = 10_000_000;

/// Checks the operations on one register that starts as `initial`.
pub fn check(initial: Option<u64>, operations: &[Operation]) -> Outcome {
    check_within(initial, operations, STATES_MAX)
}

/// Checks the operations on one register, looking at no more than so many states.
pub fn check_within(initial: Option<u64>, operations: &[Operation], states_max: usize) -> Outcome {
    Search::new(initial, &settle_unknown(initial, operations)).run(initial, states_max)
}

/// The operations with their indices, unknown ones left out or ended where that is known to be right.
fn settle_unknown(initial: Option<u64>, operations: &[Operation]) -> Vec<(usize, Operation)> {
    let mut writers: HashMap<u64, usize> = initial.into_iter().map(|value| (value, 1)).collect();
    let mut first_seen: HashMap<u64, u64> = HashMap::new();
    // By replacements that may have taken effect.
    let mut perhaps_seen: HashSet<u64> = HashSet::new();
    for operation in operations {
        if let Some(value) = operation.action.written() {
            *writers.entry(value).or_default() += 1;
        }
        match (operation.action, operation.action.seen(), operation.completed) {
            (_, Some(Some(value)), Some(completed)) => {
                let first = first_seen.entry(value).or_insert(completed);
                *first = completed.min(*first);
            }
            (Action::CompareAndSet(Some(value), _), _, None) => {
                perhaps_seen.insert(value);
            }
            _ => {}
        }
    }
    let settled = operations.iter().enumerate().filter_map(|(index, operation)| {
        let mut operation = *operation;
        match (operation.completed, operation.action) {
            (None, Action::Read(_)) => return None,
            (None, Action::Write(value)) if writers[&value] == 1 => {
                // Seen only by one that was answered before it was asked for: left without an end, it explains nothing. Seen only by
                // a replacement of unknown outcome, it has no end either.
                match first_seen.get(&value) {
                    Some(seen) => operation.completed = (*seen > operation.invoked).then_some(*seen),
                    None if perhaps_seen.contains(&value) => {}
                    None => return None,
                }
            }
            _ => {}
        }
        Some((index, operation))
    });
    settled.collect()
}

/// The end of a list, and the place of its head.
const NONE: usize = usize::MAX;

/// An invocation or a completion, in a list by time. What is applied is taken out, and put back when it is undone.
#[derive(Clone, Copy, Debug)]
struct Entry {
    operation: usize,
    is_completion: bool,
    previous: usize,
    next: usize,
}

struct Search {
    /// Each with its index in the history.
    operations: Vec<(usize, Operation)>,
    entries: Vec<Entry>,
    head: usize,
    /// Where each operation's invocation and completion stand in the list.
    places: Vec<(usize, Option<usize>)>,
    /// Each operation's part of the sum by which a set of them is remembered.
    marks: Vec<u128>,
    /// How many operations with a completion are left.
    left: usize,
    best: Violation,
}

/// An operation that was applied, and the register's value before it.
struct Applied {
    operation: usize,
    before: Option<u64>,
}

impl Search {
    fn new(initial: Option<u64>, operations: &[(usize, Operation)]) -> Self {
        let mut moments: Vec<(u64, bool, usize)> = Vec::new();
        for (place, (_, operation)) in operations.iter().enumerate() {
            moments.push((operation.invoked, false, place));
            // An unknown write that ends with its observer gets the same time, and may come before it or after it alike.
            moments.extend(operation.completed.map(|completed| (completed, true, place)));
        }
        moments.sort_unstable();
        let mut places = vec![(NONE, None); operations.len()];
        let last = moments.len().saturating_sub(1);
        let entries = moments.iter().enumerate().map(|(at, (_, is_completion, operation))| {
            match is_completion {
                false => places[*operation].0 = at,
                true => places[*operation].1 = Some(at),
            }
            let next = if at == last { NONE } else { at + 1 };
            Entry { operation: *operation, is_completion: *is_completion, previous: at.wrapping_sub(1), next }
        });
        let entries: Vec<Entry> = entries.collect();
        let random = Random::from_seed(initial.unwrap_or_default());
        Search {
            operations: operations.to_vec(),
            head: if entries.is_empty() { NONE } else { 0 },
            entries,
            places,
            marks: operations.iter().map(|_| random.next_u128()).collect(),
            left: operations.iter().filter(|(_, operation)| operation.completed.is_some()).count(),
            best: Violation::default(),
        }
    }

    fn run(mut self, initial: Option<u64>, states_max: usize) -> Outcome {
        let mut seen: HashSet<(u128, Option<u64>)> = HashSet::new();
        let mut path: Vec<Applied> = Vec::new();
        let (mut state, mut sum, mut at) = (initial, 0u128, self.head);
        while self.left > 0 {
            let is_stuck = at == NONE || self.entries[at].is_completion;
            if is_stuck {
                self.remember_best(&path);
                let Some(Applied { operation, before }) = path.pop() else { return Outcome::Violated(self.best) };
                self.put_back(operation);
                (state, sum) = (before, sum ^ self.marks[operation]);
                at = self.entries[self.places[operation].0].next;
                continue;
            }
            let operation = self.entries[at].operation;
            let after = step(state, self.operations[operation].1.action);
            match after {
                Some(after) if seen.insert((sum ^ self.marks[operation], after)) => {
                    if seen.len() > states_max {
                        return Outcome::GaveUp { states: seen.len() };
                    }
                    path.push(Applied { operation, before: state });
                    self.take_out(operation);
                    (state, sum, at) = (after, sum ^ self.marks[operation], self.head);
                }
                _ => at = self.entries[at].next,
            }
        }
        Outcome::Linearizable
    }

    fn take_out(&mut self, operation: usize) {
        let (invocation, completion) = self.places[operation];
        self.left -= usize::from(completion.is_some());
        for at in [Some(invocation), completion].into_iter().flatten() {
            let Entry { previous, next, .. } = self.entries[at];
            match previous {
                NONE => self.head = next,
                previous => self.entries[previous].next = next,
            }
            if next != NONE {
                self.entries[next].previous = previous;
            }
        }
    }

    /// Undoes [`Search::take_out`], which is undone in the opposite order.
    fn put_back(&mut self, operation: usize) {
        let (invocation, completion) = self.places[operation];
        self.left += usize::from(completion.is_some());
        for at in [completion, Some(invocation)].into_iter().flatten() {
            let Entry { previous, next, .. } = self.entries[at];
            match previous {
                NONE => self.head = at,
                previous => self.entries[previous].next = at,
            }
            if next != NONE {
                self.entries[next].previous = at;
            }
        }
    }

    /// Keeps the longest explanation so far: its end, and what could not go on from there.
    fn remember_best(&mut self, path: &[Applied]) {
        const SHOWN: usize = 8;
        if path.len() < self.best.explained || (path.len() == self.best.explained && !self.best.stuck_at.is_empty()) {
            return;
        }
        let mut stuck_at = Vec::new();
        let mut at = self.head;
        while at != NONE && !self.entries[at].is_completion {
            stuck_at.push(self.operations[self.entries[at].operation].0);
            at = self.entries[at].next;
        }
        let last = path[path.len().saturating_sub(SHOWN)..].iter();
        let last = last.map(|applied| self.operations[applied.operation].0).collect();
        self.best = Violation { explained: path.len(), last, stuck_at };
    }
}

fn step(state: Option<u64>, action: Action) -> Option<Option<u64>> {
    match action {
        Action::Read(seen) => (seen == state).then_some(state),
        Action::Write(value) => Some(Some(value)),
        Action::CompareAndSet(from, to) => (state == from).then_some(Some(to)),
    }
}

#[cfg(test)]
mod tests;
