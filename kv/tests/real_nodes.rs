//! Three nodes of the real thing in one process: tonic on loopback, fjall and the log on disk, threads.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clock::{Hlc, Random, SystemTime, Tasks, Timestamp, VolatileCeiling};
use raft_groups::disk::OsDir;
use raft_groups::{GroupConfig, GrpcConfig, GrpcTransport, NodeId, WalOptions};

use kv::api::{BatchHeader, BatchRequest, Get, KvError, Put, RequestKind, ResponseKind};
use kv::engine::{FjallEngine, FjallOptions};
use kv::keys;
use kv::{Begin, Node, NodeConfig, Settings};

const CLOCK_ERROR: Duration = Duration::from_millis(1);

struct Machine {
    dir: tempfile::TempDir,
    tasks: Tasks,
    transport: Option<GrpcTransport>,
    node: Option<Node>,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory for the test");
        Machine { dir, tasks: Tasks::on(tokio::runtime::Handle::current()), transport: None, node: None }
    }

    /// Starts the machine's node on what its former life left; returns its address, another one each time.
    async fn start(&mut self, seed: u64, join: Option<String>, ceiling: Timestamp) -> String {
        self.tasks = self.tasks.scope();
        let tasks = self.tasks.clone();
        let engine = FjallEngine::open(&self.dir.path().join("data"), FjallOptions::default());
        let source = Arc::new(SystemTime::with_error(CLOCK_ERROR));
        let hlc = Arc::new(Hlc::new(source, CLOCK_ERROR, Arc::new(VolatileCeiling), ceiling));
        let transport = GrpcTransport::new(NodeId(0), 0, hlc.clone(), tasks.clone(), GrpcConfig::default());
        let listen = "127.0.0.1:0".parse().expect("an address");
        let address = transport.serve(listen).await.expect("a port is free").to_string();
        let dir = |name: &str| {
            let path = self.dir.path().join(name);
            Arc::new(OsDir::open(&path).expect("the directory opens"))
        };
        let config = NodeConfig {
            log_dir: dir("log"),
            data_dir: dir("ballast"),
            engine: Arc::new(engine.expect("nobody uses the directory")),
            transport: Arc::new(transport.clone()),
            hlc,
            tasks: tasks.clone(),
            raft_tasks: tasks,
            random: Random::from_seed(seed),
            settings: Settings { disk_ballast_bytes: 0, disk_floor_bytes: 0, ..Settings::default() },
            groups: GroupConfig::default(),
            wal: WalOptions::default(),
            locality: Default::default(),
            address: address.clone(),
            sql_address: String::new(),
            version: "test".to_owned(),
            waiting: kv::node::Waiting::default(),
            begin: join.map_or(Begin::Bootstrap, |address| Begin::Join(vec![address])),
        };
        self.node = Some(Node::start(config).await.expect("the node starts"));
        self.transport = Some(transport);
        address
    }

    fn node(&self) -> &Node {
        self.node.as_ref().expect("the node runs")
    }

    async fn stop(&mut self) {
        let node = self.node.take().expect("the node runs");
        node.shutdown().await.expect("the node stops");
        self.transport.take().expect("the node runs").close();
        self.tasks.stop().await;
    }
}

async fn send(node: &Node, kind: RequestKind) -> Result<ResponseKind, KvError> {
    let batch = BatchRequest { header: BatchHeader::default(), requests: vec![kind.into()] };
    let response = node.sender().send(batch).await?;
    Ok(response.responses.into_iter().next().and_then(|response| response.kind).expect("one response"))
}

async fn put(node: &Node, key: &str, value: &str) -> Result<(), KvError> {
    let value = Bytes::copy_from_slice(value.as_bytes());
    let put = Put { key: row(key), value, ..Put::default() };
    match send(node, RequestKind::Put(put.clone())).await {
        // Its connection closed with it on the way. It says what, not how much.
        Err(KvError::Ambiguous(_)) => send(node, RequestKind::Put(put)).await.map(|_| ()),
        other => other.map(|_| ()),
    }
}

async fn get(node: &Node, key: &str) -> Result<Option<Bytes>, KvError> {
    match send(node, RequestKind::Get(Get { key: row(key), ..Get::default() })).await? {
        ResponseKind::Value(value) => Ok(value.value),
        other => panic!("a get was answered with {other:?}"),
    }
}

