//! Carrying out, step by step, what a range led here needs: its directory entry, its placement, its garbage.
//!
//! ```text
//!   look ─▶ entry lags?      ─▶ repair
//!        ─▶ placement::decide ─▶ one action ─▶ look again
//!        ─▶ garbage due?      ─▶ collect
//! ```
//!
//! Every action may fail half-way, since leadership may move: whoever leads then finds what is left to do.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use raft_groups::{Class, GroupStatus, NodeId, ReplicaId};

use super::Shared;
use super::message::{NodeRequest, NodeRequestKind, Removed};
use crate::api::{BatchHeader, BatchRequest, CollectGarbage, KvError, RequestKind, Sender, SplitRange, TransferLease};
use crate::descriptor::{RangeDescriptor, ReplicaDescriptor, ReplicaRole};
use crate::directory;
use crate::mvcc;
use crate::placement::{self, Action, NodeHealth, NodeView, RangeView};
use crate::store::Held;

/// A learner this many entries behind the leader counts as caught up.
const CAUGHT_UP_ENTRIES: u64 = 64;

/// Steps that one task takes at most before the next look by the keeper.
const STEPS_MAX: u32 = 400;

/// Bounds of the pause while something is under way.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// How long to keep trying to tell a node of a removal; it finds out by itself, later.
const REMOVED_TIMEOUT: Duration = Duration::from_secs(1);

/// The range as placement sees it.
fn view_of(shared: &Shared, held: &Held, status: &GroupStatus) -> RangeView {
    let descriptor = held.replica.descriptor();
    let newest = status.last_log.unwrap_or(0);
    let caught_up = status
        .peers
        .iter()
        .filter(|(_, peer)| peer.matched.is_some_and(|matched| matched + CAUGHT_UP_ENTRIES >= newest))
        .map(|(replica, _)| replica.0)
        .collect();
    let may_split = descriptor.range_id != directory::FIRST_RANGE_ID;
    RangeView {
        raft_voters: status.voters.keys().map(|replica| replica.0).collect(),
        raft_learners: status.learners.keys().map(|replica| replica.0).collect(),
        is_joint: status.is_joint,
        caught_up,
        target: shared.settings.replication_target,
        bytes: u64::try_from(held.replica.stats().total_bytes()).unwrap_or(0),
        split_above_bytes: may_split.then_some(shared.settings.range_split_bytes),
        descriptor,
    }
}

fn needs_entry(shared: &Shared, held: &Held) -> bool {
    let descriptor = held.replica.descriptor();
    let lately = shared.wall_now().minus(Duration::from_millis(shared.settings.directory_interval_ms));
    !shared.keeper.is_entered(descriptor.range_id, descriptor.generation, lately)
}

fn is_worth_collecting(shared: &Shared, held: &Held) -> bool {
    u64::try_from(held.replica.stats().garbage_bytes()).is_ok_and(|bytes| bytes > shared.settings.gc_garbage_bytes_min)
}

/// Whether a task should be started for the range.
pub(super) fn has_something_to_do(shared: &Shared, range_id: u64, held: &Held, nodes: &[NodeView]) -> bool {
    if needs_entry(shared, held) {
        return true;
    }
    let view = view_of(shared, held, &held.group.status());
    if placement::decide(&view, nodes).action != Action::Nothing {
        return true;
    }
    let interval = Duration::from_millis(shared.settings.gc_interval_ms);
    let is_due = is_worth_collecting(shared, held);
    is_due && shared.keeper.take_collection(range_id, shared.wall_now(), interval)
}

/// Does what the range needs until there is nothing left, or this node no longer leads it.
pub(super) async fn tend(shared: &Shared, range_id: u64, held: &Held) {
    let mut pause = PAUSE_MIN;
    for _ in 0..STEPS_MAX {
        if held.group.leader_term().is_none() || shared.store.held(range_id).is_none() {
            return;
        }
        let descriptor = held.replica.descriptor();
        let status = held.group.status();
        let decision = placement::decide(&view_of(shared, held, &status), &shared.registry.views());
        // The directory can wait while replicas are on the move; it only lags.
        if matches!(decision.action, Action::Nothing | Action::Wait) && needs_entry(shared, held) {
            match directory::repair(&*shared.router, &descriptor, shared.settings.request_timeout_ms).await {
                Ok(()) => shared.keeper.enter(range_id, descriptor.generation, shared.wall_now()),
                Err(error) => return tracing::debug!(range_id, %error, "the directory was not repaired"),
            }
        }
        match decision.action {
            Action::Nothing => break,
            Action::Wait => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
                continue;
            }
            action => {
                tracing::info!(range_id, ?action, reason = decision.reason, "placement");
                pause = PAUSE_MIN;
                if let Err(reason) = act(shared, held, &status, descriptor, action).await {
                    return tracing::info!(range_id, reason, "placement did not get through");
                }
            }
        }
    }
    if is_worth_collecting(shared, held)
        && let Err(error) = collect_garbage(shared, held).await
    {
        tracing::debug!(range_id, %error, "garbage was not collected");
    }
}

