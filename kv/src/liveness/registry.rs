//! What this node knows of the others, and of the cluster's settings: in memory, fed by announcements and by reading the records now
//! and then.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use clock::Hlc;
use parking_lot::RwLock;
use prost::Message;

use super::{Locality, Membership, NodeDescriptor, NodeMembership, NodeStatus};
use crate::api::{BatchHeader, BatchRequest, KvError, Put, RequestKind, ResponseKind, Scan, Sender, Span};
use crate::keys;
use crate::placement::{ClusterView, NodeHealth, NodeView};
use crate::settings::{ClusterSettings, SettingRow, Settings};

/// A node and what it last said.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Who it is.
    pub descriptor: NodeDescriptor,
    /// Its last heartbeat that this node read.
    pub status: Option<NodeStatus>,
    /// Whether it is to stay, when this node read that last.
    pub membership: Membership,
}

/// The nodes of the cluster, as this one knows them. Share it in an `Arc`.
pub struct Registry {
    hlc: Arc<Hlc>,
    settings: Settings,
    cluster: Arc<ClusterSettings>,
    members: RwLock<BTreeMap<u64, Member>>,
    own: RwLock<Option<u64>>,
}

impl Registry {
    /// A registry of nobody.
    pub fn new(hlc: Arc<Hlc>, settings: Settings) -> Self {
        let cluster = Arc::new(ClusterSettings::new(&settings));
        Registry { hlc, settings, cluster, members: RwLock::default(), own: RwLock::default() }
    }

    /// The numbers of the cluster, as this node knows them.
    pub fn cluster(&self) -> &Arc<ClusterSettings> {
        &self.cluster
    }

    /// Says which of the nodes this is.
    pub fn set_own(&self, node: u64) {
        *self.own.write() = Some(node);
    }

    /// Takes note of a node. Returns whether it is new, or started anew.
    pub fn learn(&self, descriptor: &NodeDescriptor) -> bool {
        let mut members = self.members.write();
        match members.get_mut(&descriptor.node_id) {
            Some(known) if known.descriptor.started >= descriptor.started => false,
            Some(known) => {
                known.descriptor = descriptor.clone();
                true
            }
            None => {
                let (descriptor, membership) = (descriptor.clone(), Membership::Active);
                members.insert(descriptor.node_id, Member { descriptor, status: None, membership });
                true
            }
        }
    }

    /// Takes note of a heartbeat.
    pub fn note(&self, status: &NodeStatus) {
        if let Some(known) = self.members.write().get_mut(&status.node_id)
            && known.status.as_ref().is_none_or(|former| former.heartbeat <= status.heartbeat)
        {
            known.status = Some(status.clone());
        }
    }

    /// Takes note of what operators decided. A node that is gone stays so.
    fn note_membership(&self, record: &NodeMembership) {
        if let Some(known) = self.members.write().get_mut(&record.node_id)
            && known.membership != Membership::Decommissioned
        {
            known.membership = record.membership();
        }
    }

    /// Whether a node is to stay. One that is not known is.
    pub fn membership(&self, node: u64) -> Membership {
        self.members.read().get(&node).map_or(Membership::Active, |member| member.membership)
    }

    /// How many nodes are to stay.
    pub fn active(&self) -> usize {
        self.members.read().values().filter(|member| member.membership == Membership::Active).count()
    }

    /// The IDs of all known nodes, in order.
    pub fn nodes(&self) -> Vec<u64> {
        self.members.read().keys().copied().collect()
    }

    /// All known nodes, by ID.
    pub fn members(&self) -> Vec<Member> {
        self.members.read().values().cloned().collect()
    }

    /// Whether a node was heard of lately; a node that has just announced itself was.
    pub fn is_live(&self, node: u64) -> bool {
        matches!(self.health(node), NodeHealth::Live | NodeHealth::Draining)
    }

    /// How a node does. One that is not known is suspect.
    pub fn health(&self, node: u64) -> NodeHealth {
        self.members.read().get(&node).map_or(NodeHealth::Suspect, |member| self.health_of(member))
    }

    /// How many tiers of locality separate a node from this one; 0 for the same place.
    pub fn distance(&self, node: u64) -> usize {
        let members = self.members.read();
        let own = self.own.read().and_then(|own| members.get(&own));
        let (Some(own), Some(other)) = (own, members.get(&node)) else { return usize::MAX };
        let locality: &Locality = &own.descriptor.locality;
        locality.tiers.len() - locality.common_tiers(&other.descriptor.locality)
    }

