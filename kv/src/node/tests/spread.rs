//! Where copies are: on how many nodes, and on which.

use std::time::Duration;

use super::cluster::{Cluster, row, simulate};

#[test]
fn any_two_of_five_nodes_may_be_lost() {
    for (one, other) in (1..=5).flat_map(|one| (one + 1..=5).map(move |other| (one, other))) {
        simulate(10 * one + other, async move {
            let mut cluster = Cluster::new(10 * one + other);
            cluster.settings.replication_target = 5;
            for _ in 0..5 {
                cluster.add("").await;
            }
            cluster.put(1, "a", "1").await.expect("written");
            assert_ne!(cluster.node(1).admin().split_at(row("m")).await.expect("split"), 0);
            cluster.replicated(5).await;
            cluster.crash(one).await;
            cluster.crash(other).await;
            for from in cluster.running() {
                for key in ["a", "z"] {
                    cluster.put(from, key, from.to_string()).await.expect("three of five are enough to write");
                    let read = cluster.get(from, key).await.expect("three of five are enough to read");
                    assert_eq!(read, Some(from.to_string()));
                }
            }
            let from = cluster.running()[0];
            let right = cluster.node(from).admin().split_at(row("s")).await;
            assert_ne!(right.expect("three of five are enough for the directory"), 0);
            cluster.start(one).await;
            cluster.start(other).await;
            cluster.replicated(5).await;
            cluster.check_replica_equality().await;
        });
    }
}

/// Eight ranges of rows on three nodes, and two nodes join: copies move there, one at a time, until each node has about as many,
/// and the leases that stood in the way with them.
#[test]
fn copies_move_to_nodes_that_join() {
    simulate(150, async {
        let mut cluster = Cluster::of(150, 3).await;
        cluster.replicated(3).await;
        for key in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            cluster.put(1, key, key).await.expect("written");
            assert_ne!(cluster.node(1).admin().split_at(row(key)).await.expect("split"), 0);
        }
        for _ in 0..2 {
            cluster.add("").await;
        }
        let copies = |cluster: &Cluster| -> Vec<usize> {
            cluster.running().into_iter().map(|id| cluster.node(id).store().all().len()).collect()
        };
        tokio::time::sleep(Duration::from_secs(400)).await;
        let settled = copies(&cluster);
        let (least, most) = (settled.iter().min().expect("five nodes"), settled.iter().max().expect("five nodes"));
        assert!(most - least <= 2, "{settled:?}: {}", cluster.describe());
        let leads = |id: u64| cluster.node(id).store().all().iter().any(|(_, held)| held.group.leader_term().is_some());
        assert!(cluster.running().into_iter().filter(|id| leads(*id)).count() >= 2, "{}", cluster.describe());
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert_eq!(copies(&cluster), settled, "and there they stay");
        for key in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            assert_eq!(cluster.get(5, key).await.expect("read").as_deref(), Some(key));
        }
        cluster.check_replica_equality().await;
    });
}
