//! A cluster of hosts on a simulated network and simulated disks, from one seed.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clock::{Hlc, Random, SimulatedTime, Tasks, Timestamp, VolatileCeiling};

use super::machine::Machine;
use crate::disk::SimDir;
use crate::{
    AppliedState, Group, GroupConfig, GroupHost, GroupId, NodeId, ProposeError, ReplicaId, SimNetwork, Wal, WalOptions,
    initial_state,
};

/// Runs a test on one thread in virtual time.
pub fn simulate<T>(seed: u64, test: impl Future<Output = T>) -> T {
    let seed_bytes = seed.to_be_bytes();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .rng_seed(tokio::runtime::RngSeed::from_bytes(&seed_bytes))
        .build();
    runtime.expect("a runtime without I/O starts").block_on(test)
}

pub const GROUP: GroupId = GroupId(7);

pub struct Node {
    pub disk: SimDir,
    pub machines: BTreeMap<GroupId, (ReplicaId, Machine)>,
    pub host: Option<Arc<GroupHost>>,
}

pub struct Cluster {
    pub network: SimNetwork,
    pub random: Random,
    pub tasks: Tasks,
    pub config: GroupConfig,
    pub nodes: BTreeMap<NodeId, Node>,
    time: SimulatedTime,
    lives: u64,
}

impl Cluster {
    pub fn new(seed: u64, nodes: u64) -> Self {
        Self::with_config(seed, nodes, GroupConfig::default())
    }

    pub fn with_config(seed: u64, nodes: u64, config: GroupConfig) -> Self {
        let random = Random::from_seed(seed);
        let tasks = Tasks::deterministic(tokio::runtime::Handle::current());
        let network = SimNetwork::new(random.fork("network"), tasks.clone());
        let time = SimulatedTime::starting_at(1_700_000_000_000_000_000, Duration::from_millis(10));
        let mut cluster = Cluster { network, random, tasks, config, nodes: BTreeMap::new(), time, lives: 0 };
        for id in 1..=nodes {
            let disk = SimDir::new(cluster.random.fork(&format!("disk {id}")));
            let node = Node { disk, machines: BTreeMap::new(), host: None };
            cluster.nodes.insert(NodeId(id), node);
            cluster.start_host(NodeId(id));
        }
        cluster
    }

    fn start_host(&mut self, id: NodeId) {
        self.lives += 1;
        let hlc =
            Hlc::new(Arc::new(self.time.clone()), Duration::from_millis(10), Arc::new(VolatileCeiling), Timestamp::MIN);
        let transport = self.network.connect(id, &format!("node-{id}"), Arc::new(hlc));
        let node = self.nodes.get_mut(&id).expect("the node is one of the cluster's");
        let wal = Wal::open(Arc::new(node.disk.clone()), WalOptions::small(), self.tasks.clone());
        let wal = wal.expect("what was synced can be read");
        let random = self.random.fork(&format!("host {id} life {}", self.lives));
        let host = GroupHost::new(id, wal, transport, self.tasks.clone(), random, self.config.clone());
        node.host = Some(host.expect("the settings are sound"));
    }

    /// Creates a group whose first replicas are on the given nodes, with the nodes' numbers.
    pub async fn create_group(&mut self, group: GroupId, nodes: &[u64]) {
        let members: Vec<_> = nodes.iter().map(|id| (ReplicaId(*id), NodeId(*id))).collect();
        for (replica, node) in &members {
            self.start_replica(group, *node, *replica, initial_state(&members)).await;
        }
    }

    pub async fn start_replica(&mut self, group: GroupId, node: NodeId, replica: ReplicaId, state: AppliedState) {
        let machine = Machine::new(state);
        self.node(node).machines.insert(group, (replica, machine.clone()));
        let host = self.host(node);
        host.start_group(group, replica, Arc::new(machine)).await.expect("the group starts");
    }

    pub fn node(&mut self, id: NodeId) -> &mut Node {
        self.nodes.get_mut(&id).expect("the node is one of the cluster's")
    }

    pub fn host(&self, id: NodeId) -> Arc<GroupHost> {
        self.nodes[&id].host.clone().expect("the node runs")
    }

    pub fn group(&self, id: u64, group: GroupId) -> Group {
        self.host(NodeId(id)).group(group).expect("the group runs there")
    }

    pub fn machine(&self, id: u64, group: GroupId) -> Machine {
        self.nodes[&NodeId(id)].machines[&group].1.clone()
    }

    /// Ends a node's life: by power loss, or by a kill that leaves written data alone.
    pub async fn crash(&mut self, id: u64, power_loss: bool) {
        self.network.disconnect(NodeId(id));
        let node = self.node(NodeId(id));
        node.disk = if power_loss { node.disk.crash() } else { node.disk.kill() };
        for (_, machine) in node.machines.values_mut() {
            *machine = machine.after_crash(power_loss);
        }
        let host = node.host.take().expect("the node runs");
        host.shutdown().await;
    }

    pub async fn restart(&mut self, id: u64) {
        self.start_host(NodeId(id));
        let host = self.host(NodeId(id));
        for (group, (replica, machine)) in self.node(NodeId(id)).machines.clone() {
            host.start_group(group, replica, Arc::new(machine)).await.expect("the group starts again");
        }
    }

    /// Waits for a running node to lead in the newest term, and names it.
    pub async fn leader(&self, group: GroupId) -> u64 {
        loop {
            let running = self.nodes.iter().filter_map(|(id, node)| Some((id, node.host.as_ref()?.group(group)?)));
            let newest = running
                .map(|(id, group)| (group.status(), *id))
                .filter(|(status, _)| status.is_leader)
                .max_by_key(|(status, _)| status.term);
            if let Some((status, id)) = newest
                && self.group(id.0, group).heard_quorum_within(Duration::from_secs(1))
                && status.last_applied.is_some_and(|last| last.term == status.term)
            {
                return id.0;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Proposes through whoever leads until it is acknowledged. REQUIRES: no fault that makes fates unknown.
    pub async fn propose(&self, group: GroupId, command: &str) {
        loop {
            let leader = self.group(self.leader(group).await, group);
            let Some(term) = leader.leader_term() else { continue };
            match leader.propose(Bytes::from(command.to_owned()), term).await {
                Ok(()) => return,
                Err(ProposeError::NotLeader { .. }) => {}
                Err(error) => panic!("{command}: {error}"),
            }
        }
    }

    /// Waits until the given nodes have applied the same commands, at least `count` of them.
    pub async fn converge(&self, group: GroupId, nodes: &[u64], count: usize) -> Vec<Bytes> {
        let waiting = async {
            loop {
                let first = self.machine(nodes[0], group).commands();
                if first.len() >= count && nodes.iter().all(|id| self.machine(*id, group).commands() == first) {
                    return first;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        match tokio::time::timeout(Duration::from_secs(60), waiting).await {
            Ok(commands) => commands,
            Err(_) => panic!("no convergence: {:#?}", self.describe(group)),
        }
    }

    pub fn describe(&self, group: GroupId) -> Vec<String> {
        let describe = |(id, node): (&NodeId, &Node)| {
            let commands = node.machines.get(&group).map(|(_, machine)| machine.commands().len());
            let status = node.host.as_ref().and_then(|host| host.group(group)).map(|group| group.status());
            format!("{id}: {commands:?} commands, {status:?}")
        };
        self.nodes.iter().map(describe).collect()
    }
}

pub fn texts(commands: &[Bytes]) -> Vec<String> {
    commands.iter().map(|command| String::from_utf8_lossy(command).into_owned()).collect()
}
