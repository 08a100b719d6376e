//! Replicas compared by the nodes themselves.

use std::time::Duration;

use bytes::Bytes;
use raft_groups::NodeId;

use super::cluster::{Cluster, row, simulate};
use crate::api::Span;
use crate::consistency::CheckStatus;
use crate::engine::{Reader, WriteBatch};
use crate::keys;
use crate::mvcc::key;
use crate::node::CheckInfo;

fn everything() -> Span {
    Span { start: Bytes::from_static(keys::MIN), end: Bytes::from_static(keys::MAX) }
}

async fn check(cluster: &Cluster, from: u64) -> Vec<CheckInfo> {
    cluster.node(from).admin().check_replicas(everything()).await.expect("the directory answers")
}

/// Of each range in key order.
async fn statuses(cluster: &Cluster, from: u64) -> Vec<CheckStatus> {
    check(cluster, from).await.into_iter().map(|checked| checked.status).collect()
}

/// Three nodes with some rows in three ranges of rows.
async fn with_rows(seed: u64, check_interval_ms: u64) -> Cluster {
    let mut cluster = Cluster::new(seed);
    cluster.settings.check_interval_ms = check_interval_ms;
    for _ in 0..3 {
        cluster.add("").await;
    }
    cluster.replicated(3).await;
    for number in 0..60 {
        cluster.put(1, format!("k{number:02}"), format!("value {number}")).await.expect("written");
    }
    for at in ["k20", "k40"] {
        assert_ne!(cluster.node(1).admin().split_at(row(at)).await.expect("split"), 0);
    }
    cluster.replicated(3).await;
    cluster
}

/// Flips a bit of the newest version of a row.
fn flip(name: &str) -> impl FnOnce(&mut WriteBatch, &dyn Reader) {
    let (start, end) = key::span(&row(name), &keys::next(&row(name)));
    move |batch, reader| {
        let mut cursor = reader.cursor(&start, &end, false);
        assert!(cursor.advance().expect("readable"), "the row is there");
        let mut value = cursor.value().to_vec();
        *value.last_mut().expect("a value is not empty") ^= 1;
        batch.put(Bytes::copy_from_slice(cursor.key()), value);
    }
}

#[test]
fn equal_replicas_are_found_equal_whoever_asks() {
    simulate(400, async {
        let cluster = with_rows(400, 0).await;
        for from in 1..=3 {
            let checked = check(&cluster, from).await;
            assert_eq!(checked.len(), 4);
            for CheckInfo { status, detail, .. } in checked {
                assert_eq!(status, CheckStatus::Consistent, "{detail}");
                assert!(detail.starts_with("n1, n2, n3: checksum "), "{detail}");
            }
        }
        let counts = (1..=3).map(|id| cluster.node(id).admin().status().checks.consistent).sum::<u64>();
        assert_eq!(counts, 12);
    });
}

/// Every node in turn, the one that leads the range among them, and a row at either end of a range.
#[test]
fn a_flipped_bit_is_found_and_its_node_leaves_service() {
    for (seed, wrong, name) in [(410, 1, "k20"), (411, 2, "k39"), (412, 3, "k25"), (413, 1, "k59"), (414, 3, "k00")] {
        simulate(seed, async move {
            let mut cluster = with_rows(seed, 0).await;
            cluster.change_beneath(wrong, flip(name));
            let checked = check(&cluster, 2).await;
            let inconsistent: Vec<&CheckInfo> =
                checked.iter().filter(|checked| checked.status == CheckStatus::Inconsistent).collect();
            let [found] = inconsistent[..] else { panic!("{checked:?}") };
            assert!(found.descriptor.contains(&row(name)), "{found:?}");
            let why = tokio::time::timeout(Duration::from_secs(1), cluster.node(wrong).failed()).await;
            let why = why.expect("the node whose replica differs cannot go on");
            let range = format!("replica of range {}", found.descriptor.range_id);
            assert!(why.contains(&range) && why.contains("n1") && why.contains("checksum"), "{why}");
            assert_eq!(cluster.node(wrong).admin().status().failure, Some(why));
            let others: Vec<u64> = (1..=3).filter(|id| *id != wrong).collect();
            for id in &others {
                assert_eq!(cluster.node(*id).admin().status().failure, None);
            }
            // It does not come back with what it has, not even after a loss of power.
            cluster.crash(wrong).await;
            let refused = cluster.try_to_start(wrong).await.expect_err("its store is not to be trusted");
            let words = std::error::Error::source(&refused).expect("its cause").to_string();
            assert!(words.contains(&range), "{words}");
            cluster.put(others[0], name, "again").await.expect("the others go on");
            assert_eq!(cluster.get(others[1], name).await.expect("read").as_deref(), Some("again"));
        });
    }
}

