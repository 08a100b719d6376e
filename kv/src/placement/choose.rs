//! Which nodes should have a copy: far apart first, then those with few copies; among equals each range prefers others.
//!
//! What is known of how many copies a node has lags behind: were equals always taken in the same order, many ranges that
//! choose at once would all choose the same.

use super::{Look, NodeHealth, NodeView};

/// Whether a node takes copies, as things stand.
pub(super) fn takes_copies(node: &NodeView) -> bool {
    node.health == NodeHealth::Live && !node.disk_full && !node.is_leaving
}

/// Whether the copies that a node has are to be replaced by others.
pub(super) fn loses_copies(node: &NodeView) -> bool {
    node.health == NodeHealth::Dead || node.is_leaving
}

/// The nodes that could take a copy.
pub(super) fn candidates<'n>(look: &Look<'n>) -> Vec<&'n NodeView> {
    let holds = |node: &NodeView| look.range.descriptor.replicas.iter().any(|replica| replica.node_id == node.node_id);
    look.nodes.iter().filter(|node| takes_copies(node) && !holds(node)).collect()
}

/// Those of them on which no learner was stuck lately: the others are better than nothing, but nothing is left for them.
pub(super) fn promising<'n>(look: &Look<'n>) -> Vec<&'n NodeView> {
    candidates(look).into_iter().filter(|node| !is_avoided(look, node)).collect()
}

fn is_avoided(look: &Look<'_>, node: &NodeView) -> bool {
    look.range.avoided.contains(&node.node_id)
}

/// The best `count` of the candidates, fewer if there are no more. Each choice keeps its distance from the ones before.
pub(super) fn best(look: &Look<'_>, candidates: Vec<&NodeView>, count: usize) -> Vec<u64> {
    let replicas = &look.range.descriptor.replicas;
    let mut taken: Vec<&NodeView> = look
        .nodes
        .iter()
        .filter(|node| replicas.iter().any(|replica| replica.node_id == node.node_id))
        .filter(|node| !loses_copies(node))
        .collect();
    let mut left = candidates;
    let mut chosen = Vec::new();
    while chosen.len() < count {
        let score =
            |node: &NodeView| (is_avoided(look, node), shared(node, &taken), load(look, node), preference(look, node));
        let Some(index) = (0..left.len()).min_by_key(|index| score(left[*index])) else { break };
        let node = left.swap_remove(index);
        taken.push(node);
        chosen.push(node.node_id);
    }
    chosen.sort_unstable();
    chosen
}

/// The voters that stay when there are to be only `count`, in order: the leader, unless its node is to go, and the others that would be
/// chosen anew.
pub(super) fn stayers(look: &Look<'_>, count: usize) -> Vec<u64> {
    let stays = |id: &u64| *id == look.range.leader && !look.is_lost(*id);
    let mut stay: Vec<u64> = look.voters.iter().copied().filter(stays).collect();
    let mut left: Vec<u64> = look.voters.iter().copied().filter(|id| !stays(id)).collect();
    while stay.len() < count {
        let taken: Vec<&NodeView> = stay.iter().filter_map(|id| look.view_of(*id)).collect();
        let score = |id: u64| {
            let of_node = |node: &NodeView| (shared(node, &taken), load(look, node), preference(look, node));
            (look.is_dead(id), look.is_lost(id), look.view_of(id).map(of_node))
        };
        let Some(index) = (0..left.len()).min_by_key(|index| score(left[*index])) else { break };
        stay.push(left.swap_remove(index));
    }
    stay.sort_unstable();
    stay
}

/// The voter whose copy would be better on `to`: it is further from the others there, or as far and `to` has fewer copies.
/// `is_there`: a copy is on `to` already, and counted.
pub(super) fn mover(look: &Look<'_>, to: &NodeView, is_there: bool) -> Option<u64> {
    let margin = if is_there { 1 } else { 2 };
    let voters: Vec<(u64, &NodeView)> = look.voters.iter().filter_map(|id| Some((*id, look.view_of(*id)?))).collect();
    let better = voters.iter().filter_map(|(id, from)| {
        let others: Vec<&NodeView> = voters.iter().filter(|(other, _)| other != id).map(|(_, node)| *node).collect();
        let (here, there) = (shared(from, &others), shared(to, &others));
        let is_better = there < here || there == here && from.replicas >= to.replicas + margin;
        // Of several that are as good to move, rather not the leader.
        let gain = (here.saturating_sub(there), from.replicas, *id != look.range.leader, preference(look, from));
        is_better.then_some((gain, *id))
    });
    better.max().map(|(_, id)| id)
}

/// How many tiers of locality a node has in common with others, all together.
fn shared(node: &NodeView, others: &[&NodeView]) -> usize {
    others.iter().map(|other| node.locality.common_tiers(&other.locality)).sum()
}

/// How many copies a node has, in steps of about an eighth of what a node that stays has on the average.
fn load(look: &Look<'_>, node: &NodeView) -> u64 {
    let (mut copies, mut nodes) = (0, 0);
    for node in look.nodes.iter().filter(|node| !loses_copies(node)) {
        copies += node.replicas;
        nodes += 1;
    }
    let mean = copies / nodes.max(1);
    node.replicas / (1 + mean / 8)
}

/// An order of nodes that differs from range to range (rendezvous hashing; the mixer is that of SplitMix64).
fn preference(look: &Look<'_>, node: &NodeView) -> u64 {
    let mut mixed = look.range.descriptor.range_id.rotate_left(32) ^ node.node_id;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
