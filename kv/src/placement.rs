//! Where replicas should be: a pure function of what a range's leader sees.
//!
//! ```text
//!   RangeView ⧺ nodes ─▶ decide ─▶ Action ⧺ reason
//!
//!   descriptor   v1            v1 l2 l3         v1 l2 l3           v1 v2 v3
//!   Raft         v1            v1               v1 l2 l3           v1 v2 v3
//!   action       Add(n2,n3)    JoinLearners     ChangeVoters       Settle      (up-replication, step by step)
//! ```
//!
//! The descriptor announces a copy before Raft sends it anything, and drops it after Raft did; so every step is
//! found again by whoever leads after a crash. `decide` is called until it answers [`Action::Nothing`].
//!
//! Invariants: `voters_never_fewer` (no action leaves a range with fewer voters than it had, unless it has more
//! than its target); an even number of voters is never aimed at.
//!
//! It knows nothing of time, messages, or how its actions are carried out.

mod choose;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::descriptor::{RangeDescriptor, ReplicaRole};
use crate::liveness::Locality;

/// How a node does, as far as its peers can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeHealth {
    /// Heard of lately.
    Live,
    /// Not heard of for a while: gets no replicas, loses none.
    Suspect,
    /// Gone for so long that its replicas are replaced.
    Dead,
    /// About to stop: gets no replicas.
    Draining,
}

/// One node, as placement sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView {
    /// Which.
    pub node_id: u64,
    /// Where.
    pub locality: Locality,
    /// How it does.
    pub health: NodeHealth,
    /// How many replicas it holds.
    pub replicas: u64,
    /// It has no room.
    pub disk_full: bool,
}

/// One range, as its leader sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeView {
    /// What the range's state says.
    pub descriptor: RangeDescriptor,
    /// The replicas that vote in Raft's newest membership, those of both sets while it is joint.
    pub raft_voters: BTreeSet<u64>,
    /// The replicas that learn in it.
    pub raft_learners: BTreeSet<u64>,
    /// Whether Raft is between two sets of voters.
    pub is_joint: bool,
    /// The replicas whose log is as good as the leader's.
    pub caught_up: BTreeSet<u64>,
    /// How many voters the range should have.
    pub target: usize,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// Above how many bytes it should be split; `None` for a range that may not be.
    pub split_above_bytes: Option<u64>,
}

/// What the leader should do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// All is as it should be, or nothing can be done.
    Nothing,
    /// Something is under way; look again soon.
    Wait,
    /// Announce new copies on these nodes in the descriptor, as learners.
    Add {
        /// The nodes, each without a copy so far.
        nodes: Vec<u64>,
    },
    /// Let Raft send these announced copies what they lack.
    JoinLearners {
        /// Replica IDs.
        replicas: Vec<u64>,
    },
    /// Make exactly these replicas Raft's voters.
    ChangeVoters {
        /// Replica IDs.
        voters: Vec<u64>,
    },
    /// Take these learners out of Raft, then out of the descriptor.
    DropLearners {
        /// Replica IDs.
        replicas: Vec<u64>,
    },
    /// Make the descriptor say what Raft's membership is.
    Settle,
    /// Split the range in its middle.
    Split,
}

/// An action with its reason, in words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What to do.
    pub action: Action,
    /// Why.
    pub reason: String,
}

impl Decision {
    fn new(action: Action, reason: impl Into<String>) -> Self {
        Decision { action, reason: reason.into() }
    }
}

/// The next step towards where the range's replicas should be.
pub fn decide(range: &RangeView, nodes: &[NodeView]) -> Decision {
    let voters = replicas_of(range, ReplicaRole::Voter);
    let learners = replicas_of(range, ReplicaRole::Learner);
    let health = |node: u64| nodes.iter().find(|view| view.node_id == node).map_or(NodeHealth::Suspect, |v| v.health);
    let is_dead = |replica: u64| node_of(range, replica).is_some_and(|node| health(node) == NodeHealth::Dead);

    let lost: Vec<u64> =
        learners.iter().copied().filter(|id| is_dead(*id) && !range.raft_voters.contains(id)).collect();
    if !lost.is_empty() {
        return Decision::new(Action::DropLearners { replicas: lost }, "the learner's node is dead");
    }
    let strangers: Vec<u64> =
        range.raft_learners.iter().copied().filter(|id| !voters.contains(id) && !learners.contains(id)).collect();
    if !strangers.is_empty() {
        return Decision::new(Action::DropLearners { replicas: strangers }, "the descriptor does not know the learner");
    }
    let unknown: Vec<u64> = learners
        .iter()
        .copied()
        .filter(|id| !range.raft_voters.contains(id) && !range.raft_learners.contains(id))
        .collect();
    if !unknown.is_empty() {
        return Decision::new(Action::JoinLearners { replicas: unknown }, "an announced copy is not in Raft yet");
    }
    if let Some(decision) = decide_voters(range, nodes, &voters, &learners, is_dead) {
        return decision;
    }
    decide_copies(range, nodes, &voters, is_dead)
}

