//! Nodes that are drained and decommissioned.

use std::time::Duration;

use super::cluster::{Cluster, row, simulate};
use crate::liveness::Membership;

const KEYS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// A cluster with a few ranges of rows.
async fn filled(seed: u64, nodes: u64) -> Cluster {
    let cluster = Cluster::of(seed, nodes).await;
    for key in KEYS {
        cluster.put(1, key, key).await.expect("written");
        assert_ne!(cluster.node(1).admin().split_at(row(key)).await.expect("split"), 0);
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    cluster
}

impl Cluster {
    /// Decides over a node, as asked of another. Returns how many replicas it has.
    async fn set_membership(&self, asked: u64, node_id: u64, membership: Membership) -> Result<u64, String> {
        self.node(asked).admin().set_membership(node_id, membership).await.map_err(|error| error.to_string())
    }

    /// Waits until a node has no replica, by the directory, and then removes it for good.
    async fn decommissioned(&self, asked: u64, node_id: u64) {
        let emptied = async {
            while self.set_membership(asked, node_id, Membership::Decommissioning).await.expect("taken") > 0 {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(60), emptied).await.is_err() {
            panic!("n{node_id} does not get rid of its replicas: {}", self.describe());
        }
        self.set_membership(asked, node_id, Membership::Decommissioned).await.expect("taken");
    }

    /// The node that serves a range, since it does now.
    async fn holder(&self) -> u64 {
        self.put(1, "a", "a").await.expect("written");
        self.leaseholder("a").expect("it was just written to")
    }

    async fn reads_everything(&self, from: u64) {
        for key in KEYS {
            assert_eq!(self.get(from, key).await.expect("read").as_deref(), Some(key));
        }
    }
}

#[test]
fn a_decommissioned_node_has_nothing_left_and_ends() {
    simulate(300, async {
        let mut cluster = filled(300, 4).await;
        let too_early = cluster.set_membership(1, 2, Membership::Decommissioned).await;
        assert!(too_early.expect_err("it is active").contains("must be decommissioning"));
        cluster.set_membership(1, 2, Membership::Decommissioning).await.expect("three nodes stay");
        assert!(!cluster.node(2).store().all().is_empty(), "it has replicas, or the test shows nothing");
        let full = cluster.set_membership(1, 2, Membership::Decommissioned).await;
        assert!(full.expect_err("it has replicas").contains("still has"));
        // It serves meanwhile.
        cluster.put(2, "z", "z").await.expect("written");
        cluster.decommissioned(3, 2).await;
        let ended = tokio::time::timeout(Duration::from_secs(5), cluster.node(2).failed()).await;
        assert!(ended.expect("it hears of it").contains("was decommissioned"));
        assert!(cluster.node(2).store().all().is_empty(), "{}", cluster.describe());
        cluster.kill(2).await;
        cluster.replicated(3).await;
        cluster.reads_everything(4).await;
        let back = cluster.set_membership(1, 2, Membership::Active).await;
        assert!(back.expect_err("gone for good").contains("cannot come back"));
        // Its process, were it started again, ends again, and gets nothing meanwhile.
        cluster.start(2).await;
        let ended = tokio::time::timeout(Duration::from_secs(5), cluster.node(2).failed()).await;
        assert!(ended.expect("it hears of it").contains("was decommissioned"));
        assert!(cluster.node(2).store().all().is_empty());
        cluster.kill(2).await;
        cluster.check_replica_equality().await;
    });
}

/// What a dead node held is not waited for until it counts as dead.
#[test]
fn a_dead_node_is_decommissioned_without_delay() {
    simulate(301, async {
        let mut cluster = filled(301, 4).await;
        cluster.crash(3).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        cluster.decommissioned(1, 3).await;
        cluster.replicated(3).await;
        cluster.reads_everything(2).await;
        assert_eq!(cluster.node(1).admin().status().underreplicated, 0);
    });
}

#[test]
fn a_node_without_which_there_are_too_few_is_not_decommissioned() {
    simulate(302, async {
        let cluster = filled(302, 3).await;
        let refused = cluster.set_membership(1, 2, Membership::Decommissioning).await;
        assert!(refused.expect_err("three copies need three nodes").contains("2 nodes for 3 copies"));
        assert!(
            cluster.set_membership(1, 9, Membership::Decommissioning).await.expect_err("none").contains("no node n9")
        );
        cluster.replicated(3).await;
    });
}

/// The first range has five voters on five nodes: it has three once one of them is to go.
#[test]
fn the_first_range_gives_a_node_up_that_has_no_successor() {
    simulate(303, async {
        let mut cluster = filled(303, 5).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        let holds_first = |id: u64, cluster: &Cluster| cluster.node(id).store().all().iter().any(|(id, _)| *id == 1);
        assert!((1..=5).all(|id| holds_first(id, &cluster)), "{}", cluster.describe());
        // The node that leads, too.
        let leader = cluster.holder().await;
        let asked = if leader == 1 { 2 } else { 1 };
        cluster.decommissioned(asked, leader).await;
        cluster.kill(leader).await;
        cluster.replicated(3).await;
        cluster.reads_everything(asked).await;
        assert_eq!(cluster.node(asked).admin().status().underreplicated, 0);
    });
}

#[test]
fn a_node_that_is_recommissioned_keeps_what_it_has_and_gets_more() {
    simulate(304, async {
        let cluster = filled(304, 4).await;
        cluster.set_membership(1, 4, Membership::Decommissioning).await.expect("three nodes stay");
        tokio::time::sleep(Duration::from_millis(300)).await;
        cluster.set_membership(2, 4, Membership::Active).await.expect("it is not gone");
        tokio::time::sleep(Duration::from_secs(300)).await;
        assert!(cluster.node(4).store().all().len() >= 3, "{}", cluster.describe());
        assert!(cluster.node(4).store().failure().is_none());
        cluster.replicated(3).await;
        cluster.reads_everything(4).await;
    });
}

/// Leases leave a node that drains, and stay away, though its replicas are as good as any; once it is started again they may return.
#[test]
fn a_node_that_drains_has_no_leases() {
    simulate(305, async {
        let mut cluster = filled(305, 3).await;
        let leader = cluster.holder().await;
        let other = if leader == 1 { 2 } else { 1 };
        let left = async {
            while cluster.node(leader).shared.drain().await.leases > 0 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), left).await.expect("others take them");
        tokio::time::timeout(Duration::from_secs(1), cluster.node(leader).drain_asked())
            .await
            .expect("clients are told");
        for _ in 0..30 {
            cluster.put(other, "a", "a").await.expect("served elsewhere");
            assert_ne!(cluster.leaseholder("a"), Some(leader));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let status = cluster.node(other).admin().nodes().into_iter().find(|node| node.descriptor.node_id == leader);
        assert!(status.and_then(|node| node.status).is_some_and(|status| status.draining && status.leases == 0));
        cluster.stop(leader).await;
        cluster.start(leader).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(!cluster.node(leader).admin().status().draining);
        cluster.replicated(3).await;
        cluster.reads_everything(leader).await;
    });
}
