//! Which replica should hold the lease: one near where the requests come from, best of all on the very node that most of them come
//! through, which saves each of them a way; then one on a node that holds few.

use super::balance::{WORTH_MIN, leases_on};
use super::{Action, Decision, Look, NodeView, RangeLoad, choose};

/// Requests a second below which it does not matter where they come from.
const FOLLOWED_MIN: f64 = 1.0;

/// By which part of the requests more must come through a node than through the leaseholder's, for the lease to go there; and for it not to
/// leave.
const THROUGH_MIN: f64 = 0.6;

/// By how much of the way from another place to the same one requests must come nearer on the average, for the lease to follow them.
const NEARER_MIN: f64 = 0.25;

/// A lease that would be better elsewhere, though all is well as it is.
pub(super) fn balance(look: &Look<'_>) -> Option<Decision> {
    let load = known_load(look)?;
    let here = look.view_of(look.range.leader)?;
    let heirs = heirs(look);
    follow(load, here, &heirs).or_else(|| even_out(look, load, here, &heirs))
}

/// What it is worth for leases, and the requests that come with them, to move the leader's copy and its lease from one node to another.
/// Nothing, as long as another voter would do: a lease moves for less than a copy.
pub(super) fn worth_beside(look: &Look<'_>, from: &NodeView, to: &NodeView) -> f64 {
    let Some(load) = known_load(look) else { return 0.0 };
    let worth = worth(look, load, from, to);
    let is_near = is_as_near(load, from, to);
    let would_do = |heir: &&NodeView| is_as_near(load, from, heir) && self::worth(look, load, from, heir) >= WORTH_MIN;
    if worth > 0.0 && (!is_near || heirs(look).iter().any(would_do)) { 0.0 } else { worth }
}

fn known_load<'v>(look: &Look<'v>) -> Option<&'v RangeLoad> {
    look.range.load.as_ref().filter(|_| look.range.holds_lease && !look.range.is_joint)
}

/// The nodes of the voters that could take the lease over.
fn heirs<'v>(look: &Look<'v>) -> Vec<&'v NodeView> {
    let heirs = look.voters.iter().filter(|id| look.range.heirs.contains(id));
    heirs.filter_map(|id| look.view_of(*id)).filter(|node| choose::takes_copies(node)).collect()
}

fn worth(look: &Look<'_>, load: &RangeLoad, from: &NodeView, to: &NodeView) -> f64 {
    look.cluster.leases.worth(leases_on(from), leases_on(to), [1.0, load.requests])
}

fn is_as_near(load: &RangeLoad, from: &NodeView, to: &NodeView) -> bool {
    load.nearness(to) > load.nearness(from) - NEARER_MIN / 2.0 && load.through(to) > load.through(from) - THROUGH_MIN
}

/// To where the requests come from.
fn follow(load: &RangeLoad, here: &NodeView, heirs: &[&NodeView]) -> Option<Decision> {
    if load.requests < FOLLOWED_MIN {
        return None;
    }
    let nearer = |node: &NodeView| load.nearness(node) - load.nearness(here);
    let more = |node: &NodeView| load.through(node) - load.through(here);
    let to = |node: u64, reason: String| Some(Decision::new(Action::TransferLease { node, follows: true }, reason));
    let by_nearness = |one: &&&NodeView, other: &&&NodeView| {
        nearer(one).total_cmp(&nearer(other)).then(more(one).total_cmp(&more(other)))
    };
    let nearest = heirs.iter().max_by(by_nearness)?;
    if nearer(nearest) >= NEARER_MIN {
        let (node, share) = (nearest.node_id, (100.0 * nearer(nearest)).round());
        return to(node, format!("requests come from nearer to n{node}, by {share} % of the way"));
    }
    let gateway = heirs.iter().find(|node| more(node) >= THROUGH_MIN && nearer(node) > -NEARER_MIN / 2.0)?;
    let (node, share) = (gateway.node_id, (100.0 * load.through(gateway)).round());
    to(node, format!("{share} % of the requests come through n{node}"))
}

/// To a node that holds fewer leases or serves fewer requests, and is as near.
fn even_out(look: &Look<'_>, load: &RangeLoad, here: &NodeView, heirs: &[&NodeView]) -> Option<Decision> {
    let worth = |node: &NodeView| worth(look, load, here, node);
    let may = |node: &&&NodeView| look.range.openings.leases.contains(&node.node_id) && is_as_near(load, here, node);
    let best = heirs.iter().filter(may).max_by(|one, other| worth(one).total_cmp(&worth(other)))?;
    (worth(best) >= WORTH_MIN).then(|| {
        let reason = format!(
            "n{} holds {} leases and serves {} requests a second, n{} {} and {}",
            here.node_id, here.leases, here.requests, best.node_id, best.leases, best.requests
        );
        Decision::new(Action::TransferLease { node: best.node_id, follows: false }, reason)
    })
}
