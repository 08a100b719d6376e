//! Members that get nowhere, and what must go on beside them.

use std::time::Duration;

use raft_groups::NodeId;

use super::cluster::{Cluster, row, simulate};
use crate::api::Span;

/// Rows are led from the second node, the directory from another: the one may be cut off from a node, and the other not.
async fn lead_from_second(cluster: &Cluster) {
    cluster.node(1).admin().transfer_lease(row("a"), 2).await.expect("moved");
    cluster.put(1, "a", "2").await.expect("written");
    assert_eq!(cluster.leaseholder("a"), Some(2));
    let leads = |id: u64, range: u64| {
        cluster.node(id).store().held(range).is_some_and(|held| held.group.leader_term().is_some())
    };
    assert!(leads(2, 2) && !leads(2, 1), "{}", cluster.describe());
}

/// The directory answers a node that comes back while the range's leader cannot reach it: it learns that it was removed from the
/// same words as that it is a member again.
#[test]
fn a_replica_that_learns_late_of_its_removal_lets_its_successor_in() {
    simulate(120, async {
        let mut cluster = Cluster::new(120);
        cluster.settings.node_dead_after_ms = 20_000;
        for _ in 0..3 {
            cluster.add("").await;
        }
        cluster.replicated(3).await;
        cluster.add("").await;
        cluster.put(1, "a", "1").await.expect("written");
        cluster.crash(3).await;
        tokio::time::sleep(Duration::from_secs(40)).await;
        cluster.replicated(3).await;
        lead_from_second(&cluster).await;
        cluster.crash(4).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        cluster.network.cut(NodeId(2), NodeId(3));
        cluster.start(3).await;
        tokio::time::sleep(Duration::from_secs(20)).await;
        cluster.network.heal();
        cluster.replicated(3).await;
        assert!(cluster.node(3).store().held(2).is_some(), "{}", cluster.describe());
        cluster.check_replica_equality().await;
    });
}

/// A node lives, but hears nothing from the leader: the copy that it was to have is made elsewhere once there is another node,
/// and nothing waits for it before.
#[test]
fn a_learner_that_never_catches_up_stops_nothing() {
    simulate(121, async {
        let mut cluster = Cluster::new(121);
        cluster.settings.node_dead_after_ms = 20_000;
        cluster.settings.range_split_bytes = 20_000;
        for _ in 0..3 {
            cluster.add("").await;
        }
        cluster.replicated(3).await;
        lead_from_second(&cluster).await;
        cluster.network.cut(NodeId(2), NodeId(4));
        cluster.add("").await;
        cluster.crash(3).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        let value = "v".repeat(500);
        for index in 0..200 {
            cluster.put(1, format!("k{index:03}"), &value).await.expect("written");
        }
        tokio::time::sleep(Duration::from_secs(15)).await;
        let span = Span { start: row(""), end: row("\u{7f}") };
        let ranges = cluster.node(1).admin().ranges(span).await.expect("listed");
        assert!(ranges.len() >= 4, "{} ranges: {}", ranges.len(), cluster.describe());
        cluster.add("").await;
        tokio::time::sleep(Duration::from_secs(90)).await;
        cluster.replicated(3).await;
        assert!(cluster.node(5).store().held(2).is_some(), "{}", cluster.describe());
        assert_eq!(cluster.scan(2, "k", "l", false, 0).await.expect("scanned").rows.len(), 200);
    });
}
