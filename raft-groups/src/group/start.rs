//! Starting a group: its log, its state machine and its network, put together.

use std::sync::Arc;

use clock::{Random, Tasks};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::{Config, SnapshotPolicy, StepDownPolicy};
use parking_lot::Mutex;

use super::compaction::{self, Applied};
use super::durability::Durability;
use super::end::EndCause;
use super::log_store::LogStore;
use super::machine::Machine;
use super::peer::{PeerContext, PeerFactory};
use super::runtime::GroupRuntime;
use super::snapshot::{Receiver, sender_patience};
use super::{Group, GroupError, Inner, Raft};
use crate::host::GroupConfig;
use crate::network::Transport;
use crate::state_machine::StateMachine;
use crate::wal::GroupLog;
use crate::{GroupId, ReplicaId};

/// What a group is started from.
pub(crate) struct GroupParts {
    pub group: GroupId,
    pub replica: ReplicaId,
    pub log: GroupLog,
    pub state_machine: Arc<dyn StateMachine>,
    pub transport: Arc<dyn Transport>,
    pub tasks: Tasks,
    pub random: Random,
    pub config: GroupConfig,
}

/// openraft's settings.
///
/// A restarted leader must win an election again: what it proposed in its former life may still be in its
/// log, so that its old term must not serve as a fence any more.
pub(crate) fn raft_config(config: &GroupConfig) -> Result<Arc<Config>, GroupError> {
    let config = Config {
        cluster_name: "meridian".to_owned(),
        heartbeat_interval: config.heartbeat_ms,
        heartbeat_min_interval: Some(config.heartbeat_ms / 2),
        election_timeout_min: config.election_ms_min,
        election_timeout_max: config.election_ms_max,
        install_snapshot_timeout: config.snapshot_install_timeout_ms,
        max_payload_entries: config.entries_per_message,
        replication_lag_threshold: config.compact_after_entries.saturating_add(config.keep_entries).saturating_mul(2),
        // The log is compacted by a task of the group's own.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        broadcast_submitted_on_append: Some(true),
        removed_leader_step_down: StepDownPolicy::After(config.heartbeat_ms),
        // Nobody reads these statistics, and each group would allocate room for them.
        log_stage_capacity: Some(1),
        backoff: "50ms 100ms 200ms ..500ms".to_owned(),
        ..Config::default()
    };
    config.validate().map(Arc::new).map_err(|error| GroupError::Stopped(format!("the settings are refused: {error}")))
}

/// Starts a group from what its log and its state machine hold.
pub(crate) async fn start(parts: GroupParts, raft_config: Arc<Config>) -> Result<Group, GroupError> {
    let GroupParts { group, replica, log, state_machine, transport, tasks, random, config } = parts;
    let unreadable = |error: std::io::Error| GroupError::Stopped(format!("its log cannot be read: {error}"));
    let (durability, in_use) = Durability::new(state_machine.clone());
    let log_store = LogStore::open(log.clone(), durability).map_err(unreadable)?;
    let synced = log_store.synced();
    let applied = Arc::new(Applied::new(&config, log.size()));
    let cause = EndCause::default();
    let machine = Machine::new(replica, state_machine.clone(), &log_store, applied.clone(), cause.clone());
    let seed = random.next_u64();
    let election_ms_max = config.election_ms_max;
    let network = PeerFactory(Arc::new(PeerContext { group, replica, transport, random, config: config.clone() }));

    // On the runtime of the tasks, under the group's seed: all of openraft's tasks descend from this one.
    let starting = Raft::new(replica.0, raft_config, network, log_store, machine);
    let raft = match tasks.spawn("raft group", GroupRuntime::scope(seed, starting)).await {
        Ok(started) => started.map_err(|fatal| GroupError::Stopped(fatal.to_string()))?,
        Err(error) => return Err(GroupError::Stopped(error.to_string())),
    };
    let metrics = raft.metrics();
    let inner = Inner {
        group,
        replica,
        metrics,
        raft,
        log,
        state_machine,
        cause,
        receiver: Receiver::default(),
        election_ms_max,
        synced,
        in_use: tokio::sync::Mutex::new(in_use),
        watcher: Mutex::new(None),
    };
    let group = Group { inner: Arc::new(inner) };
    let (watched, patience) = (group.clone(), sender_patience(&config));
    let watcher = tasks.spawn("group watcher", async move {
        let (leadership, log_length) =
            (watch_leadership(watched.clone()), compaction::keep_short(watched.clone(), applied, config));
        tokio::select! {
            biased;
            _ = async { tokio::join!(leadership, log_length) } => {}
            () = watched.inner.receiver.drop_abandoned(patience) => {}
        }
    });
    *group.inner.watcher.lock() = Some(watcher);
    Ok(group)
}

/// Tells the state machine of each change of term, leader or membership.
async fn watch_leadership(group: Group) {
    let mut changes = group.inner.raft.server_metrics();
    let mut metrics = group.inner.metrics.clone();
    loop {
        let newest = changes.borrow_and_update().clone();
        let is_current = {
            let seen = metrics.borrow_and_update();
            seen.vote == newest.vote
                && seen.state == newest.state
                && seen.current_leader == newest.current_leader
                && seen.membership_config == newest.membership_config
        };
        if is_current {
            group.inner.state_machine.leadership(&group.status());
        }
        // The metrics that the status is made of are published after the ones that announce a change.
        let more = if is_current { changes.changed().await } else { metrics.changed().await };
        if more.is_err() {
            return;
        }
    }
}
