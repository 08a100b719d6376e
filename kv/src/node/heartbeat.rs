//! A node says that it lives, hears who else does, and watches its disk.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use raft_groups::{Class, NodeId};

use super::Shared;
use super::message::{Announce, NodeAnswer, NodeAnswerKind, NodeRequest, NodeRequestKind};
use crate::api::KvError;
use crate::engine::WriteBatch;
use crate::liveness::{self, NodeDescriptor, NodeStatus};
use crate::store::Hints;

/// How long a node waits for another one's answer to its announcement.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_millis(500);

impl Shared {
    /// Takes note of a node that has started.
    pub(super) async fn meet(&self, node: &NodeDescriptor) {
        if node.node_id == self.identity.node_id || !self.registry.learn(node) {
            return;
        }
        tracing::info!(node = node.node_id, address = node.address, "node met");
        self.transport.set_address(NodeId(node.node_id), node.address.clone());
        // At once: a node that restarts elsewhere before its next heartbeat is found by nobody, and must find them.
        self.keep_hints().await;
        self.store.changed.notify_one();
    }

    /// Tells every known node that this one has started, and hears from them who else there is. First those at the addresses
    /// it was told to join: the whole cluster may have moved while it was away.
    pub(super) async fn announce(&self) {
        let body = NodeRequest::encode_kind(NodeRequestKind::Announce(Announce { node: self.descriptor.clone() }));
        let others = self.join.iter().filter(|address| **address != self.descriptor.address);
        let calls =
            others.map(|address| self.transport.call_address(address, Class::Kv, body.clone(), ANNOUNCE_TIMEOUT));
        for answer in futures::future::join_all(calls).await.into_iter().flatten() {
            self.hear(answer).await;
        }
        let mut told = vec![self.identity.node_id];
        loop {
            let nodes: Vec<u64> = self.registry.nodes().into_iter().filter(|node| !told.contains(node)).collect();
            if nodes.is_empty() {
                return;
            }
            let calls =
                nodes.iter().map(|node| self.transport.call(NodeId(*node), Class::Kv, body.clone(), ANNOUNCE_TIMEOUT));
            for answer in futures::future::join_all(calls).await.into_iter().flatten() {
                self.hear(answer).await;
            }
            told.extend(nodes);
        }
    }

    /// Takes note of what another node knows.
    async fn hear(&self, answer: Bytes) {
        if let Ok(NodeAnswer { kind: Some(NodeAnswerKind::Known(known)) }) = NodeAnswer::decode(answer) {
            for node in &known.nodes {
                self.meet(node).await;
            }
            known.first_range.iter().for_each(|first| self.router.learn(first));
        }
    }

    /// Reads what the nodes say of themselves, and the cluster's settings.
    pub(super) async fn read_records(&self, timeout_ms: u64) -> Result<(), KvError> {
        for node in self.registry.refresh(&*self.router, timeout_ms).await? {
            self.transport.set_address(NodeId(node.node_id), node.address);
            self.store.changed.notify_one();
        }
        Ok(())
    }

    fn status_now(&self) -> Result<NodeStatus, KvError> {
        let mut status = NodeStatus {
            node_id: self.identity.node_id,
            heartbeat: self.hlc.now().map_err(|error| KvError::invalid(error.to_string()))?,
            free_bytes: self.store.disk().free_bytes(),
            disk_full: self.store.disk().is_full().is_some(),
            draining: self.draining.load(Ordering::SeqCst),
            ..NodeStatus::default()
        };
        let mut requests = 0.0;
        for (_, held) in self.store.all() {
            status.replicas += 1;
            status.receiving += u64::from(!held.is_voter());
            status.bytes += u64::try_from(held.replica.stats().total_bytes()).unwrap_or(0);
            if held.replica.is_leaseholder() {
                status.leases += 1;
                requests += held.replica.served().requests();
            }
        }
        status.requests = requests.round() as u64;
        Ok(status)
    }

    /// Keeps what a restart needs to find the others.
    async fn keep_hints(&self) {
        let mut kept = self.hints.lock().await;
        let known = self.known();
        let hints = Hints { first_range: known.first_range, nodes: known.nodes, settings: known.settings };
        if hints == *kept {
            return;
        }
        let mut batch = WriteBatch::new();
        hints.save(&mut batch);
        match self.store.write(batch).await {
            Ok(()) => *kept = hints,
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "hints were not kept"),
        }
    }
}

/// Writes the node's heartbeat once.
pub(super) async fn say(shared: &Shared) -> Result<(), KvError> {
    let status = shared.status_now()?;
    shared.registry.note(&status);
    liveness::write_status(&*shared.router, &status, shared.settings.liveness_interval_ms).await
}

/// The loop: the descriptor until it is written, then heartbeats, for ever.
pub(super) async fn run(shared: Arc<Shared>) {
    let interval = Duration::from_millis(shared.settings.liveness_interval_ms);
    let timeout_ms = shared.settings.liveness_interval_ms;
    let mut is_registered = false;
    loop {
        if !is_registered {
            match liveness::write_descriptor(&*shared.router, &shared.descriptor, timeout_ms).await {
                Ok(()) => is_registered = true,
                Err(error) => tracing::debug!(%error, "the node's descriptor is not written yet"),
            }
        }
        if let Err(error) = say(&shared).await {
            tracing::debug!(%error, "a heartbeat was not written");
            // The others may have moved, and this node too: whoever has heard of either brings them together.
            shared.announce().await;
        }
        if let Err(error) = shared.read_records(timeout_ms).await {
            tracing::debug!(%error, "the other nodes' heartbeats were not read");
        }
        shared.end_if_decommissioned();
        if shared.draining.load(Ordering::SeqCst) {
            // Leases may come back, with leadership.
            shared.leave_to_others().await;
        }
        shared.keep_hints().await;
        tokio::time::sleep(interval).await;
    }
}

/// The loop that watches the disk, and what the engine does on it unasked.
pub(super) async fn watch_disk(shared: Arc<Shared>) {
    let interval = Duration::from_millis(shared.settings.disk_interval_ms);
    loop {
        let disk = shared.store.disk().clone();
        match shared.tasks.blocking(move || disk.look()).await {
            Ok(true) => shared.leave_to_others().await,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "the disk's free space is not known"),
        }
        // The store takes note of a failure by itself.
        let engine = shared.store.engine().clone();
        let _ = shared.tasks.blocking(move || engine.probe()).await;
        tokio::time::sleep(interval).await;
    }
}
