//! Partitions, loss, duplication, reordering: what was acknowledged stays, once, and replicas agree.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::cluster::{Cluster, GROUP, simulate, texts};
use crate::{GroupConfig, LinkFaults, NodeId, ProposeError};

#[test]
fn a_leader_cut_off_is_replaced_and_its_proposals_do_not_lie() {
    simulate(41, async {
        let mut cluster = Cluster::new(41, 3);
        cluster.create_group(GROUP, &[1, 2, 3]).await;
        cluster.propose(GROUP, "before").await;
        let old = cluster.leader(GROUP).await;
        let others: Vec<NodeId> = (1..=3).filter(|id| *id != old).map(NodeId).collect();
        cluster.network.partition(&[NodeId(old)], &others);
        let group = cluster.group(old, GROUP);
        let term = group.leader_term().expect("it leads");
        let stranded =
            cluster.tasks.spawn("proposer", async move { group.propose(Bytes::from("stranded"), term).await });
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(!cluster.group(old, GROUP).heard_quorum_within(Duration::from_secs(1)));
        let new = cluster.leader(GROUP).await;
        assert_ne!(new, old);
        cluster.propose(GROUP, "during").await;
        cluster.network.heal();
        cluster.propose(GROUP, "after").await;
        assert_eq!(texts(&cluster.converge(GROUP, &[1, 2, 3], 3).await), ["before", "during", "after"]);
        assert_eq!(stranded.await.expect("no panic"), Err(ProposeError::Unknown));
    });
}

#[test]
fn a_follower_that_hears_nothing_does_not_disturb_the_others() {
    simulate(42, async {
        let mut cluster = Cluster::new(42, 3);
        cluster.create_group(GROUP, &[1, 2, 3]).await;
        let leader = cluster.leader(GROUP).await;
        let term = cluster.group(leader, GROUP).leader_term();
        let deaf = leader % 3 + 1;
        for id in (1..=3).filter(|id| *id != deaf) {
            cluster.network.cut(NodeId(id), NodeId(deaf));
        }
        tokio::time::sleep(Duration::from_secs(20)).await;
        cluster.network.heal();
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(cluster.group(leader, GROUP).leader_term(), term, "pre-vote keeps the leader in office");
    });
}

#[test]
fn a_paused_leader_comes_back_as_a_follower() {
    simulate(43, async {
        let mut cluster = Cluster::new(43, 3);
        cluster.create_group(GROUP, &[1, 2, 3]).await;
        let old = cluster.leader(GROUP).await;
        cluster.network.pause(NodeId(old));
        tokio::time::sleep(Duration::from_secs(4)).await;
        cluster.propose(GROUP, "during").await;
        cluster.network.resume(NodeId(old));
        cluster.converge(GROUP, &[1, 2, 3], 1).await;
        assert_eq!(cluster.group(old, GROUP).leader_term(), None);
    });
}

#[test]
fn replicas_a_continent_apart_elect_a_leader_that_serves() {
    simulate(44, async {
        let mut cluster = Cluster::new(44, 3);
        let (delay_min, delay_max) = (Duration::from_millis(200), Duration::from_millis(210));
        cluster.network.set_usual(LinkFaults { delay_min, delay_max, ..LinkFaults::default() });
        cluster.create_group(GROUP, &[1, 2, 3]).await;
        let leader =
            tokio::time::timeout(Duration::from_secs(30), cluster.leader(GROUP)).await.expect("one is elected");
        let term = cluster.group(leader, GROUP).leader_term();
        // Without anything to do in between it is still known to be heard.
        for command in ["first", "second"] {
            tokio::time::sleep(Duration::from_secs(10)).await;
            let bound = Duration::from_secs(2);
            tokio::time::timeout(bound, cluster.propose(GROUP, command)).await.expect("it takes a round trip");
        }
        assert_eq!(cluster.group(leader, GROUP).leader_term(), term, "nobody stood for election");
        cluster.converge(GROUP, &[1, 2, 3], 2).await;
    });
}

