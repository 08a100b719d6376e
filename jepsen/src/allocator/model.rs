//! The cluster that is decided about: nodes and ranges as numbers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use clock::Random;
use kv::descriptor::{RangeDescriptor, ReplicaDescriptor, ReplicaRole};
use kv::liveness::Locality;
use kv::placement::{self, Action, ClusterView, NodeHealth, NodeView, Openings, Origin, RangeLoad, RangeView, Shares};

use super::Start;

const REGIONS: usize = 4;
const ZONES: usize = 3;
const COPIES: usize = 3;
const MIB: u64 = 1 << 20;

/// What a node sends, and receives, a second.
const BYTES_A_SECOND: u64 = 256 * MIB;

/// How long a leader's share of moves lasts, and what of it passes before moves, in seconds: as in a node.
const PERIOD: u64 = 5;
const SETTLE: u64 = 2;

/// A node silent for longer is suspect, or taken for dead, in seconds: the product's settings.
const SUSPECT_AFTER: u64 = 4;
const DEAD_AFTER: u64 = 300;

/// It is at rest when nothing has moved for so many periods a node: each has had its turn to give something to each other.
const REST_PERIODS: u64 = 1;

/// It must be by then, in seconds.
const BOUND: u64 = 4 * 3_600;

/// How large a cluster is, and what its numbers follow from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub nodes: usize,
    pub ranges: usize,
    pub seed: u64,
}

/// What the nodes that live carry at one moment: the least, the mean and the most.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Spread {
    pub least: f64,
    pub mean: f64,
    pub most: f64,
}

impl Spread {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let (mut least, mut most, mut sum, mut count) = (f64::MAX, 0.0f64, 0.0, 0.0);
        for value in values {
            (least, most, sum, count) = (least.min(value), most.max(value), sum + value, count + 1.0);
        }
        Spread { least, mean: sum / f64::max(count, 1.0), most }
    }

    /// How far the node that is furthest from the mean is, as a part of the mean.
    pub fn deviation(&self) -> f64 {
        (self.most - self.mean).max(self.mean - self.least) / self.mean.max(f64::MIN_POSITIVE)
    }
}

/// What was read off the cluster at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    pub at: u64,
    pub copies: Spread,
    pub bytes: Spread,
    pub leases: Spread,
    pub requests: Spread,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    pub samples: Vec<Sample>,
    /// Copies that were made, and leases transferred.
    pub copied: u64,
    pub transferred: u64,
    /// How few copies would have been enough for nodes to have as many.
    pub needed: u64,
    /// Ranges all of whose copies are in one region, or two of them, at the beginning and in the end.
    pub close: (usize, usize),
    /// When nothing moved any more, in seconds; `None` when it was not reached.
    pub rested: Option<u64>,
    /// Ranges without their full number of live voters in the end.
    pub short: usize,
}

/// One range: as its leader sees it, and what is on its way.
struct Range {
    view: RangeView,
    /// The place of the node that leads it.
    leader: usize,
    requests: f64,
    /// When a snapshot to a learner is there, by replica.
    arrivals: BTreeMap<u64, u64>,
}

struct Node {
    locality: Locality,
    died: Option<u64>,
    shares: (u64, Shares),
    /// What is open by them.
    openings: Arc<Openings>,
    /// Until when its disk and network are busy with snapshots, in milliseconds.
    sends_until: u64,
    receives_until: u64,
}

/// A cluster of numbers.
pub(super) struct Model {
    nodes: Vec<Node>,
    ranges: Vec<Range>,
    random: Random,
    now: u64,
    views: [Rc<ClusterView>; 2],
    outcome: Outcome,
}

impl Model {
    pub fn new(shape: Shape, start: Start) -> Self {
        let random = Random::from_seed(shape.seed);
        let node = |index: usize| Node {
            locality: locality(index % REGIONS, index / REGIONS % ZONES),
            died: None,
            shares: (u64::MAX, Shares::default()),
            openings: Arc::default(),
            sends_until: 0,
            receives_until: 0,
        };
        let nodes: Vec<Node> = (0..shape.nodes).map(node).collect();
        let empty = Rc::new(ClusterView::new(Vec::new()));
        let views = [empty.clone(), empty];
        let mut model = Model { nodes, ranges: Vec::new(), random, now: 0, views, outcome: Outcome::default() };
        for index in 0..shape.ranges {
            let holders = model.holders(start, index);
            let range = model.range(index as u64 + 1, &holders);
            model.ranges.push(range);
        }
        if start == Start::Lost {
            for index in (0..shape.nodes).step_by(10) {
                model.nodes[index].died = Some(30);
            }
        }
        model
    }

