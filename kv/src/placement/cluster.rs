//! The nodes, with what is read off all of them together.

use super::NodeView;
use super::balance::Scale;

/// The cluster, as one node sees it. Made once for many decisions.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterView {
    /// By ID.
    nodes: Vec<NodeView>,
    pub(super) copies: Scale,
    pub(super) leases: Scale,
}

impl ClusterView {
    /// The view of these nodes.
    pub fn new(mut nodes: Vec<NodeView>) -> Self {
        nodes.sort_by_key(|node| node.node_id);
        let (copies, leases) = (Scale::of_copies(&nodes), Scale::of_leases(&nodes));
        ClusterView { nodes, copies, leases }
    }

    /// All of them, by ID.
    pub fn nodes(&self) -> &[NodeView] {
        &self.nodes
    }

    /// One of them, if it is known.
    pub fn node(&self, node_id: u64) -> Option<&NodeView> {
        let place = self.nodes.binary_search_by_key(&node_id, |node| node.node_id).ok()?;
        Some(&self.nodes[place])
    }
}
