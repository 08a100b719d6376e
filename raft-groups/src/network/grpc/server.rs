//! The answering end: every stream a peer opens.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::Streaming;
use tonic::server::{Grpc, NamedService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower_service::Service;

use super::super::endpoint::Identity;
use super::super::frame::{Content, Frame, Greeting};
use super::{Class, FRAME_BYTES_MAX, Inner, MESSAGE_BYTES_MAX, METHOD, STREAM_WINDOW_BYTES};
use crate::NodeId;
use crate::network::NetworkError;

/// Answers queued for a stream before their handlers wait.
const ANSWER_FRAMES: usize = 256;

type Answers = ReceiverStream<Result<Frame, Status>>;

/// The service, as tonic calls it.
#[derive(Clone)]
struct Exchange {
    inner: Arc<Inner>,
}

/// Its only method.
struct ExchangeMethod {
    inner: Arc<Inner>,
}

/// Answers on the listener until the transport closes.
pub(super) fn start(inner: Arc<Inner>, listener: TcpListener) {
    let keep_alive = Duration::from_millis(inner.config.keep_alive_ms);
    let mut closing = inner.closing.subscribe();
    let tasks = inner.tasks.clone();
    let serving = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(STREAM_WINDOW_BYTES)
        .http2_keepalive_interval(Some(keep_alive))
        .http2_keepalive_timeout(Some(keep_alive))
        .add_service(Exchange { inner })
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), async move {
            // An error means that the transport is gone, which closes it too.
            let _ = closing.wait_for(|closing| *closing).await;
        });
    drop(tasks.spawn("rpc server", async move {
        if let Err(error) = serving.await {
            tracing::error!(%error, "the rpc server ended");
        }
    }));
}

impl NamedService for Exchange {
    const NAME: &'static str = "meridian.Nodes";
}

impl Service<http::Request<tonic::body::Body>> for Exchange {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let method = ExchangeMethod { inner: self.inner.clone() };
        Box::pin(async move {
            if request.uri().path() != METHOD {
                return Ok(Status::unimplemented("there is no such method").into_http());
            }
            let codec = ProstCodec::<Frame, Frame>::default();
            let mut grpc = Grpc::new(codec).max_decoding_message_size(FRAME_BYTES_MAX);
            Ok(grpc.streaming(method, request).await)
        })
    }
}

impl Service<Request<Streaming<Frame>>> for ExchangeMethod {
    type Response = Response<Answers>;
    type Error = Status;
    type Future = std::future::Ready<Result<Response<Answers>, Status>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Streaming<Frame>>) -> Self::Future {
        let (answers, queued) = mpsc::channel(ANSWER_FRAMES);
        let inner = self.inner.clone();
        drop(self.inner.tasks.spawn("node stream", serve_stream(inner, request.into_inner(), answers)));
        std::future::ready(Ok(Response::new(ReceiverStream::new(queued))))
    }
}

/// One stream: its greeting, then its requests until it ends.
async fn serve_stream(inner: Arc<Inner>, mut incoming: Streaming<Frame>, answers: mpsc::Sender<Result<Frame, Status>>) {
    let wait = Duration::from_millis(inner.config.connect_timeout_ms);
    let Ok(Ok(Some(first))) = tokio::time::timeout(wait, incoming.message()).await else { return };
    let mut identity = inner.endpoint.watch_identity();
    let own = *identity.borrow_and_update();
    let (from, class) = match greet(&inner, own, first) {
        Ok((greeting, from, class)) => {
            answer(&inner, &answers, from, 0, Content::Greeting(greeting)).await;
            (from, class)
        }
        Err(refusal) => {
            answer(&inner, &answers, NodeId(0), 0, refusal).await;
            return;
        }
    };
    let mut closing = inner.closing.subscribe();
    loop {
        let next = tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => return,
            // Whoever talked to a node without a cluster need not belong to the one it is part of now.
            _ = identity.wait_for(|now| *now != own) => return,
            next = incoming.message() => next,
        };
        let Ok(Some(frame)) = next else { return };
        let Some(Content::Request(body)) = frame.content else { continue };
        let request_id = frame.request_id;
        if let Err(error) = inner.endpoint.absorb(from, frame.timestamp) {
            answer(&inner, &answers, from, request_id, refusal(&error)).await;
            continue;
        }
        let request = answer_request(inner.clone(), answers.clone(), from, class, request_id, body);
        begin_in_order(&inner, Box::pin(request));
    }
}

/// What a peer is told whose timestamp was not taken in.
fn refusal(error: &NetworkError) -> Content {
    match error {
        NetworkError::Clock { .. } => Content::ClockRefusal(error.to_string()),
        _ => Content::Refusal(error.to_string()),
    }
}

fn greet(inner: &Inner, own: Identity, first: Frame) -> Result<(Greeting, NodeId, Class), Content> {
    let Some(Content::Greeting(theirs)) = first.content else {
        return Err(Content::Refusal("a stream begins with a greeting".to_owned()));
    };
    theirs.check(own).map_err(Content::Refusal)?;
    let unknown = || Content::Refusal(format!("there is no message class {}", theirs.class));
    let class = theirs.class().ok_or_else(unknown)?;
    let from = theirs.identity().node;
    let absorbed = inner.endpoint.absorb(from, first.timestamp);
    absorbed.map_err(|error| refusal(&error))?;
    Ok((Greeting::new(own, class, from), from, class))
}

async fn answer_request(
    inner: Arc<Inner>,
    answers: mpsc::Sender<Result<Frame, Status>>,
    from: NodeId,
    class: Class,
    request_id: u64,
    body: Bytes,
) {
    let content = match inner.endpoint.handle(from, class, body).await {
        // What the peer cannot take in would break the stream, and with it whatever else waits on it.
        Ok(body) if body.len() > MESSAGE_BYTES_MAX => {
            Content::Refusal(format!("the answer of {} bytes is larger than a message may be", body.len()))
        }
        Ok(body) => Content::Answer(body),
        Err(reason) => Content::Refusal(reason),
    };
    answer(&inner, &answers, from, request_id, content).await;
}

async fn answer(
    inner: &Inner,
    answers: &mpsc::Sender<Result<Frame, Status>>,
    to: NodeId,
    request_id: u64,
    content: Content,
) {
    // Without a clock nothing can be said; the peer meets its deadline.
    let Ok(timestamp) = inner.endpoint.stamp(to) else { return };
    // The stream may be gone, and its caller with it.
    let _ = answers.send(Ok(Frame { request_id, timestamp, content: Some(content) })).await;
}

/// Begins a request before the next one of its stream is read, so that handlers see the order of arrival;
/// what it cannot finish at once goes on beside the stream.
fn begin_in_order(inner: &Inner, mut request: Pin<Box<dyn Future<Output = ()> + Send>>) {
    let mut context = Context::from_waker(Waker::noop());
    // The reader's own scheduling budget must not cut the beginning short.
    let begin = tokio::task::unconstrained(std::future::poll_fn(|context| Poll::Ready(request.as_mut().poll(context))));
    let begun = std::pin::pin!(begin).poll(&mut context);
    if !matches!(begun, Poll::Ready(Poll::Ready(()))) {
        drop(inner.tasks.spawn("node request", request));
    }
}
