//! Where replicas should be: a pure function of what a range's leader sees.
//!
//! ```text
//!   RangeView ⧺ nodes ─▶ decide ─▶ Action ⧺ reason
//!
//!   descriptor   v1            v1 l2 l3         v1 l2 l3           v1 v2 v3
//!   Raft         v1            v1               v1 l2 l3           v1 v2 v3
//!   action       Add(n2,n3)    JoinLearners     ChangeVoters       Settle      (up-replication, step by step)
//!
//!   order        finish what Raft began ─▶ give up learners ─▶ make voters of those that are ready
//!                ─▶ add copies ─▶ drop copies ─▶ split ─▶ move a copy ─▶ transfer the lease ─▶ wait for learners
//! ```
//!
//! Copies move to where they stand further apart, then so that nodes hold about as many, of about as many bytes; leases to where the
//! requests come from, then so that nodes hold about as many, and serve about as much ([`balance`]). How many a leader may move at a time,
//! and where to, is its share of what the nodes lack ([`Shares`]).
//!
//! Waiting comes last: a learner that never catches up, on a node that lives, keeps nothing else from being done. It is given
//! up for another node once it is stuck; where there is no other node, it stays, in case it comes round, as long as its node
//! takes copies at all.
//!
//! The descriptor announces a copy before Raft sends it anything, and drops it after Raft did; so every step is
//! found again by whoever leads after a crash. `decide` is called until it answers [`Action::Nothing`].
//!
//! Invariants: `voters_never_fewer` (no action leaves a range with fewer voters than it had, unless it has more
//! than its target); an even number of voters is never aimed at.
//!
//! It knows nothing of time, messages, or how its actions are carried out.

mod balance;
mod choose;
mod cluster;
mod copies;
mod leases;
mod membership;
mod shares;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

pub use cluster::ClusterView;
pub use shares::{Openings, Shares};

use crate::descriptor::{RangeDescriptor, ReplicaDescriptor, ReplicaRole};
use crate::liveness::Locality;

/// How a node does, as far as its peers can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeHealth {
    /// Heard of lately.
    Live,
    /// Not heard of for a while: gets no replicas, loses none.
    Suspect,
    /// Gone for so long that its replicas are replaced.
    Dead,
    /// About to stop: gets no replicas.
    Draining,
}

/// One node, as placement sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView {
    /// Which.
    pub node_id: u64,
    /// Where.
    pub locality: Locality,
    /// How it does.
    pub health: NodeHealth,
    /// How many replicas it holds.
    pub replicas: u64,
    /// How many of them are still on their way to it.
    pub receiving: u64,
    /// Bytes of keys and values that they hold.
    pub bytes: u64,
    /// How many leases it holds.
    pub leases: u64,
    /// Requests a second that it serves under them.
    pub requests: u64,
    /// It has no room.
    pub disk_full: bool,
    /// It is being decommissioned: gets no replicas, and those it has are replaced, though it still serves them.
    pub is_leaving: bool,
}

/// One range, as its leader sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeView {
    /// What the range's state says.
    pub descriptor: RangeDescriptor,
    /// The replicas that vote in Raft's newest membership, those of both sets while it is joint.
    pub raft_voters: BTreeSet<u64>,
    /// The replicas that learn in it.
    pub raft_learners: BTreeSet<u64>,
    /// Whether Raft is between two sets of voters.
    pub is_joint: bool,
    /// The replica that looks.
    pub leader: u64,
    /// The replicas whose log is as good as the leader's.
    pub caught_up: BTreeSet<u64>,
    /// The learners that have not caught up for so long that they may never.
    pub stuck: BTreeSet<u64>,
    /// The nodes on which a learner was stuck lately: they get a copy if the other nodes do not suffice.
    pub avoided: BTreeSet<u64>,
    /// How many voters the range should have.
    pub target: usize,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// Above how many bytes it should be split; `None` for a range that may not be.
    pub split_above_bytes: Option<u64>,
    /// The replica that looks holds the lease.
    pub holds_lease: bool,
    /// The voters, other than the one that looks, that answer it and lag behind it by little.
    pub heirs: BTreeSet<u64>,
    /// What the range serves; `None` as long as that is not known.
    pub load: Option<RangeLoad>,
    /// Where the leader may move something to only because it is better there.
    pub openings: Arc<Openings>,
}

/// What a range serves, and for whom.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RangeLoad {
    /// Requests a second.
    pub requests: f64,
    /// Where they come from.
    pub origins: Vec<Origin>,
}

/// A node that a part of a range's requests comes through.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// Which; 0 for one of which only the place is known.
    pub node_id: u64,
    /// Where it stands.
    pub locality: Locality,
    /// Which part of them, 1 for all.
    pub part: f64,
}

impl RangeLoad {
    /// How near a node is to where the requests come from, on the average: 0 for nothing in common, 1 for the same place.
    pub fn nearness(&self, node: &NodeView) -> f64 {
        let near = |place: &Locality| node.locality.common_tiers(place) as f64 / place.tiers.len().max(1) as f64;
        self.origins.iter().map(|origin| origin.part * near(&origin.locality)).sum()
    }

    /// Which part of the requests comes through a node itself.
    pub fn through(&self, node: &NodeView) -> f64 {
        self.origins.iter().filter(|origin| origin.node_id == node.node_id).map(|origin| origin.part).sum()
    }
}

