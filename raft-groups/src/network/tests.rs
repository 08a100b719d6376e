//! Both transports, held to the same behaviour; then what only one of them can do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clock::{Hlc, Random, SystemTime, Tasks, TimeSource, Timestamp, VolatileCeiling};
use parking_lot::Mutex;

use super::{
    Class, GrpcConfig, GrpcTransport, Handler, LinkFaults, MESSAGE_BYTES_MAX, NetworkError, SimNetwork, Transport,
};
use crate::NodeId;

const SECOND: Duration = Duration::from_secs(1);

/// Answers with what it was asked; refuses "no", sleeps on "slow".
#[derive(Default)]
struct Echo {
    handled: AtomicU64,
    order: Mutex<Vec<Bytes>>,
}

#[async_trait]
impl Handler for Echo {
    async fn handle(&self, from: NodeId, _class: Class, body: Bytes) -> Result<Bytes, String> {
        self.handled.fetch_add(1, Ordering::Relaxed);
        self.order.lock().push(body.clone());
        match &body[..] {
            b"no" => Err("as you wish".to_owned()),
            b"slow" => {
                tokio::time::sleep(10 * SECOND).await;
                Ok(body)
            }
            b"who" => Ok(Bytes::from(from.to_string())),
            _ => Ok(body),
        }
    }
}

fn hlc_ahead(ahead: Duration) -> Arc<Hlc> {
    struct Ahead(SystemTime, Duration);
    impl TimeSource for Ahead {
        fn now(&self) -> clock::Interval {
            let ahead_ns = self.1.as_nanos() as u64;
            let now = self.0.now();
            clock::Interval { earliest_ns: now.earliest_ns + ahead_ns, latest_ns: now.latest_ns + ahead_ns }
        }
    }
    let error = Duration::from_millis(50);
    let time = Arc::new(Ahead(SystemTime::with_error(error), ahead));
    Arc::new(Hlc::new(time, error, Arc::new(VolatileCeiling), Timestamp::MIN))
}

/// A clock whose disk is full.
fn hlc_without_room() -> Arc<Hlc> {
    struct Full;
    impl clock::CeilingStore for Full {
        fn persist(&self, _ceiling: Timestamp) -> std::io::Result<()> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
    }
    let error = Duration::from_millis(50);
    Arc::new(Hlc::new(Arc::new(SystemTime::with_error(error)), error, Arc::new(Full), Timestamp::MIN))
}

fn hlc() -> Arc<Hlc> {
    hlc_ahead(Duration::ZERO)
}

fn tasks() -> Tasks {
    Tasks::on(tokio::runtime::Handle::current())
}

fn grpc(node: u64, cluster_id: u128, hlc: Arc<Hlc>) -> GrpcTransport {
    GrpcTransport::new(NodeId(node), cluster_id, hlc, tasks(), GrpcConfig::default())
}

async fn serve(transport: &GrpcTransport) -> String {
    transport.serve("127.0.0.1:0".parse().expect("an address")).await.expect("a free port").to_string()
}

async fn grpc_pair() -> (GrpcTransport, GrpcTransport, Arc<Echo>) {
    let (one, two, echo) = (grpc(1, 9, hlc()), grpc(2, 9, hlc()), Arc::new(Echo::default()));
    two.register(Class::Kv, echo.clone());
    one.set_address(NodeId(2), serve(&two).await);
    (one, two, echo)
}

/// What a caller may rely on, whatever the network is made of.
async fn check_calls(one: &dyn Transport, echo: &Echo) {
    let call = |body: &'static str, timeout| one.call(NodeId(2), Class::Kv, Bytes::from(body), timeout);
    assert_eq!(call("hello", SECOND).await.expect("answered"), "hello");
    assert_eq!(call("who", SECOND).await.expect("answered"), "n1");
    let refused = call("no", SECOND).await;
    assert!(matches!(&refused, Err(NetworkError::Refused { reason, .. }) if reason == "as you wish"), "{refused:?}");
    let slow = call("slow", Duration::from_millis(50)).await;
    assert!(matches!(slow, Err(NetworkError::Timeout { node: NodeId(2), timeout_ms: 50 })), "{slow:?}");
    assert!(slow.is_err_and(|error| error.may_have_been_handled()));
    let handled = echo.handled.load(Ordering::Relaxed);
    assert_eq!(call("after", SECOND).await.expect("a slow request holds up none"), "after");
    assert_eq!(echo.handled.load(Ordering::Relaxed), handled + 1);

    let unhandled = one.call(NodeId(2), Class::Bulk, Bytes::from("x"), SECOND).await;
    assert!(matches!(unhandled, Err(NetworkError::Refused { .. })), "{unhandled:?}");
    let unknown = one.call(NodeId(77), Class::Kv, Bytes::new(), SECOND).await;
    assert!(matches!(unknown, Err(NetworkError::Unreachable { node: NodeId(77), .. })), "{unknown:?}");
    let large = one.call(NodeId(2), Class::Kv, Bytes::from(vec![0; MESSAGE_BYTES_MAX + 1]), SECOND).await;
    assert!(matches!(large, Err(NetworkError::TooLarge { .. })), "{large:?}");
}