    /// Where a range's copies are at the beginning.
    fn holders(&self, start: Start, index: usize) -> Vec<usize> {
        let count = self.nodes.len();
        match start {
            Start::Empty => vec![0, 1, 2],
            Start::Region => {
                let per_region = count.div_ceil(REGIONS);
                let of_region = |place: usize| (index * 7 + place * 5) % per_region * REGIONS;
                let mut places: Vec<usize> = (0..).map(of_region).take(per_region * 8).collect();
                let mut seen = BTreeSet::new();
                places.retain(|place| *place < count && seen.insert(*place));
                places.truncate(COPIES);
                places
            }
            // One region after the other, so that no two of a range's copies are in the same one.
            Start::Lost => (0..COPIES).map(|copy| (index * COPIES + copy) % count).collect(),
        }
    }

    fn range(&self, range_id: u64, holders: &[usize]) -> Range {
        let replicas = (1..).zip(holders).map(|(replica_id, place)| ReplicaDescriptor {
            replica_id,
            node_id: *place as u64 + 1,
            role: ReplicaRole::Voter.into(),
            replaces: 0,
        });
        let descriptor = RangeDescriptor {
            range_id,
            replicas: replicas.collect(),
            next_replica_id: COPIES as u64 + 1,
            ..RangeDescriptor::default()
        };
        // From 4 to 60 MiB; most ranges serve little, some a thousand times as much.
        let bytes = self.random.range(4, 61) * MIB;
        let requests = 10f64.powf(3.0 * self.random.range(0, 1_000) as f64 / 1_000.0);
        // Half of the ranges are used from everywhere, half mostly from one region; from all zones alike.
        let parts: Vec<(usize, f64)> = if self.random.chance(0.5) {
            (0..REGIONS).map(|region| (region, 1.0 / REGIONS as f64)).collect()
        } else {
            let home = self.random.range(0, REGIONS as u64) as usize;
            vec![(home, 0.8), ((home + 1) % REGIONS, 0.2)]
        };
        let zones = |(region, part): (usize, f64)| {
            (0..ZONES).map(move |zone| Origin {
                node_id: 0,
                locality: locality(region, zone),
                part: part / ZONES as f64,
            })
        };
        let origins = parts.into_iter().flat_map(zones).collect();
        let view = RangeView {
            raft_voters: descriptor.replicas.iter().map(|replica| replica.replica_id).collect(),
            descriptor,
            raft_learners: BTreeSet::new(),
            is_joint: false,
            leader: 1,
            caught_up: BTreeSet::new(),
            stuck: BTreeSet::new(),
            avoided: BTreeSet::new(),
            target: COPIES,
            bytes,
            split_above_bytes: None,
            holds_lease: true,
            heirs: BTreeSet::new(),
            load: Some(RangeLoad { requests, origins }),
            openings: Arc::default(),
        };
        Range { view, leader: holders[0], requests, arrivals: BTreeMap::new() }
    }

    /// Lets the leaders decide until nothing moves any more.
    pub fn run(mut self) -> Outcome {
        self.outcome.needed = self.needed();
        self.outcome.close.0 = self.close();
        let mut last_move = 0;
        let lost = self.nodes.iter().filter_map(|node| node.died).max();
        let rest = REST_PERIODS * PERIOD * self.nodes.len() as u64;
        while self.now < BOUND {
            self.publish();
            if self.now.is_multiple_of(PERIOD) {
                self.sample();
            }
            self.replace_leaders();
            // Leaders look at their ranges in no order that goes on from one second to the next.
            let (count, first) = (self.ranges.len(), self.random.range(0, self.ranges.len() as u64) as usize);
            for index in (0..count).map(|index| (first + index) % count) {
                if self.step(index) {
                    last_move = self.now;
                }
            }
            self.now += 1;
            let begun = lost.map_or(0, |died| died + DEAD_AFTER);
            if self.now > last_move.max(begun) + rest {
                self.outcome.rested = Some(last_move);
                break;
            }
        }
        self.sample();
        self.outcome.close.1 = self.close();
        let is_short = |range: &&Range| {
            let live = range.view.descriptor.voters().filter(|replica| self.is_up(place_of(replica.node_id))).count();
            live < COPIES || !range.view.raft_learners.is_empty()
        };
        self.outcome.short = self.ranges.iter().filter(is_short).count();
        self.outcome
    }

