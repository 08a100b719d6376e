//! Sessions against each other on one range: what is retried behind the client's back, what is cancelled, what is waited for.
#![allow(missing_docs)]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use clock::{Hlc, Random, SimulatedTime, Tasks, VolatileCeiling};
use sql::types::Datum;
use sql::{
    CancelToken, ClusterView, ExecuteOptions, NodeView, Outcome, RangeView, Row, Session, SessionParams, SqlError,
    SqlNode, SqlNodeConfig, SqlSettings, TransactionStatus,
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

async fn node() -> SqlNode {
    let time = SimulatedTime::starting_at(1_790_000_000_000_000_000, Duration::ZERO);
    let hlc = Arc::new(Hlc::new(Arc::new(time), Duration::ZERO, Arc::new(VolatileCeiling), clock::Timestamp::MIN));
    let tasks = Tasks::deterministic(tokio::runtime::Handle::current());
    let random = Random::from_seed(13);
    let sender = kv::local_range(hlc.clone(), tasks.clone(), random.fork("kv"), kv::Settings::default());
    let database = txn::Database::new(sender, hlc, tasks.clone(), random.fork("txn"), 1, txn::Settings::default());
    let cluster = Arc::new(OneRange);
    let settings = SqlSettings::default();
    let config = SqlNodeConfig { database, cluster, node_id: 1, tasks, random: random.fork("sql"), settings };
    SqlNode::start(config).await.expect("the node starts")
}

async fn session(node: &SqlNode) -> Session {
    let params = SessionParams { user: "postgres".into(), database: "postgres".into(), ..SessionParams::default() };
    node.open_session(params).await.expect("the session opens")
}

async fn run_until(session: &mut Session, text: &str, cancel: &CancelToken) -> Result<Vec<Row>, SqlError> {
    let result = async {
        let mut rows = Vec::new();
        let statements = session.parse(text)?;
        let last = statements.len() - 1;
        for (at, statement) in statements.iter().enumerate() {
            let prepared = session.prepare(statement, &[]).await?;
            let options = ExecuteOptions { end_of_implicit: at == last, cancel: cancel.clone() };
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

async fn run(session: &mut Session, text: &str) -> Result<Vec<Row>, SqlError> {
    run_until(session, text, &CancelToken::new()).await
}

fn in_runtime(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built").block_on(test);
}

#[test]
fn single_statements_of_many_sessions_never_fail_for_a_conflict() {
    in_runtime(async {
        let node = node().await;
        let mut first = session(&node).await;
        run(&mut first, "CREATE TABLE t (id int PRIMARY KEY, n int)").await.expect("created");
        run(&mut first, "INSERT INTO t VALUES (1, 0), (2, 0)").await.expect("inserted");
        let clients = (0..8).map(|client: usize| {
            let node = node.clone();
            async move {
                let mut own = session(&node).await;
                for _ in 0..10 {
                    // It reads one row to write the other: without a retry, somebody fails.
                    let (read, written) = if client % 2 == 0 { (1, 2) } else { (2, 1) };
                    let text = format!(
                        "UPDATE t SET n = n + 1 + 0 * (SELECT n FROM t WHERE id = {read}) WHERE id = {written}"
                    );
                    run(&mut own, &text).await.expect("conflicts are retried");
                }
            }
        });
        futures::future::join_all(clients).await;
        let rows = run(&mut first, "SELECT sum(n) FROM t").await.expect("read");
        assert_eq!(rows, [[Datum::Int8(80)]], "no update is lost, and none happens twice");
    });
}

#[test]
fn a_conflict_after_rows_were_sent_is_told_and_the_transaction_ends() {
    in_runtime(async {
        let node = node().await;
        let (mut a, mut b) = (session(&node).await, session(&node).await);
        run(&mut a, "CREATE TABLE t (id int PRIMARY KEY, n int)").await.expect("created");
        run(&mut a, "INSERT INTO t VALUES (1, 0)").await.expect("inserted");
        run(&mut a, "BEGIN").await.expect("begun");
        run(&mut a, "SELECT n FROM t").await.expect("read");
        run(&mut b, "UPDATE t SET n = 5").await.expect("written");
        let error = run(&mut a, "UPDATE t SET n = n + 1").await.expect_err("what it read has changed");
        assert_eq!(error.code, "40001");
        assert!(error.message.contains("which it had read"), "the message explains itself: {}", error.message);
        assert_eq!(a.transaction_status(), TransactionStatus::Failed);
        run(&mut a, "ROLLBACK").await.expect("rolled back");
        run(&mut a, "UPDATE t SET n = n + 1").await.expect("it goes on");
        assert_eq!(run(&mut b, "SELECT n FROM t").await.expect("read"), [[Datum::Int4(6)]]);
    });
}

#[test]
fn a_statement_that_waits_is_cancelled_and_the_session_goes_on() {
    in_runtime(async {
        let node = node().await;
        let (mut a, mut b) = (session(&node).await, session(&node).await);
        run(&mut a, "CREATE TABLE t (id int PRIMARY KEY, n int)").await.expect("created");
        run(&mut a, "INSERT INTO t VALUES (1, 0)").await.expect("inserted");
        run(&mut a, "BEGIN; UPDATE t SET n = 1").await.expect("locked");
        let token = CancelToken::new();
        let waiting = run_until(&mut b, "UPDATE t SET n = 2", &token);
        let cancelling = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            token.cancel();
        };
        let (result, ()) = tokio::join!(waiting, cancelling);
        assert_eq!(result.expect_err("it was cancelled").code, "57014");
        run(&mut a, "COMMIT").await.expect("its holder is not disturbed");
        assert_eq!(run(&mut b, "SELECT n FROM t").await.expect("read"), [[Datum::Int4(1)]]);
        run(&mut b, "UPDATE t SET n = 3").await.expect("its lock request is gone, too");
    });
}

#[test]
fn a_cancelled_statement_of_a_transaction_leaves_nothing_behind() {
    in_runtime(async {
        let node = node().await;
        let mut a = session(&node).await;
        run(&mut a, "CREATE TABLE t (id int PRIMARY KEY)").await.expect("created");
        run(&mut a, "BEGIN; INSERT INTO t VALUES (1)").await.expect("inserted");
        run(&mut a, "SAVEPOINT s").await.expect("set");
        let token = CancelToken::new();
        let work = "INSERT INTO t SELECT 2 FROM (SELECT pg_sleep(30) AS x) s WHERE x IS NOT NULL";
        let (result, ()) = tokio::join!(run_until(&mut a, work, &token), async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            token.cancel();
        });
        assert_eq!(result.expect_err("it was cancelled").code, "57014");
        assert_eq!(a.transaction_status(), TransactionStatus::Failed);
        run(&mut a, "ROLLBACK TO s; INSERT INTO t VALUES (3); COMMIT").await.expect("it goes on from the savepoint");
        let rows = run(&mut a, "SELECT id FROM t ORDER BY id").await.expect("read");
        assert_eq!(rows, [[Datum::Int4(1)], [Datum::Int4(3)]]);
    });
}

#[test]
fn a_lock_is_waited_for_as_long_as_the_session_says() {
    in_runtime(async {
        let node = node().await;
        let (mut a, mut b) = (session(&node).await, session(&node).await);
        run(&mut a, "CREATE TABLE t (id int PRIMARY KEY, n int)").await.expect("created");
        run(&mut a, "INSERT INTO t VALUES (1, 0)").await.expect("inserted");
        run(&mut a, "BEGIN; UPDATE t SET n = 1").await.expect("locked");
        run(&mut b, "SET lock_timeout = '40ms'").await.expect("set");
        let error = run(&mut b, "UPDATE t SET n = 2").await.expect_err("it does not wait for long");
        assert_eq!(error.code, "55P03");
        run(&mut b, "SET lock_timeout = 0").await.expect("set");
        let (waited, ended) = tokio::join!(run(&mut b, "UPDATE t SET n = n + 1"), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            run(&mut a, "COMMIT").await
        });
        ended.expect("committed");
        waited.expect("it waits");
        assert_eq!(run(&mut a, "SELECT n FROM t").await.expect("read"), [[Datum::Int4(2)]]);
    });
}

#[test]
fn the_past_is_read_by_the_tables_of_its_time() {
    in_runtime(async {
        let node = node().await;
        let mut a = session(&node).await;
        run(&mut a, "CREATE TABLE t (id int PRIMARY KEY, n int)").await.expect("created");
        run(&mut a, "INSERT INTO t VALUES (1, 1)").await.expect("inserted");
        let rows = run(&mut a, "SELECT now()::text").await.expect("read");
        let [Datum::Text(then)] = &rows[0][..] else { panic!("a time is a text: {rows:?}") };
        tokio::time::sleep(Duration::from_millis(5)).await;
        run(&mut a, "UPDATE t SET n = 2").await.expect("updated");
        run(&mut a, "ALTER TABLE t ADD COLUMN more int DEFAULT 7").await.expect("altered");
        let past = run(&mut a, &format!("SELECT * FROM t AS OF SYSTEM TIME '{then}'")).await.expect("read");
        assert_eq!(past, [[Datum::Int4(1), Datum::Int4(1)]]);
        let both = format!("BEGIN AS OF SYSTEM TIME '{then}'; SELECT sum(n) FROM t WHERE id > 0");
        assert_eq!(run(&mut a, &both).await.expect("read"), [[Datum::Int8(1)]]);
        run(&mut a, "COMMIT").await.expect("ended");
    });
}
