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
use std::sync::Arc;
use std::time::Duration;

use raft_groups::{Class, GroupStatus, NodeId, ReplicaId};

use super::Shared;
use super::learners::{Learners, Standing};
use super::message::{NodeRequest, NodeRequestKind, Removed};
use crate::api::{BatchHeader, BatchRequest, KvError, RequestKind, Sender, SplitRange, TransferLease};
use crate::descriptor::{RangeDescriptor, ReplicaDescriptor, ReplicaRole};
use crate::directory;
use crate::liveness::Membership;
use crate::placement::{self, Action, ClusterView, Decision, NodeHealth, Openings, Origin, RangeLoad, RangeView};
use crate::store::Held;

/// Steps that one task takes at most before the next look by the keeper.
const STEPS_MAX: u32 = 400;

/// Bounds of the pause while something is under way.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// A voter that was not heard of for longer, or lags by more entries, is not given a lease only because it would be better there.
const HEARD_WITHIN: Duration = Duration::from_secs(1);
const LAG_MAX: u64 = 64;

/// How long to keep trying to tell a node of a removal; it finds out by itself, later.
const REMOVED_TIMEOUT: Duration = Duration::from_secs(1);

/// The range as placement sees it.
fn view_of(shared: &Shared, held: &Held, status: &GroupStatus, openings: Arc<Openings>) -> RangeView {
    let descriptor = held.replica.descriptor();
    let range_id = descriptor.range_id;
    let bytes = u64::try_from(held.replica.stats().total_bytes()).unwrap_or(0);
    let now = shared.wall_now();
    let matched_by = |id: &ReplicaId| status.peers.get(id).and_then(|peer| peer.matched);
    let matched = status.learners.keys().map(|id| (id.0, matched_by(id))).collect();
    let (newest, patience) = (status.last_log.unwrap_or(0), shared.settings.learner_patience(bytes));
    let (standings, avoided) = shared.keeper.with_learners(|learners| {
        (learners.look(range_id, &matched, newest, now, patience), learners.avoided(range_id))
    });
    let that_are = |wanted: Standing| {
        standings.iter().filter(|(_, standing)| **standing == wanted).map(|(replica, _)| *replica).collect()
    };
    let may_split = range_id != directory::FIRST_RANGE_ID;
    RangeView {
        raft_voters: status.voters.keys().map(|replica| replica.0).collect(),
        raft_learners: status.learners.keys().map(|replica| replica.0).collect(),
        is_joint: status.is_joint,
        leader: held.replica.replica_id(),
        caught_up: that_are(Standing::CaughtUp),
        stuck: that_are(Standing::Stuck),
        avoided,
        target: target_of(shared, &descriptor),
        bytes,
        split_above_bytes: may_split.then_some(shared.settings.range_split_bytes),
        holds_lease: held.replica.is_leaseholder(),
        heirs: heirs(status),
        load: load_of(shared, held),
        openings,
        descriptor,
    }
}

/// The other voters that answer, and whose log is nearly as good: one that takes the lease over does so at once.
fn heirs(status: &GroupStatus) -> BTreeSet<u64> {
    let newest = status.last_log.unwrap_or(0);
    let is_close = |replica: &ReplicaId| {
        status.peers.get(replica).is_some_and(|peer| {
            peer.heard_ago.is_some_and(|ago| ago <= HEARD_WITHIN)
                && peer.matched.is_some_and(|matched| matched + LAG_MAX >= newest)
        })
    };
    status.voters.keys().filter(|replica| is_close(replica)).map(|replica| replica.0).collect()
}

/// What the range served lately, and for nodes that stand where, if its lease may move for that.
fn load_of(shared: &Shared, held: &Held) -> Option<RangeLoad> {
    let served = held.replica.served();
    if !served.is_known || !shared.settings.lease_rebalancing {
        return None;
    }
    let requests = served.requests();
    let origin = |(node_id, of_node): (&u64, &f64)| {
        let locality = shared.registry.locality(*node_id)?;
        Some(Origin { node_id: *node_id, locality, part: of_node / requests })
    };
    let origins = served.by_node.iter().filter_map(origin).collect();
    Some(RangeLoad { requests, origins })
}

/// How many voters a range should have. Where one's node is to go, no more than the nodes that stay can have: it could not leave.
fn target_of(shared: &Shared, descriptor: &RangeDescriptor) -> usize {
    let (registry, copies) = (&shared.registry, shared.registry.cluster().get().replication_factor);
    let leaves = |replica: &ReplicaDescriptor| registry.membership(replica.node_id) != Membership::Active;
    if descriptor.replicas.iter().any(leaves) {
        return shared.settings.voters_wanted(descriptor.range_id, copies, registry.active());
    }
    shared.settings.voters_of(descriptor.range_id, copies)
}

