//! What both transports have in common: who the node is, its clock, and its handlers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use clock::{Hlc, HlcError, Timestamp};
use parking_lot::RwLock;
use tokio::sync::watch;

use super::{Class, Handler, NetworkError};
use crate::NodeId;

/// One node's identity, clock and handlers.
pub(super) struct Endpoint {
    hlc: Arc<Hlc>,
    /// Whether the clock may speak: true time has reached what a former life may have issued.
    may_speak: AtomicBool,
    identity: watch::Sender<Identity>,
    handlers: RwLock<[Option<Arc<dyn Handler>>; Class::ALL.len()]>,
}

/// Who a node is, as far as it knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Identity {
    /// The cluster; 0 before the node belongs to one.
    pub cluster_id: u128,
    /// The node; 0 before it has an ID.
    pub node: NodeId,
}

impl Identity {
    /// Whether the two may talk: of one cluster, or one of them still without.
    pub fn may_talk_to(self, other: Identity) -> bool {
        self.cluster_id == 0 || other.cluster_id == 0 || self.cluster_id == other.cluster_id
    }
}

impl Endpoint {
    pub fn new(hlc: Arc<Hlc>, identity: Identity) -> Self {
        Endpoint {
            hlc,
            may_speak: AtomicBool::new(false),
            identity: watch::Sender::new(identity),
            handlers: RwLock::default(),
        }
    }

    pub fn identity(&self) -> Identity {
        *self.identity.borrow()
    }

    pub fn set_identity(&self, identity: Identity) {
        self.identity.send_replace(identity);
    }

    /// Tells who the node is, and when it becomes somebody else: what was greeted before must be greeted anew.
    pub fn watch_identity(&self) -> watch::Receiver<Identity> {
        self.identity.subscribe()
    }

    pub fn register(&self, class: Class, handler: Arc<dyn Handler>) {
        self.handlers.write()[class.index()] = Some(handler);
    }

    /// The timestamp an outgoing frame carries. A restarted node has none to give, not even for a refusal, before true time has
    /// reached its former ceiling (`timestamp_bound`).
    pub fn stamp(&self, peer: NodeId) -> Result<Timestamp, NetworkError> {
        if !self.may_speak.load(Ordering::Relaxed) {
            if !self.hlc.may_serve() {
                let reason = "this node's clock waits for true time to reach its former ceiling".to_owned();
                return Err(NetworkError::Unreachable { node: peer, reason });
            }
            self.may_speak.store(true, Ordering::Relaxed);
        }
        self.hlc.now().map_err(|error| clock_error(peer, &error, false))
    }

    /// Takes in the timestamp of a request or a greeting that arrived.
    pub fn absorb(&self, peer: NodeId, timestamp: Timestamp) -> Result<(), NetworkError> {
        self.hlc.absorb(timestamp).map_err(|error| clock_error(peer, &error, false))
    }

    /// Takes in the timestamp of an answer. One that is refused does not undo what was done to give it.
    pub fn absorb_answer(&self, peer: NodeId, timestamp: Timestamp) -> Result<(), NetworkError> {
        self.hlc.absorb(timestamp).map_err(|error| clock_error(peer, &error, true))
    }

    /// Has the handler of the class answer.
    pub async fn handle(&self, from: NodeId, class: Class, body: Bytes) -> Result<Bytes, String> {
        let handler = self.handlers.read()[class.index()].clone();
        match handler {
            Some(handler) => handler.handle(from, class, body).await,
            None => Err(format!("nothing answers {class:?} requests here yet")),
        }
    }
}

/// A ceiling that the disk refuses says nothing about which clock is right: whoever took it for a disagreement would fence a node
/// for its full disk.
fn clock_error(node: NodeId, error: &HlcError, was_handled: bool) -> NetworkError {
    let reason = error.to_string();
    match error {
        HlcError::TooFarAhead { .. } | HlcError::Fenced(_) => NetworkError::Clock { node, reason, was_handled },
        HlcError::Ceiling(_) if was_handled => NetworkError::Lost { node, reason },
        HlcError::Ceiling(_) => NetworkError::Unreachable { node, reason },
    }
}