#[test]
fn it_is_found_by_the_nodes_themselves_within_the_interval() {
    simulate(420, async {
        let cluster = with_rows(420, 5_000).await;
        tokio::time::sleep(Duration::from_secs(20)).await;
        let checks = |id: u64| cluster.node(id).admin().status().checks;
        assert!((1..=3).map(|id| checks(id).consistent).sum::<u64>() >= 8, "each of four ranges, twice at least");
        assert_eq!((1..=3).map(|id| checks(id).inconsistent).sum::<u64>(), 0);
        cluster.change_beneath(2, flip("k45"));
        let failed = tokio::time::timeout(Duration::from_secs(7), cluster.node(2).failed()).await;
        assert!(failed.expect("found in time").contains("is not what a majority"));
        assert_eq!((1..=3).map(|id| checks(id).inconsistent).sum::<u64>(), 1);
    });
}

/// What a key of its own, a missing version, and the range's own state look like.
#[test]
fn whatever_is_replicated_is_compared() {
    let missing = |batch: &mut WriteBatch, reader: &dyn Reader| {
        let (start, end) = key::span(&row("k30"), &keys::next(&row("k30")));
        let mut cursor = reader.cursor(&start, &end, false);
        assert!(cursor.advance().expect("readable"), "the row is there");
        batch.delete(Bytes::copy_from_slice(cursor.key()));
    };
    let intent = |batch: &mut WriteBatch, _: &dyn Reader| batch.put(key::prefix(&row("k30")), "an intent of nobody");
    let record = |batch: &mut WriteBatch, _: &dyn Reader| {
        batch.put(keys::txn_record(&row("k30"), crate::api::TxnId::default()), "a record of nobody");
    };
    type Change = fn(&mut WriteBatch, &dyn Reader);
    let changes: [Change; 3] = [missing, intent, record];
    for (number, change) in changes.into_iter().enumerate() {
        let seed = 430 + number as u64;
        simulate(seed, async move {
            let cluster = with_rows(seed, 0).await;
            cluster.change_beneath(3, change);
            let inconsistent = statuses(&cluster, 1).await.into_iter().filter(|s| *s == CheckStatus::Inconsistent);
            assert_eq!(inconsistent.count(), 1, "change {number}");
            tokio::time::timeout(Duration::from_secs(1), cluster.node(3).failed()).await.expect("it leaves service");
        });
    }
}

/// A node that is away, one that was sent a snapshot meanwhile, and one that comes back within the time a check waits.
#[test]
fn who_does_not_answer_is_not_taken_for_different() {
    simulate(440, async {
        let mut cluster = Cluster::new(440);
        cluster.settings.check_interval_ms = 0;
        // A log that is kept this short is not there any more for one who comes back.
        (cluster.groups.compact_after_entries, cluster.groups.keep_entries) = (10, 0);
        for _ in 0..3 {
            cluster.add("").await;
        }
        cluster.replicated(3).await;
        cluster.put(1, "a", "1").await.expect("written");
        cluster.network.disconnect(NodeId(3));
        cluster.crash(3).await;
        let checked = check(&cluster, 1).await;
        assert!(checked.iter().all(|checked| checked.status == CheckStatus::Indeterminate), "{checked:?}");
        assert!(checked[1].detail.contains("n1, n2: checksum") && checked[1].detail.contains("; n3: "), "{checked:?}");
        for number in 0..100 {
            cluster.put(1, format!("k{number}"), "v").await.expect("written");
        }
        cluster.start(3).await;
        cluster.check_replica_equality().await;
        for _ in 0..3 {
            assert_eq!(statuses(&cluster, 2).await, [CheckStatus::Consistent; 2]);
        }
    });
}

/// Writes, splits and checks that take long, at once: what is compared is what each replica had at one entry, whatever comes after.
#[test]
fn checks_beside_writes_and_splits_find_nothing() {
    for seed in 450..460 {
        simulate(seed, async move {
            let mut cluster = Cluster::new(seed);
            cluster.settings.check_interval_ms = 300;
            cluster.settings.check_bytes_a_second = 40_000;
            for _ in 0..3 {
                cluster.add("").await;
            }
            let (cluster, mut at) = (cluster, 0);
            let end = tokio::time::Instant::now() + Duration::from_secs(15);
            while tokio::time::Instant::now() < end {
                at += 1;
                cluster.put(1 + at % 3, format!("k{:03}", at * 37 % 200), "v".repeat(200)).await.expect("written");
                if at % 60 == 0 {
                    let _ = cluster.node(1 + at % 3).admin().split_at(row(&format!("k{:03}", at * 7 % 200))).await;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let counts: Vec<_> = (1..=3).map(|id| cluster.node(id).admin().status().checks).collect();
            assert_eq!(counts.iter().map(|counts| counts.inconsistent).sum::<u64>(), 0, "seed {seed}: {counts:?}");
            assert!(counts.iter().map(|counts| counts.consistent).sum::<u64>() > 5, "seed {seed}: {counts:?}");
        });
    }
}
