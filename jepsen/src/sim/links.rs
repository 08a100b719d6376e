//! How the links between simulated nodes are, at each moment: what the run drew for them, and what is wrong with them now.

use std::collections::BTreeMap;
use std::time::Duration;

use clock::Random;
use raft_groups::network::LinkFaults;
use raft_groups::{NodeId, SimNetwork};

/// One thing that is wrong with links; nodes by their number from 0.
#[derive(Clone, Debug, PartialEq)]
pub enum LinkFault {
    /// Nothing passes from one to the other, in this direction.
    Cut {
        /// The sender.
        from: usize,
        /// The receiver.
        to: usize,
    },
    /// Messages from one to the other take so much longer, at least and at most: they overtake each other.
    Slow {
        /// The sender.
        from: usize,
        /// The receiver.
        to: usize,
        /// What is added to the shortest and to the longest time.
        by: (Duration, Duration),
    },
    /// A part of all messages is lost.
    Loss(f64),
    /// A part of all requests arrives twice.
    Duplication(f64),
}

/// The links of a cluster.
#[derive(Clone, Debug)]
pub struct Links {
    random: Random,
    /// By direction: how long messages take when nothing is wrong.
    usual: BTreeMap<(usize, usize), (Duration, Duration)>,
    /// What is wrong, by who caused it.
    faults: BTreeMap<usize, Vec<LinkFault>>,
    /// Base delay of the run.
    near: Duration,
    /// A node that is far from all others, and by how much longer messages take.
    far: Option<(usize, Duration)>,
}

impl Links {
    /// Links whose delays are drawn: nodes in one place, but for the one that is `far`.
    pub fn drawn(random: &Random, far: Option<(usize, Duration)>) -> Links {
        let near = Duration::from_micros(random.range(200, 5_000));
        Links { random: random.clone(), usual: BTreeMap::new(), faults: BTreeMap::new(), near, far }
    }

    /// Something is wrong from now on.
    pub fn begin(&mut self, cause: usize, faults: Vec<LinkFault>) {
        self.faults.insert(cause, faults);
    }

    /// It is over.
    pub fn end(&mut self, cause: usize) {
        self.faults.remove(&cause);
    }

    /// Nothing is wrong any more.
    pub fn heal(&mut self) {
        self.faults.clear();
    }

    fn usual(&mut self, from: usize, to: usize) -> (Duration, Duration) {
        // The same both ways; drawn from the pair alone, so that the order of asking does not matter.
        let pair = (from.min(to), from.max(to));
        let (random, near) = (&self.random, self.near);
        let way = self
            .far
            .map_or(Duration::ZERO, |(node, way)| if [from, to].contains(&node) { way } else { Duration::ZERO });
        *self.usual.entry(pair).or_insert_with(|| {
            let random = random.fork(&format!("{} to {}", pair.0, pair.1));
            let least = near.mul_f64(1.0 + random.range(0, 100) as f64 / 50.0);
            (way + least, way + least.mul_f64(1.0 + random.range(1, 100) as f64 / 50.0))
        })
    }

    /// Makes it so.
    pub fn apply(&mut self, network: &SimNetwork, ids: &[Option<NodeId>]) {
        let (delay_min, delay_max) = (self.near, self.near * 2);
        network.heal();
        network.set_usual(LinkFaults { delay_min, delay_max, ..LinkFaults::default() });
        for (from, from_id) in ids.iter().enumerate() {
            for (to, to_id) in ids.iter().enumerate() {
                let (Some(from_id), Some(to_id)) = (from_id, to_id) else { continue };
                if from != to {
                    let faults = self.of(from, to);
                    network.set_link(*from_id, *to_id, faults);
                }
            }
        }
    }

    fn of(&mut self, from: usize, to: usize) -> LinkFaults {
        let (delay_min, delay_max) = self.usual(from, to);
        let mut link = LinkFaults { delay_min, delay_max, ..LinkFaults::default() };
        for fault in self.faults.values().flatten() {
            match fault {
                LinkFault::Cut { from: sender, to: receiver } if (*sender, *receiver) == (from, to) => {
                    link.is_cut = true;
                }
                LinkFault::Slow { from: sender, to: receiver, by } if (*sender, *receiver) == (from, to) => {
                    link.delay_min += by.0;
                    link.delay_max += by.1;
                }
                LinkFault::Loss(part) => link.loss = link.loss.max(*part),
                LinkFault::Duplication(part) => link.duplication = link.duplication.max(*part),
                LinkFault::Cut { .. } | LinkFault::Slow { .. } => {}
            }
        }
        link
    }
}
