//! Garbage collection over the life of ranges.

use std::time::Duration;

use bytes::Bytes;
use clock::Timestamp;

use super::cluster::{Cluster, row, simulate};
use crate::api::*;

const KEYS: usize = 300;

fn name(index: usize) -> String {
    format!("k{index:04}")
}

/// Overwrites every key; each second one is deleted instead in the rounds that say so.
async fn write_round(cluster: &Cluster, from: u64, round: usize) {
    let request = |index: usize| -> Request {
        if round % 3 == 2 && index % 2 == 1 {
            return RequestKind::Delete(Delete { key: row(&name(index)), ..Delete::default() }).into();
        }
        let value = Bytes::from(format!("{round}:{}", "v".repeat(40)));
        RequestKind::Put(Put { key: row(&name(index)), value, ..Put::default() }).into()
    };
    // Without a transaction a batch stays within its range: a key at a time where ranges end.
    for index in (0..KEYS).step_by(50) {
        let all = BatchRequest { requests: (index..index + 50).map(request).collect(), ..BatchRequest::default() };
        if matches!(cluster.send_batch(from, all).await, Err(KvError::Invalid(_))) {
            for index in index..index + 50 {
                let one = BatchRequest { requests: vec![request(index)], ..BatchRequest::default() };
                cluster.send_batch(from, one).await.expect("written");
            }
        }
    }
}

fn expected(round: usize) -> Vec<String> {
    (0..KEYS).filter(|index| !(round % 3 == 2 && index % 2 == 1)).map(name).collect()
}

async fn check_rows(cluster: &Cluster, from: u64, round: usize) {
    let rows = cluster.scan(from, "k", "l", false, 0).await.expect("scanned").rows;
    let found: Vec<String> = rows.iter().map(|row| String::from_utf8_lossy(&row.key[1..]).into_owned()).collect();
    assert_eq!(found, expected(round), "after round {round}");
    let prefix = format!("{round}:");
    assert!(rows.iter().all(|row| row.value.starts_with(prefix.as_bytes())), "after round {round}");
}

/// Versions of all ranges together, as their leaseholders count them.
fn versions(cluster: &Cluster) -> i64 {
    let mut count = std::collections::BTreeMap::new();
    for id in cluster.running() {
        for (range, held) in cluster.node(id).store().all() {
            if held.replica.descriptor().start[..] >= row("")[..] && held.replica.is_leaseholder() {
                count.insert(range, held.replica.stats().version_count);
            }
        }
    }
    count.values().sum()
}

async fn collect(cluster: &Cluster, from: u64, key: &str, threshold: Timestamp) -> Result<(), KvError> {
    let collect = CollectGarbage { key: row(key), threshold };
    cluster.send(from, RequestKind::CollectGarbage(collect)).await.map(|_| ())
}

fn read_below(cluster: &Cluster, at: Timestamp) -> BatchRequest {
    let header = BatchHeader { read_timestamp: at, historical: true, ..BatchHeader::default() };
    let _ = cluster;
    BatchRequest { header, requests: vec![RequestKind::Get(Get { key: row(&name(7)), ..Get::default() }).into()] }
}

#[test]
fn garbage_goes_by_itself_and_reads_below_the_threshold_are_refused() {
    simulate(400, async {
        let mut cluster = Cluster::new(400);
        cluster.settings.gc_ttl_ms = 3_000;
        cluster.settings.gc_interval_ms = 2_000;
        for _ in 0..3 {
            cluster.add("").await;
        }
        cluster.replicated(3).await;
        write_round(&cluster, 1, 0).await;
        let early = cluster.now(1);
        for round in 1..12 {
            write_round(&cluster, 1 + round as u64 % 3, round).await;
        }
        assert!(cluster.send_batch(2, read_below(&cluster, early)).await.is_ok(), "it is young enough still");
        // Leases lapse on idle ranges: somebody must be there to collect.
        for _ in 0..30 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            check_rows(&cluster, 2, 11).await;
        }
        assert_eq!(versions(&cluster), expected(11).len() as i64, "{}", cluster.describe());
        let refused = cluster.send_batch(2, read_below(&cluster, early)).await;
        assert!(matches!(refused, Err(KvError::BelowGcThreshold(_))), "{refused:?}");
        cluster.check_replica_equality().await;
    });
}

