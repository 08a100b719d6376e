//! Trying the replicas of one range until one of them answers for it.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use raft_groups::{Class, NetworkError, NodeId};

use super::cache::CachedRange;
use super::outcome::{self, commit_of};
use super::silence::Approach;
use super::trip::{Backoff, Trip};
use super::{GRACE, Routed, Router, spans};
use crate::api::{BatchRequest, BatchResponse, KvError, error_detail};
use crate::descriptor::RangeDescriptor;
use crate::directory;
use crate::keys;
use crate::node::message::{Discover, NodeAnswer, NodeAnswerKind, NodeRequest, NodeRequestKind, Ping};

/// A peer that has not answered for this long is asked whether it is there at all.
const PING_AFTER: Duration = Duration::from_millis(400);

/// How long it may take to say so.
const PING_TIMEOUT: Duration = Duration::from_millis(400);

/// How often it may fail to, one after the other.
const PINGS: u32 = 2;

/// How long the directory may take to say whether a range is still what we think.
const RELEARN_TIMEOUT: Duration = Duration::from_millis(500);

/// How many hints are followed before the other replicas are asked in turn.
const HINTS: u32 = 3;

/// What one replica said.
enum Verdict {
    Answer(BatchResponse),
    /// Another replica may know better: try that one, if named, else the next.
    Elsewhere(Option<u64>),
    Replan,
    Failed(KvError),
}

impl Router {
    /// Sends a batch that lies in one range to that range's leaseholder, wherever it has gone.
    pub(super) async fn send_to_range(
        &self,
        mut range: CachedRange,
        batch: &BatchRequest,
        trip: &Trip,
    ) -> Result<BatchResponse, Routed> {
        let mut batch = batch.clone();
        let mut backoff = Backoff::new();
        loop {
            trip.enter(&range.descriptor);
            batch.header.range_id = range.descriptor.range_id;
            // The one that answered last goes first; the rest are put in order only when it does not.
            let mut hint = range.leaseholder;
            let mut nodes: Option<std::vec::IntoIter<u64>> = None;
            let mut hints = 0;
            while let Some(node) =
                hint.take().or_else(|| nodes.get_or_insert_with(|| self.order_of(&range).into_iter()).next())
            {
                batch.header.timeout_ms = trip.remaining_ms();
                match self.try_node(node, &range, &batch, trip).await {
                    Verdict::Answer(response) => {
                        if range.leaseholder != Some(node) {
                            self.cache.lock().set_leaseholder(&range.descriptor, Some(node));
                        }
                        return Ok(response);
                    }
                    Verdict::Elsewhere(holder) if hints < HINTS => {
                        hints += 1;
                        hint = holder.filter(|holder| *holder != node);
                    }
                    Verdict::Elsewhere(_) => {}
                    Verdict::Replan => return Err(Routed::Replan),
                    Verdict::Failed(error) => return Err(Routed::Failed(error)),
                }
            }
            backoff.pause().await;
            range = Box::pin(self.relearn(&range, trip)).await?;
        }
    }

    /// The nodes to ask beside who answered last, best first: this node, those that live, the rest.
    fn order_of(&self, range: &CachedRange) -> Vec<u64> {
        let own = self.transport.node_id().0;
        let replicas = range.descriptor.replicas.iter().map(|replica| replica.node_id);
        let mut nodes: Vec<u64> = replicas.filter(|node| range.leaseholder != Some(*node)).collect();
        let distance = |node: u64| self.registry.distance(node);
        nodes.sort_by_key(|node| (*node != own, !self.registry.is_live(*node), distance(*node), *node));
        nodes
    }

    /// After a round without an answer: is the range still what we think? `Replan` if its bounds changed.
    async fn relearn(&self, range: &CachedRange, trip: &Trip) -> Result<CachedRange, Routed> {
        let key = range.descriptor.start.clone();
        if range.descriptor.range_id == directory::FIRST_RANGE_ID {
            self.discover_first_range(trip).await;
        } else if let Ok(Ok(entries)) = tokio::time::timeout(
            // Its own range may be without a leaseholder, for the same reason; what is known may well do.
            RELEARN_TIMEOUT,
            directory::lookup(self, keys::meta_scan_start(&key), trip.remaining_ms()),
        )
        .await
        {
            // Older than what is cached: harmless, and not taken.
            entries.iter().rev().for_each(|descriptor| self.learn(descriptor));
        }
        let Some(current) = self.cache.lock().get(&key) else { return Err(Routed::Replan) };
        let same = current.descriptor.range_id == range.descriptor.range_id
            && current.descriptor.start == range.descriptor.start
            && current.descriptor.end == range.descriptor.end;
        if same { Ok(CachedRange { leaseholder: None, ..current }) } else { Err(Routed::Replan) }
    }