/// What the leader should do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// All is as it should be, or nothing can be done.
    Nothing,
    /// Something is under way; look again soon.
    Wait,
    /// Announce new copies on these nodes in the descriptor, as learners.
    Add {
        /// The nodes, each without a copy so far.
        nodes: Vec<u64>,
    },
    /// Announce a copy on this node that is to replace one elsewhere, which could stay as well.
    Move {
        /// The node, without a copy so far.
        node: u64,
        /// The voter that it is to replace.
        replaces: u64,
    },
    /// Let Raft send these announced copies what they lack.
    JoinLearners {
        /// Replica IDs.
        replicas: Vec<u64>,
    },
    /// Make exactly these replicas Raft's voters.
    ChangeVoters {
        /// Replica IDs.
        voters: Vec<u64>,
    },
    /// Take these learners out of Raft, then out of the descriptor.
    DropLearners {
        /// Replica IDs.
        replicas: Vec<u64>,
    },
    /// Make the descriptor say what Raft's membership is.
    Settle,
    /// Give the lease, and leadership with it, to the voter on this node.
    TransferLease {
        /// The node.
        node: u64,
        /// It follows the requests, and is not counted against the leader's share.
        follows: bool,
    },
    /// Split the range in its middle.
    Split,
}

impl Action {
    /// What kind it is, in a word for counters.
    pub fn word(&self) -> &'static str {
        match self {
            Action::Nothing => "nothing",
            Action::Wait => "wait",
            Action::Add { .. } => "add_copies",
            Action::Move { .. } => "move_copy",
            Action::JoinLearners { .. } => "join_learners",
            Action::ChangeVoters { .. } => "change_voters",
            Action::DropLearners { .. } => "drop_learners",
            Action::Settle => "enter_voters",
            Action::TransferLease { .. } => "transfer_lease",
            Action::Split => "split",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |ids: &[u64]| ids.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Action::Nothing => write!(f, "nothing"),
            Action::Wait => write!(f, "wait"),
            Action::Add { nodes } => write!(f, "add copies on nodes {}", list(nodes)),
            Action::Move { node, replaces } => write!(f, "move replica {replaces} to node {node}"),
            Action::JoinLearners { replicas } => write!(f, "send replicas {} what they lack", list(replicas)),
            Action::ChangeVoters { voters } => write!(f, "make replicas {} the voters", list(voters)),
            Action::DropLearners { replicas } => write!(f, "drop replicas {}", list(replicas)),
            Action::Settle => write!(f, "enter the voters"),
            Action::TransferLease { node, .. } => write!(f, "transfer the lease to node {node}"),
            Action::Split => write!(f, "split"),
        }
    }
}

/// An action with its reason, in words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What to do.
    pub action: Action,
    /// Why.
    pub reason: String,
}

impl Decision {
    fn new(action: Action, reason: impl Into<String>) -> Self {
        Decision { action, reason: reason.into() }
    }
}

/// A range with what is read off it again and again.
struct Look<'v> {
    range: &'v RangeView,
    cluster: &'v ClusterView,
    /// The voters of the descriptor.
    voters: BTreeSet<u64>,
    /// Its learners.
    learners: BTreeSet<u64>,
}

impl<'v> Look<'v> {
    fn at(range: &'v RangeView, cluster: &'v ClusterView) -> Self {
        let of = |role: ReplicaRole| {
            let replicas = range.descriptor.replicas.iter().filter(|replica| replica.role() == role);
            replicas.map(|replica| replica.replica_id).collect()
        };
        Look { range, cluster, voters: of(ReplicaRole::Voter), learners: of(ReplicaRole::Learner) }
    }

    fn replica(&self, replica: u64) -> Option<&'v ReplicaDescriptor> {
        self.range.descriptor.replicas.iter().find(|other| other.replica_id == replica)
    }

    /// The node that holds a replica, if it is known.
    fn view_of(&self, replica: u64) -> Option<&'v NodeView> {
        self.cluster.node(self.replica(replica)?.node_id)
    }

    fn is_dead(&self, replica: u64) -> bool {
        self.view_of(replica).is_some_and(|node| node.health == NodeHealth::Dead)
    }

    /// Whether a replica is to be replaced by one elsewhere: its node is dead, or is being decommissioned.
    fn is_lost(&self, replica: u64) -> bool {
        self.view_of(replica).is_some_and(choose::loses_copies)
    }

    /// The voters to be replaced, those on dead nodes first: they do not answer.
    fn lost_voters(&self) -> Vec<u64> {
        let mut lost: Vec<u64> = self.voters.iter().copied().filter(|id| self.is_lost(*id)).collect();
        lost.sort_by_key(|id| !self.is_dead(*id));
        lost
    }

    /// Whether the learner is as good as a voter, or counted as one already.
    fn is_ready(&self, learner: u64) -> bool {
        self.range.caught_up.contains(&learner) || self.range.raft_voters.contains(&learner)
    }

    fn is_stuck(&self, learner: u64) -> bool {
        self.range.stuck.contains(&learner) && !self.is_ready(learner)
    }
}

/// The next step towards where the range's replicas should be.
pub fn decide(range: &RangeView, cluster: &ClusterView) -> Decision {
    let look = Look::at(range, cluster);
    membership::finish(&look)
        .or_else(|| membership::give_up(&look))
        .or_else(|| membership::promote(&look))
        .or_else(|| copies::change(&look))
        .or_else(|| copies::split(&look))
        .or_else(|| copies::spread(&look))
        .or_else(|| leases::balance(&look))
        .unwrap_or_else(|| {
            if look.learners.iter().any(|id| !look.is_ready(*id) && !look.is_stuck(*id)) {
                Decision::new(Action::Wait, "a learner is catching up")
            } else {
                Decision::new(Action::Nothing, "as it should be, or as well as it can be")
            }
        })
}
