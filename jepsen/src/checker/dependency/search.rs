//! The search for cycles, the worst kind first.
//!
//! ```text
//!   whole graph ─▶ strongly connected components ─▶ in each, for each kind of cycle:
//!       components over the edges that the kind allows ─▶ breadth first from one end of an edge to the other ─▶ the shortest
//!
//!   G0  ww…      G1c  ww|wr…      G-single  one rw      G-nonadjacent  rw never twice in a row      G2-item  any
//!   and each again with the edges of processes, and with those of real time
//! ```
//!
//! A graph without a cycle costs one pass. A kind that follows from one that was found in the same component is not looked for: a
//! G-single is a G-nonadjacent and a G2-item, and each of them is one in real time too. So a cycle that is searched for has what makes
//! its kind: if there is no G0, a cycle of ww and wr has a wr.
//!
//! The sets of edges decide whether a cycle exists; only for G-single, which must have exactly one rw, a path is searched from each rw,
//! within what lies between its ends in an order of the rest. That is bounded, and who runs out of bounds says so.
//!
//! Sources: Adya, "Weak consistency" (1999); Kingsbury and Alvaro, "Elle" (2020).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};

use super::graph::{ALONE, Edges, Graph, PROCESS, REALTIME, RW, WR, WW, components};

/// One step of a cycle: from a node along an edge, to where the next step begins; the last step leads to the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub from: u32,
    pub edge: Edges,
}

/// What the search brought.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Cycles by the nodes of the graph.
    pub cycles: Vec<Vec<Step>>,
    /// What was not searched to the end.
    pub given_up: Vec<String>,
}

/// So many edges are followed in search of one kind of cycle in one component.
const EDGES_MAX: u64 = 20_000_000;
/// So many starts are tried for a shorter cycle, once one is known.
const STARTS_MAX: usize = 512;

/// Finds cycles of each kind that is not implied by another, one in each component.
pub(super) fn find(graph: &Graph) -> Found {
    let mut found = Found::default();
    let all: Vec<u32> = (0..graph.len() as u32).collect();
    let (mut knots, _) = components(graph.len(), &all, |node| graph.from(node).iter().map(|(to, _)| *to));
    for knot in &mut knots {
        knot.sort_unstable();
    }
    knots.sort_by_key(|knot| knot[0]);
    for knot in knots {
        let mut part = Part::new(graph.between(&knot));
        let first = found.cycles.len();
        part.find_all(&mut found);
        for step in found.cycles[first..].iter_mut().flatten() {
            step.from = knot[step.from as usize];
        }
    }
    found
}

/// The name of a cycle's kind.
pub(super) fn classify(cycle: &[Step]) -> String {
    let has = |edge: Edges| cycle.iter().any(|step| step.edge == edge);
    let rws = cycle.iter().filter(|step| step.edge == RW).count();
    let next = |place: usize| cycle[(place + 1) % cycle.len()].edge;
    let adjacent = (0..cycle.len()).any(|place| cycle[place].edge == RW && next(place) == RW);
    let base = match rws {
        0 if has(WR) => "G1c",
        0 => "G0",
        1 => "G-single",
        _ if adjacent => "G2-item",
        _ => "G-nonadjacent",
    };
    let suffix = match (has(REALTIME), has(PROCESS)) {
        (true, _) => "-realtime",
        (false, true) => "-process",
        _ => "",
    };
    format!("{base}{suffix}")
}

/// Which bases were found already.
#[derive(Default)]
struct Known {
    g0: bool,
    g1c: bool,
    single: bool,
    nonadjacent: bool,
    item: bool,
}

/// One component, with what its searches share.
struct Part {
    graph: Graph,
    /// By state: in which search it was last reached, and from where.
    reached: Vec<u32>,
    parents: Vec<(u32, Edges)>,
    search: u32,
    edges_left: u64,
}

impl Part {
    fn new(graph: Graph) -> Self {
        // Twice, for the states of `nonadjacent`.
        let states = graph.len() * 2;
        Part { graph, reached: vec![0; states], parents: vec![(0, WW); states], search: 0, edges_left: 0 }
    }

    fn find_all(&mut self, found: &mut Found) {
        let mut known = Known::default();
        for (extra, suffix) in [(Edges::default(), ""), (PROCESS, "-process"), (REALTIME, "-realtime")] {
            let plain = WW.and(extra);
            let read = plain.and(WR);
            if !known.g0 {
                known.g0 = self.keep(found, "G0", suffix, |part| part.plain(plain));
            }
            if !known.g0 && !known.g1c {
                known.g1c = self.keep(found, "G1c", suffix, |part| part.plain(read));
            }
            if !known.single {
                known.single = self.keep(found, "G-single", suffix, |part| part.single(read));
            }
            if !known.single && !known.nonadjacent {
                known.nonadjacent = self.keep(found, "G-nonadjacent", suffix, |part| part.nonadjacent(read));
            }
            if !known.single && !known.nonadjacent && !known.item {
                known.item = self.keep(found, "G2-item", suffix, |part| part.item(read));
            }
        }
    }