    async fn try_node(&self, node: u64, range: &CachedRange, batch: &BatchRequest, trip: &Trip) -> Verdict {
        let counts = counts(batch);
        let before = trip.perhaps_applied();
        if counts {
            trip.set_perhaps_applied(true);
        }
        let range_id = range.descriptor.range_id;
        tracing::trace!(node, range_id, remaining_ms = trip.remaining_ms(), "a replica is asked");
        let result = if node == self.transport.node_id().0 {
            self.try_local(batch).await
        } else {
            self.try_remote(node, batch, trip).await
        };
        match result {
            Ok(answer) => {
                if let Err(error) = &answer {
                    tracing::debug!(node, range_id, %error, "a replica refused");
                }
                // The fate of this attempt is known. That of an earlier one is not, unless this one proves it.
                let proves = answer.is_ok() || is_proof(answer.as_ref().err(), batch);
                if counts {
                    trip.set_perhaps_applied(before && !proves);
                }
                self.judge(answer, node, range, batch, trip)
            }
            Err(error) => {
                tracing::debug!(node, range_id, %error, "a replica did not answer");
                let reached = error.may_have_been_handled();
                if counts {
                    trip.set_perhaps_applied(before || reached);
                }
                trip.silent(node, error.to_string());
                self.cache.lock().set_leaseholder(&range.descriptor, None);
                if reached && !batch.requests.iter().all(|request| spans::may_repeat(&batch.header, request)) {
                    return Verdict::Failed(KvError::ambiguous(error.to_string()));
                }
                match error {
                    NetworkError::TooLarge { .. } => Verdict::Failed(KvError::invalid(error.to_string())),
                    _ => Verdict::Elsewhere(None),
                }
            }
        }
    }

    async fn try_local(&self, batch: &BatchRequest) -> Result<Result<BatchResponse, KvError>, NetworkError> {
        let Some(local) = self.local.get().and_then(std::sync::Weak::upgrade) else {
            let reason = "this node is shutting down".to_owned();
            return Err(NetworkError::Unreachable { node: self.transport.node_id(), reason });
        };
        Ok(local.send_local(batch.clone()).await)
    }

    /// A message to another node, which is asked now and then whether it is still there.
    async fn try_remote(
        &self,
        node: u64,
        batch: &BatchRequest,
        trip: &Trip,
    ) -> Result<Result<BatchResponse, KvError>, NetworkError> {
        let back = match self.silence.approach(node) {
            Approach::Send => true,
            Approach::PingFirst => self.ping(node).await,
            Approach::Skip => false,
        };
        let node = NodeId(node);
        if !back {
            let reason = "it did not answer a moment ago".to_owned();
            return Err(NetworkError::Unreachable { node, reason });
        }
        let body = NodeRequest::encode_kind(NodeRequestKind::Batch(batch.clone()));
        let mut call = pin!(self.transport.call(node, Class::Kv, body, trip.remaining() + GRACE));
        let mut misses = 0;
        let answer = loop {
            if misses == 0 {
                tokio::select! {
                    biased;
                    answer = &mut call => break answer,
                    () = tokio::time::sleep(PING_AFTER) => {}
                }
            }
            let there = tokio::select! {
                biased;
                answer = &mut call => break answer,
                there = self.ping(node.0) => there,
            };
            misses = if there { 0 } else { misses + 1 };
            if misses >= PINGS {
                let timeout_ms = u64::try_from((PING_AFTER + PINGS * PING_TIMEOUT).as_millis()).unwrap_or(u64::MAX);
                return Err(NetworkError::Timeout { node, timeout_ms });
            }
        };
        let answer = answer.inspect_err(|error| {
            use NetworkError::{Lost, Timeout, Unreachable};
            if matches!(error, Lost { .. } | Timeout { .. } | Unreachable { .. }) {
                self.silence.note(node.0);
            }
        })?;
        match NodeAnswer::decode(answer).map(|answer| answer.kind) {
            Ok(Some(NodeAnswerKind::Batch(response))) => Ok(Ok(response)),
            Ok(Some(NodeAnswerKind::Error(error))) => Ok(Err(error.kind.unwrap_or_else(|| {
                KvError::ambiguous("the error is of an unknown kind; is a node of a newer version about?")
            }))),
            Ok(_) => Err(NetworkError::Lost { node, reason: "it answered something else".to_owned() }),
            Err(error) => Err(NetworkError::Lost { node, reason: format!("unreadable answer: {error}") }),
        }
    }

    /// Whether a node answers at all, in short time.
    async fn ping(&self, node: u64) -> bool {
        let ping = NodeRequest::encode_kind(NodeRequestKind::Ping(Ping {}));
        let answers = self.transport.call(NodeId(node), Class::Kv, ping, PING_TIMEOUT).await.is_ok();
        if answers {
            self.silence.end(node)
        } else {
            self.silence.note(node)
        }
        answers
    }

