//! Nodes that leave: for a while, or for good.
//!
//! ```text
//!   drain         ─▶ no clients, and its leases go to others, until it is started again; its replicas stay
//!   decommission  ─▶ record ─▶ the leader of each range replaces the replica there ─▶ none is left ─▶ decommissioned: its process ends
//!   recommission  ─▶ the record says that it stays, unless it is gone
//! ```
//!
//! A node that is being decommissioned serves what it has until it has nothing. Whether its process still runs does not matter: that of a
//! dead node is decommissioned in the same way.
//!
//! Source: CockroachDB's `node drain` and `node decommission`.

use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::Shared;
use super::message::{Drained, NodeList, NodeRecord};
use crate::api::{KvError, Span};
use crate::keys;
use crate::liveness::{self, Membership, NodeMembership};
use crate::placement::NodeHealth;

impl Shared {
    /// All nodes, as this one knows them.
    pub(super) fn node_list(&self) -> NodeList {
        let record = |member: liveness::Member| NodeRecord {
            live: self.registry.is_live(member.descriptor.node_id),
            membership: member.membership.into(),
            descriptor: member.descriptor,
            status: member.status,
        };
        NodeList { nodes: self.registry.members().into_iter().map(record).collect() }
    }

    /// Decides whether a node is to stay. Tells how many replicas it has; a node that has any is not gone.
    ///
    /// # Errors
    /// `Invalid` for what cannot be; as any write.
    pub(super) async fn decide_membership(&self, node_id: u64, wanted: Membership) -> Result<u64, KvError> {
        self.read_records(self.settings.request_timeout_ms).await?;
        if !self.registry.nodes().contains(&node_id) {
            return Err(KvError::invalid(format!("there is no node n{node_id}")));
        }
        let now = self.registry.membership(node_id);
        let replicas = self.replicas_on(node_id).await?;
        if now == wanted {
            return Ok(replicas);
        }
        let refusal = match (now, wanted) {
            (Membership::Decommissioned, _) => {
                Some(format!("n{node_id} was decommissioned and cannot come back: start a new node in its place"))
            }
            (Membership::Active, Membership::Decommissioned) => {
                Some(format!("n{node_id} must be decommissioning before it is decommissioned"))
            }
            (_, Membership::Decommissioned) if replicas > 0 => {
                Some(format!("n{node_id} still has {replicas} replicas"))
            }
            (_, Membership::Decommissioning) => self.lack_without(node_id),
            (_, Membership::Active | Membership::Decommissioned) => None,
        };
        if let Some(words) = refusal {
            return Err(KvError::invalid(words));
        }
        let record = NodeMembership { node_id, membership: wanted.into() };
        liveness::write_membership(&*self.router, &record, self.settings.request_timeout_ms).await?;
        tracing::info!(node_id, membership = wanted.word(), "the node's membership was changed");
        self.read_records(self.settings.request_timeout_ms).await?;
        self.store.changed.notify_one();
        Ok(replicas)
    }

    /// Why the node cannot be done without: where there would be fewer nodes than copies, its replicas would never leave.
    fn lack_without(&self, node_id: u64) -> Option<String> {
        let stays = |node: &&crate::placement::NodeView| {
            node.node_id != node_id && !node.is_leaving && node.health != NodeHealth::Dead
        };
        let left = self.registry.view().nodes().iter().filter(stays).count();
        let copies = self.registry.cluster().get().replication_factor;
        (left < copies).then(|| {
            format!(
                "without n{node_id} there are {left} nodes for {copies} copies of each range: add a node first, or lower \
                 cluster.replication_factor"
            )
        })
    }

    /// How many replicas the directory knows on a node.
    async fn replicas_on(&self, node_id: u64) -> Result<u64, KvError> {
        let everything = Span { start: Bytes::from_static(keys::MIN), end: Bytes::from_static(keys::MAX) };
        let descriptors = self.descriptors(&everything).await?;
        let replicas = descriptors.iter().flat_map(|descriptor| &descriptor.replicas);
        Ok(replicas.filter(|replica| replica.node_id == node_id).count() as u64)
    }

    /// Takes no more clients, and hands leases over. May be asked again until none is left.
    pub(super) async fn drain(&self) -> Drained {
        if !self.draining.swap(true, Ordering::SeqCst) {
            tracing::info!("draining: clients and leases go to other nodes");
            self.drain_asked.send_replace(true);
        }
        // The others must not hand anything to it meanwhile.
        if let Err(error) = super::heartbeat::say(self).await {
            tracing::info!(%error, "the others do not hear that this node drains");
        }
        self.leave_to_others().await;
        Drained { leases: self.leases() as u64 }
    }

    /// How many leases this node holds.
    pub(super) fn leases(&self) -> usize {
        self.store.all().iter().filter(|(_, held)| held.replica.is_leaseholder()).count()
    }

    /// A node that is gone must not go on.
    pub(super) fn end_if_decommissioned(&self) {
        let node_id = self.identity.node_id;
        if self.registry.membership(node_id) == Membership::Decommissioned {
            self.store.fail(format!(
                "n{node_id} was decommissioned: it has no data any more, and its data directory may be removed"
            ));
        }
    }
}