    /// The nodes as placement sees them.
    pub fn view(&self) -> ClusterView {
        let view = |member: &Member| {
            let status = member.status.clone().unwrap_or_default();
            NodeView {
                node_id: member.descriptor.node_id,
                locality: member.descriptor.locality.clone(),
                health: self.health_of(member),
                replicas: status.replicas,
                receiving: status.receiving,
                bytes: status.bytes,
                leases: status.leases,
                requests: status.requests,
                disk_full: status.disk_full,
                is_leaving: member.membership != Membership::Active,
            }
        };
        ClusterView::new(self.members.read().values().map(view).collect())
    }

    /// Where a node stands, if it is known.
    pub fn locality(&self, node: u64) -> Option<Locality> {
        self.members.read().get(&node).map(|member| member.descriptor.locality.clone())
    }

    fn health_of(&self, member: &Member) -> NodeHealth {
        let id = member.descriptor.node_id;
        let draining = member.status.as_ref().is_some_and(|status| status.draining);
        if *self.own.read() == Some(id) {
            return if draining { NodeHealth::Draining } else { NodeHealth::Live };
        }
        let status = member.status.as_ref().map_or(0, |status| status.heartbeat.wall_ns);
        let heard_ns = status.max(member.descriptor.started.wall_ns);
        let silent_ms = self.hlc.interval().earliest_ns.saturating_sub(heard_ns) / 1_000_000;
        if silent_ms > self.settings.node_dead_after_ms {
            NodeHealth::Dead
        } else if silent_ms > self.settings.node_suspect_after_ms {
            NodeHealth::Suspect
        } else if draining && status >= member.descriptor.started.wall_ns {
            NodeHealth::Draining
        } else {
            NodeHealth::Live
        }
    }

    /// Reads all records anew. Returns the descriptors that were new.
    ///
    /// # Errors
    /// As any read.
    pub async fn refresh(&self, sender: &dyn Sender, timeout_ms: u64) -> Result<Vec<NodeDescriptor>, KvError> {
        let scan = |kind: u8| -> RequestKind {
            let Span { start, end } = keys::system_span(kind);
            RequestKind::Scan(Scan { start, end, ..Scan::default() })
        };
        let header = BatchHeader { timeout_ms, ..BatchHeader::default() };
        let requests = [b'n', b'l', b'm', b's'].map(|kind| scan(kind).into()).to_vec();
        let mut responses = sender.send(BatchRequest { header, requests }).await?.responses.into_iter();
        let mut rows = || match responses.next().and_then(|response| response.kind) {
            Some(ResponseKind::Rows(rows)) => rows.rows,
            _ => Vec::new(),
        };
        let descriptors: Vec<NodeDescriptor> =
            rows().into_iter().filter_map(|row| NodeDescriptor::decode(row.value).ok()).collect();
        let fresh = descriptors.into_iter().filter(|descriptor| self.learn(descriptor)).collect();
        for status in rows().into_iter().filter_map(|row| NodeStatus::decode(row.value).ok()) {
            self.note(&status);
        }
        for record in rows().into_iter().filter_map(|row| NodeMembership::decode(row.value).ok()) {
            self.note_membership(&record);
        }
        self.cluster.learn(rows().iter().filter_map(SettingRow::of).collect());
        Ok(fresh)
    }
}

/// Writes a node's descriptor.
///
/// # Errors
/// As any write.
pub async fn write_descriptor(sender: &dyn Sender, node: &NodeDescriptor, timeout_ms: u64) -> Result<(), KvError> {
    write(sender, keys::node_status(node.node_id), node.encode_to_vec(), timeout_ms).await
}

/// Writes a node's heartbeat.
///
/// # Errors
/// As any write.
pub async fn write_status(sender: &dyn Sender, status: &NodeStatus, timeout_ms: u64) -> Result<(), KvError> {
    write(sender, keys::node_liveness(status.node_id), status.encode_to_vec(), timeout_ms).await
}

/// Writes what operators decided about a node.
///
/// # Errors
/// As any write.
pub async fn write_membership(sender: &dyn Sender, record: &NodeMembership, timeout_ms: u64) -> Result<(), KvError> {
    write(sender, keys::node_membership(record.node_id), record.encode_to_vec(), timeout_ms).await
}

async fn write(sender: &dyn Sender, key: Bytes, value: Vec<u8>, timeout_ms: u64) -> Result<(), KvError> {
    let header = BatchHeader { timeout_ms, ..BatchHeader::default() };
    let put = Put { key, value: value.into(), ..Put::default() };
    sender.send(BatchRequest { header, requests: vec![RequestKind::Put(put).into()] }).await.map(|_| ())
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry").field("nodes", &self.nodes()).finish_non_exhaustive()
    }
}
