use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clock::{Interval, TimeSource};
use raft_groups::disk::{Dir, SimDir};
use raft_groups::{Class, Handler, NetworkError, NodeId, Transport};

use super::{FaultyDir, FaultyTime, FaultyTransport, LinkFault};

struct Stopped;

impl TimeSource for Stopped {
    fn now(&self) -> Interval {
        Interval::around(1_000_000, Duration::from_nanos(100))
    }
}

#[test]
fn a_clock_is_off_by_what_was_set_and_claims_the_same_error() {
    let clock = FaultyTime::new(Arc::new(Stopped));
    assert_eq!(clock.now(), Interval { earliest_ns: 999_900, latest_ns: 1_000_100 });
    clock.set_offset_ns(-5_000);
    assert_eq!(clock.now(), Interval { earliest_ns: 994_900, latest_ns: 995_100 });
    clock.set_offset_ns(0);
    assert_eq!(clock.now(), Interval { earliest_ns: 999_900, latest_ns: 1_000_100 });
}

#[test]
fn a_slow_disk_keeps_what_it_is_given() {
    let dir = FaultyDir::new(Arc::new(SimDir::new(clock::Random::from_seed(1))));
    let file = dir.create("file").unwrap();
    dir.set_sync_delay_us(10);
    file.write_at(0, b"kept").unwrap();
    file.sync_data().unwrap();
    let mut read = [0; 4];
    dir.open("file").unwrap().read_at(0, &mut read).unwrap();
    assert_eq!(&read, b"kept");
}

/// A node whose peers answer at once.
struct Answered;

#[async_trait]
impl Transport for Answered {
    async fn call(&self, _: NodeId, _: Class, body: Bytes, _: Duration) -> Result<Bytes, NetworkError> {
        Ok(body)
    }

    async fn call_address(&self, _: &str, _: Class, body: Bytes, _: Duration) -> Result<Bytes, NetworkError> {
        Ok(body)
    }

    fn set_address(&self, _: NodeId, _: String) {}

    fn register(&self, _: Class, _: Arc<dyn Handler>) {}

    fn set_identity(&self, _: u128, _: NodeId) {}

    fn node_id(&self) -> NodeId {
        NodeId(1)
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_over_a_cut_link_is_lost_as_soon_as_the_link_is_whole_again() {
    let network = FaultyTransport::new(Arc::new(Answered));
    let call = || network.call(NodeId(2), Class::Kv, Bytes::from_static(b"x"), Duration::from_secs(10));
    assert!(call().await.is_ok());
    network.set(NodeId(2), LinkFault { cut: true, ..LinkFault::default() });
    let heal = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        network.set(NodeId(3), LinkFault::default());
        network.set(NodeId(2), LinkFault::default());
    };
    let begun = tokio::time::Instant::now();
    let (answer, ()) = tokio::join!(call(), heal);
    assert!(matches!(answer, Err(NetworkError::Lost { .. })), "{answer:?}");
    assert_eq!(begun.elapsed(), Duration::from_secs(2));
    assert!(call().await.is_ok());
    network.set(NodeId(2), LinkFault { cut: true, ..LinkFault::default() });
    let answer = call().await;
    assert!(matches!(answer, Err(NetworkError::Timeout { .. })), "{answer:?}");
}
