//! Snapshots to replicas that are too far behind, and what a purge needs.

use std::time::Duration;

use bytes::Bytes;

use super::super::snapshot::sender_patience;
use super::super::types::VoteRecord;
use super::super::wire::{SnapshotChunk, SnapshotHead, SnapshotStep};
use super::cluster::{Cluster, GROUP, simulate, texts};
use crate::{AppliedState, GroupConfig, LinkFaults, NodeId, ReplicaId};

fn small_logs() -> GroupConfig {
    GroupConfig {
        compact_after_entries: 20,
        keep_entries: 5,
        snapshot_chunk_timeout_ms: 500,
        snapshot_install_timeout_ms: 500,
        ..GroupConfig::default()
    }
}

#[test]
fn a_replica_that_fell_behind_is_sent_a_snapshot() {
    simulate(31, async {
        let mut cluster = Cluster::with_config(31, 3, small_logs());
        cluster.create_group(GROUP, &[1, 2, 3]).await;
        cluster.propose(GROUP, "first").await;
        cluster.crash(3, true).await;
        for number in 0..200 {
            cluster.propose(GROUP, &format!("{number}")).await;
        }
        cluster.restart(3).await;
        let commands = cluster.converge(GROUP, &[1, 2, 3], 201).await;
        assert_eq!(texts(&commands)[200], "199");
        assert_eq!(cluster.machine(3, GROUP).store.lock().installs, 1);
        // It goes on by log, and survives as it is.
        cluster.crash(3, true).await;
        cluster.restart(3).await;
        cluster.propose(GROUP, "last").await;
        cluster.converge(GROUP, &[1, 2, 3], 202).await;
        assert_eq!(cluster.machine(3, GROUP).store.lock().installs, 0, "this life needed none");
    });
}

#[test]
fn a_new_replica_begins_with_a_snapshot() {
    simulate(32, async {
        let mut cluster = Cluster::with_config(32, 2, small_logs());
        cluster.create_group(GROUP, &[1]).await;
        for number in 0..100 {
            cluster.propose(GROUP, &format!("{number}")).await;
        }
        cluster.start_replica(GROUP, NodeId(2), ReplicaId(2), AppliedState::default()).await;
        cluster.group(1, GROUP).add_learner(ReplicaId(2), NodeId(2)).await.expect("the leader may");
        cluster.converge(GROUP, &[1, 2], 100).await;
        assert_eq!(cluster.machine(2, GROUP).store.lock().installs, 1);
        let status = cluster.group(2, GROUP).status();
        assert_eq!(status.learners.get(&ReplicaId(2)), Some(&NodeId(2)));
    });
}

#[test]
fn a_snapshot_gets_through_a_lossy_link() {
    for seed in 0..5 {
        simulate(seed, async {
            let mut cluster = Cluster::with_config(seed, 3, small_logs());
            cluster.create_group(GROUP, &[1, 2, 3]).await;
            cluster.crash(3, true).await;
            for number in 0..150 {
                cluster.propose(GROUP, &format!("{number}")).await;
            }
            let faults = LinkFaults {
                delay_max: Duration::from_millis(20),
                loss: 0.02,
                duplication: 0.2,
                ..LinkFaults::default()
            };
            cluster.network.set_usual(faults);
            cluster.restart(3).await;
            cluster.converge(GROUP, &[1, 2, 3], 150).await;
        });
    }
}

/// A leader that dies amid a snapshot does not say so, and whoever leads then may do without one.
#[test]
fn a_snapshot_that_its_sender_gave_up_is_dropped() {
    simulate(37, async {
        let mut cluster = Cluster::with_config(37, 1, small_logs());
        cluster.create_group(GROUP, &[1]).await;
        cluster.propose(GROUP, "first").await;
        let (group, patience) = (cluster.group(1, GROUP), sender_patience(&small_logs()));
        let state = cluster.machine(1, GROUP).store.lock().live.state.clone();
        let vote = VoteRecord { term: 9, voted_for: 2, is_granted: true };
        let (from, transfer) = ((NodeId(2), ReplicaId(2)), 1);
        let chunk =
            |sequence: u64| SnapshotStep::Chunk(SnapshotChunk { sequence, running_checksum: 0, data: Bytes::new() });
        let head = SnapshotHead::new(&vote.into(), state);
        group.serve_snapshot(from, transfer, SnapshotStep::Begin(head)).await.expect("it begins");
        for sequence in 0..3 {
            tokio::time::sleep(patience - Duration::from_millis(1)).await;
            group.serve_snapshot(from, transfer, chunk(sequence)).await.expect("slow is not given up");
        }
        tokio::time::sleep(patience + Duration::from_millis(1)).await;
        let refused = group.serve_snapshot(from, transfer, chunk(3)).await;
        assert_eq!(refused, Err("no snapshot was begun, or another one since".to_owned()));
    });
}

