//! The ranges do not answer: a statement keeps to its time all the same, and what needs no range is answered.
#![allow(missing_docs)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use clock::Tasks;
use kv::api::{BatchRequest, BatchResponse, KvError, Sender};
use sql::{Session, SqlError, SqlNode, SqlSettings};
use support::{in_runtime, nodes_behind, run, session};
use tokio::sync::watch;

/// Far less than a statement that minds no timeout waits, far more than any of these needs.
const PATIENCE: Duration = Duration::from_secs(5);

/// Keeps whatever is sent until it is to be heard.
struct Silence {
    range: Arc<dyn Sender>,
    silent: watch::Receiver<bool>,
}

#[async_trait]
impl Sender for Silence {
    async fn send(&self, batch: BatchRequest) -> Result<BatchResponse, KvError> {
        // When the test is over, nobody hears anything any more.
        if self.silent.clone().wait_for(|silent| !silent).await.is_err() {
            std::future::pending::<()>().await;
        }
        self.range.send(batch).await
    }
}

async fn node() -> (SqlNode, watch::Sender<bool>) {
    let (silence, silent) = watch::channel(false);
    let settings = SqlSettings { catalog_lease_ms: 400, catalog_poll_ms: 20, ..SqlSettings::default() };
    let tasks = Tasks::deterministic(tokio::runtime::Handle::current());
    let between = |range| -> Arc<dyn Sender> { Arc::new(Silence { range, silent }) };
    (nodes_behind(1, 41, settings, tasks.clone(), tasks, between).await.remove(0), silence)
}

async fn in_time(session: &mut Session, text: &str) -> Result<(), SqlError> {
    let answer = tokio::time::timeout(PATIENCE, run(session, text)).await;
    answer.unwrap_or_else(|_| panic!("{text}: not answered within {PATIENCE:?}")).map(|_| ())
}

/// Nothing is heard any more, and the node's lease on the catalog has run out.
async fn fall_silent(silence: &watch::Sender<bool>, session: &mut Session) {
    silence.send_replace(true);
    while in_time(session, "SELECT 1").await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_statement_keeps_to_its_time_though_nothing_answers() {
    in_runtime(async {
        let (node, silence) = node().await;
        let mut a = session(&node).await;
        run(&mut a, "CREATE TABLE t (id int PRIMARY KEY); SET statement_timeout = '100ms'").await.expect("made");
        fall_silent(&silence, &mut a).await;
        for text in
            ["SELECT * FROM t", "INSERT INTO t VALUES (1)", "DROP TABLE t", "SHOW TABLES", "PREPARE p AS SELECT 1"]
        {
            let error = in_time(&mut a, text).await.expect_err(text);
            assert_eq!((error.code, error.message.contains("statement timeout")), ("57014", true), "{text}: {error}");
        }
        run(&mut a, "BEGIN").await.expect("begun");
        let error =
            in_time(&mut a, "SAVEPOINT s").await.expect_err("the first statement of a block begins a transaction");
        assert_eq!(error.code, "57014", "{error}");
        in_time(&mut a, "ROLLBACK").await.expect("it ends");
    });
}

#[test]
fn what_is_about_the_session_is_answered_though_nothing_else_is() {
    in_runtime(async {
        let (node, silence) = node().await;
        let mut a = session(&node).await;
        run(&mut a, "SET statement_timeout = '100ms'").await.expect("set");
        fall_silent(&silence, &mut a).await;
        for text in [
            "SHOW search_path",
            "SHOW ALL",
            "SHOW NODES",
            "SHOW CLUSTER SETTINGS",
            "SET application_name = 'x'",
            "RESET application_name",
            "DEALLOCATE ALL",
            "DISCARD PLANS",
            "VACUUM",
            "BEGIN; SET LOCAL TimeZone = 'UTC'; SHOW TimeZone; COMMIT",
            "BEGIN AS OF SYSTEM TIME '-1s'; ROLLBACK",
        ] {
            in_time(&mut a, text).await.unwrap_or_else(|error| panic!("{text}: {error:?}"));
        }
    });
}

#[test]
fn a_rollback_does_not_wait_for_those_that_do_not_answer() {
    in_runtime(async {
        let (node, silence) = node().await;
        let (mut a, mut b, mut c) = (session(&node).await, session(&node).await, session(&node).await);
        run(&mut a, "CREATE TABLE t (id int PRIMARY KEY, n int); INSERT INTO t VALUES (1, 1), (2, 2)")
            .await
            .expect("made");
        run(&mut a, "CREATE TABLE u (id int PRIMARY KEY)").await.expect("made");
        for session in [&mut a, &mut b, &mut c] {
            run(session, "SET statement_timeout = '200ms'").await.expect("set");
        }
        run(&mut a, "BEGIN; ALTER TABLE u ADD COLUMN n int").await.expect("altered");
        run(&mut b, "BEGIN; SAVEPOINT s; UPDATE t SET n = 2 WHERE id = 1").await.expect("locked");
        fall_silent(&silence, &mut c).await;
        in_time(&mut b, "ROLLBACK TO s").await.expect("back at the savepoint");
        in_time(&mut a, "ROLLBACK").await.expect("it ends");
        silence.send_replace(false);
        for session in [&mut a, &mut b, &mut c] {
            run(session, "SET statement_timeout = 0").await.expect("set");
        }
        run(&mut b, "UPDATE t SET n = 3 WHERE id = 2; COMMIT").await.expect("the transaction goes on");
        in_time(&mut c, "UPDATE t SET n = 4 WHERE id = 1").await.expect("nothing of it stays locked");
        in_time(&mut c, "INSERT INTO u VALUES (1)").await.expect("nor does the table");
    });
}
