//! Commits whose answers are lost.

use std::time::Duration;

use clock::Timestamp;

use super::cluster::{Cluster, row, simulate};
use crate::api::*;

/// One-phase commit of two rows by a transaction that has read nothing.
pub fn commit_of_two(cluster: &Cluster, gateway: u64, name: u128, keys: [&str; 2], value: &str) -> BatchRequest {
    let now = cluster.now(gateway);
    let txn = TxnMeta {
        id: TxnId::from_random(name),
        anchor: row(keys[0]),
        read_timestamp: now,
        write_timestamp: now,
        uncertainty_limit: now,
        begin_timestamp: now,
        sequence: 2,
        gateway,
        ..TxnMeta::default()
    };
    let put = |(sequence, key): (u32, &str)| {
        let value = bytes::Bytes::copy_from_slice(value.as_bytes());
        RequestKind::Put(Put { key: row(key), value, sequence, ..Put::default() }).into()
    };
    let end = EndTxn { commit: true, one_phase: true, can_forward_timestamp: true, ..EndTxn::default() };
    let mut requests: Vec<Request> = [(1, keys[0]), (2, keys[1])].into_iter().map(put).collect();
    requests.push(RequestKind::EndTxn(end).into());
    BatchRequest { header: BatchHeader { txn: Some(txn), ..BatchHeader::default() }, requests }
}

/// Lets a node send a batch, all of whose answers from the leaseholder are lost for a while, and splits the range between its keys
/// meanwhile. What the node is told in the end.
async fn split_while_the_answer_is_lost(cluster: &Cluster) -> (Timestamp, Result<BatchResponse, KvError>) {
    cluster.put(1, "a", "0").await.expect("written");
    let holder = cluster.leaseholder("a").expect("somebody holds the lease");
    let [gateway, other] = [1, 2, 3].into_iter().filter(|id| *id != holder).collect::<Vec<_>>()[..] else {
        panic!("three nodes less one are two")
    };
    assert_eq!(cluster.get(gateway, "a").await.expect("read").as_deref(), Some("0"));
    let batch = commit_of_two(cluster, gateway, 7, ["a", "z"], "1");
    let begun = batch.header.txn.as_ref().map(|txn| txn.write_timestamp).expect("there is one");
    cluster.network.cut(holder.into(), gateway.into());
    let sent = cluster.send_batch(gateway, batch);
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        cluster.node(other).admin().split_at(row("m")).await.expect("split");
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        cluster.network.heal();
    };
    let (answer, ()) = tokio::join!(sent, meanwhile);
    (begun, answer)
}

#[test]
fn a_commit_whose_range_split_while_its_answer_was_lost_finds_its_record() {
    for seed in 300..304 {
        simulate(seed, async {
            let cluster = Cluster::of(seed, 3).await;
            cluster.replicated(3).await;
            let (begun, answer) = split_while_the_answer_is_lost(&cluster).await;
            let answer =
                answer.unwrap_or_else(|error| panic!("ambiguous_not_failed: it committed, and was told {error}"));
            let Some(ResponseKind::Ended(ended)) = &answer.responses.last().expect("the end").kind else {
                panic!("{answer:?}")
            };
            assert_eq!(ended.status(), TxnStatus::Committed);
            assert!(ended.commit_timestamp >= begun);
            assert_eq!(answer.responses.len(), 3);
            for key in ["a", "z"] {
                assert_eq!(cluster.get(1, key).await.expect("read").as_deref(), Some("1"));
            }
            cluster.check_replica_equality().await;
        });
    }
}

/// As above, but nothing ever arrives: the commit is refused, and said to be, only where that is certain.
#[test]
fn a_commit_that_never_arrived_is_refused_by_the_ranges_as_they_are_now() {
    simulate(310, async {
        let cluster = Cluster::of(310, 3).await;
        cluster.replicated(3).await;
        cluster.put(1, "a", "0").await.expect("written");
        let holder = cluster.leaseholder("a").expect("somebody holds the lease");
        let gateway = if holder == 1 { 2 } else { 1 };
        assert_eq!(cluster.get(gateway, "a").await.expect("read").as_deref(), Some("0"));
        cluster.node(holder).admin().split_at(row("m")).await.expect("split");
        let answer = cluster.send_batch(gateway, commit_of_two(&cluster, gateway, 8, ["a", "z"], "1")).await;
        assert!(matches!(answer, Err(KvError::NotOnePhase(_))), "{answer:?}");
        // Its request is lost now, while the gateway believes in one range still: whether it arrived is not known there.
        cluster.network.cut(gateway.into(), holder.into());
        let batch = commit_of_two(&cluster, gateway, 9, ["b", "c"], "1");
        let header = BatchHeader { timeout_ms: 3_000, ..batch.header.clone() };
        let answer = cluster.send_batch(gateway, BatchRequest { header, ..batch }).await;
        cluster.network.heal();
        let landed = cluster.get(holder, "b").await.expect("read").is_some();
        match answer {
            Ok(_) => assert!(landed),
            Err(KvError::Ambiguous(_)) => {}
            other => panic!("ambiguous_not_failed: {other:?}"),
        }
    });
}
