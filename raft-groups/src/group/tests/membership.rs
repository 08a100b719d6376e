//! Learners, joint consensus, transfer of leadership.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::cluster::{Cluster, GROUP, simulate, texts};
use crate::{AppliedState, GroupError, NodeId, ReplicaId};

#[test]
fn a_learner_catches_up_and_becomes_a_voter() {
    simulate(21, async {
        let mut cluster = Cluster::new(21, 4);
        cluster.create_group(GROUP, &[1]).await;
        for number in 0..20 {
            cluster.propose(GROUP, &format!("{number}")).await;
        }
        for id in 2..=4 {
            cluster.start_replica(GROUP, NodeId(id), ReplicaId(id), AppliedState::default()).await;
            let leader = cluster.group(cluster.leader(GROUP).await, GROUP);
            leader.add_learner(ReplicaId(id), NodeId(id)).await.expect("the leader may");
            let last = leader.status().last_log;
            let caught_up =
                |status: &crate::GroupStatus| status.peers.get(&ReplicaId(id)).is_some_and(|peer| peer.matched >= last);
            leader.wait_until(caught_up).await.expect("it runs");
        }
        let leader = cluster.group(1, GROUP);
        leader.change_voters(&[ReplicaId(2), ReplicaId(3), ReplicaId(4)]).await.expect("the leader may");
        let status = leader.status();
        assert!(!status.is_joint);
        assert_eq!(status.voters.keys().copied().collect::<Vec<_>>(), [ReplicaId(2), ReplicaId(3), ReplicaId(4)]);
        // The former leader is out, and steps down.
        cluster.crash(1, false).await;
        cluster.propose(GROUP, "after").await;
        let commands = cluster.converge(GROUP, &[2, 3, 4], 21).await;
        assert_eq!(texts(&commands).last().map(String::as_str), Some("after"));
    });
}

#[test]
fn a_replica_comes_back_under_a_new_id() {
    simulate(22, async {
        let mut cluster = Cluster::new(22, 4);
        cluster.create_group(GROUP, &[1, 2, 3]).await;
        let mut expected = 0;
        for round in 0..6 {
            // The newest replica moves between nodes 3 and 4.
            let (from, to) = if round % 2 == 0 { (3, 4) } else { (4, 3) };
            let replica = ReplicaId(100 + round);
            cluster.start_replica(GROUP, NodeId(to), replica, AppliedState::default()).await;
            let leader = loop {
                let leader = cluster.leader(GROUP).await;
                if leader != from {
                    break cluster.group(leader, GROUP);
                }
                let status = cluster.group(leader, GROUP).status();
                let other = *status
                    .voters
                    .keys()
                    .find(|id| **id != ReplicaId(100 + round - 1) && **id != ReplicaId(3))
                    .expect("two more");
                cluster.group(leader, GROUP).transfer_leadership(other).await.expect("it is reachable");
            };
            leader.add_learner(replica, NodeId(to)).await.expect("the leader may");
            let voters = [ReplicaId(1), ReplicaId(2), replica];
            leader.change_voters(&voters).await.expect("the leader may");
            cluster.host(NodeId(from)).remove_group(GROUP).await.expect("the log works");
            cluster.node(NodeId(from)).machines.remove(&GROUP);
            cluster.propose(GROUP, &format!("round {round}")).await;
            expected += 1;
            cluster.converge(GROUP, &[1, 2, to], expected).await;
            let status = cluster.group(1, GROUP).status();
            assert_eq!(status.voters.keys().copied().collect::<Vec<_>>(), voters);
            // A restart finds the same membership.
            cluster.crash(to, true).await;
            cluster.restart(to).await;
            cluster.converge(GROUP, &[1, 2, to], expected).await;
            assert_eq!(cluster.group(to, GROUP).status().voters.keys().copied().collect::<Vec<_>>(), voters);
        }
    });
}

#[test]
fn a_successor_is_announced_where_its_predecessor_still_runs() {
    simulate(25, async {
        let mut cluster = Cluster::new(25, 2);
        cluster.create_group(GROUP, &[1]).await;
        // Replica 4 never heard that it was removed.
        cluster.start_replica(GROUP, NodeId(2), ReplicaId(4), AppliedState::default()).await;
        let wanted = Arc::new(Mutex::new(BTreeSet::new()));
        let heard = wanted.clone();
        cluster.host(NodeId(2)).on_absent_group(Arc::new(move |group, replica, from| {
            heard.lock().insert((group, replica, from));
        }));
        let leader = cluster.group(cluster.leader(GROUP).await, GROUP);
        // An older one than it is not: such a message is only late.
        for replica in [3, 5] {
            leader.add_learner(ReplicaId(replica), NodeId(2)).await.expect("the leader may");
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(*wanted.lock(), BTreeSet::from([(GROUP, ReplicaId(5), NodeId(1))]));
    });
}

#[test]
fn leadership_is_handed_over_without_an_election_timeout() {
    simulate(23, async {
        let mut cluster = Cluster::new(23, 3);
        cluster.create_group(GROUP, &[1, 2, 3]).await;
        for target in [1, 2, 3, 1, 3, 2] {
            let leader = cluster.leader(GROUP).await;
            if leader == target {
                continue;
            }
            cluster.propose(GROUP, &format!("before {target}")).await;
            let moved = cluster.group(leader, GROUP).transfer_leadership(ReplicaId(target)).await;
            moved.expect("the target is up to date");
            let led = async { cluster.leader(GROUP).await };
            let leader =
                tokio::time::timeout(Duration::from_millis(500), led).await.expect("no election timeout passes");
            assert_eq!(leader, target);
        }
    });
}

#[test]
fn only_a_leader_changes_the_membership() {
    simulate(24, async {
        let mut cluster = Cluster::new(24, 3);
        cluster.create_group(GROUP, &[1, 2, 3]).await;
        let leader = cluster.leader(GROUP).await;
        let follower = cluster.group(leader % 3 + 1, GROUP);
        let refused = follower.change_voters(&[ReplicaId(1)]).await;
        assert!(matches!(refused, Err(GroupError::NotLeader { leader: Some(_) })), "{refused:?}");
        let refused = follower.transfer_leadership(ReplicaId(1)).await;
        assert!(matches!(refused, Err(GroupError::NotLeader { .. })), "{refused:?}");
        let unknown = cluster.group(leader, GROUP).change_voters(&[ReplicaId(1), ReplicaId(9)]).await;
        assert!(matches!(unknown, Err(GroupError::Membership(_))), "{unknown:?}");
    });
}