async fn replicated(machines: &[Machine]) {
    let is_settled = |machine: &Machine| {
        let all = machine.node().store().all();
        all.len() == 2
            && all.iter().all(|(_, held)| held.replica.descriptor().replicas.iter().all(|r| r.role == 0))
            && all.iter().all(|(_, held)| held.replica.descriptor().replicas.len() == 3)
    };
    let done = async {
        while !machines.iter().all(is_settled) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), done).await.expect("replicated three ways");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_real_nodes_replicate_and_go_on_without_the_first() {
    let begun = tokio::time::Instant::now();
    let mut machines = vec![Machine::new(), Machine::new(), Machine::new()];
    let first = machines[0].start(1, None, Timestamp::MIN).await;
    println!("the first node serves after {:?}", begun.elapsed());
    for (index, machine) in machines.iter_mut().enumerate().skip(1) {
        machine.start(1 + index as u64, Some(first.clone()), Timestamp::MIN).await;
    }
    println!("all three after {:?}", begun.elapsed());
    replicated(&machines).await;
    println!("replicated three ways after {:?}", begun.elapsed());
    for index in 0..200 {
        put(machines[index % 3].node(), &format!("k{index}"), "v").await.expect("written");
    }
    println!("200 writes after {:?}", begun.elapsed());
    for index in 0..200 {
        let value = get(machines[(index + 1) % 3].node(), &format!("k{index}")).await.expect("read");
        assert_eq!(value.as_deref(), Some(&b"v"[..]));
    }
    println!("200 reads after {:?}", begun.elapsed());
    machines[0].stop().await;
    println!("the first node stopped after {:?}", begun.elapsed());
    put(machines[1].node(), "after", "v").await.expect("written by the two that are left");
    println!("written by the others after {:?}", begun.elapsed());
    for machine in &machines[1..] {
        assert_eq!(get(machine.node(), "after").await.expect("read").as_deref(), Some(&b"v"[..]));
        assert_eq!(get(machine.node(), "k7").await.expect("read").as_deref(), Some(&b"v"[..]));
    }
    println!("read by the others after {:?}", begun.elapsed());
    machines[0].start(4, None, now().plus(CLOCK_ERROR)).await;
    println!("the first node restarted elsewhere after {:?}", begun.elapsed());
    for key in ["after", "k7"] {
        assert_eq!(get(machines[0].node(), key).await.expect("read").as_deref(), Some(&b"v"[..]));
    }
    println!("read through it after {:?}", begun.elapsed());
    machines[1].stop().await;
    put(machines[2].node(), "without", "v").await.expect("written by the third and the first at its new address");
    println!("written without the second after {:?}", begun.elapsed());
    assert_eq!(get(machines[0].node(), "without").await.expect("read").as_deref(), Some(&b"v"[..]));
    for machine in [0, 2] {
        machines[machine].stop().await;
    }
    println!("all stopped after {:?}", begun.elapsed());
    // Everybody moves at once: nobody is where the others last saw it.
    let meeting_point = machines[0].start(5, None, now().plus(CLOCK_ERROR)).await;
    for (index, machine) in machines.iter_mut().enumerate().skip(1) {
        machine.start(5 + index as u64, Some(meeting_point.clone()), now().plus(CLOCK_ERROR)).await;
    }
    println!("all restarted elsewhere after {:?}", begun.elapsed());
    for (index, machine) in machines.iter().enumerate() {
        put(machine.node(), &format!("again {index}"), "v").await.expect("written");
        assert_eq!(get(machine.node(), "without").await.expect("read").as_deref(), Some(&b"v"[..]));
    }
    println!("written and read after {:?}", begun.elapsed());
    for machine in &mut machines {
        machine.stop().await;
    }
    println!("all stopped again after {:?}", begun.elapsed());
}

fn now() -> Timestamp {
    use clock::TimeSource;
    Timestamp::new(SystemTime::with_error(CLOCK_ERROR).now().latest_ns, 0)
}

/// A key among the rows.
fn row(key: &str) -> Bytes {
    [&[keys::TABLE][..], key.as_bytes()].concat().into()
}