    fn keep(
        &mut self,
        found: &mut Found,
        kind: &str,
        suffix: &str,
        search: impl FnOnce(&mut Part) -> Option<Vec<Step>>,
    ) -> bool {
        self.edges_left = EDGES_MAX;
        let cycle = search(self);
        if cycle.is_none() && self.edges_left == 0 {
            found.given_up.push(format!(
                "the search for {kind}{suffix} among {} entangled transactions was given up after {EDGES_MAX} steps",
                self.graph.len()
            ));
        }
        let is_found = cycle.is_some();
        found.cycles.extend(cycle.map(simplify));
        is_found
    }

    /// Any cycle over these edges.
    fn plain(&mut self, allowed: Edges) -> Option<Vec<Step>> {
        let (found, component) = self.components(allowed);
        let smallest = found.iter().min_by_key(|members| members.len())?;
        let mut best: Option<Vec<Step>> = None;
        for node in smallest.iter().copied().take(STARTS_MAX) {
            let next =
                |part: &Part, at: u32| part.steps(at, allowed, |to| component[to as usize] == component[at as usize]);
            let path = self.path(node, node, best.as_ref().map_or(usize::MAX, Vec::len), next);
            best = path.or(best);
            if best.as_ref().is_some_and(|best| best.len() == 2) {
                break;
            }
        }
        best
    }

    /// A cycle with one anti-dependency, and otherwise of these edges.
    fn single(&mut self, rest: Edges) -> Option<Vec<Step>> {
        let (_, component) = self.components(rest.and(RW));
        let order = self.order(rest);
        let mut starts = self.anti_dependencies(rest, |from, to| {
            component[from as usize] != ALONE
                && component[from as usize] == component[to as usize]
                && order[to as usize] <= order[from as usize]
        });
        // The nearer the ends, the shorter the way, as a rule.
        starts.sort_by_key(|(from, to)| order[*from as usize] - order[*to as usize]);
        let mut best: Option<Vec<Step>> = None;
        let mut after_best = 0;
        for (from, to) in starts {
            let next = |part: &Part, at: u32| part.steps(at, rest, |to| order[to as usize] <= order[from as usize]);
            let longest = best.as_ref().map_or(usize::MAX, |best| best.len() - 1);
            if let Some(mut path) = self.path(to, from, longest, next) {
                path.insert(0, Step { from, edge: RW });
                best = Some(path);
            }
            after_best += usize::from(best.is_some());
            if self.edges_left == 0 || after_best > STARTS_MAX || best.as_ref().is_some_and(|best| best.len() == 2) {
                break;
            }
        }
        best
    }

    /// A cycle with anti-dependencies, no two of them in a row, and otherwise of these edges.
    ///
    /// A state is a node with whether an anti-dependency led to it, which forbids another.
    fn nonadjacent(&mut self, rest: Edges) -> Option<Vec<Step>> {
        let nodes = self.graph.len() as u32;
        let after_rw = |node: u32| node + nodes;
        let moves = |part: &Part, state: u32| -> Vec<(u32, Edges)> {
            let (node, may_rw) = if state < nodes { (state, true) } else { (state - nodes, false) };
            let to = |(to, edges): &(u32, Edges)| {
                let other = edges.common(rest);
                match (other.is_empty(), may_rw && edges.has(RW)) {
                    (false, _) => Some((*to, other.strongest())),
                    (true, true) => Some((after_rw(*to), RW)),
                    (true, false) => None,
                }
            };
            part.graph.from(node).iter().filter_map(to).collect()
        };
        let all: Vec<u32> = (0..2 * nodes).collect();
        let part = &*self;
        let (_, component) =
            components(2 * nodes as usize, &all, |state| moves(part, state).into_iter().map(|(to, _)| to));
        let starts = self.anti_dependencies(rest, |from, to| {
            component[from as usize] != ALONE && component[from as usize] == component[after_rw(to) as usize]
        });
        self.shortest_through(&starts, after_rw, |part, at| {
            let mut moves = moves(part, at);
            moves.retain(|(to, _)| component[*to as usize] == component[at as usize]);
            moves
        })
    }

    /// A cycle with anti-dependencies, and otherwise of these edges.
    fn item(&mut self, rest: Edges) -> Option<Vec<Step>> {
        let allowed = rest.and(RW);
        let (_, component) = self.components(allowed);
        let is_inside = |from: u32, to: u32| {
            component[from as usize] != ALONE && component[from as usize] == component[to as usize]
        };
        let starts = self.anti_dependencies(rest, is_inside);
        self.shortest_through(&starts, |node| node, |part, at| part.steps(at, allowed, |to| is_inside(at, to)))
    }

    /// The shortest cycle through one of these anti-dependencies, of those that are tried.
    fn shortest_through(
        &mut self,
        starts: &[(u32, u32)],
        enter: impl Fn(u32) -> u32,
        next: impl Fn(&Part, u32) -> Vec<(u32, Edges)>,
    ) -> Option<Vec<Step>> {
        let mut best: Option<Vec<Step>> = None;
        for (from, to) in starts.iter().take(STARTS_MAX) {
            let longest = best.as_ref().map_or(usize::MAX, |best| best.len() - 1);
            if let Some(mut path) = self.path(enter(*to), *from, longest, &next) {
                path.insert(0, Step { from: *from, edge: RW });
                path.iter_mut().for_each(|step| step.from %= self.graph.len() as u32);
                best = Some(path);
            }
        }
        best
    }

