//! Why a range's replicas and its lease are where they are: what its leaders did lately, and what the present one would do now.

use std::time::Duration;

use bytes::Bytes;
use clock::Timestamp;
use prost::Message;
use raft_groups::{Class, NodeId};

use super::message::{Explain, Explained, Explanation, NodeAnswer, NodeAnswerKind, NodeRequest, NodeRequestKind};
use super::{Shared, tend};
use crate::api::KvError;
use crate::directory;

/// How long to wait for one node's word.
const EXPLAIN_TIMEOUT: Duration = Duration::from_millis(500);

/// One decision about a range.
#[derive(Clone, Debug, PartialEq)]
pub struct DecisionInfo {
    /// The node that decided.
    pub node_id: u64,
    /// When it began, by its clock; `None` for what it would do now.
    pub at: Option<Timestamp>,
    /// What was to be done.
    pub action: String,
    /// Why.
    pub reason: String,
}

impl Shared {
    /// What the nodes that have replicas of a range decided about it lately, oldest first.
    pub(super) async fn decisions_about(&self, range_id: u64) -> Result<Vec<DecisionInfo>, KvError> {
        let found = match range_id {
            directory::FIRST_RANGE_ID => self.router.first_range(),
            _ => directory::find(&*self.router, range_id, self.settings.request_timeout_ms).await?,
        };
        let Some(descriptor) = found else {
            return Err(KvError::invalid(format!("there is no range {range_id}")));
        };
        let request = NodeRequest::encode_kind(NodeRequestKind::Explain(Explain { range_id }));
        let asked = descriptor.replicas.iter().map(|replica| self.ask_decisions(replica.node_id, range_id, &request));
        let mut decisions: Vec<DecisionInfo> = futures::future::join_all(asked).await.into_iter().flatten().collect();
        decisions.sort_by_key(|decision| (decision.at.is_none(), decision.at));
        Ok(decisions)
    }

    async fn ask_decisions(&self, node_id: u64, range_id: u64, request: &Bytes) -> Vec<DecisionInfo> {
        let explained = if node_id == self.identity.node_id {
            self.explain(range_id)
        } else {
            let answer = self.transport.call(NodeId(node_id), Class::Kv, request.clone(), EXPLAIN_TIMEOUT).await;
            match answer.ok().and_then(|answer| NodeAnswer::decode(answer).ok()?.kind) {
                Some(NodeAnswerKind::Explained(explained)) => explained,
                // It does not answer: what it decided is not known, and what the others did is.
                _ => return Vec::new(),
            }
        };
        let info = |Explanation { at, action, reason }| DecisionInfo { node_id, at, action, reason };
        explained.decisions.into_iter().map(info).collect()
    }

    /// What this node decided about a range.
    pub(super) fn explain(&self, range_id: u64) -> Explained {
        let past = self.keeper.past(range_id).into_iter().map(|past| (Some(past.at), past.decision));
        let held = self.store.held(range_id).filter(|held| held.group.leader_term().is_some());
        let now = held.map(|held| (None, tend::decision_about(self, &held)));
        let explanation = |(at, decision): (Option<Timestamp>, crate::placement::Decision)| Explanation {
            at,
            action: decision.action.to_string(),
            reason: decision.reason,
        };
        Explained { decisions: past.chain(now).map(explanation).collect() }
    }
}