#[test]
fn a_collection_across_splits_takes_nothing_that_lives() {
    for seed in 410..418 {
        simulate(seed, async move {
            let cluster = Cluster::of(seed, 3).await;
            cluster.replicated(3).await;
            // Enough for several commands.
            let rounds = 40 + seed as usize % 3;
            for round in 0..=rounds {
                write_round(&cluster, 1, round).await;
            }
            let threshold = cluster.now(1);
            let early = threshold.minus(Duration::from_secs(1));
            tokio::time::sleep(Duration::from_millis(50)).await;
            let splits = async {
                tokio::time::sleep(Duration::from_micros(700 * (seed % 7))).await;
                for at in [150, 75, 225] {
                    cluster.node(2).admin().split_at(row(&name(at))).await.expect("split");
                }
            };
            let (collected, ()) = tokio::join!(collect(&cluster, 3, "k", threshold), splits);
            assert!(
                matches!(collected, Ok(()) | Err(KvError::Ambiguous(_) | KvError::NotLeaseholder(_))),
                "{collected:?}"
            );
            check_rows(&cluster, 1, rounds).await;
            cluster.check_replica_equality().await;
            // The right sides are bound by a threshold that was in place before they were split off, and by their own.
            for at in [0, 75, 150, 225] {
                collect(&cluster, 1, &name(at), threshold).await.expect("collected");
                let read = RequestKind::Get(Get { key: row(&name(at)), ..Get::default() });
                let header = BatchHeader { read_timestamp: early, historical: true, ..BatchHeader::default() };
                let refused = cluster.send_batch(2, BatchRequest { header, requests: vec![read.into()] }).await;
                assert!(matches!(refused, Err(KvError::BelowGcThreshold(_))), "{refused:?}");
            }
            assert_eq!(versions(&cluster), expected(rounds).len() as i64);
            check_rows(&cluster, 2, rounds).await;
            write_round(&cluster, 3, rounds + 1).await;
            check_rows(&cluster, 2, rounds + 1).await;
            cluster.check_replica_equality().await;
        });
    }
}

#[test]
fn a_split_carries_the_threshold_over() {
    simulate(420, async {
        let mut cluster = Cluster::of(420, 3).await;
        cluster.replicated(3).await;
        for round in 0..3 {
            write_round(&cluster, 1, round).await;
        }
        let threshold = cluster.now(1);
        collect(&cluster, 1, "k", threshold).await.expect("collected");
        cluster.node(2).admin().split_at(row(&name(5))).await.expect("split");
        cluster.crash(1).await;
        cluster.start(1).await;
        let early = threshold.minus(Duration::from_millis(1));
        for from in 1..=3 {
            let refused = cluster.send_batch(from, read_below(&cluster, early)).await;
            assert!(matches!(refused, Err(KvError::BelowGcThreshold(_))), "{refused:?}");
        }
        check_rows(&cluster, 1, 2).await;
    });
}

/// Transaction records on a node, by what their ranges hold.
fn records(cluster: &Cluster, node: u64) -> usize {
    let (start, end) = crate::keys::key_local_span(b"", b"");
    let reader = cluster.node(node).store().engine().snapshot();
    let mut cursor = reader.cursor(&start, &end, false);
    let mut count = 0;
    while cursor.advance().expect("memory is readable") {
        count += usize::from(crate::keys::decode_txn_record(cursor.key()).is_some());
    }
    count
}

fn transaction(cluster: &Cluster, name: u128, anchor: &str) -> TxnMeta {
    let now = cluster.now(1);
    TxnMeta {
        id: TxnId::from_random(name),
        anchor: row(anchor),
        sequence: 1,
        read_timestamp: now,
        write_timestamp: now,
        uncertainty_limit: now,
        begin_timestamp: now,
        held_since: Some(now),
        ..TxnMeta::default()
    }
}

async fn act_for(cluster: &Cluster, txn: &TxnMeta, kinds: Vec<RequestKind>) -> BatchResponse {
    let header = BatchHeader { txn: Some(txn.clone()), ..BatchHeader::default() };
    let requests = kinds.into_iter().map(Request::from).collect();
    cluster.send_batch(1, BatchRequest { header, requests }).await.expect("it does as it is told")
}

fn put(key: &str) -> RequestKind {
    RequestKind::Put(Put { key: row(key), value: "1".into(), sequence: 1, ..Put::default() })
}

fn point(key: &str) -> Span {
    Span { start: row(key), end: Bytes::new() }
}