fn needs_entry(shared: &Shared, held: &Held) -> bool {
    let descriptor = held.replica.descriptor();
    let lately = shared.wall_now().minus(Duration::from_millis(shared.settings.directory_interval_ms));
    !shared.keeper.is_entered(descriptor.range_id, descriptor.generation, lately)
}

/// Whether a task should be started for the range.
pub(super) fn has_something_to_do(
    shared: &Shared,
    held: &Held,
    cluster: &ClusterView,
    openings: &Arc<Openings>,
) -> bool {
    if needs_entry(shared, held) {
        return true;
    }
    let view = view_of(shared, held, &held.group.status(), openings.clone());
    if placement::decide(&view, cluster).action != Action::Nothing {
        return true;
    }
    is_collection_due(shared, held)
}

/// What is to be done next about a range led here.
pub(super) fn decision_about(shared: &Shared, held: &Held) -> Decision {
    let cluster = shared.registry.view();
    let view = view_of(shared, held, &held.group.status(), shared.openings(&cluster));
    placement::decide(&view, &cluster)
}

/// Whether it is time to collect garbage, and worth it; if so, it is taken for done.
fn is_collection_due(shared: &Shared, held: &Held) -> bool {
    let interval = Duration::from_millis(shared.settings.gc_interval_ms);
    held.replica.is_upkeep_due() && shared.keeper.take_collection(held.replica.range_id(), shared.wall_now(), interval)
}

