//! The calling end of one stream: one peer, one class.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::Streaming;
use tonic::transport::Endpoint as TonicEndpoint;
use tonic_prost::ProstCodec;

use super::super::endpoint::Identity;
use super::super::frame::{Content, Frame, Greeting};
use super::{Class, FRAME_BYTES_MAX, Inner, METHOD, STREAM_WINDOW_BYTES};
use crate::NodeId;
use crate::network::NetworkError;

/// Frames queued for a stream before its callers wait.
const OUTGOING_FRAMES: usize = 256;

/// One stream to a peer, opened when it is first used.
pub(super) struct Link {
    peer: NodeId,
    address: String,
    class: Class,
    status: watch::Sender<Status>,
    failures: AtomicU64,
}

#[derive(Clone)]
enum Status {
    /// Nobody has asked yet, or the backoff is over.
    Idle,
    Opening,
    Open(Arc<Connection>),
    /// Not tried again before the backoff is over.
    Down(Why),
}

/// Why a stream is down.
#[derive(Clone)]
struct Why {
    reason: String,
    /// One of the two clocks is wrong.
    by_clock: bool,
}

impl From<String> for Why {
    fn from(reason: String) -> Self {
        Why { reason, by_clock: false }
    }
}

impl From<&str> for Why {
    fn from(reason: &str) -> Self {
        reason.to_owned().into()
    }
}

impl From<NetworkError> for Why {
    fn from(error: NetworkError) -> Self {
        Why { reason: error.to_string(), by_clock: matches!(error, NetworkError::Clock { .. }) }
    }
}

/// An open stream and the calls that wait for answers on it.
struct Connection {
    outgoing: mpsc::Sender<Frame>,
    next_request_id: AtomicU64,
    /// Who this node was when it greeted.
    greeted_as: Identity,
    /// `None` once the stream has broken.
    waiting: Mutex<Option<BTreeMap<u64, oneshot::Sender<Result<Bytes, NetworkError>>>>>,
}

/// Takes a call off its connection's list however the call ends.
struct Waiter<'a> {
    connection: &'a Connection,
    request_id: u64,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = self.connection.waiting.lock().as_mut() {
            waiting.remove(&self.request_id);
        }
    }
}

impl Link {
    pub fn new(peer: NodeId, address: String, class: Class) -> Self {
        let (status, _) = watch::channel(Status::Idle);
        Link { peer, address, class, status, failures: AtomicU64::new(0) }
    }

    pub fn class(&self) -> Class {
        self.class
    }

    /// Sends a request and waits for its answer.
    pub async fn call(
        self: &Arc<Self>,
        inner: &Arc<Inner>,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, NetworkError> {
        let timeout_ms = timeout.as_millis() as u64;
        match tokio::time::timeout(timeout, self.exchange(inner, body)).await {
            Ok(answer) => answer,
            Err(_) => Err(NetworkError::Timeout { node: self.peer, timeout_ms }),
        }
    }

    async fn exchange(self: &Arc<Self>, inner: &Arc<Inner>, body: Bytes) -> Result<Bytes, NetworkError> {
        let connection = self.connection(inner).await?;
        let timestamp = inner.endpoint.stamp(self.peer)?;
        let request_id = connection.next_request_id.fetch_add(1, Ordering::Relaxed);
        let (answer_to, answer) = oneshot::channel();
        match connection.waiting.lock().as_mut() {
            Some(waiting) => drop(waiting.insert(request_id, answer_to)),
            None => return Err(self.unreachable("the stream has just broken")),
        }
        let _waiter = Waiter { connection: &connection, request_id };
        let frame = Frame { request_id, timestamp, content: Some(Content::Request(body)) };
        // Without a wait where there is room, so that calls begun in an order are sent in it.
        let sent = match connection.outgoing.try_send(frame) {
            Err(TrySendError::Full(frame)) => connection.outgoing.send(frame).await.is_ok(),
            sent => sent.is_ok(),
        };
        if !sent {
            return Err(self.unreachable("the stream has just broken"));
        }
        match answer.await {
            Ok(answer) => answer,
            Err(_) => Err(self.lost("the stream closed")),
        }
    }

    /// The open stream, opening it if need be.
    async fn connection(self: &Arc<Self>, inner: &Arc<Inner>) -> Result<Arc<Connection>, NetworkError> {
        let mut status = self.status.subscribe();
        loop {
            let current = status.borrow_and_update().clone();
            match current {
                Status::Open(connection) => return Ok(connection),
                Status::Down(Why { reason, by_clock: true }) => {
                    return Err(NetworkError::Clock { node: self.peer, reason, was_handled: false });
                }
                Status::Down(why) => return Err(self.unreachable(&why.reason)),
                Status::Opening => {}
                Status::Idle => self.start_opening(inner),
            }
            if status.changed().await.is_err() {
                return Err(self.unreachable("the transport has shut down"));
            }
        }
    }

    fn start_opening(self: &Arc<Self>, inner: &Arc<Inner>) {
        let begun = self.status.send_if_modified(|status| {
            let is_idle = matches!(status, Status::Idle);
            if is_idle {
                *status = Status::Opening;
            }
            is_idle
        });
        if begun {
            let (link, inner_of_task) = (self.clone(), inner.clone());
            drop(inner.tasks.spawn("node link", async move { link.run(inner_of_task).await }));
        }
    }

    /// One life of the stream: open, receive until it breaks, stay down for the backoff.
    async fn run(self: Arc<Self>, inner: Arc<Inner>) {
        let opening = Duration::from_millis(inner.config.connect_timeout_ms);
        let why = match tokio::time::timeout(opening, self.open(&inner)).await {
            Err(_) => format!("no connection to {} in {} ms", self.address, opening.as_millis()).into(),
            Ok(Err(why)) => why,
            Ok(Ok((connection, incoming))) => {
                self.failures.store(0, Ordering::Relaxed);
                self.status.send_replace(Status::Open(connection.clone()));
                let reason = self.receive(&inner, &connection, incoming).await;
                let waiting = connection.waiting.lock().take().unwrap_or_default();
                for (_, answer_to) in waiting {
                    // The caller may have given up.
                    let _ = answer_to.send(Err(self.lost(&reason)));
                }
                reason.into()
            }
        };
        tracing::debug!(peer = %self.peer, class = ?self.class, reason = why.reason, "node link is down");
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).min(16);
        let backoff_ms = (inner.config.backoff_ms_min << failures).min(inner.config.backoff_ms_max);
        drop(inner);
        self.status.send_replace(Status::Down(why));
        tokio::time::sleep(Duration::from_millis(backoff_ms)).await;
        self.status.send_replace(Status::Idle);
    }

