//! Answers what other nodes ask.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use clock::Interval;
use prost::Message;
use raft_groups::{Class, Handler, NodeId};

use super::Shared;
use super::message::{
    ClockReading, Join, Joined, Known, Measure, Measured, MembershipSet, NodeAnswer, NodeAnswerKind, NodeRequest,
    NodeRequestKind, Pong,
};
use crate::api::{BatchHeader, BatchRequest, Increment, KvError, RequestKind, ResponseKind, Sender, WireError};
use crate::keys;
use crate::liveness::NODE_ID_COUNTER;
use crate::store::FORMAT_VERSION;

/// The handler of class `Kv`.
pub(super) struct KvHandler {
    node: Weak<Shared>,
}

impl KvHandler {
    pub fn new(node: &Arc<Shared>) -> Self {
        KvHandler { node: Arc::downgrade(node) }
    }
}

#[async_trait]
impl Handler for KvHandler {
    async fn handle(&self, from: NodeId, _class: Class, body: Bytes) -> Result<Bytes, String> {
        let node = self.node.upgrade().ok_or("the node is shutting down")?;
        let request = NodeRequest::decode(body).map_err(|error| format!("unreadable request: {error}"))?;
        let kind = request.kind.ok_or("a request of an unknown kind; is a node of a newer version about?")?;
        let answer = match kind {
            NodeRequestKind::Batch(batch) => match node.store.serve(from.0, batch).await {
                Ok(response) => NodeAnswerKind::Batch(response),
                Err(error) => NodeAnswerKind::Error(WireError { kind: Some(error) }),
            },
            NodeRequestKind::Ping(_) => NodeAnswerKind::Done(Pong {}),
            NodeRequestKind::Join(join) => match node.let_in(join).await {
                Ok(joined) => NodeAnswerKind::Joined(joined),
                Err(error) => NodeAnswerKind::Error(WireError { kind: Some(error) }),
            },
            NodeRequestKind::Discover(_) => NodeAnswerKind::Known(node.known()),
            NodeRequestKind::Announce(announce) => {
                node.meet(&announce.node).await;
                NodeAnswerKind::Known(node.known())
            }
            NodeRequestKind::Removed(removed) => {
                node.store.told_of_removal(&removed.descriptor);
                NodeAnswerKind::Done(Pong {})
            }
            NodeRequestKind::Measure(measure) => NodeAnswerKind::Measured(node.measure(measure)),
            NodeRequestKind::ReadClock(_) => {
                let Interval { earliest_ns, latest_ns } = node.hlc.interval();
                NodeAnswerKind::Clock(ClockReading { earliest_ns, latest_ns })
            }
            NodeRequestKind::CheckRange(check) => match node.check_range(check.range_id).await {
                Ok(checked) => NodeAnswerKind::RangeChecked(checked),
                Err(error) => NodeAnswerKind::Error(WireError { kind: Some(error) }),
            },
            NodeRequestKind::AskCheck(ask) => NodeAnswerKind::Check(node.answer_check(ask).into()),
            NodeRequestKind::ReadChecked(read) => NodeAnswerKind::Piece(node.answer_piece(read).await?),
            NodeRequestKind::ListNodes(_) => NodeAnswerKind::Nodes(node.node_list()),
            NodeRequestKind::SetMembership(set) => match node.decide_membership(set.node_id, set.membership()).await {
                Ok(replicas) => NodeAnswerKind::MembershipSet(MembershipSet { replicas }),
                Err(error) => NodeAnswerKind::Error(WireError { kind: Some(error) }),
            },
            NodeRequestKind::Drain(_) => NodeAnswerKind::Drained(node.drain().await),
            NodeRequestKind::Explain(explain) => NodeAnswerKind::Explained(node.explain(explain.range_id)),
            NodeRequestKind::Init(_) => return Err("the node is part of a cluster already".to_owned()),
        };
        Ok(NodeAnswer::encode_kind(answer))
    }
}

impl Shared {
    /// Gives a new node its identity.
    async fn let_in(&self, join: Join) -> Result<Joined, KvError> {
        if join.format_version != FORMAT_VERSION {
            let found = join.format_version;
            let words = format!("the cluster has format {FORMAT_VERSION}, the node that wants to join has {found}");
            return Err(KvError::invalid(words));
        }
        let node_id = self.allocate(NODE_ID_COUNTER).await?;
        if node_id == self.identity.node_id || self.registry.nodes().contains(&node_id) {
            // A store that was founded half by an earlier version counts from the start: past what is taken.
            return Err(KvError::invalid(format!(
                "n{node_id} is taken, though the counter of node IDs says it is next"
            )));
        }
        tracing::info!(node_id, address = join.address, locality = %join.locality, "node joins");
        self.transport.set_address(NodeId(node_id), join.address);
        Ok(Joined {
            cluster_id_high: self.identity.cluster_id_high,
            cluster_id_low: self.identity.cluster_id_low,
            node_id,
            max_clock_error_ns: self.identity.max_clock_error_ns,
            known: self.known(),
        })
    }

    /// The next number of a counter.
    async fn allocate(&self, counter: &str) -> Result<u64, KvError> {
        let increment = Increment { key: keys::counter(counter), by: 1 };
        let requests = vec![RequestKind::Increment(increment).into()];
        let response = self.router.send(BatchRequest { header: BatchHeader::default(), requests }).await?;
        match response.responses.into_iter().next().and_then(|response| response.kind) {
            Some(ResponseKind::Counter(counter)) => {
                u64::try_from(counter.value).map_err(|_| KvError::invalid("a counter of IDs is negative"))
            }
            _ => Err(KvError::invalid("the counter was answered with something else")),
        }
    }

    /// What this node knows of the cluster.
    pub(super) fn known(&self) -> Known {
        let nodes = self.registry.members().into_iter().map(|member| member.descriptor).collect();
        Known { first_range: self.router.first_range(), nodes, settings: self.registry.cluster().rows() }
    }

    pub(super) fn measure(&self, measure: Measure) -> Measured {
        let Some(held) = self.store.held(measure.range_id).filter(crate::store::Held::is_initialized) else {
            return Measured::default();
        };
        let (stats, lease) = (held.replica.stats(), held.replica.lease());
        let count = |count: i64| u64::try_from(count).unwrap_or(0);
        Measured {
            leaseholder: lease.node,
            bytes: count(stats.total_bytes()),
            keys: count(stats.live_count),
            descriptor: Some(held.replica.descriptor()),
            lease_expiration: lease.expiration,
            live_voters: held.live_voters(self.answers_within()).unwrap_or_default(),
            requests: held.replica.served().requests(),
        }
    }
}