    fn is_up(&self, place: usize) -> bool {
        self.nodes[place].died.is_none_or(|died| self.now < died)
    }

    /// What each node carries: copies, those of them on their way, bytes, leases and requests.
    fn carried(&self) -> Vec<NodeView> {
        let view = |(place, node): (usize, &Node)| {
            let silent = node.died.map_or(0, |died| self.now.saturating_sub(died));
            let health = match silent {
                0..=SUSPECT_AFTER => NodeHealth::Live,
                _ if silent <= DEAD_AFTER => NodeHealth::Suspect,
                _ => NodeHealth::Dead,
            };
            NodeView {
                node_id: place as u64 + 1,
                locality: node.locality.clone(),
                health,
                replicas: 0,
                receiving: 0,
                bytes: 0,
                leases: 0,
                requests: 0,
                disk_full: false,
                is_leaving: false,
            }
        };
        let mut carried: Vec<NodeView> = self.nodes.iter().enumerate().map(view).collect();
        for range in &self.ranges {
            for replica in &range.view.descriptor.replicas {
                let node = &mut carried[place_of(replica.node_id)];
                node.replicas += 1;
                node.bytes += range.view.bytes;
                node.receiving += u64::from(replica.role() == ReplicaRole::Learner);
            }
            let leader = &mut carried[range.leader];
            leader.leases += 1;
            leader.requests += range.requests as u64;
        }
        carried
    }

    fn publish(&mut self) {
        let view = Rc::new(ClusterView::new(self.carried()));
        self.views = [view, self.views[0].clone()];
    }

    fn sample(&mut self) {
        let carried = self.carried();
        let live: Vec<&NodeView> = carried.iter().filter(|node| self.is_up(place_of(node.node_id))).collect();
        let spread = |of: fn(&NodeView) -> u64| Spread::of(live.iter().map(|node| of(node) as f64));
        let sample = Sample {
            at: self.now,
            copies: spread(|node| node.replicas),
            bytes: spread(|node| node.bytes),
            leases: spread(|node| node.leases),
            requests: spread(|node| node.requests),
        };
        self.outcome.samples.push(sample);
    }

    /// How few copies have to be made: those of the nodes that are lost, and as many as the nodes that stay have fewer than the mean.
    fn needed(&self) -> u64 {
        let stays = |place: usize| self.nodes[place].died.is_none();
        let count = (0..self.nodes.len()).filter(|place| stays(*place)).count();
        let mean = (self.ranges.len() * COPIES) as f64 / count as f64;
        let carried = self.carried();
        let (here, lost): (Vec<_>, Vec<_>) = carried.iter().partition(|node| stays(place_of(node.node_id)));
        let lacking: u64 = here.iter().map(|node| (mean.floor() - node.replicas as f64).max(0.0) as u64).sum();
        lacking.max(lost.iter().map(|node| node.replicas).sum())
    }

    /// Ranges that have two copies in one region.
    fn close(&self) -> usize {
        let is_close = |range: &&Range| {
            let voters = range.view.descriptor.voters();
            let regions = voters.filter_map(|replica| self.nodes[place_of(replica.node_id)].locality.tier("region"));
            regions.collect::<BTreeSet<_>>().len() < COPIES
        };
        self.ranges.iter().filter(is_close).count()
    }

    /// A range whose leader died is led by another voter, if a quorum is there.
    fn replace_leaders(&mut self) {
        for index in 0..self.ranges.len() {
            if self.is_up(self.ranges[index].leader) {
                continue;
            }
            let view = &self.ranges[index].view;
            let live: Vec<&ReplicaDescriptor> =
                view.descriptor.voters().filter(|replica| self.is_up(place_of(replica.node_id))).collect();
            if live.len() * 2 > COPIES {
                let heir = live[self.random.range(0, live.len() as u64) as usize];
                let (replica, place) = (heir.replica_id, place_of(heir.node_id));
                self.ranges[index].lead(replica, place);
            }
        }
    }

