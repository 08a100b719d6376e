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
            let ClockFault::PeersDisagree { disagreeing: 2, peers: 2, worst: Some(worst) } = &fault else {
                panic!("{fault:?}")
            };
            assert!(worst.peer != wrong && worst.bound_ns == 10_000_000, "{worst:?}");
            // So far ahead, what one sends is refused by the other: which says by how much.
            assert!(
                worst.skew_ns.as_ref().is_err_and(|words| words.contains(" ms ahead of this node's clock")),
                "{worst:?}"
            );
            let told = cluster.node(wrong).admin().status().clock_fault;
            assert_eq!(told, Some(fault.to_string()));
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

/// A clock that stays wrong: the node does not serve for a moment each time it is started again, but compares clocks first, says what
/// it waits for, and waits twice as long each time.
#[test]
fn a_node_whose_clock_stays_wrong_waits_before_it_serves() {
    simulate(220, async {
        let mut cluster = Cluster::of(220, 3).await;
        cluster.replicated(3).await;
        cluster.put(1, "a", "1").await.expect("written");
        cluster.skew(2, -FAR_OFF_MS);
        let fenced = tokio::time::timeout(Duration::from_secs(5), cluster.node(2).fenced()).await;
        fenced.expect("clock_fencing: a node with a wrong clock goes on");
        cluster.kill(2).await;
        let (waiting, starting) = cluster.starting(2);
        let mut starting = std::pin::pin!(starting);
        let begun = tokio::time::Instant::now();
        let mut pauses = Vec::new();
        while begun.elapsed() < Duration::from_secs(90) {
            let started = tokio::time::timeout(Duration::from_millis(100), &mut starting).await;
            assert!(started.is_err(), "it serves with a clock that is wrong, after {:?}", begun.elapsed());
            let words = waiting.told().expect("it says what it waits for");
            let pause = words.split_once("compares clocks in ").map(|(_, rest)| rest.to_owned());
            if let Some(pause) = pause.filter(|pause| pauses.last() != Some(pause)) {
                pauses.push(pause);
            }
        }
        let pauses_s: Vec<&str> = pauses.iter().filter_map(|pause| pause.split_once(',')).map(|(s, _)| s).collect();
        assert_eq!(pauses_s, ["1s", "2s", "4s", "8s", "16s", "32s", "60s"]);
        cluster.skew(2, 0);
        let node =
            tokio::time::timeout(Duration::from_secs(70), starting).await.expect("it serves once its clock is right");
        assert_eq!(waiting.told(), None);
        cluster.set_started(2, node.expect("the node starts"));
        cluster.put(2, "a", "2").await.expect("written");
        assert_eq!(cluster.get(2, "a").await.expect("read").as_deref(), Some("2"));
    });
}