#[test]
fn the_log_forgets_only_what_the_engine_has_persisted() {
    simulate(34, async {
        let mut cluster = Cluster::with_config(34, 1, small_logs());
        cluster.create_group(GROUP, &[1]).await;
        for round in 1..=5_usize {
            for number in 0..30 {
                cluster.propose(GROUP, &format!("{round}.{number}")).await;
            }
            cluster.group(1, GROUP).compact().await.expect("it runs");
            // A power loss right after: what the engine lost must still be in the log.
            cluster.propose(GROUP, &format!("{round}.after")).await;
            cluster.crash(1, true).await;
            cluster.restart(1).await;
            cluster.converge(GROUP, &[1], round * 31).await;
        }
    });
}

/// A node's log of the group, once it has had time to be compacted.
async fn log_of(cluster: &Cluster, node: u64) -> crate::LogSize {
    tokio::time::sleep(Duration::from_secs(1)).await;
    cluster.group(node, GROUP).log_size()
}

/// A load is a matter of bytes: entries alone would let the log keep all of it.
#[test]
fn a_log_is_bounded_by_bytes_on_every_replica() {
    simulate(35, async {
        let config = GroupConfig {
            compact_after_bytes: 64 << 10,
            keep_bytes: 32 << 10,
            lag_bytes: 512 << 10,
            ..GroupConfig::default()
        };
        let mut cluster = Cluster::with_config(35, 3, config);
        cluster.create_group(GROUP, &[1, 2, 3]).await;
        let large = "x".repeat(10 << 10);
        for number in 0..200 {
            cluster.propose(GROUP, &format!("{number} {large}")).await;
        }
        cluster.converge(GROUP, &[1, 2, 3], 200).await;
        for node in 1..=3 {
            let log = log_of(&cluster, node).await;
            assert!(log.bytes <= (64 + 32 + 2 * 10) << 10, "node {node} keeps {log:?} of 2 MB");
        }
        // One that is gone is not waited for, whatever it lacks; and is sent a snapshot when it is back.
        cluster.crash(3, true).await;
        for number in 200..300 {
            cluster.propose(GROUP, &format!("{number} {large}")).await;
        }
        tokio::time::sleep(Duration::from_secs(30)).await;
        for node in [1, 2] {
            let log = log_of(&cluster, node).await;
            assert!(log.bytes <= (64 + 32 + 2 * 10) << 10, "node {node} keeps {log:?} for a replica that is gone");
        }
        cluster.restart(3).await;
        cluster.converge(GROUP, &[1, 2, 3], 300).await;
        assert_eq!(cluster.machine(3, GROUP).store.lock().installs, 1);
    });
}

/// Many ranges are loaded one after the other: what each may keep while it is busy, all of them would keep for ever.
#[test]
fn a_group_that_is_quiet_gives_up_what_a_busy_one_keeps() {
    simulate(37, async {
        let config = GroupConfig { compact_after_bytes: 640 << 10, keep_bytes: 64 << 10, ..GroupConfig::default() };
        let mut cluster = Cluster::with_config(37, 3, config);
        cluster.create_group(GROUP, &[1, 2, 3]).await;
        let large = "x".repeat(10 << 10);
        for number in 0..50 {
            cluster.propose(GROUP, &format!("{number} {large}")).await;
        }
        cluster.converge(GROUP, &[1, 2, 3], 50).await;
        tokio::time::sleep(Duration::from_secs(30)).await;
        for node in 1..=3 {
            let log = log_of(&cluster, node).await;
            assert!(log.bytes <= (64 + 10) << 10, "node {node} keeps {log:?} of 500 kB");
        }
    });
}

/// What every replica has, nobody needs: few entries stay in memory, however many are allowed.
#[test]
fn a_leader_keeps_nothing_that_every_replica_has() {
    simulate(36, async {
        let config = GroupConfig { compact_after_entries: 50, keep_entries: 10_000, ..GroupConfig::default() };
        let mut cluster = Cluster::with_config(36, 3, config);
        cluster.create_group(GROUP, &[1, 2, 3]).await;
        for number in 0..500 {
            cluster.propose(GROUP, &format!("{number}")).await;
        }
        cluster.converge(GROUP, &[1, 2, 3], 500).await;
        let leader = cluster.leader(GROUP).await;
        let log = log_of(&cluster, leader).await;
        assert!(log.entries <= 60, "the leader keeps {log:?}");
    });
}
