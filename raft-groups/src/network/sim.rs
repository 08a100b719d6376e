//! The network of a simulated cluster: links that delay, lose, duplicate, reorder and cut, from one seed.
//!
//! ```text
//!   call ─▶ [loss? cut?] ─ delay ─▶ [receiver paused? down? cut by now?] ─▶ handler ─▶ the same way back
//! ```
//!
//! A lost message is silence, so that its caller meets its timeout; a node that is down refuses at once, as
//! a closed port does. Each message draws its own delay, so that messages overtake each other whenever a
//! link's delay is an interval. An [`Observer`] sees every message leave, arrive and get lost.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clock::{Hlc, Random, Tasks, Timestamp};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::endpoint::{Endpoint, Identity};
use super::{Class, Handler, MESSAGE_BYTES_MAX, NetworkError, Transport};
use crate::NodeId;

/// How one direction of a link behaves.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkFaults {
    /// Shortest time a message takes.
    pub delay_min: Duration,
    /// Longest time a message takes.
    pub delay_max: Duration,
    /// Probability that a message is lost, in `[0, 1]`.
    pub loss: f64,
    /// Probability that a request arrives twice, in `[0, 1]`.
    pub duplication: f64,
    /// Nothing passes.
    pub is_cut: bool,
}

impl Default for LinkFaults {
    fn default() -> Self {
        LinkFaults {
            delay_min: Duration::from_micros(100),
            delay_max: Duration::from_micros(300),
            loss: 0.0,
            duplication: 0.0,
            is_cut: false,
        }
    }
}

/// Where a message is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Its sender let go of it.
    Sent,
    /// Its receiver has it.
    Arrived,
    /// It never arrives.
    Lost,
}

/// A message seen on its way.
#[derive(Clone, Debug)]
pub struct Passage<'a> {
    /// Where on its way.
    pub stage: Stage,
    /// Who sent it.
    pub from: NodeId,
    /// To whom.
    pub to: NodeId,
    /// What it is about.
    pub class: Class,
    /// An answer, not a request.
    pub is_answer: bool,
    /// The same for a request and its answer.
    pub exchange: u64,
    /// Its sender's clock when it was sent.
    pub timestamp: Timestamp,
    /// What it says; nothing for a refusal.
    pub body: &'a [u8],
}

