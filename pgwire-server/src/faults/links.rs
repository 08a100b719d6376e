//! A network that can be slowed down and cut, for demonstrations and tests of real processes.
//!
//! Wraps a node's transport. A link's delay is waited for before a request and again before its answer, so a round
//! trip takes twice the delay more. A request over a cut link is not answered, and is lost when the link is whole again, as what was on
//! its way over a connection that broke. It is in place only where latency was asked for or fault hooks were switched on.
//!
//! It stands on the sending side: a cut stops this node's own requests to the peer's ID. Those by address, before the peer's ID is known, and
//! answers to what the peer asks still pass, so that a whole partition is a cut on both sides.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use raft_groups::{Class, Handler, NetworkError, NodeId, Transport};
use tokio::sync::Notify;

/// What is wrong with a link, in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkFault {
    /// How long a message takes more.
    pub delay: Duration,
    /// Nothing gets through.
    pub cut: bool,
}

/// A transport with faults that can be set.
pub struct FaultyTransport {
    inner: Arc<dyn Transport>,
    links: Mutex<BTreeMap<NodeId, LinkFault>>,
    /// Rung when a fault was set.
    changed: Notify,
}

impl FaultyTransport {
    /// Wraps a transport, without faults.
    pub fn new(inner: Arc<dyn Transport>) -> Arc<Self> {
        Arc::new(FaultyTransport { inner, links: Mutex::default(), changed: Notify::new() })
    }

    /// Sets what is wrong with the link to a node.
    pub fn set(&self, to: NodeId, fault: LinkFault) {
        self.links.lock().insert(to, fault);
        self.changed.notify_waiters();
    }

    fn fault(&self, to: NodeId) -> LinkFault {
        self.links.lock().get(&to).copied().unwrap_or_default()
    }

    /// What a call over a cut link comes to, once the link is whole again.
    async fn lost(&self, to: NodeId) -> NetworkError {
        clock::wait_for(&self.changed, || (!self.fault(to).cut).then_some(())).await;
        NetworkError::Lost { node: to, reason: "the link was cut meanwhile".to_owned() }
    }

    async fn call_over(
        &self,
        fault: LinkFault,
        to: NodeId,
        class: Class,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, NetworkError> {
        if fault.cut {
            return Err(self.lost(to).await);
        }
        tokio::time::sleep(fault.delay).await;
        let answer = self.inner.call(to, class, body, timeout).await;
        tokio::time::sleep(fault.delay).await;
        // A link that was cut meanwhile loses the answer.
        if self.fault(to).cut { Err(self.lost(to).await) } else { answer }
    }
}

#[async_trait]
impl Transport for FaultyTransport {
    async fn call(&self, to: NodeId, class: Class, body: Bytes, timeout: Duration) -> Result<Bytes, NetworkError> {
        let fault = self.fault(to);
        if fault == LinkFault::default() || to == self.node_id() {
            return self.inner.call(to, class, body, timeout).await;
        }
        let call = self.call_over(fault, to, class, body, timeout);
        let late = NetworkError::Timeout { node: to, timeout_ms: timeout.as_millis() as u64 };
        tokio::time::timeout(timeout, call).await.unwrap_or(Err(late))
    }

    async fn call_address(
        &self,
        address: &str,
        class: Class,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, NetworkError> {
        self.inner.call_address(address, class, body, timeout).await
    }

    fn set_address(&self, node: NodeId, address: String) {
        self.inner.set_address(node, address);
    }

    fn register(&self, class: Class, handler: Arc<dyn Handler>) {
        self.inner.register(class, handler);
    }

    fn set_identity(&self, cluster_id: u128, node: NodeId) {
        self.inner.set_identity(cluster_id, node);
    }

    fn node_id(&self) -> NodeId {
        self.inner.node_id()
    }
}
