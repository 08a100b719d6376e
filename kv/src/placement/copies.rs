//! How many copies there should be, where, and of how much.

use super::{Action, Decision, Look, NodeHealth, NodeView, choose};

/// Copies that are missing, or too many.
pub(super) fn change(look: &Look<'_>) -> Option<Decision> {
    let (range, voters) = (look.range, &look.voters);
    let lost = look.lost_voters().len();
    let live = voters.len() - lost;
    if live == range.target && look.learners.is_empty() && lost == 0 {
        return None;
    }
    let (candidates, promising) = (choose::candidates(look), choose::promising(look));
    let reachable = live + look.learners.len() + candidates.len();
    let aim = largest_odd(range.target.min(reachable)).max(voters.len().min(range.target));
    // Nodes where a learner got nowhere are tried again as soon as the others do not suffice. A learner that gets nowhere is as good as
    // one there, and counts with them.
    let hopeful = look.learners.iter().filter(|id| !look.is_stuck(**id)).count();
    let suffice = live + hopeful + promising.len() >= aim;
    let (there, candidates) =
        if suffice { (live + hopeful, promising) } else { (live + look.learners.len(), candidates) };
    if there < aim && !candidates.is_empty() {
        let reason = match lost {
            0 => format!("{} voters of {}", voters.len(), range.target),
            _ => format!("{lost} voters are on nodes that are dead or being decommissioned"),
        };
        let nodes = choose::best(look, candidates, aim - there);
        return Some(Decision::new(Action::Add { nodes }, reason));
    }
    if look.learners.is_empty() && voters.len() > range.target {
        let voters = choose::stayers(look, range.target);
        return Some(Decision::new(Action::ChangeVoters { voters }, "more voters than the target"));
    }
    None
}

/// A range that is too large.
pub(super) fn split(look: &Look<'_>) -> Option<Decision> {
    let (bytes, limit) = (look.range.bytes, look.range.split_above_bytes?);
    (bytes > limit).then(|| Decision::new(Action::Split, format!("{bytes} bytes are more than {limit}")))
}

/// A copy that would be better elsewhere, though all is well as it is.
pub(super) fn spread(look: &Look<'_>) -> Option<Decision> {
    let range = look.range;
    let is_well = look.learners.is_empty()
        && look.voters.len() == range.target
        && look.voters.iter().all(|id| look.view_of(*id).is_some_and(|node| node.health == NodeHealth::Live));
    if range.openings.copies.is_empty() || !is_well {
        return None;
    }
    let open = range.openings.copies.iter().filter_map(|node| look.cluster.node(*node));
    let may = |node: &&NodeView| choose::is_promising(look, node) && choose::mover(look, node, false).is_some();
    let node = choose::best(look, open.filter(may).collect(), 1).pop()?;
    let to = look.cluster.node(node)?;
    let replaces = choose::mover(look, to, false)?;
    let from = look.view_of(replaces)?;
    let words = |node: &NodeView| {
        let place = if node.locality.tiers.is_empty() { String::new() } else { format!(" ({})", node.locality) };
        format!("n{}{place} has {} copies of {} MiB in all", node.node_id, node.replicas, node.bytes >> 20)
    };
    Some(Decision::new(Action::Move { node, replaces }, format!("{}, {}", words(from), words(to))))
}

fn largest_odd(count: usize) -> usize {
    if count.is_multiple_of(2) { count.saturating_sub(1) } else { count }
}
