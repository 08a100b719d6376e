//! Groups that end though nobody stops them: told at once, and started again where that is safe.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::cluster::{Cluster, GROUP, simulate};
use super::machine::NextApply;
use crate::{AppliedState, GroupConfig, GroupEnd, NodeId, ReplicaId};

type Told = Arc<Mutex<Vec<(ReplicaId, GroupEnd)>>>;

/// Has a node's host tell of groups that end.
fn listen(cluster: &Cluster, node: u64) -> Told {
    let told = Told::default();
    let kept = told.clone();
    cluster.host(NodeId(node)).on_end(Arc::new(move |group, replica, end| {
        assert_eq!(group, GROUP);
        kept.lock().push((replica, end));
    }));
    told
}

async fn until_told(told: &Told) -> GroupEnd {
    let waiting = async {
        while told.lock().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("the end of a group is told");
    let mut told = told.lock();
    assert_eq!(told.len(), 1, "once: {told:?}");
    told.remove(0).1
}

#[test]
fn a_group_whose_snapshot_was_refused_is_started_again_and_catches_up() {
    simulate(90, async {
        let config = GroupConfig { compact_after_entries: 20, keep_entries: 5, ..GroupConfig::default() };
        let mut cluster = Cluster::with_config(90, 2, config);
        cluster.create_group(GROUP, &[1]).await;
        for number in 0..100 {
            cluster.propose(GROUP, &format!("{number}")).await;
        }
        cluster.start_replica(GROUP, NodeId(2), ReplicaId(2), AppliedState::default()).await;
        cluster.machine(2, GROUP).store.lock().refusals = 2;
        let told = listen(&cluster, 2);
        cluster.group(1, GROUP).add_learner(ReplicaId(2), NodeId(2)).await.expect("the leader may");
        for _ in 0..2 {
            let end = until_told(&told).await;
            assert!(matches!(&end, GroupEnd::Refused(words) if words.contains("not now")), "{end:?}");
            assert!(cluster.group(2, GROUP).leader_term().is_none());
            let host = cluster.host(NodeId(2));
            host.stop_group(GROUP).await.expect("it has its place still");
            let machine = Arc::new(cluster.machine(2, GROUP));
            host.start_group(GROUP, ReplicaId(2), machine).await.expect("it starts again");
        }
        cluster.converge(GROUP, &[1, 2], 100).await;
        cluster.host(NodeId(2)).stop_group(GROUP).await.expect("it runs");
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(told.lock().is_empty(), "a group that is stopped does not end by itself");
    });
}

#[test]
fn a_group_whose_state_machine_fails_or_panics_is_told_as_failed() {
    for (next, words) in [(NextApply::Fails, "the engine is broken"), (NextApply::Panics, "the engine is a mess")] {
        simulate(91, async {
            let mut cluster = Cluster::new(91, 3);
            cluster.create_group(GROUP, &[1, 2, 3]).await;
            cluster.propose(GROUP, "first").await;
            cluster.converge(GROUP, &[1, 2, 3], 1).await;
            let leader = cluster.leader(GROUP).await;
            let victim = leader % 3 + 1;
            let told = listen(&cluster, victim);
            cluster.machine(victim, GROUP).store.lock().next_apply = next;
            cluster.propose(GROUP, "second").await;
            let end = until_told(&told).await;
            assert!(matches!(&end, GroupEnd::Failed(told) if told.contains(words)), "{end:?}");
            // The leader's own: who waits for it is told that the fate is open.
            let told = listen(&cluster, leader);
            let group = cluster.group(leader, GROUP);
            cluster.machine(leader, GROUP).store.lock().next_apply = next;
            let term = group.leader_term().expect("it leads");
            group.propose(Bytes::from("third"), term).await.expect_err("it never applies here");
            assert!(matches!(until_told(&told).await, GroupEnd::Failed(_)));
            assert_eq!(group.leader_term(), None, "what has ended does not lead");
        });
    }
}
