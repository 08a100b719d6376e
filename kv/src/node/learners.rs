//! Which learners have caught up, and which never will: what a leader remembers of them between two looks.
//!
//! ```text
//!   first look ─▶ round: everything that the log holds now ─▶ the learner has it ─▶ next round …
//!
//!   close behind the leader, or its last round was quick    it has caught up
//!   many rounds, none of them quick                         stuck: it is slower than the range is written
//!   one round that takes too long                           stuck: it gets nothing, or cannot take it
//! ```
//!
//! Rounds are from section 4.2.1 of Ongaro's thesis on Raft: under load a learner is never level with its leader, and needs not
//! be. A node where a learner was stuck is avoided for a while, by this leader, as long as the other nodes suffice.
//!
//! The module knows nothing of Raft or of nodes' health.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clock::Timestamp;

/// A learner this many entries behind the leader has caught up.
const CLOSE_ENTRIES: u64 = 64;

/// A round that takes no longer is quick: as long as an election, during which the range stands still as well.
const QUICK: Duration = Duration::from_secs(1);

/// So many rounds are enough to tell.
const ROUNDS_MAX: u32 = 20;

/// How many times its patience a leader avoids a node where a learner was stuck.
const AVOIDED_PATIENCES: u32 = 10;

/// What is remembered of learners.
#[derive(Debug, Default)]
pub(super) struct Learners {
    ranges: BTreeMap<u64, Range>,
}

#[derive(Debug, Default)]
struct Range {
    /// By replica.
    rounds: BTreeMap<u64, Round>,
    /// Nodes, and until when they are avoided.
    avoided: BTreeMap<u64, Timestamp>,
}

#[derive(Clone, Copy, Debug)]
struct Round {
    /// The entry that the learner must have.
    target: u64,
    begun: Timestamp,
    /// How many rounds went before.
    finished: u32,
    /// The last one was quick.
    was_quick: bool,
}

/// How a learner does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It may become a voter.
    CaughtUp,
    /// It may still get there.
    CatchingUp,
    /// It has had the time that it should need.
    Stuck,
}

impl Learners {
    /// Looks at the learners of a range: the newest entry that each is known to have, by replica. Those not named are forgotten.
    pub fn look(
        &mut self,
        range_id: u64,
        matched: &BTreeMap<u64, Option<u64>>,
        newest: u64,
        now: Timestamp,
        patience: Duration,
    ) -> BTreeMap<u64, Standing> {
        if matched.is_empty() && !self.ranges.contains_key(&range_id) {
            return BTreeMap::new();
        }
        let range = self.ranges.entry(range_id).or_default();
        range.rounds.retain(|replica, _| matched.contains_key(replica));
        range.avoided.retain(|_, until| *until > now);
        let standings = matched.iter().map(|(replica, matched)| {
            let first = Round { target: newest, begun: now, finished: 0, was_quick: false };
            (*replica, range.rounds.entry(*replica).or_insert(first).look(*matched, newest, now, patience))
        });
        let standings = standings.collect();
        if range.rounds.is_empty() && range.avoided.is_empty() {
            self.ranges.remove(&range_id);
        }
        standings
    }

    /// A learner was stuck on a node.
    pub fn avoid(&mut self, range_id: u64, node: u64, now: Timestamp, patience: Duration) {
        let until = now.plus(patience * AVOIDED_PATIENCES);
        self.ranges.entry(range_id).or_default().avoided.insert(node, until);
    }

    /// The nodes that are avoided.
    pub fn avoided(&self, range_id: u64) -> BTreeSet<u64> {
        self.ranges.get(&range_id).map(|range| range.avoided.keys().copied().collect()).unwrap_or_default()
    }

    /// The range is led elsewhere: whoever leads it next looks for itself.
    pub fn forget(&mut self, range_id: u64) {
        self.ranges.remove(&range_id);
    }
}

impl Round {
    fn look(&mut self, matched: Option<u64>, newest: u64, now: Timestamp, patience: Duration) -> Standing {
        let has = |entry: u64| matched.is_some_and(|matched| matched >= entry);
        if has(self.target) {
            let was_quick = now <= self.begun.plus(QUICK);
            *self = Round { target: newest, begun: now, finished: self.finished.saturating_add(1), was_quick };
        }
        let goes_on_quickly = self.was_quick && now <= self.begun.plus(QUICK);
        if goes_on_quickly || has(newest.saturating_sub(CLOSE_ENTRIES)) {
            return Standing::CaughtUp;
        }
        let is_late = now > self.begun.plus(patience);
        if is_late || self.finished >= ROUNDS_MAX { Standing::Stuck } else { Standing::CatchingUp }
    }
}

#[cfg(test)]
mod tests;
