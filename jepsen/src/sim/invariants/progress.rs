//! Once all is healed, every range gets what it should have: its full number of voters, all of which live and follow, no other copy,
//! and a lease under which somebody serves.
//!
//! ```text
//!   newest descriptor   as many voters as there should be, on nodes that run, no learner; what votes on a node that is gone has
//!                       been replaced, if there was another node for it
//!   its leader          Raft's membership is the descriptor's, and every voter was heard of lately and has caught up
//!   each node           holds the copies that descriptors say, and no others
//!   each range          answers a read
//! ```
//!
//! A descriptor alone is not enough: a voter on paper may be a group that has ended, or that never came to be.

use std::time::Duration;

use kv::api::{BatchHeader, BatchRequest, Get, RequestKind};
use kv::descriptor::{RangeDescriptor, ReplicaRole};
use kv::store::Held;
use raft_groups::{GroupStatus, ReplicaId};

use super::super::cluster::{SimCluster, Standing};
use super::Sample;

/// A follower has acknowledged something of its leader within this time: many heartbeats.
const HEARD_WITHIN: Duration = Duration::from_secs(3);

/// A follower so many entries behind has caught up.
const CAUGHT_UP_ENTRIES: u64 = 64;

/// How long a range may take to answer.
const ANSWER_MS: u64 = 5_000;

/// How many voters a range should have on so many nodes.
fn voters_wanted(target: usize, usable: usize) -> usize {
    let reachable = target.min(usable);
    if reachable.is_multiple_of(2) { reachable.saturating_sub(1) } else { reachable }
}

/// What a range lacks, if anything lacks anywhere.
///
/// # Errors
/// What it is.
pub fn check(cluster: &SimCluster) -> Result<(), String> {
    let sample = Sample::take(cluster);
    let usable: Vec<u64> = (0..cluster.len())
        .filter(|index| cluster.standing(*index) == Standing::Up && !cluster.is_full_for_good(*index))
        .filter_map(|index| cluster.node(index).map(|node| node.node_id()))
        .collect();
    if usable.len() < cluster.kv_settings().replication_target {
        // What a node that is gone leaves behind stays as it is, since nobody can take its place.
        return Ok(());
    }
    let newest = sample.newest();
    for range in &newest {
        check_range(cluster, range, &usable)?;
    }
    for index in 0..cluster.len() {
        let Some(node) = cluster.node(index) else { continue };
        for (range_id, held) in node.store().all() {
            let replica = held.replica.replica_id();
            let is_member = |range: &&&RangeDescriptor| range.replicas.iter().any(|copy| copy.replica_id == replica);
            let range = newest.iter().find(|range| range.range_id == range_id);
            if range.filter(is_member).is_none() {
                return Err(format!(
                    "node {} still holds replica {replica} of range {range_id}, which is no member of it",
                    index + 1
                ));
            }
        }
    }
    Ok(())
}

fn check_range(cluster: &SimCluster, range: &RangeDescriptor, usable: &[u64]) -> Result<(), String> {
    let id = range.range_id;
    let is_on = |node: &u64| range.replicas.iter().any(|copy| copy.node_id == *node);
    let has_spare = usable.iter().any(|node| !is_on(node));
    let settings = cluster.kv_settings();
    let wanted = voters_wanted(settings.voters_of(id, settings.replication_target), usable.len());
    let (mut leader, mut sound): (Option<(u64, GroupStatus)>, Vec<u64>) = (None, Vec::new());
    for copy in &range.replicas {
        if copy.role() != ReplicaRole::Voter {
            return Err(format!("range {id} has a learner on node {} that becomes no voter", copy.node_id));
        }
        let Some(held) = held_on(cluster, copy.node_id, id) else {
            if has_spare || usable.contains(&copy.node_id) {
                return Err(format!("node {} holds no replica of range {id}, of which it has a voter", copy.node_id));
            }
            continue;
        };
        if held.replica.replica_id() != copy.replica_id {
            let other = held.replica.replica_id();
            return Err(format!("node {} holds replica {other} of range {id}, not {}", copy.node_id, copy.replica_id));
        }
        sound.push(copy.replica_id);
        let status = held.group.status();
        if status.is_leader && leader.as_ref().is_none_or(|(_, known)| known.term < status.term) {
            leader = Some((copy.replica_id, status));
        }
    }
    if sound.len() < wanted {
        return Err(format!("range {id} has {} voters of {wanted}: {:?}", sound.len(), range.replicas));
    }
    let Some((own, status)) = leader else { return Err(format!("nobody leads range {id}")) };
    check_membership(range, &status)?;
    sound.into_iter().filter(|voter| *voter != own).try_for_each(|voter| check_follower(id, voter, &status))
}

fn check_membership(range: &RangeDescriptor, status: &GroupStatus) -> Result<(), String> {
    let members: Vec<u64> = status.voters.keys().map(|replica| replica.0).collect();
    let mut voters: Vec<u64> = range.voters().map(|copy| copy.replica_id).collect();
    voters.sort_unstable();
    if status.is_joint || !status.learners.is_empty() || members != voters {
        let learners: Vec<u64> = status.learners.keys().map(|replica| replica.0).collect();
        return Err(format!(
            "the group of range {} has voters {members:?} and learners {learners:?} (joint: {}), its descriptor says {voters:?}",
            range.range_id, status.is_joint
        ));
    }
    Ok(())
}

fn check_follower(range: u64, voter: u64, status: &GroupStatus) -> Result<(), String> {
    let peer = status.peers.get(&ReplicaId(voter)).cloned().unwrap_or_default();
    if peer.heard_ago.is_none_or(|ago| ago > HEARD_WITHIN) {
        let ago = peer.heard_ago;
        return Err(format!("replica {voter} of range {range} was last heard of by its leader {ago:?} ago"));
    }
    let newest = status.last_log.unwrap_or(0);
    if peer.matched.unwrap_or(0) + CAUGHT_UP_ENTRIES < newest {
        return Err(format!("replica {voter} of range {range} has {:?} of {newest} entries", peer.matched));
    }
    Ok(())
}

/// The copy of a range on the node of this ID, if that runs.
fn held_on(cluster: &SimCluster, node_id: u64, range_id: u64) -> Option<Held> {
    (0..cluster.len())
        .filter_map(|index| cluster.node(index))
        .find(|node| node.node_id() == node_id)?
        .store()
        .held(range_id)
}

/// Every range answers a read, asked through each node in turn.
///
/// # Errors
/// Which one does not.
pub async fn serves(cluster: &SimCluster) -> Result<(), String> {
    let senders: Vec<_> =
        (0..cluster.len()).filter_map(|index| cluster.node(index)).map(|node| node.sender()).collect();
    let starts: Vec<_> =
        Sample::take(cluster).newest().into_iter().map(|range| (range.range_id, range.start.clone())).collect();
    for (number, (range_id, key)) in starts.into_iter().enumerate() {
        let header = BatchHeader { timeout_ms: ANSWER_MS, ..BatchHeader::default() };
        let requests = vec![RequestKind::Get(Get { key, ..Get::default() }).into()];
        let asked = senders[number % senders.len()].send(BatchRequest { header, requests });
        match tokio::time::timeout(Duration::from_millis(2 * ANSWER_MS), asked).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(format!("range {range_id} does not answer: {error}")),
            Err(_) => return Err(format!("range {range_id} does not answer")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_number_of_voters_is_never_wanted() {
        assert_eq!([0, 1, 2, 3, 4, 5].map(|usable| voters_wanted(3, usable)), [0, 1, 1, 3, 3, 3]);
        assert_eq!(voters_wanted(5, 4), 3);
    }
}
