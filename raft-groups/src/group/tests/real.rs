//! The same groups over tonic on loopback, with real disks and threads.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clock::{Hlc, Random, SystemTime, Tasks, Timestamp, VolatileCeiling};

use super::cluster::GROUP;
use super::machine::Machine;
use crate::disk::OsDir;
use crate::{
    AppliedState, Group, GroupConfig, GroupHost, GrpcConfig, GrpcTransport, NodeId, ProposeError, ReplicaId, Transport,
    Wal, WalOptions, initial_state,
};

struct RealNode {
    host: Arc<GroupHost>,
    transport: GrpcTransport,
    machine: Machine,
    group: Group,
    address: String,
}

async fn start(id: u64, dir: &std::path::Path, machine: Machine, listen: &str) -> RealNode {
    let tasks = Tasks::on(tokio::runtime::Handle::current());
    let time = Arc::new(SystemTime::with_error(Duration::from_millis(10)));
    let hlc = Arc::new(Hlc::new(time, Duration::from_millis(10), Arc::new(VolatileCeiling), Timestamp::MIN));
    let transport = GrpcTransport::new(NodeId(id), 5, hlc, tasks.clone(), GrpcConfig::default());
    let address = transport.serve(listen.parse().expect("an address")).await.expect("a free port");
    let disk = OsDir::open(dir.join(format!("{id}"))).expect("a directory");
    let wal = Wal::open(Arc::new(disk), WalOptions::small(), tasks.clone()).expect("a log");
    let random = Random::from_seed(id);
    let network: Arc<dyn Transport> = Arc::new(transport.clone());
    let host = GroupHost::new(NodeId(id), wal, network, tasks, random, GroupConfig::default()).expect("sound settings");
    let group = host.start_group(GROUP, ReplicaId(id), Arc::new(machine.clone())).await.expect("the group starts");
    RealNode { host, transport, machine, group, address: address.to_string() }
}

fn introduce(nodes: &[RealNode]) {
    for node in nodes {
        for (other, id) in nodes.iter().zip(1..) {
            node.transport.set_address(NodeId(id), other.address.clone());
        }
    }
}

async fn propose(nodes: &[RealNode], command: String) {
    loop {
        for node in nodes {
            let Some(term) = node.group.leader_term() else { continue };
            match node.group.propose(Bytes::from(command.clone()), term).await {
                Ok(()) => return,
                Err(ProposeError::NotLeader { .. } | ProposeError::ShuttingDown) => {}
                Err(error) => panic!("{error}"),
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn converge(nodes: &[RealNode], count: usize) {
    let waiting = async {
        while nodes.iter().any(|node| node.machine.commands().len() < count) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("all replicas catch up");
    assert!(nodes.iter().all(|node| node.machine.commands() == nodes[0].machine.commands()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_replicate_over_tonic_and_survive_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let members: Vec<_> = (1..=3).map(|id| (ReplicaId(id), NodeId(id))).collect();
    let mut nodes = Vec::new();
    for id in 1..=3 {
        nodes.push(start(id, dir.path(), Machine::new(initial_state(&members)), "127.0.0.1:0").await);
    }
    introduce(&nodes);
    nodes[0].group.campaign().await.expect("it runs");
    for number in 0..50 {
        propose(&nodes, format!("{number}")).await;
    }
    converge(&nodes, 50).await;

    let stopped = nodes.remove(2);
    stopped.host.shutdown().await;
    stopped.transport.close();
    let (machine, address) = (stopped.machine.after_crash(true), stopped.address.clone());
    drop(stopped);
    for number in 50..80 {
        propose(&nodes, format!("{number}")).await;
    }
    let again = loop {
        // The port is free once the listener's task has ended.
        if std::net::TcpListener::bind(&address).is_ok() {
            break start(3, dir.path(), machine, &address).await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    nodes.push(again);
    introduce(&nodes);
    converge(&nodes, 80).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_crosses_tonic() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = Machine::new(initial_state(&[(ReplicaId(1), NodeId(1))]));
    let mut nodes = vec![start(1, dir.path(), first, "127.0.0.1:0").await];
    nodes[0].group.campaign().await.expect("it runs");
    for number in 0..40 {
        propose(&nodes, format!("{number} {}", "x".repeat(100_000))).await;
    }
    nodes[0].group.compact().await.expect("it runs");
    nodes.push(start(2, dir.path(), Machine::new(AppliedState::default()), "127.0.0.1:0").await);
    introduce(&nodes);
    nodes[0].group.add_learner(ReplicaId(2), NodeId(2)).await.expect("the leader may");
    converge(&nodes, 40).await;
    assert_eq!(nodes[1].machine.store.lock().installs, 1);
}
