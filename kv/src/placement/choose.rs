//! Which nodes should get a copy: far apart first, then those with few copies, then by ID.

use super::{NodeHealth, NodeView, RangeView};

/// The nodes that could take a copy.
pub(super) fn candidates<'n>(range: &RangeView, nodes: &'n [NodeView]) -> Vec<&'n NodeView> {
    nodes
        .iter()
        .filter(|node| node.health == NodeHealth::Live && !node.disk_full)
        .filter(|node| range.descriptor.replicas.iter().all(|replica| replica.node_id != node.node_id))
        .collect()
}

/// The best `count` of the candidates, fewer if there are no more. Each choice keeps its distance from the ones before.
pub(super) fn best(range: &RangeView, nodes: &[NodeView], candidates: Vec<&NodeView>, count: usize) -> Vec<u64> {
    let mut taken: Vec<&NodeView> = nodes
        .iter()
        .filter(|node| range.descriptor.replicas.iter().any(|replica| replica.node_id == node.node_id))
        .filter(|node| node.health != NodeHealth::Dead)
        .collect();
    let mut left = candidates;
    let mut chosen = Vec::new();
    while chosen.len() < count {
        let score = |node: &NodeView| {
            let shared: usize = taken.iter().map(|other| node.locality.common_tiers(&other.locality)).sum();
            (shared, node.replicas, node.node_id)
        };
        let Some(index) = (0..left.len()).min_by_key(|index| score(left[*index])) else { break };
        let node = left.swap_remove(index);
        taken.push(node);
        chosen.push(node.node_id);
    }
    chosen.sort_unstable();
    chosen
}