/// Sees every message; must not wait.
pub type Observer = Arc<dyn Fn(&Passage<'_>) + Send + Sync>;

/// The whole simulated network; clones are the same network.
#[derive(Clone)]
pub struct SimNetwork {
    shared: Arc<Shared>,
}

struct Shared {
    random: Random,
    tasks: Tasks,
    state: Mutex<State>,
    /// Told when a node is resumed.
    resumed: Notify,
}

#[derive(Default)]
struct State {
    nodes: BTreeMap<NodeId, Arc<Endpoint>>,
    addresses: BTreeMap<String, Arc<Endpoint>>,
    usual: LinkFaults,
    links: BTreeMap<(NodeId, NodeId), LinkFaults>,
    paused: BTreeSet<NodeId>,
    delivered: u64,
    exchanges: u64,
    observer: Option<Observer>,
}

/// One node's end of a [`SimNetwork`].
pub struct SimTransport {
    shared: Arc<Shared>,
    address: String,
    endpoint: Arc<Endpoint>,
}

impl SimNetwork {
    /// A network without faults.
    pub fn new(random: Random, tasks: Tasks) -> Self {
        let shared = Shared { random, tasks, state: Mutex::default(), resumed: Notify::new() };
        SimNetwork { shared: Arc::new(shared) }
    }

    /// Plugs a node in, replacing the former life of the same node or address. `NodeId(0)` is a node that
    /// knows its address only; it appears under its ID once that is set.
    pub fn connect(&self, node: NodeId, address: &str, hlc: Arc<Hlc>) -> Arc<SimTransport> {
        let endpoint = Arc::new(Endpoint::new(hlc, Identity { cluster_id: 0, node }));
        let mut state = self.shared.state.lock();
        if node != NodeId(0) {
            state.nodes.insert(node, endpoint.clone());
        }
        state.addresses.insert(address.to_owned(), endpoint.clone());
        Arc::new(SimTransport { shared: self.shared.clone(), address: address.to_owned(), endpoint })
    }

    /// Unplugs a node: what it still sends is lost, and what is sent to it is refused.
    pub fn disconnect(&self, node: NodeId) {
        let mut state = self.shared.state.lock();
        if let Some(endpoint) = state.nodes.remove(&node) {
            state.addresses.retain(|_, other| !Arc::ptr_eq(other, &endpoint));
        }
    }

    /// Unplugs whoever is plugged in at an address, whether it has an ID yet or not.
    pub fn unplug(&self, address: &str) {
        let mut state = self.shared.state.lock();
        if let Some(endpoint) = state.addresses.remove(address) {
            state.nodes.retain(|_, other| !Arc::ptr_eq(other, &endpoint));
        }
    }

    /// Sets how links behave that have no setting of their own.
    pub fn set_usual(&self, faults: LinkFaults) {
        self.shared.state.lock().usual = faults;
    }

    /// Sets how one direction of a link behaves.
    pub fn set_link(&self, from: NodeId, to: NodeId, faults: LinkFaults) {
        self.shared.state.lock().links.insert((from, to), faults);
    }

    /// Cuts one direction of a link.
    pub fn cut(&self, from: NodeId, to: NodeId) {
        let mut state = self.shared.state.lock();
        let usual = state.usual.clone();
        state.links.entry((from, to)).or_insert(usual).is_cut = true;
    }

    /// Cuts every link between the two sides, both ways. Links within a side stay.
    pub fn partition(&self, one_side: &[NodeId], other_side: &[NodeId]) {
        for one in one_side {
            for other in other_side {
                self.cut(*one, *other);
                self.cut(*other, *one);
            }
        }
    }

    /// Undoes all cuts and all settings of single links. Paused nodes stay paused.
    pub fn heal(&self) {
        let mut state = self.shared.state.lock();
        state.links.clear();
        state.usual.is_cut = false;
    }

    /// Stops a node from sending and receiving, as a stopped process would; messages wait for it.
    pub fn pause(&self, node: NodeId) {
        self.shared.state.lock().paused.insert(node);
    }

    /// Ends a pause.
    pub fn resume(&self, node: NodeId) {
        self.shared.state.lock().paused.remove(&node);
        self.shared.resumed.notify_waiters();
    }

    /// Shows every message to somebody from now on.
    pub fn observe(&self, observer: Observer) {
        self.shared.state.lock().observer = Some(observer);
    }

    /// How many messages have arrived so far, answers included.
    pub fn delivered(&self) -> u64 {
        self.shared.state.lock().delivered
    }
}

/// A message was lost on its way.
struct LostOnTheWay;

impl Shared {
    /// How long the next message on a link takes; `None` when it never arrives.
    fn draw_delay(&self, from: NodeId, to: NodeId) -> Option<Duration> {
        let faults = self.faults(from, to);
        if faults.is_cut || self.random.chance(faults.loss) {
            return None;
        }
        let (low, high) = (faults.delay_min.as_nanos() as u64, faults.delay_max.as_nanos() as u64);
        Some(Duration::from_nanos(self.random.range(low, high)))
    }

    fn faults(&self, from: NodeId, to: NodeId) -> LinkFaults {
        let state = self.state.lock();
        state.links.get(&(from, to)).unwrap_or(&state.usual).clone()
    }

    async fn wait_while_paused(&self, node: NodeId) {
        loop {
            let resumed = self.resumed.notified();
            if !self.state.lock().paused.contains(&node) {
                return;
            }
            resumed.await;
        }
    }

    /// Whether this life of a node is the one plugged in.
    fn is_connected(&self, endpoint: &Arc<Endpoint>) -> bool {
        let state = self.state.lock();
        state.addresses.values().any(|other| Arc::ptr_eq(other, endpoint))
    }

    /// Polls what a node does for another for as long as its process lives: it ends with it, as all of its own tasks do.
    async fn while_connected(
        &self,
        node: &Arc<Endpoint>,
        handling: impl Future<Output = Result<Bytes, String>>,
    ) -> Result<Bytes, String> {
        let mut handling = std::pin::pin!(handling);
        std::future::poll_fn(|context| match self.is_connected(node) {
            true => handling.as_mut().poll(context),
            false => Poll::Ready(Err("its process has ended".to_owned())),
        })
        .await
    }

    fn show(&self, message: &Message<'_>, stage: Stage) {
        let observer = self.state.lock().observer.clone();
        let Some(observer) = observer else { return };
        observer(&Passage {
            stage,
            from: message.from.identity().node,
            to: message.to.identity().node,
            class: message.class,
            is_answer: message.is_answer,
            exchange: message.exchange,
            timestamp: message.timestamp,
            body: message.body,
        });
    }

    /// Carries one message over a link.
    async fn carry(&self, message: Message<'_>) -> Result<(), LostOnTheWay> {
        let (from, to) = (message.from, message.to);
        self.wait_while_paused(from.identity().node).await;
        self.show(&message, Stage::Sent);
        let (sender, receiver) = (from.identity().node, to.identity().node);
        let Some(delay) = self.draw_delay(sender, receiver) else {
            self.show(&message, Stage::Lost);
            return Err(LostOnTheWay);
        };
        tokio::time::sleep(delay).await;
        self.wait_while_paused(receiver).await;
        if self.faults(sender, receiver).is_cut || !self.is_connected(from) || !self.is_connected(to) {
            self.show(&message, Stage::Lost);
            return Err(LostOnTheWay);
        }
        self.state.lock().delivered += 1;
        self.show(&message, Stage::Arrived);
        Ok(())
    }
}

/// A message on its way over one link.
struct Message<'a> {
    from: &'a Arc<Endpoint>,
    to: &'a Arc<Endpoint>,
    class: Class,
    is_answer: bool,
    exchange: u64,
    timestamp: Timestamp,
    body: &'a [u8],
}

/// What comes back to a caller.
struct Reply {
    timestamp: Timestamp,
    answer: Result<Bytes, NetworkError>,
}

