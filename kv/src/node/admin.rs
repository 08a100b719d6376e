//! What people, and SQL on their behalf, ask of the cluster beside data.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use prost::Message;
use raft_groups::{Class, NodeId};

use super::Shared;
use super::checker::{CheckCounts, CheckInfo};
use super::explain::DecisionInfo;
use super::message::{Measure, Measured, NodeAnswer, NodeAnswerKind, NodeRequest, NodeRequestKind};
use crate::api::{KvError, Put, RequestKind, ResponseKind, Span, SplitRange, TransferLease};
use crate::descriptor::RangeDescriptor;
use crate::directory;
use crate::keys;
use crate::liveness::{Membership, NodeDescriptor, NodeStatus};
use crate::settings::{ClusterValues, InvalidSetting, SettingInfo, Settings};

/// How long to wait for one node's word on how large its replica is.
const MEASURE_TIMEOUT: Duration = Duration::from_millis(500);

/// How often, and how far apart, the directory is asked until it knows of every range.
const DIRECTORY_TRIES: u32 = 20;
const DIRECTORY_PAUSE: Duration = Duration::from_millis(100);

/// One range as the directory and its leaseholder describe it.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeInfo {
    /// Bounds and replicas.
    pub descriptor: RangeDescriptor,
    /// The node that holds the lease, as far as is known.
    pub leaseholder: Option<u64>,
    /// The nodes of the voters that answer the range's leader; `None` when it did not say.
    pub live_voters: Option<Vec<u64>>,
    /// Bytes of keys and values, live and not; `None` when the leaseholder did not answer.
    pub bytes: Option<u64>,
    /// Live keys; `None` when the leaseholder did not answer.
    pub keys: Option<u64>,
    /// Requests a second that the leaseholder serves; `None` when it did not answer.
    pub requests: Option<f64>,
}

/// One node as the cluster knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeInfo {
    /// Who it is.
    pub descriptor: NodeDescriptor,
    /// What it last said; `None` before its first heartbeat.
    pub status: Option<NodeStatus>,
    /// Whether it was heard of lately.
    pub live: bool,
    /// Whether it is to stay.
    pub membership: Membership,
}

/// What this node says about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusInfo {
    /// The cluster.
    pub cluster_id: u128,
    /// This node.
    pub node_id: u64,
    /// How many replicas it holds.
    pub replicas: usize,
    /// How many leases it holds.
    pub leases: usize,
    /// Requests a second that it serves under them.
    pub requests: u64,
    /// How many actions on ranges it has begun since it started, by kind: copies moved, leases transferred, and so on.
    pub actions: BTreeMap<&'static str, u64>,
    /// How many ranges it leads have fewer voters that answer than they should have voters.
    pub underreplicated: usize,
    /// Why it cannot go on: its process is about to end. `None` while it can.
    pub failure: Option<String>,
    /// Why its clock is fenced: it serves nothing, and its process is about to end. `None` while it is not.
    pub clock_fault: Option<String>,
    /// It refuses writes, since its disk is full.
    pub disk_full: bool,
    /// It takes no clients any more, and hands its leases over.
    pub draining: bool,
    /// Free room on its disk, in bytes.
    pub free_bytes: u64,
    /// What the checks that it began came to.
    pub checks: CheckCounts,
}

/// What people, and SQL on their behalf, ask of the cluster beside data.
#[async_trait]
pub trait Admin: Send + Sync + 'static {
    /// The ranges that overlap a span, in key order.
    ///
    /// # Errors
    /// `Unavailable` when the directory does not answer.
    async fn ranges(&self, span: Span) -> Result<Vec<RangeInfo>, KvError>;

    /// The nodes of the cluster, by ID.
    fn nodes(&self) -> Vec<NodeInfo>;

    /// Splits the range that contains the key at the key. Returns the new right range, 0 when the key is a boundary already.
    ///
    /// # Errors
    /// As any write.
    async fn split_at(&self, key: Bytes) -> Result<u64, KvError>;

    /// Moves the lease (and the leadership) of the range that contains the key to a node.
    ///
    /// # Errors
    /// As any write; `Invalid` when the node holds no voting replica.
    async fn transfer_lease(&self, key: Bytes, node: u64) -> Result<(), KvError>;

    /// Compares the replicas of every range that overlaps a span, in key order. Takes as long as it takes to read them, at the
    /// bound of the cluster's settings.
    ///
    /// # Errors
    /// As [`Admin::ranges`]; of a range that cannot be checked its own entry says so.
    async fn check_replicas(&self, span: Span) -> Result<Vec<CheckInfo>, KvError>;

    /// What was decided lately about where a range's replicas and its lease should be, oldest first, and last what its leader would do
    /// now. What nodes that do not answer decided is missing.
    ///
    /// # Errors
    /// `Invalid` when there is no such range; as [`Admin::ranges`].
    async fn explain_range(&self, range_id: u64) -> Result<Vec<DecisionInfo>, KvError>;

    /// The cluster's settings, as this node knows them.
    fn settings(&self) -> Vec<SettingInfo>;

    /// Changes a setting of the cluster; `None` for what it is when nobody says otherwise. Other nodes hear of it within
    /// [`crate::Settings::liveness_interval_ms`].
    ///
    /// # Errors
    /// [`SettingError`].
    async fn set_setting(&self, name: &str, value: Option<&str>) -> Result<(), SettingError>;

    /// Decides whether a node is to stay: one that is being decommissioned loses its replicas to others, and is gone for good once it is
    /// said to be decommissioned. Returns how many replicas it has, by the directory.
    ///
    /// # Errors
    /// As any write; `Invalid` for a node that is not there, that has replicas still, or that cannot be done without.
    async fn set_membership(&self, node: u64, membership: Membership) -> Result<u64, KvError>;

    /// This node.
    fn status(&self) -> StatusInfo;
}