    /// What to do about a replica's answer.
    fn judge(
        &self,
        answer: Result<BatchResponse, KvError>,
        node: u64,
        range: &CachedRange,
        batch: &BatchRequest,
        trip: &Trip,
    ) -> Verdict {
        let error = match answer {
            Ok(response) => return Verdict::Answer(response),
            Err(error) => error,
        };
        match error {
            KvError::NotLeaseholder(detail) => {
                trip.refused(node, format!("n{node} does not hold the lease"));
                self.moved(&detail, range)
            }
            KvError::RangeMismatch(detail) => {
                trip.refused(node, format!("n{node} has other bounds"));
                self.cache.lock().forget(&range.descriptor);
                detail.descriptors.iter().for_each(|descriptor| self.learn(descriptor));
                Verdict::Replan
            }
            KvError::Unavailable(detail) => {
                trip.refused(node, format!("n{node}: {}", detail.message));
                detail.missing_nodes.iter().for_each(|missing| trip.silent(*missing, "no answer".to_owned()));
                Verdict::Elsewhere(None)
            }
            KvError::Ambiguous(detail) => {
                if counts(batch) {
                    trip.set_perhaps_applied(true);
                }
                if !batch.requests.iter().all(|request| spans::may_repeat(&batch.header, request)) {
                    return Verdict::Failed(KvError::Ambiguous(detail));
                }
                trip.refused(node, format!("n{node}: {}", detail.message));
                Verdict::Elsewhere(None)
            }
            KvError::AlreadyCommitted(detail) => {
                // This is the fate of the transaction, whichever attempt brought it about.
                trip.set_perhaps_applied(false);
                let ranges = vec![range.descriptor.range_id];
                match outcome::committed_before(batch, detail.actual, ranges) {
                    Some(response) => Verdict::Answer(response),
                    None => Verdict::Failed(KvError::AlreadyCommitted(detail)),
                }
            }
            other => Verdict::Failed(other),
        }
    }

    fn moved(&self, detail: &error_detail::NotLeaseholder, range: &CachedRange) -> Verdict {
        let holder = (detail.holder != 0).then_some(detail.holder);
        if let Some(descriptor) = &detail.descriptor {
            self.learn(descriptor);
            if descriptor.generation > range.descriptor.generation && !same_bounds(descriptor, &range.descriptor) {
                return Verdict::Replan;
            }
            self.cache.lock().set_leaseholder(descriptor, holder);
        }
        Verdict::Elsewhere(holder)
    }

    /// Asks everyone known where the first range is.
    pub(super) async fn discover_first_range(&self, trip: &Trip) {
        let own = self.transport.node_id().0;
        let nodes: Vec<u64> = self.registry.nodes().into_iter().filter(|node| *node != own).collect();
        let ask = NodeRequest::encode_kind(NodeRequestKind::Discover(Discover {}));
        let timeout = trip.remaining().min(Duration::from_secs(1));
        let calls = nodes.into_iter().map(|node| self.discover_from(node, ask.clone(), timeout));
        futures::future::join_all(calls).await;
        if let Some(first) = self.first_range() {
            self.cache.lock().insert(first);
        }
    }

    async fn discover_from(&self, node: u64, ask: Bytes, timeout: Duration) {
        let Ok(answer) = self.transport.call(NodeId(node), Class::Kv, ask, timeout).await else { return };
        if let Ok(NodeAnswer { kind: Some(NodeAnswerKind::Known(known)) }) = NodeAnswer::decode(answer)
            && let Some(first) = known.first_range
        {
            self.learn(&first);
        }
    }
}

fn same_bounds(a: &RangeDescriptor, b: &RangeDescriptor) -> bool {
    a.start == b.start && a.end == b.end
}

/// Whether it matters to the client that the batch may have taken effect: intents do not, before their commit.
fn counts(batch: &BatchRequest) -> bool {
    commit_of(batch).is_some()
        || batch.requests.iter().any(|r| spans::is_write(r) && !spans::may_repeat(&batch.header, r))
}

/// Whether an error proves that no earlier attempt of the same commit took effect, nor will one that is still under way.
///
/// The leaseholder looked for the outcome record first, and holds the latches that a proposal of unknown fate would have
/// kept. A copy of the batch that arrives later finds what this one found: versions, served reads and pushes do not go away.
/// That holds only for a batch that cannot move out of their way by itself; and not for a deadlock, which passes.
fn is_proof(error: Option<&KvError>, batch: &BatchRequest) -> bool {
    match (commit_of(batch), error) {
        (Some(_), Some(KvError::TxnAborted(_))) => true,
        (Some(end), Some(error)) => {
            !end.can_forward_timestamp
                && matches!(
                    error,
                    KvError::WriteTooOld(_)
                        | KvError::Uncertain(_)
                        | KvError::RefreshFailed(_)
                        | KvError::CommitPushed(_)
                )
        }
        _ => false,
    }
}