    async fn open(&self, inner: &Inner) -> Result<(Arc<Connection>, Streaming<Frame>), Why> {
        let keep_alive = Duration::from_millis(inner.config.keep_alive_ms);
        let channel = TonicEndpoint::from_shared(format!("http://{}", self.address))
            .map_err(|error| format!("{} is no address: {error}", self.address))?
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(STREAM_WINDOW_BYTES)
            .http2_keep_alive_interval(keep_alive)
            .keep_alive_timeout(keep_alive)
            .keep_alive_while_idle(true)
            .connect()
            .await
            .map_err(|error| format!("{} does not accept: {}", self.address, with_causes(&error)))?;
        let mut grpc = tonic::client::Grpc::new(channel).max_decoding_message_size(FRAME_BYTES_MAX);
        grpc.ready().await.map_err(|error| with_causes(&error))?;

        let (outgoing, frames) = mpsc::channel(OUTGOING_FRAMES);
        let greeted_as = inner.endpoint.identity();
        let greeting = Greeting::new(greeted_as, self.class, self.peer);
        let timestamp = inner.endpoint.stamp(self.peer)?;
        let first = Frame { request_id: 0, timestamp, content: Some(Content::Greeting(greeting)) };
        outgoing.try_send(first).expect("a new channel has room");
        let codec = ProstCodec::<Frame, Frame>::default();
        let path = http::uri::PathAndQuery::from_static(METHOD);
        let request = tonic::Request::new(ReceiverStream::new(frames));
        let response = grpc.streaming(request, path, codec).await.map_err(|status| status.message().to_owned())?;
        let mut incoming = response.into_inner();
        let first = incoming.message().await.map_err(|status| status.message().to_owned())?;
        self.check_greeting(inner, first)?;
        let waiting = Mutex::new(Some(BTreeMap::new()));
        Ok((Arc::new(Connection { outgoing, next_request_id: AtomicU64::new(1), greeted_as, waiting }), incoming))
    }

    fn check_greeting(&self, inner: &Inner, first: Option<Frame>) -> Result<(), Why> {
        match first {
            Some(Frame { timestamp, content: Some(Content::Greeting(greeting)), .. }) => {
                greeting.check(inner.endpoint.identity())?;
                Ok(inner.endpoint.absorb(self.peer, timestamp)?)
            }
            Some(Frame { content: Some(Content::Refusal(reason)), .. }) => Err(reason.into()),
            Some(Frame { content: Some(Content::ClockRefusal(reason)), .. }) => Err(Why { reason, by_clock: true }),
            _ => Err("the peer did not greet".into()),
        }
    }

    /// Hands answers to their callers until the stream breaks; says why it broke.
    async fn receive(&self, inner: &Inner, connection: &Connection, mut incoming: Streaming<Frame>) -> String {
        let mut closing = inner.closing.subscribe();
        let mut identity = inner.endpoint.watch_identity();
        loop {
            let next = tokio::select! {
                biased;
                _ = closing.wait_for(|closing| *closing) => return "this node shuts down".to_owned(),
                _ = identity.wait_for(|now| *now != connection.greeted_as) => {
                    return "this node has come to know who it is, and greets anew".to_owned();
                }
                next = incoming.message() => next,
            };
            let frame = match next {
                Ok(Some(frame)) => frame,
                Ok(None) => return "the peer closed the stream".to_owned(),
                Err(status) => return status.message().to_owned(),
            };
            let answer_to = match connection.waiting.lock().as_mut() {
                Some(waiting) => waiting.remove(&frame.request_id),
                None => None,
            };
            let answer = self.unwrap_answer(inner, frame);
            if let Some(answer_to) = answer_to {
                // The caller may have given up.
                let _ = answer_to.send(answer);
            }
        }
    }

    fn unwrap_answer(&self, inner: &Inner, frame: Frame) -> Result<Bytes, NetworkError> {
        let node = self.peer;
        if let Some(Content::ClockRefusal(reason)) = frame.content {
            return Err(NetworkError::Clock { node, reason, was_handled: false });
        }
        inner.endpoint.absorb_answer(node, frame.timestamp)?;
        match frame.content {
            Some(Content::Answer(body)) => Ok(body),
            Some(Content::Refusal(reason)) => Err(NetworkError::Refused { node, reason }),
            _ => Err(self.lost("the peer answered with something else")),
        }
    }

    fn unreachable(&self, reason: &str) -> NetworkError {
        NetworkError::Unreachable { node: self.peer, reason: reason.to_owned() }
    }

    fn lost(&self, reason: &str) -> NetworkError {
        NetworkError::Lost { node: self.peer, reason: reason.to_owned() }
    }
}

/// An error with what caused it, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}
