//! Linearizability of a register, by Wing and Gong's search with Lowe's memory.
//!
//! ```text
//!   time ─▶   ├── write 1 ──┤
//!                 ├─ read → 0 ─┤          some order of the operations, each at a point within its
//!                        ├── write 2 ──…  interval, must explain every result
//! ```
//!
//! The search takes any operation that was invoked before the first completion among those that are left, applies it to the
//! register, and goes on; a set of operations already applied together with the register's value is
//! never searched twice. Operations whose outcome is unknown have no end: they may take effect at any time after their invocation, or
//! never. Each register is checked by itself, since linearizability is local (Herlihy and Wing 1990).
//!
//! Sources: Wing and Gong, "Testing and verifying concurrent objects" (1993); Lowe, "Testing for linearizability" (2017).

use std::collections::HashSet;

/// What an operation did to the register. `None` is a register that was never written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// It saw this value.
    Read(Option<u64>),
    /// It set this value.
    Write(u64),
    /// It replaced the first value by the second, and succeeded.
    CompareAndSet(u64, u64),
}

/// One operation on the register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What it did.
    pub action: Action,
    /// When it was asked for.
    pub invoked: u64,
    /// When it was answered; `None` when it is unknown whether it took effect.
    pub completed: Option<u64>,
}

/// Why a history is not linearizable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The longest explanation that was found: indices of operations, in their order.
    pub explained: Vec<usize>,
    /// The operations that could come next, none of which fits.
    pub stuck_at: Vec<usize>,
}

/// Checks the operations on one register that starts as `initial`.
///
/// # Errors
/// A [`Violation`] when no order explains all results.
pub fn check(initial: Option<u64>, operations: &[Operation]) -> Result<(), Violation> {
    let mut order: Vec<usize> = (0..operations.len()).collect();
    order.sort_by_key(|index| operations[*index].invoked);
    let mut search = Search {
        operations,
        order,
        applied: vec![false; operations.len()],
        path: Vec::new(),
        seen: HashSet::new(),
        best: Violation { explained: Vec::new(), stuck_at: Vec::new() },
    };
    if search.run(initial) { Ok(()) } else { Err(search.best) }
}

struct Search<'a> {
    operations: &'a [Operation],
    /// Indices by time of invocation.
    order: Vec<usize>,
    applied: Vec<bool>,
    path: Vec<usize>,
    seen: HashSet<(Vec<u64>, Option<u64>)>,
    best: Violation,
}

/// A point of the search: the register's value there, and which candidates are still to be tried.
struct Frame {
    state: Option<u64>,
    candidates: Vec<usize>,
}

impl Search<'_> {
    fn run(&mut self, initial: Option<u64>) -> bool {
        let mut stack = vec![self.frame(initial)];
        while let Some(frame) = stack.last_mut() {
            if self.is_complete() {
                return true;
            }
            let state = frame.state;
            let Some(candidate) = frame.candidates.pop() else {
                stack.pop();
                if let Some(undone) = self.path.pop() {
                    self.applied[undone] = false;
                }
                continue;
            };
            let Some(next) = step(state, self.operations[candidate].action) else { continue };
            self.applied[candidate] = true;
            if self.seen.insert((self.applied_bits(), next)) {
                self.path.push(candidate);
                stack.push(self.frame(next));
            } else {
                self.applied[candidate] = false;
            }
        }
        false
    }

    /// Every operation that has an answer is explained.
    fn is_complete(&self) -> bool {
        self.operations.iter().zip(&self.applied).all(|(operation, applied)| *applied || operation.completed.is_none())
    }

    fn frame(&mut self, state: Option<u64>) -> Frame {
        let left = self.order.iter().copied().filter(|index| !self.applied[*index]);
        let first_completion =
            left.clone().filter_map(|index| self.operations[index].completed).min().unwrap_or(u64::MAX);
        let candidates: Vec<usize> =
            left.take_while(|index| self.operations[*index].invoked <= first_completion).collect();
        if self.path.len() >= self.best.explained.len() {
            self.best = Violation { explained: self.path.clone(), stuck_at: candidates.clone() };
        }
        // The last is tried first: put known outcomes there, since unknown ones are seldom needed.
        let (mut unknown, known): (Vec<usize>, Vec<usize>) =
            candidates.into_iter().rev().partition(|index| self.operations[*index].completed.is_none());
        unknown.extend(known);
        Frame { state, candidates: unknown }
    }

    fn applied_bits(&self) -> Vec<u64> {
        self.applied
            .chunks(64)
            .map(|chunk| chunk.iter().rev().fold(0, |bits, bit| bits << 1 | u64::from(*bit)))
            .collect()
    }
}

fn step(state: Option<u64>, action: Action) -> Option<Option<u64>> {
    match action {
        Action::Read(seen) => (seen == state).then_some(state),
        Action::Write(value) => Some(Some(value)),
        Action::CompareAndSet(from, to) => (state == Some(from)).then_some(Some(to)),
    }
}

#[cfg(test)]
mod tests;
