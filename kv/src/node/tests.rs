mod checks;
mod clocks;
mod cluster;
mod commits;
mod departure;
mod directory;
mod founding;
mod garbage;
mod leases;
mod settings;
mod spread;
mod upkeep;

use std::time::Duration;

use cluster::{Cluster, row, simulate};

use crate::api::{KvError, Put, RequestKind, Span};

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

/// Whoever asks to join while the founder is still founding must not be given the founder's ID.
#[test]
fn nodes_that_start_at_once_get_ids_of_their_own() {
    for seed in 60..80 {
        simulate(seed, async move {
            let mut cluster = Cluster::new(seed);
            let nodes = cluster.start_at_once(3).await;
            let mut ids: Vec<u64> = nodes.iter().map(crate::node::Node::node_id).collect();
            assert_eq!(ids[0], 1, "the founder is the first");
            ids.sort_unstable();
            assert_eq!(ids, [1, 2, 3]);
            for node in nodes {
                node.halt().await;
            }
        });
    }
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
fn a_crashed_leaders_writes_are_read_elsewhere_and_it_catches_up() {
    for seed in 10..14 {
        simulate(seed, async {
            let mut cluster = Cluster::of(seed, 3).await;
            cluster.replicated(3).await;
            for index in 0..20 {
                cluster.put(1, format!("a{index}"), "x").await.expect("written");
            }
            cluster.crash(1).await;
            for index in 0..20 {
                assert_eq!(cluster.get(2, format!("a{index}")).await.expect("read").as_deref(), Some("x"));
                cluster.put(3, format!("b{index}"), "y").await.expect("written");
            }
            cluster.start(1).await;
            assert_eq!(cluster.get(1, "b19").await.expect("read").as_deref(), Some("y"));
            cluster.check_replica_equality().await;
        });
    }
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
fn a_range_is_split_under_writes() {
    for seed in 30..33 {
        simulate(seed, async {
            let cluster = Cluster::of(seed, 3).await;
            cluster.replicated(3).await;
            for index in 0..100 {
                cluster.put(1, format!("k{index:03}"), "0").await.expect("written");
            }
            let admin = cluster.node(2).admin();
            let writes = async {
                for round in 1..5 {
                    for index in 0..100 {
                        cluster.put(3, format!("k{index:03}"), round.to_string()).await.expect("written");
                    }
                }
            };
            let splits = async {
                for at in ["k050", "k025", "k075"] {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    assert_ne!(admin.split_at(row(at)).await.expect("split"), 0);
                }
                assert_eq!(admin.split_at(row("k050")).await.expect("split already"), 0);
            };
            tokio::join!(writes, splits);
            let rows = cluster.scan(1, "k", "l", false, 0).await.expect("scanned").rows;
            assert_eq!(rows.len(), 100);
            assert!(rows.iter().all(|row| row.value == "4"));
            let span = Span { start: row(""), end: row("\u{7f}") };
            let ranges = cluster.node(1).admin().ranges(span).await.expect("listed");
            assert_eq!(ranges.len(), 4);
            assert!(ranges.windows(2).all(|pair| pair[0].descriptor.end == pair[1].descriptor.start), "range_tiling");
            cluster.check_replica_equality().await;
        });
    }
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
fn a_large_range_splits_itself() {
    simulate(50, async {
        let mut cluster = Cluster::new(50);
        cluster.settings.range_split_bytes = 20_000;
        for _ in 0..3 {
            cluster.add("").await;
        }
        cluster.replicated(3).await;
        let value = "v".repeat(500);
        for index in 0..200 {
            cluster.put(1, format!("k{index:03}"), &value).await.expect("written");
        }
        tokio::time::sleep(Duration::from_secs(10)).await;
        let span = Span { start: row(""), end: row("\u{7f}") };
        let ranges = cluster.node(1).admin().ranges(span).await.expect("listed");
        assert!(ranges.len() >= 4, "{} ranges", ranges.len());
        assert!(ranges.iter().all(|range| range.bytes.is_some_and(|bytes| bytes <= 25_000)), "{ranges:?}");
        assert_eq!(cluster.scan(2, "k", "l", false, 0).await.expect("scanned").rows.len(), 200);
        cluster.check_replica_equality().await;
    });
}

#[test]
fn without_a_quorum_the_answer_names_the_missing_nodes() {
    simulate(60, async {
        let mut cluster = Cluster::of(60, 3).await;
        cluster.replicated(3).await;
        cluster.put(1, "a", "1").await.expect("written");
        cluster.crash(2).await;
        cluster.crash(3).await;
        let begun = tokio::time::Instant::now();
        let put = Put { key: row("a"), value: "2".into(), ..Put::default() };
        let error = cluster.send(1, RequestKind::Put(put)).await.expect_err("two of three are gone");
        assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
        let words = error.to_string();
        assert!(words.contains('2') && words.contains('3'), "{words}");
        assert!(matches!(error, KvError::Unavailable(_) | KvError::Ambiguous(_)), "{error:?}");
        cluster.start(2).await;
        cluster.put(1, "a", "3").await.expect("two of three are enough");
    });
}

#[test]
fn a_dead_nodes_copies_are_replaced_and_it_is_told_when_it_comes_back() {
    simulate(70, async {
        let mut cluster = Cluster::new(70);
        cluster.settings.node_dead_after_ms = 20_000;
        for _ in 0..4 {
            cluster.add("").await;
        }
        cluster.replicated(3).await;
        cluster.put(1, "a", "1").await.expect("written");
        let replica = cluster.node(1).store().held(2).expect("held").replica.descriptor().replicas[2];
        let (lost, former) = (replica.node_id, replica.replica_id);
        cluster.crash(lost).await;
        tokio::time::sleep(Duration::from_secs(40)).await;
        cluster.replicated(3).await;
        let from = cluster.running()[0];
        assert_eq!(cluster.get(from, "a").await.expect("read").as_deref(), Some("1"));
        cluster.start(lost).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        cluster.replicated(3).await;
        // It may have a copy again by now, since it has fewer than others; but not that one.
        let held = cluster.node(lost).store().held(2).map(|held| held.replica.replica_id());
        assert!(held.is_none_or(|replica| replica > former), "it was told: {}", cluster.describe());
    });
}

#[test]
fn a_node_that_stops_in_order_hands_its_leases_over() {
    simulate(80, async {
        let mut cluster = Cluster::of(80, 3).await;
        cluster.replicated(3).await;
        cluster.put(1, "a", "1").await.expect("written");
        cluster.stop(1).await;
        let begun = tokio::time::Instant::now();
        cluster.put(2, "a", "2").await.expect("written");
        assert!(begun.elapsed() < Duration::from_millis(500), "{:?} {}", begun.elapsed(), cluster.describe());
        cluster.start(1).await;
        assert_eq!(cluster.get(1, "a").await.expect("read").as_deref(), Some("2"));
    });
}

/// The first range has five copies where the others have three, and none of them moves for nothing.
#[test]
fn the_directory_survives_the_loss_of_two_of_five_nodes() {
    simulate(91, async {
        let mut cluster = Cluster::of(91, 5).await;
        let voters = |cluster: &Cluster, range: u64| {
            let of = |id: u64| cluster.node(id).store().held(range).map(|held| held.replica.descriptor());
            let newest = cluster.running().into_iter().filter_map(of).max_by_key(|descriptor| descriptor.generation);
            newest.map_or(0, |descriptor| descriptor.voters().count())
        };
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!((voters(&cluster, 1), voters(&cluster, 2)), (5, 3), "{}", cluster.describe());
        assert_eq!(cluster.node(1).admin().status().underreplicated, 0);
        let rows = cluster.node(1).store().held(2).expect("held").replica.descriptor();
        let with_rows = rows.voters().map(|replica| replica.node_id).find(|node| *node != 1).expect("three voters");
        let without = (2..=5).find(|id| rows.voters().all(|replica| replica.node_id != *id)).expect("three of five");
        cluster.crash(1).await;
        cluster.crash(without).await;
        cluster.put(with_rows, "a", "1").await.expect("two of three are enough for the rows");
        assert_ne!(cluster.node(with_rows).admin().split_at(row("m")).await.expect("three of five are enough"), 0);
    });
}

#[test]
fn copies_go_to_three_regions() {
    simulate(90, async {
        let mut cluster = Cluster::new(90);
        cluster.settings.system_replication_target = 3;
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

#[test]
fn a_leader_cut_off_is_replaced_and_nothing_acknowledged_is_lost() {
    for seed in 100..102 {
        simulate(seed, async {
            let cluster = Cluster::of(seed, 3).await;
            cluster.replicated(3).await;
            cluster.put(1, "a", "1").await.expect("written");
            cluster.network.partition(&[1.into()], &[2.into(), 3.into()]);
            let begun = tokio::time::Instant::now();
            cluster.put(2, "a", "2").await.expect("two of three go on");
            let gap = begun.elapsed();
            assert!(gap < Duration::from_secs(5), "{gap:?}");
            let stale = cluster.get(1, "a").await;
            assert!(stale.as_ref().is_err_and(|error| matches!(error, KvError::Unavailable(_))), "{stale:?}");
            cluster.network.heal();
            assert_eq!(cluster.get(1, "a").await.expect("healed").as_deref(), Some("2"));
            cluster.check_replica_equality().await;
        });
    }
}

#[test]
fn a_node_with_a_full_disk_leaves_what_it_leads_to_others() {
    for (seed, ballast_bytes, left_bytes) in [(111, 0, 3 << 20), (112, 2 << 20, -(2 << 20))] {
        simulate(seed, async {
            let mut cluster = Cluster::new(seed);
            cluster.settings.disk_floor_bytes = 4 << 20;
            cluster.settings.disk_ballast_bytes = ballast_bytes;
            for _ in 0..3 {
                cluster.add("").await;
            }
            cluster.replicated(3).await;
            cluster.put(1, "a", "1").await.expect("written");
            let full = cluster.leaseholder("a").expect("somebody holds the lease");
            let other = full % 3 + 1;
            // Another program takes all but so much at once, the ballast's room too.
            cluster.set_free_bytes(full, cluster.used_bytes(full).checked_add_signed(left_bytes));
            tokio::time::sleep(Duration::from_secs(6)).await;
            let begun = tokio::time::Instant::now();
            cluster.put(other, "a", "2").await.expect("two of three have room");
            assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
            cluster.set_free_bytes(full, None);
            tokio::time::sleep(Duration::from_secs(3)).await;
            assert_eq!(cluster.get(full, "a").await.expect("read").as_deref(), Some("2"));
            cluster.check_replica_equality().await;
        });
    }
}

/// Nine splits while the first copies are on their way: whichever way they overtake each other, each range is on three nodes in
/// the end.
#[test]
fn ranges_split_while_their_first_copies_come() {
    for seed in 130..150 {
        simulate(seed, async {
            let mut cluster = Cluster::new(seed);
            cluster.add("").await;
            for index in 0..20 {
                cluster.put(1, format!("k{index:02}"), "x".repeat(2_000)).await.expect("written");
            }
            let admin = cluster.node(1).admin();
            let splits = futures::future::join_all((1..20).map(|index| admin.split_at(row(&format!("k{index:02}")))));
            let joins = async {
                cluster.add("").await;
                cluster.add("").await;
            };
            futures::future::join(splits, joins).await;
            cluster.replicated(3).await;
            cluster.check_replica_equality().await;
        });
    }
}

#[test]
fn writes_are_refused_on_a_full_disk_and_go_on_with_room() {
    simulate(110, async {
        let mut cluster = Cluster::new(110);
        cluster.settings.disk_floor_bytes = 4 << 20;
        for _ in 0..3 {
            cluster.add("").await;
        }
        cluster.replicated(3).await;
        cluster.put(1, "a", "1").await.expect("written");
        cluster.set_free_bytes(2, Some(6 << 20));
        tokio::time::sleep(Duration::from_secs(3)).await;
        cluster.put(1, "a", "2").await.expect("room enough");
        for id in 1..=3 {
            cluster.set_free_bytes(id, Some(3 << 20));
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        let refused = cluster.put(2, "a", "3").await;
        assert!(matches!(refused, Err(KvError::DiskFull(_))), "{refused:?}");
        assert_eq!(cluster.get(3, "a").await.expect("reads go on").as_deref(), Some("2"));
        for id in 1..=3 {
            cluster.set_free_bytes(id, None);
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        cluster.put(2, "a", "4").await.expect("there is room again");
    });
}