/// A table that is only inserted into has no garbage but its transactions' records; more of them than one command takes.
#[test]
fn records_go_where_nothing_else_does() {
    simulate(430, async {
        let mut cluster = Cluster::new(430);
        cluster.settings.record_retention_ms = 4_000;
        cluster.settings.gc_interval_ms = 1_000;
        for _ in 0..3 {
            cluster.add("").await;
        }
        cluster.replicated(3).await;
        cluster.node(2).admin().split_at(row("m")).await.expect("split");
        for name in 0..1_200_u128 {
            let key = format!("a{name}");
            let end = EndTxn { commit: true, one_phase: true, can_forward_timestamp: true, ..EndTxn::default() };
            let txn = transaction(&cluster, 1 + name, &key);
            act_for(&cluster, &txn, vec![put(&key), RequestKind::EndTxn(end)]).await;
        }
        // Its coordinator dies before it resolves what lies in another range.
        let dead = transaction(&cluster, 5_000, "b");
        act_for(&cluster, &dead, vec![put("b"), put("x")]).await;
        let span = Span { start: row("w"), end: row("z") };
        let end = EndTxn { commit: true, intents: vec![point("b"), span], ..EndTxn::default() };
        act_for(&cluster, &dead, vec![RequestKind::EndTxn(end)]).await;
        // This one's dies before it commits, after a heartbeat.
        let silent = transaction(&cluster, 5_001, "c");
        let now = cluster.now(1);
        act_for(&cluster, &silent, vec![put("c"), RequestKind::HeartbeatTxn(HeartbeatTxn { now })]).await;
        assert!(records(&cluster, 1) > 1_000, "{} records", records(&cluster, 1));
        tokio::time::sleep(Duration::from_secs(20)).await;
        for node in 1..=3 {
            assert_eq!(records(&cluster, node), 0, "on node {node}");
        }
        assert_eq!(cluster.get(2, "x").await.expect("read").as_deref(), Some("1"));
        assert_eq!(cluster.get(2, "c").await.expect("read"), None);
        assert_eq!(cluster.get(2, "a1199").await.expect("read").as_deref(), Some("1"));
        cluster.check_replica_equality().await;
    });
}

/// A lookup that hangs does not hold up the others of its node.
#[test]
fn a_lookup_that_hangs_is_not_waited_for() {
    simulate(431, async {
        let cluster = Cluster::of(431, 3).await;
        cluster.replicated(3).await;
        cluster.put(1, "a", "1").await.expect("written");
        for id in 1..=3 {
            let router = &cluster.node(id).shared.router;
            let _hangs = router.lookup.lock().await;
            let range = cluster.node(id).store().all().remove(1).1.replica.descriptor();
            router.forget(&range);
            let found = tokio::time::timeout(Duration::from_secs(1), cluster.get(id, "a")).await;
            assert_eq!(found.expect("at once").expect("read").as_deref(), Some("1"));
        }
    });
}

/// What a side of a split holds is counted before its latches are taken: what is written meanwhile must not be missed, nor
/// counted twice.
#[test]
fn both_sides_of_a_split_under_writes_know_what_they_hold() {
    for seed in 440..446 {
        simulate(seed, async move {
            let cluster = Cluster::of(seed, 3).await;
            cluster.replicated(3).await;
            write_round(&cluster, 1, 0).await;
            let writers = async {
                for round in 1..6 {
                    write_round(&cluster, 1 + round as u64 % 3, round).await;
                }
            };
            let more_writers = async {
                for index in 0..400 {
                    cluster.put(2, name(index * 7 % KEYS), "w".repeat(1 + index % 50)).await.expect("written");
                }
            };
            let splits = async {
                for at in [150, 75, 225] {
                    tokio::time::sleep(Duration::from_millis(3 + seed % 5)).await;
                    cluster.node(2).admin().split_at(row(&name(at))).await.expect("split");
                }
            };
            tokio::join!(writers, more_writers, splits);
            cluster.check_replica_equality().await;
            for id in cluster.running() {
                for (range, held) in cluster.node(id).store().all() {
                    let (state, reader) = held.replica.snapshot().expect("memory is readable");
                    let bounds = (&state.descriptor.start[..], &state.descriptor.end[..]);
                    let counted = crate::mvcc::compute_stats(&*reader, bounds.0, bounds.1).expect("memory is readable");
                    assert_eq!(state.stats, counted, "stats_exact: range {range} on node {id}");
                }
            }
        });
    }
}