/// Does what the range needs until there is nothing left, or this node no longer leads it.
pub(super) async fn tend(shared: &Shared, range_id: u64, held: &Held) {
    let mut pause = PAUSE_MIN;
    for _ in 0..STEPS_MAX {
        if held.group.leader_term().is_none() || shared.store.held(range_id).is_none() {
            return;
        }
        let (status, cluster) = (held.group.status(), shared.registry.view());
        let view = view_of(shared, held, &status, shared.openings(&cluster));
        let decision = placement::decide(&view, &cluster);
        // The directory can wait while replicas are on the move; it only lags.
        if matches!(decision.action, Action::Nothing | Action::Wait) && needs_entry(shared, held) {
            enter(shared, &view.descriptor).await;
        }
        match &decision.action {
            Action::Nothing => break,
            Action::Wait => {
                if is_collection_due(shared, held) {
                    collect_garbage(held).await;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
            Action::Move { .. } | Action::TransferLease { .. } if !shared.take_move(&cluster, &decision.action) => {
                break;
            }
            action => {
                tracing::info!(range_id, ?action, reason = decision.reason, "placement");
                let action = action.clone();
                shared.keeper.note(range_id, shared.wall_now(), decision);
                pause = PAUSE_MIN;
                match act(shared, held, &status, view, action).await {
                    Ok(Next::Look) => {}
                    Ok(Next::Leave) => return,
                    Err(reason) => {
                        tracing::info!(range_id, reason, "placement did not get through");
                        break;
                    }
                }
            }
        }
    }
    if held.replica.is_upkeep_due() {
        collect_garbage(held).await;
    }
}

/// Sees to it that the directory has the range.
async fn enter(shared: &Shared, descriptor: &RangeDescriptor) {
    match directory::repair(&*shared.router, descriptor, shared.settings.request_timeout_ms).await {
        Ok(()) => shared.keeper.enter(descriptor.range_id, descriptor.generation, shared.wall_now()),
        Err(error) => tracing::debug!(range_id = descriptor.range_id, %error, "the directory was not repaired"),
    }
}

/// What follows an action.
enum Next {
    /// Another look.
    Look,
    /// Somebody else looks on.
    Leave,
}

async fn act(
    shared: &Shared,
    held: &Held,
    status: &GroupStatus,
    view: RangeView,
    action: Action,
) -> Result<Next, String> {
    let (group, descriptor) = (&held.group, view.descriptor);
    let words = |error: raft_groups::GroupError| error.to_string();
    match action {
        Action::Nothing | Action::Wait => {}
        Action::Add { nodes } => add(held, descriptor, nodes, 0).await?,
        Action::Move { node, replaces } => add(held, descriptor, vec![node], replaces).await?,
        Action::JoinLearners { replicas } => {
            for id in replicas {
                let replica = descriptor.replicas.iter().find(|replica| replica.replica_id == id);
                let Some(replica) = replica else { continue };
                group.add_learner(ReplicaId(id), NodeId(replica.node_id)).await.map_err(words)?;
            }
        }
        Action::ChangeVoters { voters } if !voters.contains(&view.leader) => {
            // It would have to end what it leads to carry that out: whoever stays does.
            hand_over(shared, &descriptor, |replica| {
                voters.contains(&replica) && status.voters.contains_key(&ReplicaId(replica))
            })
            .await?;
            return Ok(Next::Leave);
        }
        Action::ChangeVoters { voters } => {
            let voters: Vec<ReplicaId> = voters.into_iter().map(ReplicaId).collect();
            group.change_voters(&voters).await.map_err(words)?;
        }
        Action::DropLearners { replicas } => {
            let is_stuck = |replica: &&ReplicaDescriptor| {
                replicas.contains(&replica.replica_id) && view.stuck.contains(&replica.replica_id)
            };
            let (now, patience) = (shared.wall_now(), shared.settings.learner_patience(view.bytes));
            for replica in descriptor.replicas.iter().filter(is_stuck) {
                let avoid = |learners: &mut Learners| {
                    learners.avoid(descriptor.range_id, replica.node_id, now, patience);
                };
                shared.keeper.with_learners(avoid);
            }
            for id in replicas.iter().copied().map(ReplicaId).filter(|id| status.learners.contains_key(id)) {
                group.remove_learner(id).await.map_err(words)?;
            }
            settle(shared, held, descriptor, |id| replicas.contains(&id)).await?;
        }
        Action::Settle => settle(shared, held, descriptor, |_| false).await?,
        Action::TransferLease { node, .. } => {
            let transfer = TransferLease { key: descriptor.start, target_node: node };
            let sent = shared.send_one(RequestKind::TransferLease(transfer)).await;
            sent.map_err(|error| error.to_string())?;
            return Ok(Next::Leave);
        }
        Action::Split => split(shared, held).await?,
    }
    Ok(Next::Look)
}

/// Announces new copies, and the voter that one is to replace.
async fn add(held: &Held, descriptor: RangeDescriptor, nodes: Vec<u64>, replaces: u64) -> Result<(), String> {
    let mut next = descriptor;
    for node_id in nodes {
        let role = ReplicaRole::Learner.into();
        next.replicas.push(ReplicaDescriptor { replica_id: next.next_replica_id, node_id, role, replaces });
        next.next_replica_id += 1;
    }
    change(held, next).await
}

/// Hands the lease, and with it leadership, to one of the voters that may have it, on a node that lives.
async fn hand_over(shared: &Shared, descriptor: &RangeDescriptor, may: impl Fn(u64) -> bool) -> Result<(), String> {
    let mut heirs: Vec<&ReplicaDescriptor> = descriptor
        .voters()
        .filter(|replica| replica.node_id != shared.identity.node_id && may(replica.replica_id))
        .filter(|replica| shared.registry.health(replica.node_id) == NodeHealth::Live)
        .collect();
    // Rather one that stays.
    heirs.sort_by_key(|replica| shared.registry.membership(replica.node_id));
    let heir = heirs.first();
    let Some(heir) = heir else { return Err("nobody is there to hand the lease to".to_owned()) };
    let transfer = TransferLease { key: descriptor.start.clone(), target_node: heir.node_id };
    shared.send_one(RequestKind::TransferLease(transfer)).await.map(|_| ()).map_err(|error| error.to_string())
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
            let replaces = if is_voter { 0 } else { replica.replaces };
            next.replicas.push(ReplicaDescriptor { role: role.into(), replaces, ..*replica });
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
async fn split(shared: &Shared, held: &Held) -> Result<(), String> {
    let Some(key) = held.replica.find_split_key().await.map_err(|error| error.to_string())? else {
        return Err("the range is large, but has no key to split at".to_owned());
    };
    shared.send_one(RequestKind::SplitRange(SplitRange { key })).await.map(|_| ()).map_err(|error| error.to_string())
}

async fn collect_garbage(held: &Held) {
    if let Err(error) = held.replica.keep_up().await {
        tracing::debug!(range_id = held.replica.range_id(), %error, "garbage was not collected");
    }
}

impl Shared {
    /// Sends one request by itself.
    pub(super) async fn send_one(&self, kind: RequestKind) -> Result<crate::api::BatchResponse, KvError> {
        self.router.send(BatchRequest { header: BatchHeader::default(), requests: vec![kind.into()] }).await
    }

    /// Hands every lease, and with it leadership, to another voter, one that stays.
    pub(super) async fn give_leases_away(&self) {
        for (_, held) in self.store.all() {
            if held.group.leader_term().is_none() {
                continue;
            }
            if let Err(reason) = hand_over(self, &held.replica.descriptor(), |_| true).await {
                tracing::info!(range = held.replica.range_id(), reason, "a lease was not handed over");
            }
        }
    }
}