/// Proposers that note what was acknowledged and what may have been.
async fn load(cluster: &Cluster, proposers: u64, each: u64, acknowledged: Arc<Mutex<BTreeSet<String>>>) {
    let mut running = Vec::new();
    for proposer in 0..proposers {
        let hosts: Vec<_> = cluster.nodes.values().filter_map(|node| node.host.clone()).collect();
        let acknowledged = acknowledged.clone();
        running.push(cluster.tasks.spawn("proposer", async move {
            for number in 0..each {
                let command = format!("{proposer}.{number}");
                let leading =
                    hosts.iter().filter_map(|host| host.group(GROUP)).find(|group| group.leader_term().is_some());
                let Some(group) = leading else {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                };
                let term = group.leader_term().unwrap_or(0);
                let proposal = group.propose(Bytes::from(command.clone()), term);
                if let Ok(Ok(())) = tokio::time::timeout(Duration::from_secs(5), proposal).await {
                    acknowledged.lock().insert(command);
                }
            }
        }));
    }
    for proposer in running {
        proposer.await.expect("no proposer panics");
    }
}

fn check(commands: &[String], acknowledged: &BTreeSet<String>, seed: u64) {
    let applied: BTreeSet<&String> = commands.iter().collect();
    assert_eq!(applied.len(), commands.len(), "seed {seed}: nothing is applied twice");
    let lost: Vec<_> = acknowledged.iter().filter(|command| !applied.contains(command)).collect();
    assert!(lost.is_empty(), "seed {seed}: acknowledged but lost: {lost:?}");
}

#[test]
fn loss_duplication_and_reordering_lose_nothing() {
    for seed in 50..60 {
        simulate(seed, async {
            let config = GroupConfig { compact_after_entries: 60, keep_entries: 10, ..GroupConfig::default() };
            let mut cluster = Cluster::with_config(seed, 3, config);
            cluster.create_group(GROUP, &[1, 2, 3]).await;
            cluster.leader(GROUP).await;
            let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
            cluster.network.set_usual(LinkFaults {
                delay_min: Duration::from_micros(100),
                delay_max: Duration::from_millis(30),
                loss: 0.05,
                duplication: 0.1,
                is_cut: false,
            });
            load(&cluster, 16, 20, acknowledged.clone()).await;
            cluster.network.set_usual(LinkFaults::default());
            cluster.propose(GROUP, "end").await;
            let commands = texts(&cluster.converge(GROUP, &[1, 2, 3], 1).await);
            check(&commands, &acknowledged.lock(), seed);
            assert!(acknowledged.lock().len() > 100, "seed {seed}: {} acknowledged", acknowledged.lock().len());
        });
    }
}

#[test]
fn partitions_and_power_losses_under_load_lose_nothing() {
    for seed in 60..70 {
        simulate(seed, async {
            let config = GroupConfig { compact_after_entries: 40, keep_entries: 10, ..GroupConfig::default() };
            let mut cluster = Cluster::with_config(seed, 3, config);
            cluster.create_group(GROUP, &[1, 2, 3]).await;
            let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
            for round in 0..6_u64 {
                let victim = cluster.random.range(1, 4);
                let others: Vec<NodeId> = (1..=3).filter(|id| *id != victim).map(NodeId).collect();
                let prefix = Arc::new(Mutex::new(BTreeSet::new()));
                if round % 2 == 0 {
                    cluster.network.partition(&[NodeId(victim)], &others);
                    load(&cluster, 8, 10, prefix.clone()).await;
                    cluster.network.heal();
                } else {
                    cluster.crash(victim, true).await;
                    load(&cluster, 8, 10, prefix.clone()).await;
                    cluster.restart(victim).await;
                }
                cluster.propose(GROUP, &format!("end of {round}")).await;
                let commands = texts(&cluster.converge(GROUP, &[1, 2, 3], 1).await);
                // Proposers repeat their names each round: look at this round's part.
                let begin =
                    commands.iter().position(|command| round > 0 && *command == format!("end of {}", round - 1));
                check(&commands[begin.map_or(0, |begin| begin + 1)..], &prefix.lock(), seed);
                acknowledged.lock().extend(prefix.lock().iter().map(|command| format!("{round}:{command}")));
            }
            assert!(!acknowledged.lock().is_empty());
        });
    }
}
