//! From learners to voters, and from Raft's membership to the descriptor.

use std::collections::BTreeSet;

use super::{Action, Decision, Look, choose};

/// What is left half done: by a former leader, or between Raft and the descriptor.
pub(super) fn finish(look: &Look<'_>) -> Option<Decision> {
    let (range, voters, learners) = (look.range, &look.voters, &look.learners);
    let is_counted = |id: &u64| range.raft_voters.contains(id);
    let lost: Vec<u64> = learners.iter().copied().filter(|id| look.is_lost(*id) && !is_counted(id)).collect();
    if !lost.is_empty() {
        let reason = "the learner's node is dead, or is being decommissioned";
        return Some(Decision::new(Action::DropLearners { replicas: lost }, reason));
    }
    let is_known = |id: &u64| voters.contains(id) || learners.contains(id);
    let strangers: Vec<u64> = range.raft_learners.iter().copied().filter(|id| !is_known(id)).collect();
    if !strangers.is_empty() {
        let reason = "the descriptor does not know the learner";
        return Some(Decision::new(Action::DropLearners { replicas: strangers }, reason));
    }
    let is_absent = |id: &u64| !is_counted(id) && !range.raft_learners.contains(id);
    let absent: Vec<u64> = learners.iter().copied().filter(is_absent).collect();
    if !absent.is_empty() {
        return Some(Decision::new(Action::JoinLearners { replicas: absent }, "an announced copy is not in Raft yet"));
    }
    if range.is_joint {
        return Some(end_joint(look));
    }
    if learners.is_empty() && range.raft_voters != *voters && range.raft_voters.is_superset(voters) {
        let voters = voters.iter().copied().collect();
        return Some(Decision::new(Action::ChangeVoters { voters }, "Raft's voters are not the descriptor's"));
    }
    if learners.iter().any(is_counted) || !range.raft_voters.is_superset(voters) {
        // Whoever left has left, even if its node is back by now: it would have to come in again as any other.
        return Some(Decision::new(Action::Settle, "the descriptor lags behind Raft's membership"));
    }
    None
}

/// Raft is between two sets of voters, and whoever led the change did not live to end it: to the one that is wanted now.
fn end_joint(look: &Look<'_>) -> Decision {
    let counted = look.learners.intersection(&look.range.raft_voters).copied().collect();
    let onwards = wanted(look, &counted);
    let is_even = onwards.len() > look.voters.len() && onwards.len().is_multiple_of(2);
    let aim = if is_even { &look.voters } else { &onwards };
    let voters = aim.intersection(&look.range.raft_voters).copied().collect();
    Decision::new(Action::ChangeVoters { voters }, "a change of voters was left half done")
}

/// Learners that there should not be, or not there: those on nodes where they get nowhere, if there are others, and those that
/// nobody needs any more, since health has changed since they were announced.
pub(super) fn give_up(look: &Look<'_>) -> Option<Decision> {
    let (voters, learners) = (&look.voters, &look.learners);
    if learners.is_empty() {
        return None;
    }
    let candidates = choose::candidates(look);
    let stuck: Vec<u64> = learners.iter().copied().filter(|id| look.is_stuck(*id)).collect();
    let is_hopeless = |id: &u64| !look.view_of(*id).is_some_and(choose::takes_copies);
    let hopeless: Vec<u64> = stuck.iter().copied().filter(is_hopeless).collect();
    if !hopeless.is_empty() {
        let reason = "the learner gets nowhere, and its node takes no copies";
        return Some(Decision::new(Action::DropLearners { replicas: hopeless }, reason));
    }
    let promising = choose::promising(look).len();
    if !stuck.is_empty() && promising > 0 {
        let replicas = stuck.into_iter().take(promising).collect();
        return Some(Decision::new(
            Action::DropLearners { replicas },
            "the learner gets nowhere, and there are other nodes",
        ));
    }
    let lost = look.lost_voters().len();
    let aim = voters.len() + learners.len() - replaced(look.range.target, voters.len(), learners.len(), lost);
    let drop = |count: usize, reason: &str| {
        let mut order: Vec<u64> = learners.iter().copied().collect();
        order.sort_by_key(|id| (!look.is_stuck(*id), look.is_ready(*id), std::cmp::Reverse(*id)));
        order.truncate(count);
        Some(Decision::new(Action::DropLearners { replicas: order }, reason))
    };
    let most = look.range.target.max(voters.len());
    if aim > most && moved(look, learners).is_none() {
        return drop(aim - most, "the voter that the learner was to replace is back");
    }
    if aim <= most && aim > voters.len() && aim.is_multiple_of(2) {
        if aim < look.range.target && !candidates.is_empty() {
            let nodes = choose::best(look, candidates, 1);
            return Some(Decision::new(Action::Add { nodes }, "an even number of voters is no better than one fewer"));
        }
        return drop(1, "an even number of voters is no better than one fewer");
    }
    None
}

/// Makes voters of the learners that are ready, as far as the number of voters stays odd. The others may follow.
pub(super) fn promote(look: &Look<'_>) -> Option<Decision> {
    let mut ready: BTreeSet<u64> = look.learners.iter().copied().filter(|id| look.is_ready(*id)).collect();
    while !ready.is_empty() {
        let wanted = wanted(look, &ready);
        let is_better = wanted.len() <= look.voters.len() || !wanted.len().is_multiple_of(2);
        if is_better && wanted != look.voters {
            let replaces = !wanted.is_superset(&look.voters);
            let reason = if replaces { "a copy is replaced" } else { "the learners have caught up" };
            return Some(Decision::new(Action::ChangeVoters { voters: wanted.into_iter().collect() }, reason));
        }
        ready.pop_last();
    }
    None
}

/// The voters once `ready` have become some: less lost ones that they replace, or the one whose copy moves.
fn wanted(look: &Look<'_>, ready: &BTreeSet<u64>) -> BTreeSet<u64> {
    let lost = look.lost_voters();
    let leaving = replaced(look.range.target, look.voters.len(), ready.len(), lost.len());
    let mut leaving: BTreeSet<u64> = lost.into_iter().take(leaving).collect();
    leaving.extend(moved(look, ready));
    look.voters.union(ready).copied().filter(|id| !leaving.contains(id)).collect()
}

/// The voter that leaves because its copy is the one learner's by now.
fn moved(look: &Look<'_>, learners: &BTreeSet<u64>) -> Option<u64> {
    let is_whole = look.voters.len() >= look.range.target && look.lost_voters().is_empty();
    let learner = learners.first().filter(|id| learners.len() == 1 && is_whole && !look.is_stuck(**id))?;
    let to = look.view_of(*learner)?;
    match look.replica(*learner)?.replaces {
        announced if look.voters.contains(&announced) => {
            choose::is_still_better(look, announced, to).then_some(announced)
        }
        _ => choose::mover(look, to, true),
    }
}

/// How many of the lost voters make room for learners: those beyond the target, and one more where that makes the number odd.
fn replaced(target: usize, voters: usize, learners: usize, lost: usize) -> usize {
    let surplus = (voters + learners).saturating_sub(target.max(voters)).min(lost);
    let aim = voters + learners - surplus;
    if aim > voters && aim.is_multiple_of(2) && surplus < lost { surplus + 1 } else { surplus }
}
