//! What the answers of a range's replicas say: a pure function of them.

use std::collections::{BTreeMap, BTreeSet};

use super::Digest;
use crate::descriptor::{RangeDescriptor, ReplicaRole};

/// What a replica answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What it holds at the entry of the check: the index of that entry, and the digest.
    Holds(u64, Digest),
    /// Nothing that can be compared, and why.
    Nothing(String),
}

/// Whether a range's replicas are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckStatus {
    /// All are.
    Consistent,
    /// Those that answered are; some did not answer.
    Indeterminate,
    /// Some differ.
    Inconsistent,
}

impl CheckStatus {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            CheckStatus::Consistent => "consistent",
            CheckStatus::Indeterminate => "indeterminate",
            CheckStatus::Inconsistent => "inconsistent",
        }
    }
}

/// What the answers come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// In short.
    pub status: CheckStatus,
    /// A replica whose digest that of a majority of all voters is; `None` when there is no such majority.
    pub sound: Option<u64>,
    /// The replicas whose digest is another one than that majority's.
    pub differing: Vec<u64>,
    /// In words for people.
    pub detail: String,
}

/// Compares the answers of a range's replicas, given by replica ID.
pub fn judge(range: &RangeDescriptor, answers: &BTreeMap<u64, Answer>) -> Verdict {
    let node_of =
        |id: &u64| range.replicas.iter().find(|replica| replica.replica_id == *id).map_or(0, |replica| replica.node_id);
    let votes = |id: &u64| {
        range.replicas.iter().any(|replica| replica.replica_id == *id && replica.role() == ReplicaRole::Voter)
    };
    let mut alike: BTreeMap<(u64, Digest), BTreeSet<u64>> = BTreeMap::new();
    let mut silent = Vec::new();
    for (id, answer) in answers {
        match answer {
            Answer::Holds(index, digest) => {
                alike.entry((*index, *digest)).or_default().insert(*id);
            }
            Answer::Nothing(why) => silent.push(format!("n{}: {why}", node_of(id))),
        }
    }
    let majority = range.voters().count() / 2 + 1;
    let sound = alike.values().find(|ids| ids.iter().filter(|id| votes(id)).count() >= majority);
    let groups: Vec<String> = alike
        .iter()
        .map(|((index, digest), ids)| {
            let nodes: Vec<String> = ids.iter().map(|id| format!("n{}", node_of(id))).collect();
            let Digest { crc, entries, bytes } = digest;
            format!("{}: checksum {crc:08x}, {entries} entries, {bytes} bytes at index {index}", nodes.join(", "))
        })
        .collect();
    let status = match (alike.len(), silent.is_empty()) {
        (2.., _) => CheckStatus::Inconsistent,
        (1, true) => CheckStatus::Consistent,
        _ => CheckStatus::Indeterminate,
    };
    let differing = match sound {
        Some(sound) => alike.values().flatten().filter(|id| !sound.contains(id)).copied().collect(),
        None => Vec::new(),
    };
    let no_majority = (status == CheckStatus::Inconsistent && sound.is_none())
        .then(|| "no majority of the voters holds the same".to_owned());
    let parts: Vec<String> = groups.into_iter().chain(silent).chain(no_majority).collect();
    let sound = sound.and_then(|ids| ids.first().copied());
    Verdict { status, sound, differing, detail: parts.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptor::ReplicaDescriptor;

    fn range(voters: u64, learners: u64) -> RangeDescriptor {
        let replica = |id| ReplicaDescriptor {
            replica_id: id,
            node_id: 10 + id,
            role: if id <= voters { ReplicaRole::Voter } else { ReplicaRole::Learner }.into(),
            replaces: 0,
        };
        RangeDescriptor { range_id: 7, replicas: (1..=voters + learners).map(replica).collect(), ..Default::default() }
    }

    /// Answers by replica, from 1 on: a digit for what it holds, `-` for silence.
    fn verdict(range: &RangeDescriptor, answers: &str) -> (CheckStatus, Vec<u64>) {
        let answer = |sign: char| match sign.to_digit(10) {
            Some(digit) => Answer::Holds(50, Digest { crc: digit, entries: 3, bytes: 30 }),
            None => Answer::Nothing("it does not answer".to_owned()),
        };
        let answers = answers.chars().enumerate().map(|(at, sign)| (at as u64 + 1, answer(sign))).collect();
        let verdict = judge(range, &answers);
        assert!(!verdict.sound.is_some_and(|sound| verdict.differing.contains(&sound)));
        (verdict.status, verdict.differing)
    }

    #[test]
    fn who_differs_from_a_majority_of_the_voters_is_named_and_nobody_else() {
        use CheckStatus::{Consistent, Inconsistent, Indeterminate};
        let (three, five, with_learner) = (range(3, 0), range(5, 0), range(3, 1));
        assert_eq!(verdict(&three, "111"), (Consistent, vec![]));
        assert_eq!(verdict(&three, "11-"), (Indeterminate, vec![]));
        assert_eq!(verdict(&three, "---"), (Indeterminate, vec![]));
        assert_eq!(verdict(&three, "121"), (Inconsistent, vec![2]));
        assert_eq!(verdict(&three, "211"), (Inconsistent, vec![1]));
        assert_eq!(verdict(&three, "12-"), (Inconsistent, vec![]), "one against one");
        assert_eq!(verdict(&three, "123"), (Inconsistent, vec![]), "nobody knows");
        assert_eq!(verdict(&five, "11122"), (Inconsistent, vec![4, 5]));
        assert_eq!(verdict(&five, "11223"), (Inconsistent, vec![]), "two are no majority of five");
        assert_eq!(verdict(&five, "112--"), (Inconsistent, vec![]), "of all voters, not of those that answer");
        assert_eq!(verdict(&with_learner, "1112"), (Inconsistent, vec![4]));
        assert_eq!(verdict(&with_learner, "12-1"), (Inconsistent, vec![]), "a learner is no vote");
        assert_eq!(verdict(&range(1, 0), "1"), (Consistent, vec![]));
    }

    #[test]
    fn the_words_say_who_holds_what() {
        let answers = [
            (1, Answer::Holds(50, Digest { crc: 0xab, entries: 3, bytes: 30 })),
            (2, Answer::Holds(50, Digest { crc: 0xcd, entries: 4, bytes: 40 })),
            (3, Answer::Nothing("it does not answer".to_owned())),
        ];
        let words = judge(&range(3, 0), &answers.into()).detail;
        let expected = "n11: checksum 000000ab, 3 entries, 30 bytes at index 50; n12: checksum 000000cd, 4 entries, 40 bytes at \
                        index 50; n13: it does not answer; no majority of the voters holds the same";
        assert_eq!(words, expected);
    }
}
