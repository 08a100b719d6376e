//! Two gateways on one range: what one of them alters, the other never uses as it was.
#![allow(missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clock::{Hlc, Random, SimulatedTime, Tasks, VolatileCeiling};
use sql::types::Datum;
use sql::{
    ClusterView, ExecuteOptions, NodeView, Outcome, RangeView, Row, Session, SessionParams, SqlError, SqlNode,
    SqlNodeConfig, SqlSettings,
};

struct OneRange;

#[async_trait]
impl ClusterView for OneRange {
    async fn ranges(&self, _: Bytes, _: Bytes) -> Result<Vec<RangeView>, SqlError> {
        Ok(Vec::new())
    }
    fn nodes(&self) -> Vec<NodeView> {
        Vec::new()
    }
    async fn split_at(&self, _: Bytes) -> Result<(), SqlError> {
        Ok(())
    }
}

async fn nodes() -> (SqlNode, SqlNode) {
    let time = SimulatedTime::starting_at(1_790_000_000_000_000_000, Duration::ZERO);
    let hlc = Arc::new(Hlc::new(Arc::new(time), Duration::ZERO, Arc::new(VolatileCeiling), clock::Timestamp::MIN));
    let tasks = Tasks::deterministic(tokio::runtime::Handle::current());
    let random = Random::from_seed(11);
    let sender = kv::local_range(hlc.clone(), tasks.clone(), random.fork("kv"), kv::Settings::default());
    let node = async |id: u64| {
        let random = random.fork(&format!("node {id}"));
        let database = txn::Database::new(
            sender.clone(),
            hlc.clone(),
            tasks.clone(),
            random.fork("txn"),
            id,
            txn::Settings::default(),
        );
        let settings = SqlSettings { catalog_lease_ms: 400, catalog_poll_ms: 20, ..SqlSettings::default() };
        let cluster = Arc::new(OneRange);
        let config = SqlNodeConfig { database, cluster, node_id: id, tasks: tasks.clone(), random, settings };
        SqlNode::start(config).await.expect("the node starts")
    };
    (node(1).await, node(2).await)
}

async fn session(node: &SqlNode) -> Session {
    let params = SessionParams { user: "postgres".into(), database: "postgres".into(), ..SessionParams::default() };
    node.open_session(params).await.expect("the session opens")
}

async fn run(session: &mut Session, text: &str) -> Result<Vec<Row>, SqlError> {
    let result = async {
        let mut rows = Vec::new();
        for statement in session.parse(text)? {
            let prepared = session.prepare(&statement, &[]).await?;
            let options = ExecuteOptions { end_of_implicit: true, ..ExecuteOptions::default() };
            if let Outcome::Rows { rows: stream, .. } = session.execute(&prepared, Vec::new(), options).await? {
                rows = stream.collect().await?;
            }
        }
        session.sync().await?;
        Ok(rows)
    };
    let result = result.await;
    if result.is_err() {
        session.fail().await;
    }
    result
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built")
}

#[test]
fn what_one_node_creates_alters_and_drops_the_other_sees() {
    runtime().block_on(async {
        let (one, two) = nodes().await;
        let (mut a, mut b) = (session(&one).await, session(&two).await);
        run(&mut a, "CREATE TABLE t (id int PRIMARY KEY, n int)").await.expect("created");
        run(&mut b, "INSERT INTO t VALUES (1, 1), (2, 2)").await.expect("the table is known at once");
        run(&mut a, "ALTER TABLE t ADD COLUMN m int DEFAULT 5").await.expect("altered");
        run(&mut b, "INSERT INTO t (id, n) VALUES (3, 3)").await.expect("inserted");
        let rows = run(&mut a, "SELECT id, m FROM t").await.expect("read");
        assert_eq!(rows.len(), 3);
        assert!(rows.iter().all(|row| row[1] == Datum::Int4(5)), "no row misses the default: {rows:?}");
        run(&mut b, "CREATE UNIQUE INDEX t_n ON t (n)").await.expect("indexed");
        let error = run(&mut a, "INSERT INTO t VALUES (4, 3)").await.expect_err("the index is kept");
        assert_eq!(error.code, "23505");
        run(&mut a, "DROP TABLE t").await.expect("dropped");
        let error = run(&mut b, "SELECT * FROM t").await.expect_err("it is gone");
        assert_eq!(error.code, "42P01");
    });
}

#[test]
fn a_table_in_use_is_not_altered_under_its_user() {
    runtime().block_on(async {
        let (one, two) = nodes().await;
        let (mut a, mut b) = (session(&one).await, session(&two).await);
        run(&mut a, "CREATE TABLE t (id int PRIMARY KEY, n int)").await.expect("created");
        run(&mut b, "BEGIN; INSERT INTO t VALUES (1, 1)").await.expect("inserted");
        let alter = async {
            run(&mut a, "TRUNCATE t").await.expect("truncated, once it may be");
            a
        };
        let use_it = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            run(&mut b, "INSERT INTO t VALUES (2, 2); COMMIT").await.expect("the user goes on unharmed");
            b
        };
        let (mut a, mut b) = tokio::join!(alter, use_it);
        assert_eq!(run(&mut a, "SELECT * FROM t").await.expect("read").len(), 0);
        assert_eq!(run(&mut b, "SELECT * FROM t").await.expect("read").len(), 0);
    });
}

#[test]
fn a_dead_node_blocks_nobody_for_long() {
    let runtime = runtime();
    runtime.block_on(async {
        let (one, two) = nodes().await;
        let (mut a, mut b) = (session(&one).await, session(&two).await);
        run(&mut a, "CREATE TABLE t (id int PRIMARY KEY)").await.expect("created");
        run(&mut b, "INSERT INTO t VALUES (1)").await.expect("inserted");
        b.close().await;
        drop(two);
        run(&mut a, "ALTER TABLE t ADD COLUMN n int").await.expect("its lease runs out");
    });
}

#[test]
fn two_nodes_do_not_create_one_name_twice() {
    runtime().block_on(async {
        let (one, two) = nodes().await;
        let (mut a, mut b) = (session(&one).await, session(&two).await);
        let text = "CREATE TABLE t (id int PRIMARY KEY)";
        let (left, right) = tokio::join!(run(&mut a, text), run(&mut b, text));
        let errors: Vec<SqlError> = [left, right].into_iter().filter_map(Result::err).collect();
        assert_eq!(errors.len(), 1, "exactly one of them wins: {errors:?}");
        assert_eq!(errors[0].code, "42P07");
    });
}
