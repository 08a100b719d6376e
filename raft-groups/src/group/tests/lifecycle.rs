//! Election, replication, the fence, crash and restart, many groups at once.

use std::time::Duration;

use bytes::Bytes;

use super::cluster::{Cluster, GROUP, simulate, texts};
use crate::{GroupError, GroupId, NodeId, ProposeError, ReplicaId};

#[test]
fn three_replicas_elect_a_leader_and_apply_alike() {
    simulate(1, async {
        let mut cluster = Cluster::new(1, 3);
        cluster.create_group(GROUP, &[1, 2, 3]).await;
        for command in ["a", "b", "c"] {
            cluster.propose(GROUP, command).await;
        }
        let commands = cluster.converge(GROUP, &[1, 2, 3], 3).await;
        assert_eq!(texts(&commands), ["a", "b", "c"]);
        let leader = cluster.leader(GROUP).await;
        let status = cluster.group(leader, GROUP).status();
        assert_eq!(status.leader, Some(ReplicaId(leader)));
        assert_eq!(status.leader_node(), Some((ReplicaId(leader), NodeId(leader))));
        assert_eq!(status.peers.len(), 3, "a leader knows how far each replica is");
        let told = cluster.machine(leader, GROUP).store.lock().told.clone();
        assert!(told.last().is_some_and(|status| status.is_leader), "the state machine was told");
    });
}

#[test]
fn a_single_replica_leads_as_soon_as_it_campaigns() {
    simulate(2, async {
        let mut cluster = Cluster::new(2, 1);
        cluster.create_group(GROUP, &[1]).await;
        let group = cluster.group(1, GROUP);
        group.campaign().await.expect("the group runs");
        let led = group.wait_until(|status| status.is_leader);
        tokio::time::timeout(Duration::from_millis(100), led).await.expect("no election timeout passes").expect("runs");
        assert!(group.heard_quorum_within(Duration::from_millis(1)), "one replica is a quorum of one");
        cluster.propose(GROUP, "a").await;
    });
}

#[test]
fn a_proposal_enters_the_log_only_in_the_term_it_names() {
    simulate(3, async {
        let mut cluster = Cluster::new(3, 3);
        cluster.create_group(GROUP, &[1, 2, 3]).await;
        let leader = cluster.leader(GROUP).await;
        let group = cluster.group(leader, GROUP);
        let term = group.leader_term().expect("it leads");
        for wrong in [term - 1, term + 1] {
            let refused = group.propose(Bytes::from("never"), wrong).await;
            assert!(matches!(refused, Err(ProposeError::NotLeader { .. })), "{refused:?}");
        }
        let follower = cluster.group(leader % 3 + 1, GROUP);
        let refused = follower.propose(Bytes::from("never"), term).await;
        assert_eq!(refused, Err(ProposeError::NotLeader { leader: Some((ReplicaId(leader), NodeId(leader))) }));
        cluster.propose(GROUP, "once").await;
        assert_eq!(texts(&cluster.converge(GROUP, &[1, 2, 3], 1).await), ["once"]);
    });
}

#[test]
fn each_node_may_crash_in_turn() {
    simulate(4, async {
        let mut cluster = Cluster::new(4, 3);
        cluster.create_group(GROUP, &[1, 2, 3]).await;
        let mut expected = Vec::new();
        for round in 0..6 {
            let down = round % 3 + 1;
            cluster.crash(down, round % 2 == 0).await;
            for number in 0..5 {
                let command = format!("{round}.{number}");
                cluster.propose(GROUP, &command).await;
                expected.push(command);
            }
            cluster.restart(down).await;
            let commands = cluster.converge(GROUP, &[1, 2, 3], expected.len()).await;
            assert_eq!(texts(&commands), expected);
        }
    });
}

#[test]
fn what_was_acknowledged_survives_a_power_loss_of_all() {
    for seed in 0..10 {
        simulate(seed, async {
            let mut cluster = Cluster::new(seed, 3);
            cluster.create_group(GROUP, &[1, 2, 3]).await;
            let mut expected = Vec::new();
            for round in 0..3 {
                for number in 0..10 {
                    let command = format!("{round}.{number}");
                    cluster.propose(GROUP, &command).await;
                    expected.push(command);
                }
                for id in 1..=3 {
                    cluster.crash(id, true).await;
                }
                for id in 1..=3 {
                    cluster.restart(id).await;
                }
                assert_eq!(texts(&cluster.converge(GROUP, &[1, 2, 3], expected.len()).await), expected, "seed {seed}");
            }
        });
    }
}

#[test]
fn a_restarted_leader_leads_only_in_a_new_term() {
    simulate(6, async {
        let mut cluster = Cluster::new(6, 1);
        cluster.create_group(GROUP, &[1]).await;
        cluster.leader(GROUP).await;
        let term = cluster.group(1, GROUP).leader_term().expect("it leads");
        cluster.crash(1, false).await;
        cluster.restart(1).await;
        cluster.leader(GROUP).await;
        assert!(cluster.group(1, GROUP).leader_term() > Some(term));
    });
}

#[test]
fn a_removed_group_starts_from_nothing() {
    simulate(7, async {
        let mut cluster = Cluster::new(7, 1);
        cluster.create_group(GROUP, &[1]).await;
        cluster.propose(GROUP, "old").await;
        let host = cluster.host(NodeId(1));
        let again = host.start_group(GROUP, ReplicaId(1), std::sync::Arc::new(cluster.machine(1, GROUP))).await;
        assert!(matches!(again, Err(GroupError::AlreadyRuns(GROUP))));
        host.remove_group(GROUP).await.expect("the log works");
        assert!(host.group(GROUP).is_none());
        cluster.create_group(GROUP, &[1]).await;
        cluster.propose(GROUP, "new").await;
        assert_eq!(texts(&cluster.converge(GROUP, &[1], 1).await), ["new"]);
    });
}

#[test]
fn many_proposers_share_messages_and_syncs() {
    simulate(8, async {
        let mut cluster = Cluster::new(8, 3);
        cluster.create_group(GROUP, &[1, 2, 3]).await;
        let leader = cluster.group(cluster.leader(GROUP).await, GROUP);
        let term = leader.leader_term().expect("it leads");
        let before = cluster.network.delivered();
        let mut proposals = Vec::new();
        for number in 0..1_000 {
            let leader = leader.clone();
            let proposal = async move { leader.propose(Bytes::from(format!("{number}")), term).await };
            proposals.push(cluster.tasks.spawn("proposer", proposal));
        }
        for proposal in proposals {
            proposal.await.expect("no proposer panics").expect("nothing fails");
        }
        let messages = cluster.network.delivered() - before;
        assert!(messages < 200, "{messages} messages for 1000 proposals");
        cluster.converge(GROUP, &[1, 2, 3], 1_000).await;
    });
}

#[test]
fn three_hundred_groups_live_side_by_side() {
    simulate(9, async {
        let mut cluster = Cluster::new(9, 3);
        for group in 1..=300 {
            cluster.create_group(GroupId(group), &[1, 2, 3]).await;
        }
        for group in 1..=300 {
            cluster.propose(GroupId(group), &format!("to {group}")).await;
        }
        cluster.crash(2, true).await;
        cluster.restart(2).await;
        for group in 1..=300 {
            let commands = cluster.converge(GroupId(group), &[1, 2, 3], 1).await;
            assert_eq!(texts(&commands), [format!("to {group}")]);
        }
    });
}
