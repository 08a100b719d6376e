//! Clocks that are wrong: fenced, while the others go on.

use std::time::Duration;

use clock::ClockFault;

use super::cluster::{Cluster, simulate};

/// A clock that is this far off disagrees with every other one, beyond what the bounds allow.
const FAR_OFF_MS: i64 = 60;

#[test]
fn clock_fencing_ends_the_node_that_is_wrong_and_only_that_one() {
    for (seed, skew_ms) in [(200, FAR_OFF_MS), (201, -FAR_OFF_MS), (202, 3_600_000), (203, -3_600_000)] {
        simulate(seed, async {
            let mut cluster = Cluster::of(seed, 3).await;
            cluster.replicated(3).await;
            cluster.put(1, "a", "1").await.expect("written");
            let wrong = cluster.leaseholder("a").expect("somebody holds the lease");
            cluster.skew(wrong, skew_ms);
            let fenced = tokio::time::timeout(Duration::from_secs(5), cluster.node(wrong).fenced()).await;
            let fault = fenced.expect("clock_fencing: a node with a wrong clock goes on");
            assert_eq!(fault, ClockFault::PeersDisagree { disagreeing: 2, peers: 2 });
            assert_eq!(cluster.leaseholder("a"), None, "its lease is dropped");
            assert!(cluster.get(wrong, "a").await.is_err(), "it serves nothing");
            let others: Vec<u64> = (1..=3).filter(|id| *id != wrong).collect();
            let begun = tokio::time::Instant::now();
            cluster.put(others[0], "a", "2").await.expect("the others go on");
            assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
            // Its process ends, and comes back once its clock is set.
            cluster.crash(wrong).await;
            cluster.skew(wrong, 0);
            cluster.start(wrong).await;
            assert_eq!(cluster.get(wrong, "a").await.expect("read").as_deref(), Some("2"));
            tokio::time::sleep(Duration::from_secs(10)).await;
            for id in 1..=3 {
                let fenced = tokio::time::timeout(Duration::from_millis(1), cluster.node(id).fenced()).await;
                assert!(fenced.is_err(), "n{id} is fenced although its clock is right: {fenced:?}");
            }
            cluster.check_replica_equality().await;
        });
    }
}

#[test]
fn clocks_within_their_bounds_are_left_alone() {
    simulate(210, async {
        let cluster = Cluster::of(210, 3).await;
        cluster.replicated(3).await;
        for (id, skew_ms) in [(1, -10), (2, 10), (3, 0)] {
            cluster.skew(id, skew_ms);
        }
        for round in 0..20 {
            let from = 1 + round % 3;
            cluster.put(from, "a", round.to_string()).await.expect("written");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        for id in 1..=3 {
            let fenced = tokio::time::timeout(Duration::from_millis(1), cluster.node(id).fenced()).await;
            assert!(fenced.is_err(), "n{id}: {fenced:?}");
        }
    });
}
