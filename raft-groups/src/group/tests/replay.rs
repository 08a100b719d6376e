//! The same seed gives the same run.

use std::time::Duration;

use super::cluster::{Cluster, GROUP, simulate};
use crate::{GroupId, LinkFaults, NodeId};

/// A run with faults, told as who had applied what at which virtual time.
fn trace(seed: u64) -> Vec<String> {
    simulate(seed, async {
        let mut cluster = Cluster::new(seed, 3);
        cluster.create_group(GROUP, &[1, 2, 3]).await;
        cluster.create_group(GroupId(8), &[1, 2, 3]).await;
        cluster.network.set_usual(LinkFaults {
            delay_max: Duration::from_millis(5),
            loss: 0.05,
            ..LinkFaults::default()
        });
        let mut trace = Vec::new();
        for step in 0..30_u64 {
            for group in [GROUP, GroupId(8)] {
                cluster.propose(group, &format!("{step}")).await;
                trace.push(format!("{} {:#?}", cluster.network.delivered(), cluster.describe(group)));
            }
            if step == 10 {
                cluster.crash(2, true).await;
            }
            if step == 15 {
                cluster.restart(2).await;
            }
            if step == 20 {
                cluster.network.cut(NodeId(1), NodeId(3));
            }
        }
        trace
    })
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let (first, second) = (trace(77), trace(77));
    for (step, (one, other)) in first.iter().zip(&second).enumerate() {
        assert_eq!(one, other, "step {step}");
    }
    assert_ne!(first, trace(78), "another seed gives another run");
}
