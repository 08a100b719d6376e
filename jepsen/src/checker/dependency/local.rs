//! What can be seen within a single transaction, or a few, without a graph.

use std::collections::{HashMap, HashSet};

use super::transaction::{Key, Micro, Transaction, Transactions};
use crate::checker::Verdict;

/// What a transaction must see of a list after what it did itself.
enum Expected {
    /// Exactly these.
    All(Vec<u64>),
    /// Whatever was there before it began, and then these.
    End(Vec<u64>),
}

/// A transaction sees its own appends and what it saw before, and no element twice.
pub(super) fn check_lists(transactions: &Transactions, transaction: &Transaction, verdict: &mut Verdict) {
    let mut expected: HashMap<Key, Expected> = HashMap::new();
    let mut seen: HashSet<(Key, u64)> = HashSet::new();
    for micro in &transaction.micros {
        match micro {
            Micro::Append(key, element) => {
                if seen.contains(&(*key, *element)) {
                    let key = transactions.key_name(*key);
                    let explanation = format!("{} saw {element} in {key} before it appended it", transaction.name());
                    verdict.found("future-read", explanation, vec![transaction.event]);
                }
                match expected.entry(*key).or_insert(Expected::End(Vec::new())) {
                    Expected::All(elements) | Expected::End(elements) => elements.push(*element),
                }
            }
            Micro::ReadList(key, elements) => {
                let key_name = transactions.key_name(*key);
                let distinct: HashSet<&u64> = elements.iter().collect();
                if distinct.len() < elements.len() {
                    let explanation = format!("{} saw {key_name} as {elements:?}", transaction.name());
                    verdict.found("duplicate-elements", explanation, vec![transaction.event]);
                }
                let (fits, should) = match expected.get(key) {
                    None => (true, String::new()),
                    Some(Expected::All(all)) => (all == elements, format!("{all:?}")),
                    Some(Expected::End(end)) => (elements.ends_with(end), format!("something that ends with {end:?}")),
                };
                if !fits {
                    let explanation = format!(
                        "{} saw {key_name} as {elements:?}, where its own steps before left {should}",
                        transaction.name()
                    );
                    verdict.found("internal", explanation, vec![transaction.event]);
                    return;
                }
                seen.extend(elements.iter().map(|element| (*key, *element)));
                expected.insert(*key, Expected::All(elements.clone()));
            }
            Micro::Write(..) | Micro::ReadRegister(..) => {}
        }
    }
}

/// A transaction sees what it wrote, or what it saw before.
pub(super) fn check_registers(transactions: &Transactions, transaction: &Transaction, verdict: &mut Verdict) {
    let shown = |value: Option<u64>| value.map_or("nothing".to_owned(), |value| value.to_string());
    let mut expected: HashMap<Key, Option<u64>> = HashMap::new();
    for micro in &transaction.micros {
        match micro {
            Micro::Write(key, value) => drop(expected.insert(*key, Some(*value))),
            Micro::ReadRegister(key, value) => {
                let before = *expected.entry(*key).or_insert(*value);
                if before != *value {
                    let explanation = format!(
                        "{} saw {} as {}, where its own steps before left {}",
                        transaction.name(),
                        transactions.key_name(*key),
                        shown(*value),
                        shown(before)
                    );
                    verdict.found("internal", explanation, vec![transaction.event]);
                    return;
                }
            }
            Micro::Append(..) | Micro::ReadList(..) => {}
        }
    }
}

/// Reports that several transactions updated the same version.
pub(super) fn report_lost_update(key: &str, version: &str, lost: &[&Transaction], verdict: &mut Verdict) {
    let names: Vec<String> = lost.iter().map(|transaction| transaction.name()).collect();
    let explanation = format!("{} all saw {key} {version}, and then each changed it", names.join(", "));
    verdict.found("lost-update", explanation, lost.iter().map(|transaction| transaction.event).collect());
}