async fn act(
    shared: &Shared,
    held: &Held,
    status: &GroupStatus,
    descriptor: RangeDescriptor,
    action: Action,
) -> Result<(), String> {
    let group = &held.group;
    let words = |error: raft_groups::GroupError| error.to_string();
    match action {
        Action::Nothing | Action::Wait => Ok(()),
        Action::Add { nodes } => {
            let mut next = descriptor;
            for node_id in nodes {
                let role = ReplicaRole::Learner.into();
                next.replicas.push(ReplicaDescriptor { replica_id: next.next_replica_id, node_id, role });
                next.next_replica_id += 1;
            }
            change(held, next).await
        }
        Action::JoinLearners { replicas } => {
            for id in replicas {
                let replica = descriptor.replicas.iter().find(|replica| replica.replica_id == id);
                let Some(replica) = replica else { continue };
                group.add_learner(ReplicaId(id), NodeId(replica.node_id)).await.map_err(words)?;
            }
            Ok(())
        }
        Action::ChangeVoters { voters } => {
            let voters: Vec<ReplicaId> = voters.into_iter().map(ReplicaId).collect();
            group.change_voters(&voters).await.map_err(words)
        }
        Action::DropLearners { replicas } => {
            for id in replicas.iter().copied().map(ReplicaId).filter(|id| status.learners.contains_key(id)) {
                group.remove_learner(id).await.map_err(words)?;
            }
            settle(shared, held, descriptor, |id| replicas.contains(&id)).await
        }
        Action::Settle => settle(shared, held, descriptor, |_| false).await,
        Action::Split => split(shared, held, &descriptor).await,
    }
}

/// Makes the descriptor say what Raft's membership is, less those in `dropped`, and tells those that are gone.
async fn settle(
    shared: &Shared,
    held: &Held,
    descriptor: RangeDescriptor,
    dropped: impl Fn(u64) -> bool,
) -> Result<(), String> {
    let status = held.group.status();
    let mut next = descriptor.clone();
    next.replicas.clear();
    for replica in &descriptor.replicas {
        let id = ReplicaId(replica.replica_id);
        let is_voter = status.voters.contains_key(&id);
        let role = if is_voter { ReplicaRole::Voter } else { ReplicaRole::Learner };
        let is_announced = replica.role() == ReplicaRole::Learner || status.learners.contains_key(&id);
        if is_voter || (is_announced && !dropped(replica.replica_id)) {
            next.replicas.push(ReplicaDescriptor { role: role.into(), ..*replica });
        }
    }
    if next.replicas == descriptor.replicas {
        return Ok(());
    }
    change(held, next).await?;
    let now = held.replica.descriptor();
    let kept: BTreeSet<u64> = now.replicas.iter().map(|replica| replica.replica_id).collect();
    let gone = descriptor.replicas.iter().filter(|replica| !kept.contains(&replica.replica_id));
    let body = NodeRequest::encode_kind(NodeRequestKind::Removed(Removed { descriptor: now.clone() }));
    for replica in gone {
        let call = (shared.transport.clone(), NodeId(replica.node_id), body.clone());
        shared.tasks.spawn("tell of removal", async move {
            let (transport, node, body) = call;
            // Lost: the node asks by itself when it has heard of no leader for a while.
            let _ = transport.call(node, Class::Kv, body, REMOVED_TIMEOUT).await;
        });
    }
    Ok(())
}

/// Replicates a new descriptor with the same bounds.
async fn change(held: &Held, mut next: RangeDescriptor) -> Result<(), String> {
    let expected_generation = next.generation;
    next.generation += 1;
    held.replica.change_descriptor(expected_generation, next).await.map_err(|error| error.to_string())
}

/// Splits the range in its middle.
async fn split(shared: &Shared, held: &Held, descriptor: &RangeDescriptor) -> Result<(), String> {
    let half = u64::try_from(held.replica.stats().total_bytes() / 2).unwrap_or(0);
    let (engine, bounds) = (shared.store.engine().clone(), (descriptor.start.clone(), descriptor.end.clone()));
    let whole_key = |key: &Bytes| key.clone();
    let found = shared
        .tasks
        .blocking(move || mvcc::find_split_key(&*engine.snapshot(), &bounds.0, &bounds.1, half, &whole_key))
        .await;
    let Some(key) = found.map_err(|error| error.to_string())? else {
        return Err("the range is large, but has no key to split at".to_owned());
    };
    shared.send_one(RequestKind::SplitRange(SplitRange { key })).await.map(|_| ()).map_err(|error| error.to_string())
}

async fn collect_garbage(shared: &Shared, held: &Held) -> Result<(), KvError> {
    let threshold = shared.wall_now().minus(Duration::from_millis(shared.settings.gc_ttl_ms));
    let key = held.replica.descriptor().start;
    shared.send_one(RequestKind::CollectGarbage(CollectGarbage { key, threshold })).await.map(|_| ())
}

impl Shared {
    /// Sends one request by itself.
    pub(super) async fn send_one(&self, kind: RequestKind) -> Result<crate::api::BatchResponse, KvError> {
        self.router.send(BatchRequest { header: BatchHeader::default(), requests: vec![kind.into()] }).await
    }

    /// Hands every lease, and with it leadership, to another voter, one that stays.
    pub(super) async fn give_leases_away(&self) {
        let own = self.identity.node_id;
        for (_, held) in self.store.all() {
            if held.group.leader_term().is_none() {
                continue;
            }
            let descriptor = held.replica.descriptor();
            let heir = descriptor
                .voters()
                .filter(|replica| replica.node_id != own)
                .find(|replica| self.registry.health(replica.node_id) == NodeHealth::Live);
            let Some(heir) = heir else { continue };
            let transfer = TransferLease { key: descriptor.start.clone(), target_node: heir.node_id };
            if let Err(error) = self.send_one(RequestKind::TransferLease(transfer)).await {
                tracing::info!(range = descriptor.range_id, %error, "a lease was not handed over");
            }
        }
    }
}