    /// One look of a range's leader, and what comes of it. Returns whether something moved.
    fn step(&mut self, index: usize) -> bool {
        let leader = self.ranges[index].leader;
        if !self.is_up(leader) {
            return false;
        }
        let cluster = self.views[(leader + self.now as usize) % 2].clone();
        let openings = self.openings(leader, &cluster);
        let now = self.now;
        let voters = self.ranges[index].view.descriptor.voters();
        let heirs =
            voters.filter(|replica| place_of(replica.node_id) != leader && self.is_up(place_of(replica.node_id)));
        let heirs = heirs.map(|replica| replica.replica_id).collect();
        let range = &mut self.ranges[index];
        range.view.heirs = heirs;
        range.view.openings = openings;
        if !range.arrivals.is_empty() && range.arrivals.values().all(|at| *at > now * 1_000) {
            // It waits, whatever else there is.
            return false;
        }
        let here: Vec<u64> = range.arrivals.iter().filter(|(_, at)| **at <= now * 1_000).map(|(id, _)| *id).collect();
        for replica in here {
            range.arrivals.remove(&replica);
            range.view.caught_up.insert(replica);
        }
        let action = placement::decide(&range.view, &cluster).action;
        self.carry_out(index, action)
    }

    fn openings(&mut self, leader: usize, cluster: &ClusterView) -> Arc<Openings> {
        if self.now % PERIOD < SETTLE {
            return Arc::default();
        }
        let (period, node) = (self.now / PERIOD, &mut self.nodes[leader]);
        if node.shares.0 != period {
            node.shares = (period, Shares::of(cluster, leader as u64 + 1, period));
            node.openings = Arc::new(node.shares.1.openings());
        }
        node.openings.clone()
    }

    fn carry_out(&mut self, index: usize, action: Action) -> bool {
        let leader = self.ranges[index].leader;
        let Node { shares: (_, shares), openings, .. } = &mut self.nodes[leader];
        match action {
            Action::Nothing | Action::Wait | Action::Split => return false,
            Action::Add { nodes } => nodes.into_iter().for_each(|node| self.ranges[index].announce(node, 0)),
            Action::Move { node, replaces } => {
                assert!(shares.take_copy(node), "it is decided only where there is an opening");
                *openings = Arc::new(shares.openings());
                self.ranges[index].announce(node, replaces);
            }
            Action::JoinLearners { replicas } => replicas.into_iter().for_each(|replica| self.send(index, replica)),
            Action::ChangeVoters { voters } => self.change_voters(index, voters),
            Action::DropLearners { replicas } => self.ranges[index].drop_learners(&replicas),
            Action::Settle => self.ranges[index].settle(),
            Action::TransferLease { node, follows } => {
                assert!(follows || shares.take_lease(node), "it is decided only where there is an opening");
                *openings = Arc::new(shares.openings());
                let range = &mut self.ranges[index];
                let heir = range
                    .view
                    .descriptor
                    .voters()
                    .find(|replica| replica.node_id == node)
                    .map(|replica| replica.replica_id);
                range.lead(heir.expect("a voter is there"), place_of(node));
                self.outcome.transferred += 1;
            }
        }
        true
    }

    /// A snapshot begins: sender and receiver are busy with it for as long as its bytes take.
    fn send(&mut self, index: usize, replica: u64) {
        let range = &mut self.ranges[index];
        let to = range.view.descriptor.replicas.iter().find(|other| other.replica_id == replica);
        let Some(to) = to.map(|other| place_of(other.node_id)) else { return };
        let takes = 1_000 * range.view.bytes / BYTES_A_SECOND;
        let begins = (self.now * 1_000).max(self.nodes[range.leader].sends_until).max(self.nodes[to].receives_until);
        self.nodes[range.leader].sends_until = begins + takes;
        self.nodes[to].receives_until = begins + takes;
        range.arrivals.insert(replica, begins + takes);
        range.view.raft_learners.insert(replica);
        self.outcome.copied += 1;
    }

    fn change_voters(&mut self, index: usize, voters: Vec<u64>) {
        let range = &mut self.ranges[index];
        let voters: BTreeSet<u64> = voters.into_iter().collect();
        if !voters.contains(&range.view.leader) {
            // Whoever stays carries it out.
            let stays = |replica: &&ReplicaDescriptor| {
                voters.contains(&replica.replica_id) && range.view.heirs.contains(&replica.replica_id)
            };
            let heir = range.view.descriptor.voters().find(stays).map(|replica| (replica.replica_id, replica.node_id));
            if let Some((replica, node)) = heir {
                range.lead(replica, place_of(node));
                self.outcome.transferred += 1;
            }
            return;
        }
        range.view.raft_learners.retain(|replica| !voters.contains(replica));
        range.view.raft_voters = voters;
    }
}

