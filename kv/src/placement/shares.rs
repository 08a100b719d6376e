//! How many copies and leases one leader may send where, so that leaders who decide at the same time do not send too many together.
//!
//! ```text
//!   period           |------ settle ------|---- moves ----|------ settle ------|---- moves ----|
//!   each leader            what nodes say of themselves is     at most its share of what each
//!                          read anew after the last moves      node lacks: the shares add up to it
//! ```
//!
//! A node that lacks fewer than there are leaders is given to by some of them, others in the next period. Leaders whose clocks and views
//! differ a little may send a few too many; [`super::balance::WORTH_MIN`] keeps that from being sent back.

use std::collections::{BTreeMap, BTreeSet};

use super::balance::{copies_on, leases_on};
use super::{ClusterView, NodeHealth, NodeView, choose};

/// At most so many copies are on their way to a node at once: each takes a snapshot's room and bandwidth there.
const RECEIVED_MAX: u64 = 16;

/// What one leader may send in one period, by receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    copies: BTreeMap<u64, u64>,
    leases: BTreeMap<u64, u64>,
}

/// The nodes that one more may be sent to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Openings {
    /// A copy.
    pub copies: BTreeSet<u64>,
    /// A lease.
    pub leases: BTreeSet<u64>,
}

impl Shares {
    /// What the leader on `own` may send in this period.
    pub fn of(cluster: &ClusterView, own: u64, period: u64) -> Self {
        let leaders: Vec<&NodeView> = cluster.nodes().iter().filter(|node| node.health == NodeHealth::Live).collect();
        let mut shares = Shares::default();
        for node in cluster.nodes().iter().filter(|node| node.node_id != own && choose::takes_copies(node)) {
            // A copy that moves may be led by anybody; a lease comes from a node that has too many.
            let all = leaders.iter().map(|leader| leader.node_id);
            let givers = leaders.iter().filter(|leader| cluster.leases.may_give(leases_on(leader), leases_on(node)));
            let copies_from = Turn::of(own, all.collect(), period + node.node_id);
            let leases_from = Turn::of(own, givers.map(|leader| leader.node_id).collect(), period + node.node_id);
            // One that lacks none is given one all the same: it may be better there for where the node stands, or for what another carries.
            let copies = cluster.copies.lack(copies_on(node)).max(1);
            let copies = copies_from.share(copies.min(RECEIVED_MAX.saturating_sub(node.receiving)));
            let leases = leases_from.share(cluster.leases.lack(leases_on(node)).max(1));
            shares.copies.extend((copies > 0).then_some((node.node_id, copies)));
            shares.leases.extend((leases > 0).then_some((node.node_id, leases)));
        }
        shares
    }

    /// Where something may still be sent.
    pub fn openings(&self) -> Openings {
        Openings { copies: self.copies.keys().copied().collect(), leases: self.leases.keys().copied().collect() }
    }

    /// Takes a copy for a node out of the share; `false` when there is none left.
    pub fn take_copy(&mut self, node: u64) -> bool {
        take(&mut self.copies, node)
    }

    /// Takes a lease for a node out of the share; `false` when there is none left.
    pub fn take_lease(&mut self, node: u64) -> bool {
        take(&mut self.leases, node)
    }
}

/// One of those that give, and where it stands among them: who gives the first changes from receiver to receiver and from period to period.
struct Turn {
    place: Option<u64>,
    count: u64,
}

impl Turn {
    fn of(own: u64, givers: Vec<u64>, shift: u64) -> Self {
        let count = givers.len() as u64;
        Turn { place: givers.binary_search(&own).ok().map(|place| (place as u64 + shift) % count), count }
    }

    fn share(&self, lacking: u64) -> u64 {
        self.place.map_or(0, |place| lacking / self.count + u64::from(place < lacking % self.count))
    }
}

fn take(left: &mut BTreeMap<u64, u64>, node: u64) -> bool {
    let Some(count) = left.get_mut(&node) else { return false };
    *count -= 1;
    if *count == 0 {
        left.remove(&node);
    }
    true
}
