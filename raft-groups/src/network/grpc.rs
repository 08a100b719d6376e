//! The production network: tonic, with one bidirectional stream per peer and class.
//!
//! ```text
//!   call ─▶ Link (peer, class) ─▶ stream of frames ═══▶ Exchange service ─▶ Handler
//!              ▲ request IDs          greeting first        answers in any order │
//!              └──────────────────────◀═══════════════════════════════════════════┘
//! ```
//!
//! Each link has a TCP connection of its own, so that classes do not wait for each other's bytes. A broken
//! link fails what waits on it, stays down for its backoff, during which calls fail at once, and is opened
//! again by the next call. The service is written by hand, so that no compiler of protocols is needed.

mod link;
mod server;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clock::{Hlc, Tasks};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::link::Link;
use super::endpoint::{Endpoint, Identity};
use super::{Class, Handler, MESSAGE_BYTES_MAX, NetworkError, Transport};
use crate::NodeId;

/// The gRPC method all frames go through.
const METHOD: &str = "/meridian.Nodes/Exchange";

/// Room for a frame's own fields beside its body.
const FRAME_BYTES_MAX: usize = MESSAGE_BYTES_MAX + (1 << 16);

/// How far a stream may run ahead of its reader, in bytes.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;

/// How connections are made and kept.
#[derive(Clone, Debug)]
pub struct GrpcConfig {
    /// How long a connection and its greeting may take.
    pub connect_timeout_ms: u64,
    /// How long a link stays down after its first failure; doubled with each further one.
    pub backoff_ms_min: u64,
    /// The longest it stays down.
    pub backoff_ms_max: u64,
    /// A silent connection is probed this often, and dropped when a probe is not answered for as long again.
    pub keep_alive_ms: u64,
}

impl Default for GrpcConfig {
    fn default() -> Self {
        GrpcConfig { connect_timeout_ms: 3_000, backoff_ms_min: 50, backoff_ms_max: 1_000, keep_alive_ms: 2_000 }
    }
}

/// A node's end of the production network. Clones are the same end.
#[derive(Clone)]
pub struct GrpcTransport {
    inner: Arc<Inner>,
}

struct Inner {
    endpoint: Endpoint,
    config: GrpcConfig,
    tasks: Tasks,
    peers: Mutex<BTreeMap<NodeId, Peer>>,
    strangers: Mutex<BTreeMap<(String, Class), Arc<Link>>>,
    /// Turns true when the transport shuts down.
    closing: watch::Sender<bool>,
}

/// A peer whose address is known.
struct Peer {
    address: String,
    links: BTreeMap<Class, Arc<Link>>,
}

impl GrpcTransport {
    /// A transport that calls, and answers once [`GrpcTransport::serve`] is called.
    pub fn new(node: NodeId, cluster_id: u128, hlc: Arc<Hlc>, tasks: Tasks, config: GrpcConfig) -> Self {
        let endpoint = Endpoint::new(hlc, Identity { cluster_id, node });
        let (closing, _) = watch::channel(false);
        let inner = Inner { endpoint, config, tasks, peers: Mutex::default(), strangers: Mutex::default(), closing };
        GrpcTransport { inner: Arc::new(inner) }
    }

    /// Listens for peers and answers them until [`GrpcTransport::close`]; returns where it listens.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn serve(&self, listen: SocketAddr) -> std::io::Result<SocketAddr> {
        // Bound on the runtime of the tasks, so that its reactor drives the sockets.
        let bound = self.inner.tasks.spawn("bind rpc port", TcpListener::bind(listen)).await;
        let listener = bound.map_err(std::io::Error::other)??;
        let address = listener.local_addr()?;
        server::start(self.inner.clone(), listener);
        Ok(address)
    }

    /// Stops answering and drops all streams.
    pub fn close(&self) {
        self.inner.closing.send_replace(true);
        self.inner.peers.lock().clear();
        self.inner.strangers.lock().clear();
    }

    fn link_to(&self, to: NodeId, class: Class) -> Result<Arc<Link>, NetworkError> {
        let mut peers = self.inner.peers.lock();
        let Some(peer) = peers.get_mut(&to) else {
            return Err(NetworkError::Unreachable { node: to, reason: "its address is not known".into() });
        };
        let address = peer.address.clone();
        Ok(peer.links.entry(class).or_insert_with(|| Arc::new(Link::new(to, address, class))).clone())
    }

    async fn call_link(
        &self,
        link: Arc<Link>,
        class: Class,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, NetworkError> {
        if body.len() > MESSAGE_BYTES_MAX {
            return Err(NetworkError::TooLarge { bytes: body.len() });
        }
        debug_assert_eq!(link.class(), class, "a link carries one class");
        link.call(&self.inner, body, timeout).await
    }
}

#[async_trait]
impl Transport for GrpcTransport {
    async fn call(&self, to: NodeId, class: Class, body: Bytes, timeout: Duration) -> Result<Bytes, NetworkError> {
        if to == self.node_id() {
            let answer = self.inner.endpoint.handle(to, class, body);
            return match tokio::time::timeout(timeout, answer).await {
                Ok(answer) => answer.map_err(|reason| NetworkError::Refused { node: to, reason }),
                Err(_) => Err(NetworkError::Timeout { node: to, timeout_ms: timeout.as_millis() as u64 }),
            };
        }
        let link = self.link_to(to, class)?;
        self.call_link(link, class, body, timeout).await
    }

    async fn call_address(
        &self,
        address: &str,
        class: Class,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, NetworkError> {
        let link = {
            let mut strangers = self.inner.strangers.lock();
            let fresh = || Arc::new(Link::new(NodeId(0), address.to_owned(), class));
            strangers.entry((address.to_owned(), class)).or_insert_with(fresh).clone()
        };
        self.call_link(link, class, body, timeout).await
    }

    fn set_address(&self, node: NodeId, address: String) {
        let mut peers = self.inner.peers.lock();
        match peers.get(&node) {
            Some(peer) if peer.address == address => {}
            _ => {
                peers.insert(node, Peer { address, links: BTreeMap::new() });
            }
        }
    }

    fn register(&self, class: Class, handler: Arc<dyn Handler>) {
        self.inner.endpoint.register(class, handler);
    }

    fn set_identity(&self, cluster_id: u128, node: NodeId) {
        let (before, identity) = (self.inner.endpoint.identity(), Identity { cluster_id, node });
        self.inner.endpoint.set_identity(identity);
        if before != identity {
            // Whoever belongs to no cluster may talk to all; from now on only to its own.
            self.inner.strangers.lock().clear();
            self.inner.peers.lock().values_mut().for_each(|peer| peer.links.clear());
        }
    }

    fn node_id(&self) -> NodeId {
        self.inner.endpoint.identity().node
    }
}

impl std::fmt::Debug for GrpcTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrpcTransport").field("node", &self.node_id()).finish_non_exhaustive()
    }
}
