mod cluster;

use std::time::Duration;

use cluster::{Cluster, row, simulate};

use crate::api::Span;

#[test]
fn one_node_founds_a_cluster_and_serves() {
    simulate(1, async {
        let cluster = Cluster::of(1, 1).await;
        cluster.put(1, "a", "1").await.expect("written");
        assert_eq!(cluster.get(1, "a").await.expect("read").as_deref(), Some("1"));
        assert_eq!(cluster.get(1, "b").await.expect("read"), None);
        let ranges = cluster.node(1).admin().ranges(Span { start: b"\x02"[..].into(), end: b"\xff"[..].into() }).await;
        assert_eq!(ranges.expect("listed").len(), 2);
    });
}

#[test]
fn a_restarted_node_goes_on_as_what_it_was() {
    simulate(2, async {
        let mut cluster = Cluster::of(2, 1).await;
        for index in 0..50 {
            cluster.put(1, format!("k{index}"), index.to_string()).await.expect("written");
        }
        cluster.crash(1).await;
        cluster.start(1).await;
        for index in 0..50 {
            assert_eq!(cluster.get(1, format!("k{index}")).await.expect("read"), Some(index.to_string()));
        }
        cluster.stop(1).await;
        cluster.start(1).await;
        assert_eq!(cluster.get(1, "k7").await.expect("read").as_deref(), Some("7"));
    });
}

#[test]
fn three_nodes_are_replicated_well_within_a_second() {
    simulate(3, async {
        let begun = tokio::time::Instant::now();
        let cluster = Cluster::of(3, 3).await;
        cluster.replicated(3).await;
        let took = begun.elapsed();
        assert!(took < Duration::from_millis(700), "{took:?}");
        cluster.put(2, "a", "1").await.expect("written");
        for id in 1..=3 {
            assert_eq!(cluster.get(id, "a").await.expect("read").as_deref(), Some("1"));
        }
        cluster.check_replica_equality().await;
    });
}

#[test]
fn a_node_far_behind_catches_up_by_snapshot() {
    simulate(20, async {
        let mut cluster = Cluster::new(20);
        cluster.groups.compact_after_entries = 40;
        cluster.groups.keep_entries = 10;
        for _ in 0..3 {
            cluster.add("").await;
        }
        cluster.replicated(3).await;
        cluster.put(1, "before", "1").await.expect("written");
        cluster.crash(3).await;
        for index in 0..300 {
            cluster.put(1, format!("k{index}"), index.to_string()).await.expect("written");
        }
        cluster.start(3).await;
        cluster.check_replica_equality().await;
        assert_eq!(cluster.get(3, "k299").await.expect("read").as_deref(), Some("299"));
    });
}

#[test]
fn limits_hold_over_ranges_in_both_directions() {
    simulate(40, async {
        let cluster = Cluster::of(40, 3).await;
        for index in 0..30 {
            cluster.put(1, format!("k{index:03}"), "0").await.expect("written");
        }
        for at in ["k010", "k020"] {
            cluster.node(1).admin().split_at(row(at)).await.expect("split");
        }
        for reverse in [false, true] {
            let (mut start, mut end) = ("k".to_owned(), "l".to_owned());
            let mut keys = Vec::new();
            loop {
                let page = cluster.scan(2, &start, &end, reverse, 7).await.expect("scanned");
                keys.extend(page.rows.iter().map(|row| row.key.clone()));
                let Some(resume) = page.resume else { break };
                assert_eq!(page.rows.len(), 7);
                let text = |key: &[u8]| String::from_utf8_lossy(&key[1..]).into_owned();
                (start, end) = (text(&resume.start), text(&resume.end));
            }
            let mut expected: Vec<_> = (0..30).map(|index| row(&format!("k{index:03}"))).collect();
            if reverse {
                expected.reverse();
            }
            assert_eq!(keys, expected);
        }
    });
}

#[test]
fn copies_go_to_three_regions() {
    simulate(90, async {
        let mut cluster = Cluster::new(90);
        for locality in ["region=a", "region=a", "region=a", "region=b", "region=c"] {
            cluster.add(locality).await;
        }
        cluster.replicated(3).await;
        cluster.check_replica_equality().await;
    });
}

/// The same seed, the same run: messages delivered, and everything applied.
#[test]
fn same_seed_same_trace() {
    let run = |seed| {
        simulate(seed, async move {
            let mut cluster = Cluster::of(seed, 3).await;
            cluster.replicated(3).await;
            for index in 0..30 {
                cluster.put(1 + index % 3, format!("k{index}"), "x").await.expect("written");
            }
            cluster.crash(2).await;
            cluster.put(1, "after", "x").await.expect("written");
            cluster.start(2).await;
            cluster.check_replica_equality().await;
            (cluster.network.delivered(), cluster.describe())
        })
    };
    assert_eq!(run(7), run(7));
}
