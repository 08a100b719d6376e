//! Faults that wait for their moment, or take several steps.
//!
//! ```text
//!   split storm    some range has a copy on its way ─▶ many splits at once
//!   returning      gone ─▶ others have taken its place ─▶ back, unheard by the leaders, and known to the directory; another is gone
//!   full learner   some range is to get a copy on the node ─▶ no room for it any more, for good
//!   full newcomer  a node joins ─▶ some range is to get a copy on it ─▶ no room for it, until the fault is over
//!   decommission   a node is to go, and loses its copies to others ─▶ it is to stay after all
//!   unheard        gone ─▶ back, with one direction cut between it and the leaders, but for the directory's
//! ```

use std::time::Duration;

use clock::Random;
use kv::descriptor::{RangeDescriptor, ReplicaRole};
use kv::liveness::Membership;

use super::super::cluster::{Death, SimCluster, Standing};
use super::super::invariants::Sample;
use super::super::links::LinkFault;
use super::super::plan::{Fault, Planned};

/// How often it is looked whether the moment has come.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// How many splits a node misses that is gone.
const SPLITS_WHILE_GONE: usize = 3;

/// Does it, and undoes all but the end of processes.
pub(super) async fn hold(cluster: &SimCluster, planned: &Planned) {
    let end = tokio::time::Instant::now() + planned.hold;
    match planned.fault {
        Fault::SplitStorm(count, choice) => {
            until(cluster, end, |sample| sample.newest().into_iter().any(has_learner)).await;
            let random = Random::from_seed(choice);
            (0..count).for_each(|_| super::split(cluster, random.next_u64()));
        }
        Fault::FullLearner(node) => {
            fill_once_chosen(cluster, node, end).await;
        }
        Fault::FullNewcomer => {
            let node = cluster.add_slot();
            super::restart(cluster, node);
            if fill_once_chosen(cluster, node, end).await {
                tokio::time::sleep_until(end).await;
                cluster.watch().note(&format!("the disk of node {} has room again", node + 1));
                cluster.set_full_for_good(node, false);
            }
        }
        Fault::Unheard(node, is_deaf) => {
            cluster.crash(node, Death::Kill);
            tokio::time::sleep((end - tokio::time::Instant::now()) / 3).await;
            let unheard = leaders_but_the_directorys(cluster).into_iter().filter(|leader| *leader != node);
            let cut = |leader| match is_deaf {
                true => LinkFault::Cut { from: leader, to: node },
                false => LinkFault::Cut { from: node, to: leader },
            };
            let cuts = unheard.map(cut).collect();
            cluster.change_links(|links| links.begin(planned.number, cuts));
            super::restart(cluster, node);
        }
        Fault::Decommission(node) => {
            if cluster.len() == cluster.kv_settings().replication_target {
                let spare = cluster.add_slot();
                super::restart(cluster, spare);
            }
            let Some(id) = id_of(cluster, node) else { return };
            decide(cluster, id, Membership::Decommissioning, Some(end)).await;
            tokio::time::sleep_until(end).await;
            let cluster = cluster.clone();
            // Whatever else is wrong, and once nothing is: its copies must not stay wanted elsewhere.
            cluster.clone().spawn("recommission", async move { decide(&cluster, id, Membership::Active, None).await });
        }
        Fault::Returning(node, other) => return_unheard(cluster, planned.number, node, other, end).await,
        _ => {}
    }
    tokio::time::sleep_until(end).await;
}

/// Has whichever node takes the order decide over a node, over and over until one has.
async fn decide(cluster: &SimCluster, id: u64, membership: Membership, end: Option<tokio::time::Instant>) {
    while end.is_none_or(|end| tokio::time::Instant::now() < end) {
        for node in (0..cluster.len()).filter_map(|index| cluster.node(index)) {
            if node.admin().set_membership(id, membership).await.is_ok() {
                cluster.watch().note(&format!("node with ID {id} is {}", membership.word()));
                return;
            }
        }
        tokio::time::sleep(20 * LOOK_INTERVAL).await;
    }
}

