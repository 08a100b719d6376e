//! Which nodes should have a copy: far apart first, then those that carry little; among equals each range prefers others.
//!
//! What is known of how many copies a node has lags behind: were equals always taken in the same order, many ranges that
//! choose at once would all choose the same.

use super::balance::{Load, WORTH_MIN, copies_on};
use super::{Look, NodeHealth, NodeView, leases};

/// What it must be worth for leases to move a copy for them, whose bytes have to be sent; and what it may cost in copies. A lease weighs
/// more than a copy, there being fewer: nodes carry more alike all the same.
const LEASE_WORTH_MIN: f64 = 0.1;
const LEASE_COST_MAX: f64 = 0.075;

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
    look.cluster.nodes().iter().filter(|node| is_candidate(look, node)).collect()
}

fn is_candidate(look: &Look<'_>, node: &NodeView) -> bool {
    takes_copies(node) && look.range.descriptor.replicas.iter().all(|replica| replica.node_id != node.node_id)
}

/// Whether a node could take a copy, and no learner was stuck there lately.
pub(super) fn is_promising(look: &Look<'_>, node: &NodeView) -> bool {
    is_candidate(look, node) && !is_avoided(look, node)
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
        .cluster
        .nodes()
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

/// The voter whose copy would be better on `to`: it is further from the others there, or as far and the nodes carry more alike.
/// `is_there`: a copy is on `to` already, and counted.
pub(super) fn mover(look: &Look<'_>, to: &NodeView, is_there: bool) -> Option<u64> {
    // What is there already need not be worth the way.
    let least = if is_there { f64::MIN_POSITIVE } else { WORTH_MIN };
    let better = look.voters.iter().filter_map(|id| {
        let Gain { apart, worth } = gain(look, *id, to, is_there)?;
        // The lease goes where the leader's copy goes.
        let from = look.view_of(*id)?;
        let lease = if *id == look.range.leader { leases::worth_beside(look, from, to) } else { 0.0 };
        let is_for_lease = !is_there && lease >= LEASE_WORTH_MIN && worth > -LEASE_COST_MAX;
        let is_better = apart > 0 || apart == 0 && (worth >= least || is_for_lease);
        // Of several that are as good to move, rather not the leader.
        let tie = (*id != look.range.leader, preference(look, from));
        is_better.then_some((apart, worth + lease, tie, *id))
    });
    let best =
        better.max_by(|one, other| (one.0.cmp(&other.0)).then(one.1.total_cmp(&other.1)).then(one.2.cmp(&other.2)));
    best.map(|(_, _, _, id)| id)
}

/// Whether a copy that was announced on `to`, and is counted there, may still take that voter's place: it has not become worse meanwhile.
pub(super) fn is_still_better(look: &Look<'_>, voter: u64, to: &NodeView) -> bool {
    gain(look, voter, to, true)
        .is_some_and(|gain| gain.apart > 0 || gain.apart == 0 && gain.worth > -2.0 * LEASE_COST_MAX)
}

/// What it would bring to have a voter's copy elsewhere.
struct Gain {
    /// How many tiers of locality fewer it would share with the others.
    apart: isize,
    /// By how much more alike the nodes would carry.
    worth: f64,
}

fn gain(look: &Look<'_>, voter: u64, to: &NodeView, is_there: bool) -> Option<Gain> {
    let (from, moved) = (look.view_of(voter)?, one_copy(look));
    let others: Vec<&NodeView> =
        look.voters.iter().filter(|other| **other != voter).filter_map(|other| look.view_of(*other)).collect();
    let counted = copies_on(to);
    let on_to = if is_there { [counted[0] - moved[0], counted[1] - moved[1]] } else { counted };
    let apart = shared(from, &others).cast_signed() - shared(to, &others).cast_signed();
    Some(Gain { apart, worth: look.cluster.copies.worth(copies_on(from), on_to, moved) })
}

/// What a copy of the range adds to a node.
fn one_copy(look: &Look<'_>) -> Load {
    [1.0, look.range.bytes as f64]
}

/// How many tiers of locality a node has in common with others, all together.
fn shared(node: &NodeView, others: &[&NodeView]) -> usize {
    others.iter().map(|other| node.locality.common_tiers(&other.locality)).sum()
}

/// How much a node carries, in steps of about an eighth of what a node carries on the average.
fn load(look: &Look<'_>, node: &NodeView) -> u64 {
    let scale = &look.cluster.copies;
    let steps = scale.mean_number().clamp(1.0, 8.0);
    (scale.level(copies_on(node), one_copy(look)) * steps) as u64
}

/// An order of nodes that differs from range to range (rendezvous hashing; the mixer is that of SplitMix64).
fn preference(look: &Look<'_>, node: &NodeView) -> u64 {
    let mut mixed = look.range.descriptor.range_id.rotate_left(32) ^ node.node_id;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