    /// Edges that are anti-dependencies and nothing of the rest, between ends that `wanted` wants.
    fn anti_dependencies(&self, rest: Edges, wanted: impl Fn(u32, u32) -> bool) -> Vec<(u32, u32)> {
        let from = |from: u32| self.graph.from(from).iter().map(move |(to, edges)| (from, *to, *edges));
        let all = (0..self.graph.len() as u32).flat_map(from);
        let pure = all.filter(|(_, _, edges)| edges.has(RW) && !edges.has(rest));
        pure.map(|(from, to, _)| (from, to)).filter(|(from, to)| wanted(*from, *to)).collect()
    }

    fn steps(&self, at: u32, allowed: Edges, wanted: impl Fn(u32) -> bool) -> Vec<(u32, Edges)> {
        let to = |(to, edges): &(u32, Edges)| {
            let edges = edges.common(allowed);
            (!edges.is_empty() && wanted(*to)).then(|| (*to, edges.strongest()))
        };
        self.graph.from(at).iter().filter_map(to).collect()
    }

    fn components(&self, allowed: Edges) -> (Vec<Vec<u32>>, Vec<u32>) {
        let all: Vec<u32> = (0..self.graph.len() as u32).collect();
        let next = |node| self.graph.from(node).iter().filter(|(_, edges)| edges.has(allowed)).map(|(to, _)| *to);
        components(self.graph.len(), &all, next)
    }

    /// For each node a place in an order that these edges never lead back in, as close to the order of nodes as can be. Those of a
    /// component share a place.
    fn order(&self, allowed: Edges) -> Vec<u32> {
        let nodes = self.graph.len() as u32;
        let (members, component) = self.components(allowed);
        // A group is a component, named after its first member, or a node by itself.
        let group = |node: u32| match component[node as usize] {
            ALONE => node,
            number => members[number as usize][0],
        };
        let edges =
            || (0..nodes).flat_map(|from| self.steps(from, allowed, |_| true).into_iter().map(move |to| (from, to.0)));
        let mut incoming = vec![0u32; nodes as usize];
        edges().filter(|(from, to)| group(*from) != group(*to)).for_each(|(_, to)| incoming[group(to) as usize] += 1);
        let begin = (0..nodes).filter(|node| group(*node) == *node && incoming[*node as usize] == 0);
        let mut ready: BinaryHeap<Reverse<u32>> = begin.map(Reverse).collect();
        let mut places = vec![0; nodes as usize];
        let mut place = 0;
        while let Some(Reverse(next)) = ready.pop() {
            let alone = [next];
            let all: &[u32] = match component[next as usize] {
                ALONE => &alone,
                number => &members[number as usize],
            };
            for node in all {
                places[*node as usize] = place;
                for (to, _) in self.steps(*node, allowed, |to| group(to) != next) {
                    let to = group(to);
                    incoming[to as usize] -= 1;
                    if incoming[to as usize] == 0 {
                        ready.push(Reverse(to));
                    }
                }
            }
            place += 1;
        }
        places
    }

    /// The shortest way between two states, of at least one step and fewer than `longer` ones.
    fn path(
        &mut self,
        from: u32,
        to: u32,
        longer: usize,
        next: impl Fn(&Part, u32) -> Vec<(u32, Edges)>,
    ) -> Option<Vec<Step>> {
        self.search += 1;
        let mut queue = VecDeque::from([(from, 1)]);
        while let Some((at, length)) = queue.pop_front() {
            if length >= longer || self.edges_left == 0 {
                return None;
            }
            for (state, edge) in next(self, at) {
                self.edges_left = self.edges_left.saturating_sub(1);
                if state == to {
                    return Some(self.unwind(from, Step { from: at, edge }));
                }
                if self.reached[state as usize] != self.search && state != from {
                    self.reached[state as usize] = self.search;
                    self.parents[state as usize] = (at, edge);
                    queue.push_back((state, length + 1));
                }
            }
        }
        None
    }

    fn unwind(&self, from: u32, last: Step) -> Vec<Step> {
        let mut steps = vec![last];
        let mut at = last.from;
        while at != from {
            let (parent, edge) = self.parents[at as usize];
            steps.push(Step { from: parent, edge });
            at = parent;
        }
        steps.reverse();
        steps
    }
}

/// A walk that comes by a node twice is cut down to a cycle that does not.
fn simplify(walk: Vec<Step>) -> Vec<Step> {
    for (end, step) in walk.iter().enumerate() {
        if let Some(begin) = walk[..end].iter().position(|before| before.from == step.from) {
            return simplify(walk[begin..end].to_vec());
        }
    }
    debug_assert_eq!(walk.iter().map(|step| step.from).collect::<HashSet<_>>().len(), walk.len());
    walk
}