/// Why a cluster setting was not changed.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    /// There is none of this name, or the value does not fit it.
    #[error(transparent)]
    Invalid(#[from] InvalidSetting),
    /// It was not written.
    #[error("the setting was not written")]
    Kv(#[from] KvError),
}

impl Shared {
    /// A replica that its leader has not heard of for longer does not count.
    pub(super) fn answers_within(&self) -> Duration {
        Duration::from_millis(self.settings.node_suspect_after_ms)
    }

    /// The descriptors that overlap a span, in key order, by the directory.
    pub(super) async fn descriptors(&self, span: &Span) -> Result<Vec<RangeDescriptor>, KvError> {
        let (start, end) = keys::bounds(span);
        let mut found: Vec<RangeDescriptor> = Vec::new();
        let mut position = start;
        while position < end {
            let entries = directory::lookup(&*self.router, keys::meta_scan_start(&position), 0).await?;
            let Some(last) = entries.last() else { break };
            let next = last.end.clone();
            // A lagging entry covers what its successors hold too: the newest word on each position counts.
            found.extend(entries.into_iter().filter(|entry| entry.start < end));
            if next.is_empty() || next <= position {
                break;
            }
            position = next;
        }
        found.sort_by(|a, b| a.start.cmp(&b.start));
        found.dedup_by(|later, earlier| later.start < earlier.end && !earlier.end.is_empty() || earlier.end.is_empty());
        Ok(found)
    }

    /// What a range's leaseholder, or else any of its replicas, says of its size; and its leader, which need not be the leaseholder,
    /// of the voters that answer.
    async fn measure_range(&self, descriptor: RangeDescriptor) -> RangeInfo {
        let believed = self.router.believed_leaseholder(&descriptor.start);
        let mut nodes: Vec<u64> = descriptor.replicas.iter().map(|replica| replica.node_id).collect();
        nodes.sort_by_key(|node| (believed != Some(*node), !self.registry.is_live(*node), *node));
        let mut found: Option<RangeInfo> = None;
        for node in nodes {
            if let Some(measured) = self.measure_at(node, descriptor.range_id).await
                && let Some(newest) = measured.descriptor
            {
                let leaseholder = (measured.leaseholder != 0).then_some(measured.leaseholder);
                let descriptor = if newest.generation > descriptor.generation { newest } else { descriptor.clone() };
                let (bytes, keys) = (Some(measured.bytes), Some(measured.keys));
                let info = found.get_or_insert(RangeInfo {
                    descriptor,
                    leaseholder,
                    live_voters: None,
                    bytes,
                    keys,
                    requests: None,
                });
                if measured.leaseholder == node {
                    info.requests = Some(measured.requests);
                }
                // Whoever leads hears itself.
                if !measured.live_voters.is_empty() {
                    info.live_voters = Some(measured.live_voters);
                    break;
                }
            }
        }
        found.unwrap_or(RangeInfo {
            descriptor,
            leaseholder: believed,
            live_voters: None,
            bytes: None,
            keys: None,
            requests: None,
        })
    }

    async fn measure_at(&self, node: u64, range_id: u64) -> Option<Measured> {
        let measure = Measure { range_id };
        if node == self.identity.node_id {
            return Some(self.measure(measure));
        }
        let body = NodeRequest::encode_kind(NodeRequestKind::Measure(measure));
        let answer = self.transport.call(NodeId(node), Class::Kv, body, MEASURE_TIMEOUT).await.ok()?;
        match NodeAnswer::decode(answer).ok()?.kind {
            Some(NodeAnswerKind::Measured(measured)) => Some(measured),
            _ => None,
        }
    }
}

/// Whether ranges lie next to each other over the whole span.
fn covers(ranges: &[RangeInfo], span: &Span) -> bool {
    let (_, end) = keys::bounds(span);
    let whole = ranges.last().is_some_and(|last| last.descriptor.end.is_empty() || last.descriptor.end >= end);
    whole && ranges.windows(2).all(|pair| pair[0].descriptor.end == pair[1].descriptor.start)
}

impl Shared {
    /// The ranges that overlap a span, as the directory and their leaseholders have them.
    pub(super) async fn measured_ranges(&self, span: Span) -> Result<Vec<RangeInfo>, KvError> {
        let mut tries = 0;
        loop {
            let descriptors = self.descriptors(&span).await?;
            let measured = descriptors.into_iter().map(|descriptor| self.measure_range(descriptor));
            let ranges = futures::future::join_all(measured).await;
            tries += 1;
            if tries == DIRECTORY_TRIES || covers(&ranges, &span) {
                return Ok(ranges);
            }
            // A split that the directory does not know of yet: its leaseholder tells it soon.
            tokio::time::sleep(DIRECTORY_PAUSE).await;
        }
    }
}

#[async_trait]
impl Admin for Shared {
    async fn ranges(&self, span: Span) -> Result<Vec<RangeInfo>, KvError> {
        self.measured_ranges(span).await
    }

    async fn check_replicas(&self, span: Span) -> Result<Vec<CheckInfo>, KvError> {
        self.check_span(span).await
    }

    async fn explain_range(&self, range_id: u64) -> Result<Vec<DecisionInfo>, KvError> {
        self.decisions_about(range_id).await
    }

    fn settings(&self) -> Vec<SettingInfo> {
        self.registry.cluster().get().all()
    }

    async fn set_setting(&self, name: &str, value: Option<&str>) -> Result<(), SettingError> {
        let mut values = ClusterValues::of(&Settings::default());
        if let Some(value) = value {
            values.set(name, value)?;
        }
        let found = values.all().into_iter().find(|info| info.name == name);
        let value = found.ok_or_else(|| InvalidSetting::Unknown(name.to_owned()))?.value;
        let put = Put { key: keys::setting(name), value: Bytes::from(value.clone()), ..Put::default() };
        self.send_one(RequestKind::Put(put)).await?;
        tracing::info!(name, value, "a cluster setting was changed");
        // So that whoever changed it sees it here at once.
        self.read_records(self.settings.request_timeout_ms).await?;
        Ok(())
    }

    fn nodes(&self) -> Vec<NodeInfo> {
        let info = |member: crate::liveness::Member| NodeInfo {
            live: self.registry.is_live(member.descriptor.node_id),
            membership: member.membership,
            descriptor: member.descriptor,
            status: member.status,
        };
        self.registry.members().into_iter().map(info).collect()
    }

    async fn split_at(&self, key: Bytes) -> Result<u64, KvError> {
        if key[..] <= [keys::TABLE][..] {
            return Err(KvError::invalid("the first range, which holds the directory, is not split"));
        }
        let response = self.send_one(RequestKind::SplitRange(SplitRange { key })).await?;
        match response.responses.into_iter().next().and_then(|response| response.kind) {
            Some(ResponseKind::Split(split)) => Ok(split.right_range_id),
            _ => Err(KvError::invalid("the split was answered with something else")),
        }
    }

    async fn transfer_lease(&self, key: Bytes, node: u64) -> Result<(), KvError> {
        self.send_one(RequestKind::TransferLease(TransferLease { key, target_node: node })).await.map(|_| ())
    }

    async fn set_membership(&self, node: u64, membership: Membership) -> Result<u64, KvError> {
        self.decide_membership(node, membership).await
    }

    fn status(&self) -> StatusInfo {
        let held = self.store.all();
        let (nodes, within) = (self.registry.active(), self.answers_within());
        let copies = self.registry.cluster().get().replication_factor;
        let is_short = |held: &crate::store::Held| {
            let wanted = self.settings.voters_wanted(held.replica.range_id(), copies, nodes);
            held.live_voters(within).is_some_and(|voters| voters.len() < wanted)
        };
        StatusInfo {
            cluster_id: self.identity.cluster_id(),
            node_id: self.identity.node_id,
            replicas: held.len(),
            leases: self.leases(),
            requests: held.iter().map(|(_, held)| held.replica.served().requests()).sum::<f64>().round() as u64,
            actions: self.keeper.actions(),
            underreplicated: held.iter().filter(|(_, held)| is_short(held)).count(),
            failure: self.store.failure(),
            clock_fault: self.hlc.fault().map(|fault| fault.to_string()),
            disk_full: self.store.disk().is_full().is_some(),
            draining: self.draining.load(Ordering::SeqCst),
            free_bytes: self.store.disk().free_bytes(),
            checks: self.checker.counts(),
        }
    }
}