impl SimTransport {
    /// Where this node listens, in the network's own terms.
    pub fn address(&self) -> &str {
        &self.address
    }

    async fn exchange(&self, to: Arc<Endpoint>, class: Class, body: Bytes) -> Result<Bytes, NetworkError> {
        let peer = to.identity().node;
        let own = self.endpoint.identity();
        if !own.may_talk_to(to.identity()) {
            return Err(NetworkError::Unreachable { node: peer, reason: "it belongs to another cluster".into() });
        }
        let timestamp = self.endpoint.stamp(peer)?;
        let (reply_to, reply) = oneshot::channel();
        let twice = self.shared.random.chance(self.shared.faults(own.node, peer).duplication);
        if twice {
            self.send(&to, class, body.clone(), timestamp, None);
        }
        self.send(&to, class, body, timestamp, Some(reply_to));
        match reply.await {
            Ok(Reply { answer: Err(refused @ NetworkError::Clock { .. }), .. }) => Err(refused),
            Ok(reply) => {
                self.endpoint.absorb_answer(peer, reply.timestamp)?;
                reply.answer
            }
            // Silence: the caller's timeout ends it.
            Err(_) => std::future::pending().await,
        }
    }

    /// Sends a request; what becomes of it does not depend on whether the caller still waits.
    fn send(
        &self,
        to: &Arc<Endpoint>,
        class: Class,
        body: Bytes,
        timestamp: Timestamp,
        reply_to: Option<oneshot::Sender<Reply>>,
    ) {
        let (shared, from, to) = (self.shared.clone(), self.endpoint.clone(), to.clone());
        let exchange = {
            let mut state = shared.state.lock();
            state.exchanges += 1;
            state.exchanges
        };
        let delivery = async move {
            let request = Message { from: &from, to: &to, class, is_answer: false, exchange, timestamp, body: &body };
            if shared.carry(request).await.is_err() {
                return;
            }
            let (sender, receiver) = (from.identity().node, to.identity().node);
            let answer = match to.absorb(sender, timestamp) {
                Ok(()) => shared
                    .while_connected(&to, to.handle(sender, class, body.clone()))
                    .await
                    .map_err(|reason| NetworkError::Refused { node: receiver, reason }),
                Err(error @ NetworkError::Clock { .. }) => {
                    Err(NetworkError::Clock { node: receiver, reason: error.to_string(), was_handled: false })
                }
                Err(error) => Err(NetworkError::Refused { node: receiver, reason: error.to_string() }),
            };
            let Ok(timestamp) = to.stamp(sender) else { return };
            let said: &[u8] = answer.as_ref().map_or(&[], |body| body);
            let message = Message { from: &to, to: &from, class, is_answer: true, exchange, timestamp, body: said };
            if shared.carry(message).await.is_ok()
                && let Some(reply_to) = reply_to
            {
                // The caller may have given up.
                let _ = reply_to.send(Reply { timestamp, answer });
            }
        };
        drop(self.shared.tasks.spawn("simulated message", delivery));
    }

    async fn call_endpoint(
        &self,
        to: Option<Arc<Endpoint>>,
        node: NodeId,
        class: Class,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, NetworkError> {
        if body.len() > MESSAGE_BYTES_MAX {
            return Err(NetworkError::TooLarge { bytes: body.len() });
        }
        let Some(to) = to else {
            return Err(NetworkError::Unreachable { node, reason: "connection refused".into() });
        };
        if Arc::ptr_eq(&to, &self.endpoint) {
            let answer = self.endpoint.handle(node, class, body);
            return match tokio::time::timeout(timeout, answer).await {
                Ok(answer) => answer.map_err(|reason| NetworkError::Refused { node, reason }),
                Err(_) => Err(NetworkError::Timeout { node, timeout_ms: timeout.as_millis() as u64 }),
            };
        }
        match tokio::time::timeout(timeout, self.exchange(to, class, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(NetworkError::Timeout { node, timeout_ms: timeout.as_millis() as u64 }),
        }
    }
}

#[async_trait]
impl Transport for SimTransport {
    async fn call(&self, to: NodeId, class: Class, body: Bytes, timeout: Duration) -> Result<Bytes, NetworkError> {
        let endpoint = self.shared.state.lock().nodes.get(&to).cloned();
        self.call_endpoint(endpoint, to, class, body, timeout).await
    }

    async fn call_address(
        &self,
        address: &str,
        class: Class,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, NetworkError> {
        let endpoint = self.shared.state.lock().addresses.get(address).cloned();
        self.call_endpoint(endpoint, NodeId(0), class, body, timeout).await
    }

    fn set_address(&self, _node: NodeId, _address: String) {}

    fn register(&self, class: Class, handler: Arc<dyn Handler>) {
        self.endpoint.register(class, handler);
    }

    fn set_identity(&self, cluster_id: u128, node: NodeId) {
        self.endpoint.set_identity(Identity { cluster_id, node });
        self.shared.state.lock().nodes.insert(node, self.endpoint.clone());
    }

    fn node_id(&self) -> NodeId {
        self.endpoint.identity().node
    }
}