impl Range {
    fn lead(&mut self, replica: u64, place: usize) {
        self.leader = place;
        self.view.leader = replica;
    }

    fn announce(&mut self, node_id: u64, replaces: u64) {
        let descriptor = &mut self.view.descriptor;
        let (replica_id, role) = (descriptor.next_replica_id, ReplicaRole::Learner.into());
        descriptor.replicas.push(ReplicaDescriptor { replica_id, node_id, role, replaces });
        descriptor.next_replica_id += 1;
    }

    fn drop_learners(&mut self, replicas: &[u64]) {
        self.view.descriptor.replicas.retain(|replica| !replicas.contains(&replica.replica_id));
        self.view.raft_learners.retain(|replica| !replicas.contains(replica));
        self.view.caught_up.retain(|replica| !replicas.contains(replica));
        self.arrivals.retain(|replica, _| !replicas.contains(replica));
    }

    fn settle(&mut self) {
        let (voters, learners) = (&self.view.raft_voters, &self.view.raft_learners);
        let is_member = |id: &u64| voters.contains(id) || learners.contains(id);
        self.view.descriptor.replicas.retain(|replica| is_member(&replica.replica_id));
        for replica in &mut self.view.descriptor.replicas {
            let is_voter = voters.contains(&replica.replica_id);
            replica.role = if is_voter { ReplicaRole::Voter } else { ReplicaRole::Learner }.into();
        }
        let is_left = |id: &u64| self.view.descriptor.replicas.iter().any(|replica| replica.replica_id == *id);
        self.view.caught_up.retain(is_left);
        self.arrivals.retain(|replica, _| is_left(replica));
    }
}

fn locality(region: usize, zone: usize) -> Locality {
    format!("region=r{region},zone=z{zone}").parse().expect("a locality")
}

fn place_of(node_id: u64) -> usize {
    node_id as usize - 1
}

impl Outcome {
    /// When the nodes first carried alike for good, to within a part of the mean, in seconds.
    pub fn alike_at(&self, within: f64, of: fn(&Sample) -> Spread) -> Option<u64> {
        let is_alike = |sample: &&Sample| of(sample).deviation() <= within;
        let from = self.samples.iter().rev().take_while(is_alike).last();
        from.map(|sample| sample.at)
    }

    fn last(&self) -> Sample {
        self.samples.last().copied().unwrap_or_default()
    }

    /// Whether it came out as it should.
    pub fn verdict(&self) -> Result<(), String> {
        let last = self.last();
        let far = |what: &str, spread: Spread| {
            (spread.deviation() > 0.1)
                .then(|| format!("{what} differ by {:.0} % of the mean", 100.0 * spread.deviation()))
        };
        if self.rested.is_none() {
            return Err("it does not come to rest".to_owned());
        }
        if self.short > 0 {
            return Err(format!("{} ranges lack a copy", self.short));
        }
        if self.close.1 > 0 {
            return Err(format!("{} ranges have two copies in one region", self.close.1));
        }
        match far("copies", last.copies).or(far("bytes", last.bytes)).or(far("leases", last.leases)) {
            Some(words) => Err(words),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.last();
        let spreads: [(&str, fn(&Sample) -> Spread, f64); 4] = [
            ("copies", |sample| sample.copies, 1.0),
            ("MiB", |sample| sample.bytes, MIB as f64),
            ("leases", |sample| sample.leases, 1.0),
            ("requests/s", |sample| sample.requests, 1.0),
        ];
        writeln!(f, "  a node has          least     mean     most   within 10 % of the mean after")?;
        for (name, of, unit) in spreads {
            let Spread { least, mean, most } = of(&last);
            let alike = self.alike_at(0.1, of).map_or("never".to_owned(), |at| format!("{at} s"));
            writeln!(f, "  {name:<14} {:>10.0} {:>8.0} {:>8.0}   {alike}", least / unit, mean / unit, most / unit)?;
        }
        let ratio = self.copied as f64 / self.needed.max(1) as f64;
        writeln!(
            f,
            "  copies made {} (at least {} were needed: {ratio:.2}), leases transferred {}",
            self.copied, self.needed, self.transferred
        )?;
        writeln!(f, "  ranges with two copies in one region: {} at first, {} in the end", self.close.0, self.close.1)?;
        let rested = self.rested.map_or("never".to_owned(), |at| format!("after {at} s"));
        write!(f, "  at rest {rested}; ranges that lack a copy: {}", self.short)
    }
}
