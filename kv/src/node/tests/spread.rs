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

/// Eight ranges of rows on three nodes, and two nodes join: copies move there until each node has about as many,
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
        tokio::time::sleep(Duration::from_secs(100)).await;
        let settled = copies(&cluster);
        let (least, most) = (settled.iter().min().expect("five nodes"), settled.iter().max().expect("five nodes"));
        assert!(most - least <= 2, "{settled:?}: {}", cluster.describe());
        let leads = |id: u64| cluster.node(id).store().all().iter().any(|(_, held)| held.group.leader_term().is_some());
        assert!(cluster.running().into_iter().filter(|id| leads(*id)).count() >= 2, "{}", cluster.describe());
        tokio::time::sleep(Duration::from_secs(50)).await;
        assert_eq!(copies(&cluster), settled, "and there they stay");
        for key in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            assert_eq!(cluster.get(5, key).await.expect("read").as_deref(), Some(key));
        }
        cluster.check_replica_equality().await;
    });
}

/// The node that holds each range's lease, by its own word; the ranges begin at these rows.
fn leaseholders(cluster: &Cluster, keys: &[String]) -> Vec<Option<u64>> {
    keys.iter().map(|key| cluster.leaseholder(key)).collect()
}

/// Nine ranges of rows, all led by the first node, and all used alike: soon each node leads its part of them, and there they stay.
#[test]
fn leases_spread_over_the_nodes() {
    simulate(160, async {
        let mut cluster = Cluster::new(160);
        cluster.settings.lease_rebalancing = true;
        for _ in 0..3 {
            cluster.add("").await;
        }
        cluster.replicated(3).await;
        let keys: Vec<String> = (0..9).map(|index| format!("k{index}")).collect();
        for key in &keys {
            assert_ne!(cluster.node(1).admin().split_at(row(key)).await.expect("split"), 0);
        }
        let mut before = Vec::new();
        for second in 0..150 {
            for key in &keys {
                let key = key.clone();
                cluster.put(second % 3 + 1, key, second.to_string()).await.expect("written");
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            if second == 100 {
                before = leaseholders(&cluster, &keys);
            }
        }
        for id in 1..=3 {
            let held = before.iter().filter(|holder| **holder == Some(id)).count();
            assert!((2..=4).contains(&held), "{before:?}");
        }
        assert_eq!(leaseholders(&cluster, &keys), before, "and there they stay");
        let actions = (1..=3).map(|id| cluster.node(id).admin().status().actions.get("transfer_lease").copied());
        assert!(actions.flatten().sum::<u64>() <= 12, "no more leases moved than must");
        let why = cluster.node(2).admin().explain_range(crate::directory::FIRST_RANGE_ID).await.expect("explained");
        assert!(why.last().is_some_and(|now| now.at.is_none() && now.action == "nothing"), "{why:?}");
    });
}

/// A lease goes to the region that the requests come from, and after them when they move.
#[test]
fn a_lease_follows_its_requests() {
    simulate(161, async {
        let mut cluster = Cluster::new(161);
        cluster.settings.lease_rebalancing = true;
        for region in ["region=a", "region=b", "region=c"] {
            cluster.add(region).await;
        }
        cluster.replicated(3).await;
        cluster.put(1, "a", "0").await.expect("written");
        for gateway in [2, 3] {
            for number in 0..90 {
                cluster.put(gateway, "a", number.to_string()).await.expect("written");
                cluster.put(gateway, "a", number.to_string()).await.expect("written");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            assert_eq!(cluster.leaseholder("a"), Some(gateway));
        }
        let why = cluster.node(1).admin().explain_range(crate::directory::DATA_RANGE_ID).await.expect("explained");
        let followed = why.iter().filter(|decision| decision.reason.contains("requests come from nearer"));
        assert!(followed.count() >= 2, "{why:?}");
        assert!(cluster.node(1).admin().explain_range(77).await.is_err(), "there is no such range");
    });
}
