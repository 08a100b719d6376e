//! All the Raft groups of one node.
//!
//! ```text
//!   peers ─▶ Transport ─▶ GroupHost ─┬▶ Group 1 ─┐
//!                                    ├▶ Group 2 ─┼▶ one write-ahead log
//!                                    └▶ Group 3 ─┘
//! ```
//!
//! Invariant: `one_replica_per_group` (a node runs at most one replica of a group at a time).

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clock::{Random, Tasks};
use parking_lot::{Mutex, RwLock};
use prost::Message;

use crate::group::{
    Group, GroupEnd, GroupError, GroupParts, RaftAnswer, RaftRequest, SnapshotRequest, raft_config, start,
};
use crate::network::{Class, Handler, Transport};
use crate::state_machine::StateMachine;
use crate::wal::Wal;
use crate::{GroupId, NodeId, ReplicaId};

/// How the groups of a node behave.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// How often a leader is heard of.
    pub heartbeat_ms: u64,
    /// A follower that has not heard of a leader for a random time in `[min, max)` stands for election.
    pub election_ms_min: u64,
    /// See `election_ms_min`.
    pub election_ms_max: u64,
    /// The log is compacted after this many entries were applied since the last time.
    pub compact_after_entries: u64,
    /// The same in bytes of entries.
    pub compact_after_bytes: u64,
    /// Applied entries kept where it is not known that every replica has them.
    pub keep_entries: u64,
    /// The same in bytes of entries; whichever is less.
    pub keep_bytes: u64,
    /// Bytes of applied entries that a leader keeps for a replica that answers and lags, before it is sent a snapshot instead.
    pub lag_bytes: u64,
    /// Largest number of entries in one message between replicas.
    pub entries_per_message: u64,
    /// How long one chunk of a snapshot may take, and what its bytes need beside. Then the snapshot is sent anew: the answer may be lost.
    pub snapshot_chunk_timeout_ms: u64,
    /// How long the installation at its end may take.
    pub snapshot_install_timeout_ms: u64,
}

impl GroupConfig {
    /// The longest that one step of a snapshot may take, but for what its bytes need.
    pub fn longest_snapshot_step(&self) -> Duration {
        Duration::from_millis(self.snapshot_chunk_timeout_ms.max(self.snapshot_install_timeout_ms))
    }
}

impl Default for GroupConfig {
    fn default() -> Self {
        GroupConfig {
            heartbeat_ms: 200,
            election_ms_min: 600,
            election_ms_max: 1_200,
            compact_after_entries: 10_000,
            compact_after_bytes: 4 << 20,
            keep_entries: 5_000,
            keep_bytes: 2 << 20,
            lag_bytes: 128 << 20,
            entries_per_message: 256,
            snapshot_chunk_timeout_ms: 10_000,
            snapshot_install_timeout_ms: 30_000,
        }
    }
}

/// Told of messages for a group that does not run here: which, for which replica, from which node.
pub type AbsentGroupCallback = Arc<dyn Fn(GroupId, ReplicaId, NodeId) + Send + Sync>;

/// Told of groups that ended by themselves, and why: which, and which replica.
pub type GroupEndCallback = Arc<dyn Fn(GroupId, ReplicaId, GroupEnd) + Send + Sync>;

/// The Raft groups of one node, on its shared log.
pub struct GroupHost {
    node: NodeId,
    wal: Wal,
    transport: Arc<dyn Transport>,
    tasks: Tasks,
    random: Random,
    config: GroupConfig,
    raft_config: Arc<openraft::Config>,
    groups: Mutex<BTreeMap<GroupId, Slot>>,
    on_absent: RwLock<Option<AbsentGroupCallback>>,
    on_end: RwLock<Option<GroupEndCallback>>,
    this: Weak<GroupHost>,
}

/// Where a group is in its life.
enum Slot {
    Starting,
    Running(Group),
    Stopping,
}