/// The steps that lead from learners to voters, and from Raft's membership to the descriptor.
fn decide_voters(
    range: &RangeView,
    nodes: &[NodeView],
    voters: &BTreeSet<u64>,
    learners: &BTreeSet<u64>,
    is_dead: impl Fn(u64) -> bool,
) -> Option<Decision> {
    if learners.is_empty() {
        if range.is_joint || range.raft_voters != *voters {
            // Raft is behind (a removal announced, or a joint membership its leader did not live to end).
            if range.raft_voters.is_superset(voters) {
                let voters: Vec<u64> = voters.iter().copied().collect();
                return Some(Decision::new(Action::ChangeVoters { voters }, "Raft's voters are not the descriptor's"));
            }
            return Some(Decision::new(Action::Settle, "the descriptor lags behind Raft's membership"));
        }
        return None;
    }
    if !range.is_joint && learners.is_subset(&range.raft_voters) {
        // Whoever left for them has left, even if its node is back by now: it would have to come in again as any other.
        return Some(Decision::new(Action::Settle, "Raft's voters have changed"));
    }
    if let Some(decision) = decide_parity(range, nodes, voters, learners, &is_dead) {
        return Some(decision);
    }
    let ready = learners.iter().all(|id| range.caught_up.contains(id) || range.raft_voters.contains(id));
    if !ready {
        return Some(Decision::new(Action::Wait, "a learner is catching up"));
    }
    let dead: Vec<u64> = voters.iter().copied().filter(|id| is_dead(*id)).collect();
    let leaving = replaced(range.target, voters.len(), learners.len(), dead.len());
    let leaving: BTreeSet<u64> = dead.into_iter().take(leaving).collect();
    let wanted: BTreeSet<u64> = voters.union(learners).copied().filter(|id| !leaving.contains(id)).collect();
    let reason = if leaving.is_empty() { "the learners have caught up" } else { "a dead node's copy is replaced" };
    Some(Decision::new(Action::ChangeVoters { voters: wanted.into_iter().collect() }, reason))
}

/// Whether there are as many learners as there should be: health has changed since they were announced, perhaps.
fn decide_parity(
    range: &RangeView,
    nodes: &[NodeView],
    voters: &BTreeSet<u64>,
    learners: &BTreeSet<u64>,
    is_dead: impl Fn(u64) -> bool,
) -> Option<Decision> {
    // Once Raft counts one of them, the change is carried through.
    if range.is_joint || learners.iter().any(|id| range.raft_voters.contains(id)) {
        return None;
    }
    let dead = voters.iter().filter(|id| is_dead(**id)).count();
    let aim = voters.len() + learners.len() - replaced(range.target, voters.len(), learners.len(), dead);
    let drop = |count: usize, reason: &str| {
        let replicas: Vec<u64> = learners.iter().rev().take(count).copied().collect();
        Some(Decision::new(Action::DropLearners { replicas }, reason))
    };
    let most = range.target.max(voters.len());
    if aim > most {
        return drop(aim - most, "the voter that the learner was to replace is back");
    }
    if aim > voters.len() && aim.is_multiple_of(2) {
        let candidates = choose::candidates(range, nodes);
        if aim < range.target && !candidates.is_empty() {
            let nodes = choose::best(range, nodes, candidates, 1);
            return Some(Decision::new(Action::Add { nodes }, "an even number of voters is no better than one fewer"));
        }
        return drop(1, "an even number of voters is no better than one fewer");
    }
    None
}

/// How many of the dead voters make room for learners: those beyond the target, and one more where that makes the number odd.
fn replaced(target: usize, voters: usize, learners: usize, dead: usize) -> usize {
    let surplus = (voters + learners).saturating_sub(target.max(voters)).min(dead);
    let aim = voters + learners - surplus;
    if aim > voters && aim.is_multiple_of(2) && surplus < dead { surplus + 1 } else { surplus }
}

/// Whether to add copies, to drop some, or to split.
fn decide_copies(
    range: &RangeView,
    nodes: &[NodeView],
    voters: &BTreeSet<u64>,
    is_dead: impl Fn(u64) -> bool,
) -> Decision {
    let dead = voters.iter().filter(|id| is_dead(**id)).count();
    let candidates = choose::candidates(range, nodes);
    let reachable = voters.len() - dead + candidates.len();
    let aim = largest_odd(range.target.min(reachable)).max(voters.len().min(range.target));
    if voters.len() < aim {
        let missing = aim - voters.len();
        let nodes = choose::best(range, nodes, candidates, missing);
        return Decision::new(Action::Add { nodes }, format!("{} voters of {}", voters.len(), range.target));
    }
    if dead > 0 && !candidates.is_empty() {
        let nodes = choose::best(range, nodes, candidates, dead);
        return Decision::new(Action::Add { nodes }, format!("{dead} voters are on dead nodes"));
    }
    if voters.len() > range.target {
        let surplus = voters.len() - range.target;
        let mut order: Vec<u64> = voters.iter().copied().collect();
        order.sort_by_key(|id| (is_dead(*id), *id));
        order.truncate(voters.len() - surplus);
        order.sort_unstable();
        return Decision::new(Action::ChangeVoters { voters: order }, "more voters than the target");
    }
    match range.split_above_bytes {
        Some(limit) if range.bytes > limit => {
            Decision::new(Action::Split, format!("{} bytes are more than {limit}", range.bytes))
        }
        _ => Decision::new(Action::Nothing, "as it should be"),
    }
}

fn largest_odd(count: usize) -> usize {
    if count.is_multiple_of(2) { count.saturating_sub(1) } else { count }
}

fn replicas_of(range: &RangeView, role: ReplicaRole) -> BTreeSet<u64> {
    range.descriptor.replicas.iter().filter(|r| r.role() == role).map(|r| r.replica_id).collect()
}

fn node_of(range: &RangeView, replica: u64) -> Option<u64> {
    range.descriptor.replicas.iter().find(|r| r.replica_id == replica).map(|r| r.node_id)
}