/// Fills the disk of a node as soon as it has a learner; whether it was.
async fn fill_once_chosen(cluster: &SimCluster, node: usize, end: tokio::time::Instant) -> bool {
    let is_chosen = |sample: &Sample| {
        let id = id_of(cluster, node).filter(|_| cluster.standing(node) == Standing::Up);
        id.is_some() && sample.newest().into_iter().any(|range| role_on(range, id) == Some(ReplicaRole::Learner))
    };
    let is_full = until(cluster, end, is_chosen).await;
    if is_full {
        cluster.watch().note(&format!("the disk of node {} is full, whatever is healed", node + 1));
        cluster.set_full_for_good(node, true);
    }
    is_full
}

/// The nodes that hold leases, but for that of the directory.
fn leaders_but_the_directorys(cluster: &SimCluster) -> Vec<usize> {
    let sample = Sample::take(cluster);
    let states = sample.newest_states();
    let is_first = |range: u64| range == kv::directory::FIRST_RANGE_ID;
    let directory = states.iter().find(|state| is_first(state.descriptor.range_id)).map(|state| state.lease.node);
    let leads = |id: u64| states.iter().any(|state| !is_first(state.descriptor.range_id) && state.lease.node == id);
    let may_be = |node: &usize| id_of(cluster, *node).is_some_and(|id| leads(id) && Some(id) != directory);
    (0..cluster.len()).filter(may_be).collect()
}

async fn return_unheard(cluster: &SimCluster, number: usize, node: usize, other: usize, end: tokio::time::Instant) {
    let Some(id) = id_of(cluster, node) else { return };
    let held = ranges_on(&Sample::take(cluster), id);
    cluster.crash(node, Death::Kill);
    // The last third is for its return.
    let latest = tokio::time::Instant::now() + (end - tokio::time::Instant::now()) * 2 / 3;
    until(cluster, latest, |sample| ranges_on(sample, id) < held).await;
    // What it holds is of old bounds when it is back.
    let random = Random::from_seed(number as u64);
    (0..SPLITS_WHILE_GONE).for_each(|_| super::split(cluster, random.next_u64()));
    let sample = Sample::take(cluster);
    let leaders = (0..cluster.len()).filter(|leader| {
        let leader = id_of(cluster, *leader);
        sample
            .newest_states()
            .into_iter()
            .any(|state| state.descriptor.range_id != kv::directory::FIRST_RANGE_ID && Some(state.lease.node) == leader)
    });
    let directory =
        sample.newest_states().into_iter().find(|state| state.descriptor.range_id == kv::directory::FIRST_RANGE_ID);
    let directory = directory.map(|state| state.lease.node);
    let unheard = leaders.filter(|leader| *leader != node && id_of(cluster, *leader) != directory);
    let cuts = unheard.map(|leader| LinkFault::Cut { from: leader, to: node }).collect();
    cluster.change_links(|links| links.begin(number, cuts));
    super::restart(cluster, node);
    if id_of(cluster, other) != directory {
        cluster.crash(other, Death::Kill);
    }
}

/// Waits until something holds of the stores; whether it does by the end.
async fn until(cluster: &SimCluster, end: tokio::time::Instant, holds: impl Fn(&Sample) -> bool) -> bool {
    loop {
        if holds(&Sample::take(cluster)) {
            return true;
        }
        if tokio::time::Instant::now() >= end {
            return false;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

fn id_of(cluster: &SimCluster, node: usize) -> Option<u64> {
    cluster.node(node).map(|running| running.node_id())
}

fn has_learner(range: &RangeDescriptor) -> bool {
    range.replicas.iter().any(|replica| replica.role() == ReplicaRole::Learner)
}

fn role_on(range: &RangeDescriptor, node_id: Option<u64>) -> Option<ReplicaRole> {
    range.replicas.iter().find(|replica| Some(replica.node_id) == node_id).map(|replica| replica.role())
}

/// The ranges that a node has copies of, as the newest descriptors say.
fn ranges_on(sample: &Sample, node_id: u64) -> usize {
    sample.newest().into_iter().filter(|range| role_on(range, Some(node_id)).is_some()).count()
}