impl GroupHost {
    /// A host without groups, which answers the transport's Raft and bulk requests from now on. `random`
    /// must differ from node to node, or elections are tied.
    ///
    /// # Errors
    /// When the settings contradict each other.
    pub fn new(
        node: NodeId,
        wal: Wal,
        transport: Arc<dyn Transport>,
        tasks: Tasks,
        random: Random,
        config: GroupConfig,
    ) -> Result<Arc<GroupHost>, GroupError> {
        let raft_config = raft_config(&config)?;
        let host = Arc::new_cyclic(|this: &Weak<GroupHost>| GroupHost {
            node,
            wal,
            transport: transport.clone(),
            tasks,
            random,
            config,
            raft_config,
            groups: Mutex::default(),
            on_absent: RwLock::default(),
            on_end: RwLock::default(),
            this: this.clone(),
        });
        let handler = Arc::new(HostHandler { host: Arc::downgrade(&host) });
        transport.register(Class::Raft, handler.clone());
        transport.register(Class::Bulk, handler);
        Ok(host)
    }

    /// This node.
    pub fn node_id(&self) -> NodeId {
        self.node
    }

    /// Has `callback` told of messages for replicas that do not run here yet: nothing of the group does, or a predecessor. It
    /// must not block.
    pub fn on_absent_group(&self, callback: AbsentGroupCallback) {
        *self.on_absent.write() = Some(callback);
    }

    /// Has `callback` told of groups that ended though nobody stopped them. Each then still has its place, until
    /// [`GroupHost::stop_group`]. It must not block.
    pub fn on_end(&self, callback: GroupEndCallback) {
        *self.on_end.write() = Some(callback);
    }

    /// Watches over a running group: one that ends is missed at once.
    fn supervise(&self, group: Group) {
        let host = self.this.clone();
        self.tasks.spawn("group supervisor", async move {
            let end = group.ended().await;
            let Some(host) = host.upgrade() else { return };
            if !host.group(group.id()).is_some_and(|running| running.is_same(&group)) {
                // It was stopped.
                return;
            }
            tracing::error!(group = %group.id(), replica = %group.replica_id(), ?end, "a group ended by itself");
            let callback = host.on_end.read().clone();
            if let Some(callback) = callback {
                callback(group.id(), group.replica_id(), end);
            }
        });
    }

    /// Starts this node's replica of a group from its log and its applied state. A group with neither waits
    /// to be sent a snapshot by its leader; see [`crate::initial_state`] for the first replicas of a new one.
    ///
    /// # Errors
    /// When the log or the state machine cannot be read, or a replica of the group already runs here.
    pub async fn start_group(
        &self,
        group: GroupId,
        replica: ReplicaId,
        state_machine: Arc<dyn StateMachine>,
    ) -> Result<Group, GroupError> {
        {
            let mut groups = self.groups.lock();
            if groups.contains_key(&group) {
                return Err(GroupError::AlreadyRuns(group));
            }
            groups.insert(group, Slot::Starting);
        }
        let parts = GroupParts {
            group,
            replica,
            log: self.wal.group(group),
            state_machine,
            transport: self.transport.clone(),
            tasks: self.tasks.clone(),
            random: self.random.fork(&format!("{group} {replica}")),
            config: self.config.clone(),
        };
        let started = start(parts, self.raft_config.clone()).await;
        let mut groups = self.groups.lock();
        match &started {
            Ok(started) => drop(groups.insert(group, Slot::Running(started.clone()))),
            Err(_) => drop(groups.remove(&group)),
        }
        drop(groups);
        if let Ok(started) = &started {
            self.supervise(started.clone());
        }
        started
    }

    /// The running group of this ID.
    pub fn group(&self, group: GroupId) -> Option<Group> {
        match self.groups.lock().get(&group) {
            Some(Slot::Running(group)) => Some(group.clone()),
            _ => None,
        }
    }

    /// The IDs of all running groups, in order.
    pub fn groups(&self) -> Vec<GroupId> {
        let groups = self.groups.lock();
        groups.iter().filter(|(_, slot)| matches!(slot, Slot::Running(_))).map(|(group, _)| *group).collect()
    }