#[tokio::test]
async fn a_call_over_tonic_is_answered_refused_or_times_out() {
    let (one, _two, echo) = grpc_pair().await;
    check_calls(&one, &echo).await;
}

#[tokio::test]
async fn a_simulated_call_is_answered_refused_or_times_out() {
    let network = SimNetwork::new(Random::from_seed(1), tasks());
    let one = network.connect(NodeId(1), "one", hlc());
    let two = network.connect(NodeId(2), "two", hlc());
    let echo = Arc::new(Echo::default());
    two.register(Class::Kv, echo.clone());
    check_calls(one.as_ref(), &echo).await;
}

#[tokio::test]
async fn a_large_message_passes() {
    let (one, _two, _echo) = grpc_pair().await;
    let body = Bytes::from(vec![7; 20 << 20]);
    assert_eq!(one.call(NodeId(2), Class::Kv, body.clone(), 20 * SECOND).await.expect("answered"), body);
}

#[tokio::test]
async fn requests_of_one_stream_begin_in_order() {
    let (one, _two, echo) = grpc_pair().await;
    one.call(NodeId(2), Class::Kv, Bytes::from("open"), SECOND).await.expect("answered");
    let numbers = (0..200_u64).map(|number| Bytes::from(format!("{number}")));
    let calls = numbers.clone().map(|number| one.call(NodeId(2), Class::Kv, number, 5 * SECOND));
    for answer in futures::future::join_all(calls).await {
        answer.expect("answered");
    }
    assert_eq!(echo.order.lock()[1..], numbers.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_node_calls_itself_without_a_stream() {
    let one = grpc(1, 9, hlc());
    one.register(Class::Kv, Arc::new(Echo::default()));
    assert_eq!(one.call(NodeId(1), Class::Kv, Bytes::from("me"), SECOND).await.expect("answered"), "me");
}

#[tokio::test]
async fn a_node_of_another_cluster_is_turned_away() {
    let (one, two) = (grpc(1, 9, hlc()), grpc(2, 10, hlc()));
    two.register(Class::Kv, Arc::new(Echo::default()));
    let address = serve(&two).await;
    one.set_address(NodeId(2), address.clone());
    let refused = one.call(NodeId(2), Class::Kv, Bytes::from("hello"), SECOND).await;
    assert!(
        matches!(&refused, Err(NetworkError::Unreachable { reason, .. }) if reason.contains("belongs to cluster")),
        "{refused:?}"
    );
    // One that belongs to none yet may ask to join.
    let newcomer = grpc(0, 0, hlc());
    let answer = newcomer.call_address(&address, Class::Kv, Bytes::from("who"), SECOND).await;
    assert_eq!(answer.expect("answered"), "n0");
}

/// What was opened while one of the two belonged to no cluster ends when it comes to belong to another one.
#[tokio::test]
async fn a_stream_does_not_outlive_that_its_end_belongs_to_no_cluster() {
    let (newcomer, of_nine, echo) = (grpc(0, 0, hlc()), grpc(2, 9, hlc()), Arc::new(Echo::default()));
    newcomer.register(Class::Kv, echo.clone());
    of_nine.register(Class::Kv, echo.clone());
    let (newcomers, of_nines) = (serve(&newcomer).await, serve(&of_nine).await);
    let calls = || async {
        let (hello, class) = (Bytes::from("hello"), Class::Kv);
        let there = newcomer.call_address(&of_nines, class, hello.clone(), SECOND).await;
        (there, of_nine.call_address(&newcomers, class, hello, SECOND).await)
    };
    assert!(matches!(calls().await, (Ok(_), Ok(_))), "before it belongs to one it may talk to all");
    newcomer.set_identity(7, NodeId(1));
    let handled = echo.handled.load(Ordering::Relaxed);
    for _ in 0..3 {
        let (there, here) = calls().await;
        assert!(there.is_err() && here.is_err(), "n1 of cluster 7 and n2 of cluster 9 talk: {there:?}, {here:?}");
    }
    assert_eq!(echo.handled.load(Ordering::Relaxed), handled, "what is refused is not handled");
    // In its own cluster it is heard at once.
    let of_seven = grpc(3, 7, hlc());
    let answer = of_seven.call_address(&newcomers, Class::Kv, Bytes::from("who"), SECOND).await;
    assert_eq!(answer.expect("answered"), "n3");
}

#[tokio::test]
async fn a_wrong_address_does_not_reach_another_node() {
    let (one, two) = (grpc(1, 9, hlc()), grpc(2, 9, hlc()));
    two.register(Class::Kv, Arc::new(Echo::default()));
    one.set_address(NodeId(3), serve(&two).await);
    let refused = one.call(NodeId(3), Class::Kv, Bytes::from("hello"), SECOND).await;
    assert!(matches!(refused, Err(NetworkError::Unreachable { .. })), "{refused:?}");
}

#[tokio::test]
async fn whoever_took_the_place_of_a_node_does_not_get_what_was_meant_for_it() {
    let (one, newcomer) = (grpc(1, 9, hlc()), grpc(0, 0, hlc()));
    newcomer.register(Class::Kv, Arc::new(Echo::default()));
    // On the address of node 3, and not joined yet.
    one.set_address(NodeId(3), serve(&newcomer).await);
    let refused = one.call(NodeId(3), Class::Kv, Bytes::from("hello"), SECOND).await;
    assert!(matches!(refused, Err(NetworkError::Unreachable { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_clock_too_far_ahead_is_refused_and_not_absorbed() {
    let ahead = Duration::from_secs(60);
    let receiver_clock = hlc();
    let network = SimNetwork::new(Random::from_seed(2), tasks());
    let one = network.connect(NodeId(1), "one", hlc_ahead(ahead));
    let two = network.connect(NodeId(2), "two", receiver_clock.clone());
    let echo = Arc::new(Echo::default());
    two.register(Class::Kv, echo.clone());
    let refused = one.call(NodeId(2), Class::Kv, Bytes::from("hello"), SECOND).await;
    assert!(matches!(refused, Err(NetworkError::Clock { .. })), "{refused:?}");
    assert_eq!(echo.handled.load(Ordering::Relaxed), 0, "the request was not looked at");
    let limit = Timestamp::new(receiver_clock.interval().latest_ns, 0).plus(SECOND);
    assert!(receiver_clock.now().expect("the clock goes on") < limit);

    let (one, two) = (grpc(1, 9, hlc_ahead(ahead)), grpc(2, 9, hlc()));
    two.register(Class::Kv, echo.clone());
    one.set_address(NodeId(2), serve(&two).await);
    assert!(one.call(NodeId(2), Class::Kv, Bytes::from("hello"), SECOND).await.is_err());
    assert_eq!(echo.handled.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn clocks_of_nodes_that_talk_are_ordered() {
    let (slow, fast) = (hlc(), hlc_ahead(Duration::from_millis(30)));
    let network = SimNetwork::new(Random::from_seed(3), tasks());
    let one = network.connect(NodeId(1), "one", slow.clone());
    let two = network.connect(NodeId(2), "two", fast.clone());
    two.register(Class::Kv, Arc::new(Echo::default()));
    let before = fast.now().expect("the clock goes on");
    one.call(NodeId(2), Class::Kv, Bytes::from("hello"), SECOND).await.expect("answered");
    assert!(slow.now().expect("the clock goes on") > before, "an answer carries its sender's time");
}

#[tokio::test]
async fn a_link_comes_back_with_its_peer() {
    let (one, two, _echo) = grpc_pair().await;
    let call = || one.call(NodeId(2), Class::Kv, Bytes::from("hello"), SECOND);
    call().await.expect("answered");
    two.close();
    let failed = async {
        while call().await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(5 * SECOND, failed).await.expect("the stream breaks");
    let again = grpc(2, 9, hlc());
    again.register(Class::Kv, Arc::new(Echo::default()));
    one.set_address(NodeId(2), serve(&again).await);
    let back = async {
        while call().await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(5 * SECOND, back).await.expect("the link opens again");
}

#[tokio::test]
async fn garbage_on_the_port_harms_nobody() {
    use tokio::io::AsyncWriteExt;
    let (one, two, _echo) = grpc_pair().await;
    let address = serve(&two).await;
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096][..], &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nxxxxxxxx"[..]]
    {
        let mut socket = tokio::net::TcpStream::connect(&address).await.expect("it listens");
        // It may hang up at any point.
        let _ = socket.write_all(garbage).await;
    }
    one.call(NodeId(2), Class::Kv, Bytes::from("hello"), SECOND).await.expect("answered");
}

#[tokio::test(start_paused = true)]
async fn simulated_links_cut_one_way_pause_and_duplicate() {
    let network = SimNetwork::new(Random::from_seed(4), tasks());
    let one = network.connect(NodeId(1), "one", hlc());
    let two = network.connect(NodeId(2), "two", hlc());
    let echo = Arc::new(Echo::default());
    two.register(Class::Kv, echo.clone());
    let call = || one.call(NodeId(2), Class::Kv, Bytes::from("hello"), SECOND);
    let handled = || echo.handled.swap(0, Ordering::Relaxed);

    network.cut(NodeId(1), NodeId(2));
    assert!(matches!(call().await, Err(NetworkError::Timeout { .. })));
    assert_eq!(handled(), 0);
    network.heal();
    network.cut(NodeId(2), NodeId(1));
    assert!(matches!(call().await, Err(NetworkError::Timeout { .. })));
    assert_eq!(handled(), 1, "only the answer was lost");
    network.heal();

    network.pause(NodeId(2));
    assert!(matches!(call().await, Err(NetworkError::Timeout { .. })));
    assert_eq!(handled(), 0);
    network.resume(NodeId(2));
    tokio::time::sleep(SECOND).await;
    assert_eq!(handled(), 1, "messages wait for a paused node");

    network.set_usual(LinkFaults { duplication: 1.0, ..LinkFaults::default() });
    call().await.expect("answered");
    tokio::time::sleep(SECOND).await;
    assert_eq!(handled(), 2);

    network.disconnect(NodeId(2));
    assert!(matches!(call().await, Err(NetworkError::Unreachable { .. })));
}

/// Otherwise a full disk would look like a wrong clock, and fence the node, or count against its peers.
#[tokio::test]
async fn a_ceiling_that_cannot_be_persisted_is_no_disagreement_of_clocks() {
    let network = SimNetwork::new(Random::from_seed(2), tasks());
    let (one, two) = (network.connect(NodeId(1), "one", hlc_without_room()), network.connect(NodeId(2), "two", hlc()));
    two.register(Class::Kv, Arc::new(Echo::default()));
    one.register(Class::Kv, Arc::new(Echo::default()));
    let own = one.call(NodeId(2), Class::Kv, Bytes::from("hello"), SECOND).await;
    assert!(matches!(own, Err(NetworkError::Unreachable { .. })), "{own:?}");
    let of_peer = two.call(NodeId(1), Class::Kv, Bytes::from("hello"), SECOND).await;
    assert!(matches!(of_peer, Err(NetworkError::Timeout { .. })), "it has no timestamp to answer with: {of_peer:?}");

    let (one, two) = (grpc(1, 9, hlc_without_room()), grpc(2, 9, hlc()));
    two.register(Class::Kv, Arc::new(Echo::default()));
    one.register(Class::Kv, Arc::new(Echo::default()));
    one.set_address(NodeId(2), serve(&two).await);
    two.set_address(NodeId(1), serve(&one).await);
    for refused in [
        one.call(NodeId(2), Class::Kv, Bytes::from("hello"), SECOND).await,
        two.call(NodeId(1), Class::Kv, Bytes::from("hello"), SECOND).await,
    ] {
        assert!(refused.is_err() && !matches!(refused, Err(NetworkError::Clock { .. })), "{refused:?}");
    }
}
