//! A graph of transactions: who must come before whom, and why.

use std::collections::HashMap;

/// Why one transaction comes before another, as a set of reasons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Edges(u8);

/// One overwrote what the other had written.
pub(super) const WW: Edges = Edges(1);
/// One read what the other had written.
pub(super) const WR: Edges = Edges(2);
/// One overwrote what the other had read.
pub(super) const RW: Edges = Edges(4);
/// A process did one after the other.
pub(super) const PROCESS: Edges = Edges(8);
/// One was acknowledged before the other was asked for.
pub(super) const REALTIME: Edges = Edges(16);

impl Edges {
    pub const fn and(self, other: Edges) -> Edges {
        Edges(self.0 | other.0)
    }

    pub const fn common(self, other: Edges) -> Edges {
        Edges(self.0 & other.0)
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub const fn has(self, other: Edges) -> bool {
        self.0 & other.0 != 0
    }

    /// The one that a witness is drawn with: a dependency if there is one, and an anti-dependency last of all, since the fewer of them
    /// a cycle has, the worse it is.
    pub fn strongest(self) -> Edges {
        [WW, WR, PROCESS, REALTIME, RW].into_iter().find(|one| self.has(*one)).unwrap_or_default()
    }

    /// How the literature writes it.
    pub fn name(self) -> &'static str {
        match self.strongest() {
            WW => "ww",
            WR => "wr",
            RW => "rw",
            PROCESS => "process",
            _ => "realtime",
        }
    }
}

/// A directed graph whose edges have reasons. Nodes are numbers from 0.
#[derive(Debug, Default)]
pub(super) struct Graph {
    out: Vec<Vec<(u32, Edges)>>,
}

impl Graph {
    /// A graph without edges.
    pub fn new(nodes: usize) -> Self {
        Graph { out: vec![Vec::new(); nodes] }
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Adds an edge; none from a node to itself.
    pub fn add(&mut self, from: u32, to: u32, edges: Edges) {
        if from != to {
            self.out[from as usize].push((to, edges));
        }
    }

    /// Makes one edge of those between the same nodes. To be called once all are added.
    pub fn merge(&mut self) {
        for out in &mut self.out {
            out.sort_unstable();
            out.dedup_by(|next, kept| {
                let same = next.0 == kept.0;
                if same {
                    kept.1 = kept.1.and(next.1);
                }
                same
            });
        }
    }

    /// The part of the graph between some nodes, which are numbered by their place.
    pub fn between(&self, nodes: &[u32]) -> Graph {
        let places: HashMap<u32, u32> = nodes.iter().enumerate().map(|(place, node)| (*node, place as u32)).collect();
        let within = |node: &u32| {
            let edges = self.from(*node).iter();
            edges.filter_map(|(to, edges)| places.get(to).map(|place| (*place, *edges))).collect()
        };
        Graph { out: nodes.iter().map(within).collect() }
    }

    /// Where one gets from a node.
    pub fn from(&self, node: u32) -> &[(u32, Edges)] {
        &self.out[node as usize]
    }
}

/// A node that is in no component.
pub(super) const ALONE: u32 = u32::MAX;

/// The strongly connected components of more than one node among some nodes, over the edges that `follow` lets through; and for each
/// node the number of its component, or [`ALONE`]. `next` gives the successors of a node.
///
/// Source: Tarjan, "Depth-first search and linear graph algorithms" (1972), without recursion.
pub(super) fn components<I>(nodes: usize, among: &[u32], next: impl Fn(u32) -> I) -> (Vec<Vec<u32>>, Vec<u32>)
where
    I: Iterator<Item = u32>,
{
    const UNSEEN: u32 = u32::MAX;
    let mut order = vec![UNSEEN; nodes];
    let mut low = vec![0u32; nodes];
    let mut on_stack = vec![false; nodes];
    let mut component = vec![ALONE; nodes];
    let (mut stack, mut found, mut counter) = (Vec::new(), Vec::new(), 0);
    for root in among.iter().copied() {
        if order[root as usize] != UNSEEN {
            continue;
        }
        let mut calls = vec![];
        let mut enter = Some(root);
        loop {
            if let Some(node) = enter.take() {
                (order[node as usize], low[node as usize]) = (counter, counter);
                counter += 1;
                stack.push(node);
                on_stack[node as usize] = true;
                calls.push((node, next(node)));
            }
            let Some((node, successors)) = calls.last_mut() else { break };
            let at = *node as usize;
            if let Some(to) = successors.next() {
                if order[to as usize] == UNSEEN {
                    enter = Some(to);
                } else if on_stack[to as usize] {
                    low[at] = low[at].min(order[to as usize]);
                }
                continue;
            }
            calls.pop();
            if let Some((parent, _)) = calls.last() {
                low[*parent as usize] = low[*parent as usize].min(low[at]);
            }
            if low[at] != order[at] {
                continue;
            }
            let start = stack.iter().rposition(|node| *node as usize == at).expect("a node is on the stack until here");
            let members = stack.split_off(start);
            members.iter().for_each(|member| on_stack[*member as usize] = false);
            if members.len() > 1 {
                members.iter().for_each(|member| component[*member as usize] = found.len() as u32);
                found.push(members);
            }
        }
    }
    (found, component)
}