    /// Stops a group but keeps its log.
    ///
    /// # Errors
    /// [`GroupError::NoSuchGroup`].
    pub async fn stop_group(&self, group: GroupId) -> Result<(), GroupError> {
        let running = {
            let mut groups = self.groups.lock();
            match groups.insert(group, Slot::Stopping) {
                Some(Slot::Running(running)) => running,
                Some(other) => {
                    groups.insert(group, other);
                    return Err(GroupError::NoSuchGroup(group));
                }
                None => {
                    groups.remove(&group);
                    return Err(GroupError::NoSuchGroup(group));
                }
            }
        };
        running.shutdown().await;
        self.groups.lock().remove(&group);
        Ok(())
    }

    /// Stops a group, if it runs, and destroys its log. The caller has made sure that the engine's removal of its data
    /// is durable.
    ///
    /// # Errors
    /// When the log fails.
    pub async fn remove_group(&self, group: GroupId) -> Result<(), GroupError> {
        match self.stop_group(group).await {
            Ok(()) | Err(GroupError::NoSuchGroup(_)) => {}
            Err(error) => return Err(error),
        }
        let destroyed = self.wal.group(group).destroy().await;
        destroyed.map_err(|error| GroupError::Stopped(format!("its log cannot be destroyed: {error}")))
    }

    /// Stops all groups, at the same time: each may have to wait for an answer that is on its way.
    pub async fn shutdown(&self) {
        let stopping = self.groups().into_iter().map(|group| self.stop_group(group));
        // One may have been stopped by another task meanwhile.
        let _ = futures::future::join_all(stopping).await;
    }

    fn find(&self, group: u64, replica: u64, from: NodeId) -> Result<Group, String> {
        let (group, replica) = (GroupId(group), ReplicaId(replica));
        let running = self.group(group);
        let own = running.as_ref().map(Group::replica_id);
        match running {
            Some(running) if own == Some(replica) => return Ok(running),
            // A message that comes late, for one that was here before.
            Some(_) if own > Some(replica) => {}
            // The one here was removed without hearing of it when its successor is spoken to.
            _ => {
                let callback = self.on_absent.read().clone();
                if let Some(callback) = callback {
                    callback(group, replica, from);
                }
            }
        }
        match own {
            Some(own) => Err(format!("{group} is replica {own} here, not {replica}")),
            None => Err(format!("{group} does not run here")),
        }
    }

    async fn serve_raft(&self, from: NodeId, body: Bytes) -> Result<Bytes, String> {
        let request = RaftRequest::decode(body).map_err(|error| error.to_string())?;
        let group = self.find(request.group, request.to_replica, from)?;
        let call = request.call.ok_or("the request is empty")?;
        let outcome = group.serve(call).await?;
        Ok(Bytes::from(RaftAnswer { outcome: Some(outcome) }.encode_to_vec()))
    }

    async fn serve_bulk(&self, from: NodeId, body: Bytes) -> Result<Bytes, String> {
        let request = SnapshotRequest::decode(body).map_err(|error| error.to_string())?;
        let group = self.find(request.group, request.to_replica, from)?;
        let step = request.step.ok_or("the request is empty")?;
        let sender = (from, ReplicaId(request.from_replica));
        let answer = group.serve_snapshot(sender, request.transfer_id, step).await?;
        Ok(Bytes::from(answer.encode_to_vec()))
    }
}

/// The host as the transport knows it; does not keep it alive.
struct HostHandler {
    host: Weak<GroupHost>,
}

#[async_trait]
impl Handler for HostHandler {
    async fn handle(&self, from: NodeId, class: Class, body: Bytes) -> Result<Bytes, String> {
        let host = self.host.upgrade().ok_or("the node shuts down")?;
        match class {
            Class::Raft => host.serve_raft(from, body).await,
            Class::Bulk => host.serve_bulk(from, body).await,
            Class::Kv => Err("not a request for groups".to_owned()),
        }
    }
}

impl std::fmt::Debug for GroupHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupHost").field("node", &self.node).finish_non_exhaustive()
    }
}
