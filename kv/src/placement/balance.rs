//! How evenly nodes are loaded, and whether a move makes that more even.
//!
//! A node carries two things that count: copies and their bytes, or leases and the requests that come with them. Both are taken in parts of
//! their mean over the nodes, the second with a floor below which nobody minds. What moves is `x`, from `s` to `t`:
//!
//! ```text
//!   worth = Σ x (s − t − x) / Σ x       over both: the difference that is left, weighted by what moves
//! ```
//!
//! Invariant: `moves_end` (as long as the load stays the same, moves come to an end in whatever order they are made: each takes
//! `2 Σ x · worth` off the sum of the nodes' squared loads, and no move is worth less than [`WORTH_MIN`]; but a copy that moves for its
//! lease may cost something in copies, less than it is worth in leases).

use super::{NodeView, choose};

/// A move that is worth less is not made: nodes differ by so much of the mean for good, as the price of rest.
pub(super) const WORTH_MIN: f64 = 0.05;

/// Differences in bytes count in full once nodes hold much more than this on the average.
const BYTES_FLOOR: f64 = (256u64 << 20) as f64;

/// Differences in requests a second count in full once leaseholders serve many more than this on the average.
const REQUESTS_FLOOR: f64 = 200.0;

/// Two things that are carried: their numbers and what they weigh.
pub(super) type Load = [f64; 2];

/// The mean load of the nodes that take copies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    mean: Load,
    /// What loads are divided by.
    unit: Load,
}

/// The copies a node has, and their bytes.
pub(super) fn copies_on(node: &NodeView) -> Load {
    [node.replicas as f64, node.bytes as f64]
}

/// The leases a node holds, and the requests a second that it serves under them.
pub(super) fn leases_on(node: &NodeView) -> Load {
    [node.leases as f64, node.requests as f64]
}

impl Scale {
    /// Of copies.
    pub fn of_copies(nodes: &[NodeView]) -> Self {
        Self::of(nodes, copies_on, BYTES_FLOOR)
    }

    /// Of leases.
    pub fn of_leases(nodes: &[NodeView]) -> Self {
        Self::of(nodes, leases_on, REQUESTS_FLOOR)
    }

    fn of(nodes: &[NodeView], load: fn(&NodeView) -> Load, floor: f64) -> Self {
        // What is on nodes that are to be emptied comes to the others.
        let (mut sum, mut takers) = ([0.0; 2], 0.0);
        for node in nodes {
            let of_node = load(node);
            sum = [sum[0] + of_node[0], sum[1] + of_node[1]];
            takers += f64::from(u8::from(choose::takes_copies(node)));
        }
        let mean = sum.map(|sum| sum / f64::max(takers, 1.0));
        Scale { mean, unit: [mean[0].max(1.0), mean[1] + floor] }
    }

    /// What a move of `moved` is worth; see the module.
    pub fn worth(&self, from: Load, to: Load, moved: Load) -> f64 {
        self.weighted(moved, |what| from[what] - to[what] - moved[what])
    }

    /// How loaded a node is, for somebody who adds `moved` to it: 1 for the mean.
    pub fn level(&self, of_node: Load, moved: Load) -> f64 {
        self.weighted(moved, |what| of_node[what])
    }

    fn weighted(&self, moved: Load, of: impl Fn(usize) -> f64) -> f64 {
        let (mut sum, mut weights) = (0.0, 0.0);
        for (what, (moved, unit)) in moved.iter().zip(self.unit).enumerate() {
            let weight = moved / unit;
            sum += weight * of(what) / unit;
            weights += weight;
        }
        if weights > 0.0 { sum / weights } else { 0.0 }
    }

    /// Whether a node carries more than the mean of either, and so much more than another that a move there may be worth something. Did
    /// those give as well that carry no more than the mean, they would soon lack something themselves.
    pub fn may_give(&self, giver: Load, taker: Load) -> bool {
        (0..2).any(|what| giver[what] > self.mean[what] && giver[what] - taker[what] > WORTH_MIN * self.unit[what])
    }

    /// How many of an average size a node lacks.
    pub fn lack(&self, of_node: Load) -> u64 {
        let lacking = |what: usize| (self.mean[what] - of_node[what]) / self.unit[what];
        // A hair less: what should be whole may not be quite.
        (lacking(0).max(lacking(1)) * self.mean[0] - 1e-9).max(0.0).ceil() as u64
    }

    /// How many a node has on the average.
    pub fn mean_number(&self) -> f64 {
        self.mean[0]
    }
}
